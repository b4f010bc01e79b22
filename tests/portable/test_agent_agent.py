"""The whole agent: what it says and when, and that the appliance runs whatever happens to everything else."""

import asyncio

from agentworld import DN, NOW_S, Cloud, Device
from evergrow_agent.features import Features
from evergrow_agent.link import RETRY_MS
from evergrow_protocol import varint
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import INVALID_STATE, OK, UNKNOWN_KIND
from evergrow_protocol.messages import FLAG_FRESH
from faultyflash import FaultyFlash
from mqttworld import publish

HEAP = "1M"


def segments(device):
    return [name for name in device.flash.files if name.startswith("use.0")]


async def test_after_a_connect_come_birth_state_and_the_sync_pair():
    """EG-BIRTH-001, EG-TIME-001, EG-TIME-003"""
    cloud = Cloud()
    device = Device(cloud)

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        assert cloud.filters
        assert [kind for kind, _, _, _ in cloud.up] == ["birth", "state", "sync"]
        assert [(qos, retain) for _, _, qos, retain in cloud.up] == [(1, True), (1, True), (1, False)]
        (birth,) = cloud.of("birth")
        assert birth[:2] == [1, 1] and isinstance(birth[2], list)
        assert birth[3][2] == 1 and birth[3][3] == "tiny" and birth[3][7] == 1024 and birth[3][9] == FLAG_FRESH
        (sync,) = cloud.of("sync")
        mono_ms, utc_s = sync[3]
        assert abs(utc_s - mono_ms // 1000 - NOW_S) <= 1 and sync[2] == utc_s
        assert cloud.of("state") == [[1, 1, cloud.of("state")[0][2], {0: 1, 1: 0, 2: 0, 3: 0, 4: 0, 5: False, 6: 0, 7: [0, 0]}]]

    await device.live(story)
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash


async def test_a_cycle_is_announced_and_freed_by_the_clouds_ack():
    """EG-USE-002, EG-ACK-001"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        cloud.acks = False
        await device.run_cycle()
        await device.until(lambda: cloud.usage)
        await device.clock.sleep_ms(1000)
        assert segments(device)
        cloud.ack(1)
        await device.until(lambda: device.agent.ledger.pending == 0)
        assert not segments(device)
        assert list(cloud.usage) == [(1, 1)]
        assert cloud.usage[(1, 1)][5] == 3000
        assert cloud.of("usage")[0][2] > NOW_S
        await device.until(lambda: not device.agent.link.busy)

    await Device(cloud).live(story)


async def test_a_broker_that_has_it_frees_nothing():
    """EG-ACK-001, EG-ACK-005, EG-USE-002: without the cloud's ack it is repeated, ever more slowly, and again after a reboot."""
    cloud = Cloud()
    cloud.acks = False
    flash = FaultyFlash()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.run_cycle()
        gaps = []
        for count in (1, 2, 3, 4):
            since_ms = device.clock.now_ms
            await device.until(lambda: len(cloud.of("usage")) >= count)  # noqa: B023
            gaps.append(device.clock.now_ms - since_ms)
        gaps = gaps[1:]
        assert gaps[0] >= RETRY_MS and gaps[1] >= 2 * RETRY_MS and gaps[2] >= 4 * RETRY_MS
        assert device.agent.ledger.pending == 1

    await Device(cloud, flash).live(story)
    cloud.acks = True
    del cloud.up[:]

    async def later(device):
        await device.until(lambda: device.agent.ledger.pending == 0 and cloud.of("usage"))
        assert [kind for kind, _, _, _ in cloud.up][:2] == ["birth", "state"]
        assert cloud.of("birth")[0][:2] == [2, 1]

    await Device(cloud, FaultyFlash(flash.files)).live(later)
    assert list(cloud.usage) == [(1, 1)]


async def test_a_backlog_goes_out_in_bundles_and_is_counted_once():
    """EG-USE-004, EG-ACK-003"""
    cloud = Cloud()
    device = Device(cloud, refuse=1_000_000)

    async def story(device):
        for _ in range(24):
            await device.run_cycle()
        assert device.agent.ledger.pending == 24
        device.world.refuse = 0
        await device.until(lambda: device.agent.ledger.pending == 0)

    await device.live(story)
    assert sorted(cloud.usage) == [(1, n) for n in range(1, 25)]
    assert len(cloud.of("usage")) < 10 and cloud.repeated == 0


async def test_the_appliance_needs_no_network():
    cloud = Cloud()
    for refuse, unreachable in ((1_000_000, False), (0, True)):
        device = Device(cloud, refuse=refuse)
        device.world.unreachable = unreachable

        async def story(device):
            for _ in range(3):
                await device.run_cycle()

        await device.live(story)
        assert device.agent.ledger.pending == 3
        assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash
        assert not device.agent.link.online


async def test_the_appliance_needs_no_flash():
    cloud = Cloud()
    device = Device(cloud, FaultyFlash(fail=lambda n: True))
    device.flash.fail_reads = ("", "boot.0", "boot.1", "use.ack", "use.merged", "cycle", "features", "trust", "commands")

    async def story(device):
        await device.run_cycle()
        await device.until(lambda: cloud.of("birth"))
        assert cloud.of("birth")[0][0] >= 1 << 31
        assert cloud.of("birth")[0][3][9] == 11  # random boot number; storage fails; rights cannot be read

    await device.live(story)
    assert device.agent.ledger.merged_cycles == 1
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash


async def test_the_appliance_outlives_tasks_that_crash_and_they_are_started_again():
    cloud = Cloud()
    device = Device(cloud)

    async def bad():
        raise ValueError("a bug")

    async def story(device):
        await device.run_cycle()
        await device.until(lambda: device.agent.crashes["installer"] >= 3)
        await device.until(lambda: device.agent.ledger.pending == 0)

    device.agent.boot()
    device.agent.installer.run = bad
    await device.live(story)
    assert device.agent.crashes["link"] == 0
    assert device.agent.last_crash == "installer: ValueError('a bug')" or "a bug" in device.agent.last_crash


async def test_services_that_cannot_be_made_are_made_later():
    cloud = Cloud()
    device = Device(cloud)
    make = device.agent._make_services
    attempts = []

    def unlucky():
        attempts.append(1)
        if len(attempts) < 4:
            raise MemoryError()
        make()

    device.agent._make_services = unlucky

    async def story(device):
        await device.run_cycle()
        await device.until(lambda: cloud.usage)

    await device.live(story)
    assert len(attempts) == 4


async def test_a_tick_that_fails_does_not_feed_the_watchdog_and_is_not_the_last():
    device = Device(Cloud())

    async def story(device):
        def bug(signal):
            raise ValueError("a bug")

        device.agent.start_programme(1)
        await device.until(lambda: device.agent.runner.phase == 4)
        device.appliance.read = bug
        await device.until(lambda: device.agent.crashes["appliance"] >= 3)
        fed = device.watchdog.fed
        await device.clock.sleep_ms(5000)
        assert device.watchdog.fed == fed
        assert device.appliance.actuators == device.appliance.safe_state
        del device.appliance.read
        await device.until(lambda: device.watchdog.fed > fed)
        await device.until(lambda: device.agent.runner.state == 0)

    await device.live(story)


async def test_what_is_malformed_or_unknown_is_dropped_and_nothing_else_happens():
    """EG-ENC-004, EG-TOP-005"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        link = device.agent.link
        rubbish = [b"", b"\xff", b"\x83\x01\x02", dumps({0: 1}), dumps(["a", "b", "c", "d"]), b"\x81" * 100, bytes(500)]
        kinds = ("welcome", "ack", "cmd", "offer", "block", "nonsense", "")
        for count, kind in enumerate(kinds):
            for data in rubbish:
                cloud.down(kind, data)
            await device.until(lambda: link.dropped == len(rubbish) * (count + 1))  # noqa: B023
        assert link.errors == 0 and link.connects == 1 and link.online
        cloud.down("cmd", dumps([1, 3, {}]) + bytes(2500))  # more than the device takes, but for blocks
        await device.until(lambda: link.dropped == len(rubbish) * len(kinds) + 1)
        cloud.down("block", b"\x84\x01\x00\x00\x59\x0a\x00" + bytes(2561))  # one byte more than it says
        await device.until(lambda: link.dropped == len(rubbish) * len(kinds) + 2)
        cloud.down("block", [1, 0, 0, bytes(2560)])  # for a transfer that nobody knows
        cloud.down("nonsense", b"")
        await device.until(lambda: link.dropped == len(rubbish) * len(kinds) + 3)
        assert link.connects == 1
        assert device.clock.utc_s() and not cloud.of("rsp")

    await Device(cloud).live(story)


async def test_a_handler_with_a_bug_ends_neither_link_nor_agent():
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))

        def bug(kind, payload):
            raise ValueError("a bug")

        device.agent.link.receive = bug
        cloud.down("cmd", [1, 3, {}])
        await device.until(lambda: device.agent.link.errors == 1)
        assert device.agent.link.connects == 1

    await Device(cloud).live(story)


async def test_a_retained_command_is_no_command():
    cloud = Cloud()

    async def story(device):
        device.appliance.remote_enable = True
        await device.until(lambda: cloud.of("sync"))
        cloud._link.push(publish(5, DN + "cmd", dumps([1, 1, {0: 1}]), retain=True))
        await device.until(lambda: device.agent.link.dropped == 1)
        assert device.agent.runner.state == 0 and not cloud.of("rsp")

    await Device(cloud).live(story)


async def test_a_welcome_for_another_boot_or_an_older_birth_is_ignored():
    """EG-BIRTH-002"""
    cloud = Cloud()
    cloud.welcomes = False

    async def story(device):
        await device.until(lambda: cloud.of("state"))
        cloud.down("welcome", [2, 1, NOW_S])
        cloud.down("welcome", [1, 2, NOW_S])
        cloud.down("cmd", [1, 3, {}])
        await device.until(lambda: len(cloud.of("birth")) == 2)
        cloud.down("welcome", [1, 1, NOW_S])
        await device.clock.sleep_ms(2000)
        assert device.clock.utc_s() is None and not cloud.of("sync")
        cloud.down("welcome", [1, 2, NOW_S])
        await device.until(lambda: cloud.of("sync"))

    await Device(cloud).live(story)


async def test_an_appliance_at_rest_is_looked_at_less_often_and_wakes_when_it_is_started():
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        agent, watchdog = device.agent, device.agent.board.watchdog
        await device.until(lambda: agent.runner.at_rest)
        ticks = []
        tick = agent.cycle.tick
        agent.cycle.tick = lambda now_ms: ticks.append(now_ms) or tick(now_ms)
        fed = watchdog.fed
        await device.clock.sleep_ms(600_000)
        assert 9 <= len(ticks) <= 11
        assert watchdog.fed - fed >= 99
        for ticked in (1, 2):  # a switch of the appliance
            device.appliance.remote_enable = not device.appliance.remote_enable
            device.appliance.on_change()
            await device.until(lambda: len(cloud.of("state")) > ticked)  # noqa: B023
        agent.start_programme(1)
        await device.clock.sleep_ms(700)
        assert agent.runner.step >= 0 and agent.runner.state != 0
        fed = watchdog.fed
        await device.clock.sleep_ms(5_000)
        assert watchdog.fed - fed >= 9

    await Device(cloud, rest_ms=60_000).live(story)


async def test_a_watchdog_that_bites_late_is_left_alone_for_longer():
    for timeout_ms, least, most in ((4_000, 19, 23), (90_000, 1, 2)):

        async def story(device):
            await device.until(lambda: device.agent.runner.at_rest)
            await device.clock.sleep_ms(1_000)
            fed = device.watchdog.fed
            await device.clock.sleep_ms(60_000)
            assert least <= device.watchdog.fed - fed <= most  # noqa: B023

        device = Device(Cloud(), rest_ms=60_000)
        device.watchdog.timeout_ms = timeout_ms
        await device.live(story)


async def test_an_appliance_that_does_not_wake_the_agent_is_looked_at_as_ever():
    device = Device(Cloud(), rest_ms=60_000)
    device.appliance.quiet = False

    async def story(device):
        await device.until(lambda: device.agent.runner.at_rest)
        fed = device.watchdog.fed
        await device.clock.sleep_ms(60_000)
        assert device.watchdog.fed - fed >= 119

    await device.live(story)


async def test_without_memory_to_rest_the_appliance_is_looked_at_as_ever():
    async def story(device):
        agent = device.agent
        await device.until(lambda: agent.runner.at_rest)
        await device.clock.sleep_ms(60_000)

        def full():
            raise MemoryError

        agent._ring = full
        agent.board.appliance.on_change()
        fed = device.watchdog.fed
        await device.clock.sleep_ms(60_000)
        assert device.watchdog.fed - fed >= 119
        assert agent.crashes["appliance"] >= 119 and "MemoryError" in agent.last_crash

    await Device(Cloud(), rest_ms=60_000).live(story)


async def test_only_the_first_welcome_for_a_birth_of_this_connection_tells_the_time():
    """EG-TIME-007"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        cloud.down("welcome", [1, 1, NOW_S - 600, {1: [0, 0]}])
        await device.clock.sleep_ms(2000)
        assert device.clock.utc_s() >= NOW_S
        assert device.agent.link.pacing.take()  # it has taken nothing of that welcome
        cloud.welcomes = False
        device.agent.link.publish_birth()
        await device.until(lambda: len(cloud.of("birth")) == 2)
        cloud._unacked[77] = (DN + "welcome", dumps([1, 2, NOW_S - 600]))
        device.world.links[-1].drop()
        await device.until(lambda: len(cloud.of("birth")) == 3 and 77 not in cloud._unacked)
        assert device.clock.utc_s() >= NOW_S

    await Device(cloud).live(story)


async def test_a_birth_that_nobody_welcomes_is_said_again_ever_more_slowly():
    """EG-BIRTH-005: a broker that acknowledged birth and lost it does not leave the device offline for the cloud."""
    cloud = Cloud()
    cloud.welcomes = False

    async def story(device):
        gaps = []
        for count in (1, 2, 3, 4):
            since_ms = device.clock.now_ms
            await device.until(lambda: len(cloud.of("state")) >= count)  # noqa: B023
            gaps.append(device.clock.now_ms - since_ms)
        for gap, least in zip(gaps[1:], (RETRY_MS, 2 * RETRY_MS, 4 * RETRY_MS)):
            assert least <= gap <= least + 5000, gaps
        assert [message[1] for message in cloud.of("birth")] == [1, 2, 3, 4]
        cloud.welcomes = True
        await device.until(lambda: cloud.of("sync"))
        said = len(cloud.of("birth"))
        assert said == 5
        await device.clock.sleep_ms(1_000_000)
        assert len(cloud.of("birth")) == said and not device.agent.link.busy

    await Device(cloud).live(story)


async def _pauses_double_up_to_five_minutes(device, count):
    """`count()`: how often it was said. It was said once."""
    for pause_s in (10, 20, 40, 80, 160, 300, 300):
        said, since_ms = count(), device.clock.now_ms
        await device.until(lambda: count() > said)  # noqa: B023
        assert pause_s * 1000 <= device.clock.now_ms - since_ms <= pause_s * 1000 + 5000, pause_s


async def test_birth_is_said_again_after_pauses_of_five_minutes_at_most():
    """EG-BIRTH-005"""
    cloud = Cloud()
    cloud.welcomes = False

    async def story(device):
        await device.until(lambda: cloud.of("state"))
        await _pauses_double_up_to_five_minutes(device, lambda: len(cloud.of("state")))

    await Device(cloud).live(story)


async def test_usage_is_announced_again_after_pauses_of_five_minutes_at_most():
    """EG-ACK-005"""
    cloud = Cloud()
    cloud.acks = False

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.run_cycle()
        await device.until(lambda: cloud.of("usage"))
        await _pauses_double_up_to_five_minutes(device, lambda: len(cloud.of("usage")))

    await Device(cloud).live(story)


async def test_a_clock_that_jumps_while_it_runs_asks_for_the_time():
    """EG-TIME-005"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        device.clock.set_utc_s(NOW_S + 86_400)
        await device.until(lambda: len(cloud.of("birth")) == 2)
        assert cloud.of("birth")[1][2][1:] == [cloud.of("birth")[1][2][1], 2]
        await device.until(lambda: abs((device.agent.timebase.utc_s() or 0) - NOW_S) < 60)
        await device.clock.sleep_ms(60_000)
        assert len(cloud.of("birth")) == 2 and len(cloud.of("sync")) == 1

    await Device(cloud).live(story)


async def test_commands_are_answered():
    """EG-CMD-002, EG-CMD-004"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        cloud.down("cmd", [5, 1, {0: 1}])
        cloud.down("cmd", [6, 77, {}])
        device.appliance.remote_enable = False
        await device.until(lambda: len(cloud.of("rsp")) == 2)
        device.appliance.remote_enable = True
        cloud.down("cmd", [7, 1, {0: 1}])
        await device.until(lambda: len(cloud.of("rsp")) == 3)
        assert device.agent.runner.state == 1
        cloud.down("cmd", [8, 2, {}])
        await device.until(lambda: len(cloud.of("rsp")) == 4)
        assert [message[1] for message in cloud.of("rsp")] == [1, 2, 3, 4]  # EG-ENV-002
        assert [message[3] for message in cloud.of("rsp")] == [[5, INVALID_STATE], [6, UNKNOWN_KIND], [7, OK], [8, OK]]
        await device.until(lambda: cloud.usage)
        assert cloud.usage[(1, 1)][1] == 1  # stopped

    await Device(cloud).live(story)


async def test_state_is_published_when_it_changes():
    """EG-STATE-002"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.run_cycle()
        device.appliance.remote_enable = True
        await device.until(lambda: cloud.of("state")[-1][3][5] is True)
        operations = [message[3][1] for message in cloud.of("state")]
        phases = [message[3][3] for message in cloud.of("state")]
        assert operations[0] == 0 and 1 in operations and operations[-1] == 0
        assert [phase for phase in (2, 4, 7) if phase in phases] == [2, 4, 7]
        assert [message[1] for message in cloud.of("state")] == list(range(1, len(operations) + 1))

    await Device(cloud).live(story)


async def test_telemetry_flows_while_a_programme_runs():
    """EG-TELE-002"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.clock.sleep_ms(30_000)
        assert not cloud.of("tele")
        await device.run_cycle()
        await device.run_cycle()
        await device.until(lambda: len(cloud.of("tele")) >= 2)
        (first,) = [message for message in cloud.of("tele") if message[1] == 1]
        assert first[3][0] == 1 and len(varint.values(first[3][1][1])) == 10 and 9 in first[3][1]
        assert {qos for kind, _, qos, _ in cloud.up if kind == "tele"} == {0}

    await Device(cloud, telemetry_signals=(1, 3, 9, 10), telemetry_s=1).live(story)


async def test_a_planned_end_says_offline_and_ends_the_run():
    """EG-STATE-001"""
    cloud = Cloud()
    device = Device(cloud)

    async def story():
        run = asyncio.create_task(device.agent.run())
        await device.until(lambda: cloud.of("sync"))
        await device.agent.stop()
        await run

    await device.clock.run(story())
    assert cloud.of("state")[-1][3] == {0: 0}
    assert cloud.disconnects == [0]


async def test_an_end_without_a_link_is_an_end_too():
    device = Device(Cloud(), refuse=1_000_000)

    async def story():
        run = asyncio.create_task(device.agent.run())
        await device.clock.sleep_ms(1000)
        await device.agent.stop()
        await run

    await device.clock.run(story())


async def test_a_link_that_breaks_anywhere_loses_nothing():
    """EG-BIRTH-004, EG-ACK-003: the connection dies after every number of bytes in turn; usage arrives, once."""
    for cut in range(20, 700, 53):
        cloud = Cloud()
        device = Device(cloud, cuts=(cut, cut + 11, cut // 2))

        async def story(device):
            await device.run_cycle()
            await device.run_cycle()
            await device.until(lambda: device.agent.ledger.pending == 0, 7200)

        await device.live(story)
        assert sorted(cloud.usage) == [(1, 1), (1, 2)], cut
        assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash
        assert device.agent.link.errors == 0


async def test_records_of_a_cycle_cut_by_power_arrive_after_the_next_boot():
    """EG-USE-003"""
    cloud = Cloud()
    flash = FaultyFlash()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        device.agent.start_programme(1)
        await device.until(lambda: device.agent.runner.phase == 4)

    await Device(cloud, flash).live(story)

    async def later(device):
        await device.until(lambda: device.agent.ledger.pending == 0 and cloud.usage)

    await Device(cloud, FaultyFlash(flash.files)).live(later)
    assert list(cloud.usage) == [(1, 1)] and cloud.usage[(1, 1)][1] == 3


async def test_birth_lists_the_active_features():
    """EG-BIRTH-003"""
    cloud = Cloud()
    device = Device(cloud)
    device.agent.boot()
    assert isinstance(device.agent.features, Features)
    device.agent.features.active = lambda: [(7, 1001, 3), (7, 1002, 1)]

    async def story(device):
        await device.until(lambda: cloud.of("birth"))

    await device.live(story)
    assert cloud.of("birth")[0][3][6] == [[7, 1001, 3], [7, 1002, 1]]


async def test_an_offer_is_answered_by_a_request_for_its_envelope():
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        cloud.down("offer", [5, 3000])
        await device.until(lambda: cloud.of("get"))
        assert cloud.of("get")[0][3][:4] == [5, 0, 512, 0]

    await Device(cloud).live(story)
