"""A device whose flash was erased: what it records from then on collides with nothing that the cloud has of it."""

from agentworld import Cloud, Device
from chainproof import KEY, break_of
from evergrow_agent import devicekey
from evergrow_agent.cycle import Cycle
from evergrow_agent.guard import Guard
from evergrow_agent.journal import RECORD_MAX
from evergrow_agent.runner import Runner
from evergrow_agent.timebase import Timebase
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import BUSY
from evergrow_protocol.messages import FLAG_FRESH, FLAG_RANDOM_BOOT, FLAG_STORAGE, VOICE_RATING, with_boot
from evergrow_protocol.registry_common import OUTCOME_POWER_LOST, USAGE_MERGED
from faultyflash import MODES, FaultyFlash, PowerCut, cut_everywhere
from ledgerkit import announce, loaded
from stillclock import Clock
from support import raises_code
from tinyappliance import TinyAppliance

HEAP = "1M"
SIZES = {"segment_bytes": 70, "cap_bytes": 150, "reserve_bytes": 0}


def run_cycle(ledger, boot, number):
    ledger.append(boot, ledger.begin(boot), [1000 * number], {0: 1, 2: 60, 4: number, 5: 10 * number}, number)


async def test_a_new_flash_says_birth_and_state_until_it_is_welcomed_and_keeps_its_number():
    """EG-ENV-005, EG-BIRTH-006"""
    cloud = Cloud()
    cloud.welcomes = False

    async def story(device):
        await device.until(lambda: cloud.of("birth"))
        device.agent.events.note(3, 0)
        raises_code(BUSY, device.agent.say, VOICE_RATING, 5)
        await device.run_cycle()
        await device.clock.sleep_ms(60_000)
        assert {kind for kind, _, _, _ in cloud.up} == {"birth", "state"}
        assert [birth[3][9] for birth in cloud.of("birth")] == [FLAG_FRESH] * len(cloud.of("birth"))
        cloud.welcomes = True
        await device.until(lambda: cloud.usage and not device.agent.link.busy)
        assert list(cloud.usage) == [(1, 1)] and cloud.of("event")[0][:2] == [1, 1]
        assert device.agent.say(VOICE_RATING, 5) == (1, 1)
        cloud.least_boot = 99  # only births of a new flash are told
        device.agent.link.publish_birth()
        await device.until(lambda: cloud.of("birth")[-1][3][9] == 0)

    device = Device(cloud)
    await device.live(story)
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash
    again = Device(cloud, device.flash, device.appliance)

    async def second(device):
        await device.until(lambda: cloud.of("birth")[-1][0] == 2)
        assert cloud.of("birth")[-1][3][9] == 0

    await again.live(second)


async def test_an_erased_flash_rises_above_the_boots_that_the_cloud_knows():
    """EG-ENV-005, EG-ENV-006: when the cycle that runs is over. Its record has the new number, and so has what comes after."""
    cloud = Cloud()
    cloud.welcomes = False
    cloud.least_boot = 20
    cloud.usage = {(boot, 1): {4: 0} for boot in range(1, 20)}
    flash = FaultyFlash()
    known = dict(cloud.usage)

    async def offline(device):
        await device.run_cycle()

    for _ in range(3):
        await Device(cloud, flash).live(offline)

    async def story(device):
        await device.until(lambda: cloud.of("birth") and cloud.of("birth")[-1][0] == 4)
        await device.run_cycle()
        device.agent.start_programme(1)
        device.agent.events.note(3, 0)
        cloud.welcomes = True
        await device.until(lambda: device.agent.runner.state == 0)
        assert device.agent.boot_number == 4 and device.agent.ledger.fresh
        fed = device.watchdog.fed
        await device.until(lambda: not device.agent.ledger.fresh)
        assert device.watchdog.fed > fed
        await device.until(lambda: not device.agent.link.busy)
        assert cloud.of("birth")[-1][:2] == [24, 1] and cloud.of("birth")[-1][3][9] == 0
        assert {message[0] for kind, message, _, _ in cloud.up if kind in ("sync", "event", "rsp")} == {24}
        assert device.agent.cycle.last_usage == (24, 2)
        new = {key: body for key, body in cloud.usage.items() if key not in known}
        assert sorted(new) == [(21, 1), (22, 1), (23, 1), (24, 1), (24, 2)]
        assert [cloud.usage[key] for key in known] == list(known.values())

    device = Device(cloud, flash)
    await device.live(story)
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash

    async def after(device):
        await device.run_cycle()
        await device.until(lambda: (25, 1) in cloud.usage)

    await Device(cloud, flash).live(after)


async def test_a_flash_that_does_not_take_the_numbers_announces_nothing_until_it_does():
    """EG-ENV-006, EG-BIRTH-005"""
    cloud = Cloud()
    cloud.welcomes = False
    cloud.least_boot = 5
    device = Device(cloud)

    async def story(device):
        await device.until(lambda: cloud.of("birth"))
        await device.run_cycle()
        device.flash.fail = lambda count: True
        cloud.welcomes = True
        count = len(cloud.of("birth"))
        await device.until(lambda: len(cloud.of("birth")) > count + 3)
        assert not cloud.usage and not cloud.of("sync")
        device.flash.fail = None
        await device.until(lambda: cloud.usage)
        ((boot, seq),) = cloud.usage
        assert boot > 5 and seq == 1
        assert cloud.of("birth")[-1][0] == boot

    await device.live(story)
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash


def test_records_keep_their_times_and_order_and_are_one_chain():
    """EG-ENV-006, EG-CHAIN-001, EG-TIME-002"""
    flash = FaultyFlash()
    devicekey.provision(flash, KEY)
    for boot in (1, 3, 4):
        ledger = loaded(flash, segment_bytes=130)
        for number in range(3):
            run_cycle(ledger, boot, 10 * boot + number)
    ledger = loaded(flash, segment_bytes=130)
    assert ledger.lowest(5) == 1 and announce(ledger) == []
    assert ledger.adopt(70000)
    run_cycle(ledger, 70005, 50)
    envelopes = announce(ledger)
    found = [loads(envelope) for envelope in envelopes]
    boots = [70001] * 3 + [70003] * 3 + [70004] * 3 + [70005]
    assert [record[0] for record in found] == boots
    assert [record[1] for record in found] == [1, 2, 3] * 3 + [1]
    assert [record[2] for record in found] == [[1000 * record[3][4]] for record in found]
    assert [record[3][4] for record in found] == [10, 11, 12, 30, 31, 32, 40, 41, 42, 50]
    assert break_of(envelopes) is None
    again = loaded(FaultyFlash(flash.files), segment_bytes=130)
    assert announce(again) == envelopes and again.newest_boot == 70005


def test_a_boot_number_that_is_drawn_later_is_above_those_that_stand_for_others():
    """EG-ENV-001, EG-ENV-006: also on a flash without any record."""
    flash = FaultyFlash()
    assert loaded(flash).adopt(3_000_000_000)
    assert loaded(FaultyFlash(flash.files)).newest_boot == 3_000_000_000


def test_power_cut_at_every_operation_leaves_one_number_to_each_record():
    """EG-ENV-006, EG-ENV-003: sums of cycles, and the checkpoint of one that lost power, are called by it, too."""
    assert cut_everywhere(_rise) > 8


def _rise(mode, cut_at):
    """False: the operation was not reached."""
    before = FaultyFlash()
    ledger = loaded(before, **SIZES)
    for number in range(9):
        run_cycle(ledger, 2, number)
    assert ledger.merged_cycles > 1 and len(ledger.journal.segments) > 1
    flash = FaultyFlash(before.files, cut_at, mode)
    ledger = loaded(flash, **SIZES)
    cut = False
    try:
        ledger.adopt(9)
    except PowerCut:
        cut = True
    ledger = loaded(FaultyFlash(flash.files), **SIZES)
    if ledger.fresh:
        assert announce(ledger) == [] and ledger.number(2) == 2
        assert ledger.adopt(12)
    base = ledger.number(2) - 2
    assert base in (9, 12)
    assert ledger.append(ledger.number(2), 9, [8000], {0: 1, 2: 60, 4: 8, 5: 80}, 8)  # its checkpoint is still there
    records = {}
    for _ in range(4):
        ledger.settle()
        for envelope in announce(ledger):
            boot, seq, _, body = loads(envelope)
            records.setdefault((boot, seq), body)
        ledger.ack(2 + base, 0xFFFFFFFF)
    assert {boot for boot, _ in records} == {2 + base}
    assert sum([body.get(USAGE_MERGED, 1) for body in records.values()]) == 9, (mode, cut_at)
    assert sum([body[4] for body in records.values()]) == 36
    return cut


def test_an_envelope_under_another_number_is_the_same_but_for_it():
    envelope = [3, 7, [5], {0: 1, 2: 60}]
    for boot in (1, 23, 24, 255, 256, 65535, 65536, 0xFFFFFFFF):
        assert with_boot(dumps(envelope), boot) == dumps([boot] + envelope[1:])


def test_a_continuous_programme_goes_on_under_the_new_number_whenever_power_fails():
    """EG-ENV-006, EG-USE-003: the checkpoint names the old number or the new, and the record the new one."""
    assert cut_everywhere(_renumber_running) > 2


def _renumber_running(mode, cut_at):
    flash = FaultyFlash()
    cycle = running(flash)
    flash.cut(flash.ops + cut_at, mode)
    cut = False
    try:
        cycle._ledger.adopt(9)
        cycle.renumber(cycle._ledger.number(1))
        assert cycle.last_usage == (10, 1)
    except PowerCut:
        cut = True
    again = FaultyFlash(flash.files)
    ledger = loaded(again)
    guard = Guard(TinyAppliance())
    Cycle(Runner(guard), guard, ledger, again, Timebase(Clock(None, 0))).recover()
    if ledger.fresh:
        assert ledger.adopt(9)
    ((boot, seq, _, body),) = [loads(envelope) for envelope in announce(ledger)]
    assert (boot, seq, body[1]) == (10, 1, OUTCOME_POWER_LOST), (mode, cut_at)
    return cut


def running(flash):
    """A cycle of boot 1, on a new flash."""
    guard = Guard(TinyAppliance())
    ledger = loaded(flash)
    cycle = Cycle(Runner(guard), guard, ledger, flash, Timebase(Clock(None, 1000)))
    cycle.boot = 1
    cycle.tick(1000)
    cycle.start(1, 2000)
    return cycle


def test_a_flash_that_refuses_any_operation_of_the_rise_leaves_one_number_to_each_record():
    """EG-ENV-006: also when it says no and has done it; then the next welcome comes, or the next boot."""
    reached = 0
    for mode in MODES:
        for width in (1, 2, 100):
            for reboot in (False, True):
                at = 1
                while _refused(mode, at, width, reboot):
                    at += 1
                reached += at
    assert reached > 18 * 8


def _refused(mode, at, width, reboot):
    """`width` operations of `adopt` fail from number `at` on; False: there were fewer."""
    flash = FaultyFlash(mode=mode)
    ledger = loaded(flash, **SIZES)
    for number in range(9):
        run_cycle(ledger, 2, number)
    ledger = loaded(flash, **SIZES)
    first = flash.ops + at
    flash.fail = lambda count: first <= count < first + width
    base = 9 if ledger.adopt(9) else 0
    reached = flash.ops >= first
    flash.fail = None
    run_cycle(ledger, 2 + base, 9)
    if reboot:
        ledger = loaded(FaultyFlash(flash.files), **SIZES)
        base = ledger.number(2) - 2
    if ledger.fresh:
        assert announce(ledger) == [] and ledger.adopt(12)
        base = 12
    records = {}
    for _ in range(4):
        ledger.mend()
        for envelope in announce(ledger):
            boot, seq, _, body = loads(envelope)
            assert records.setdefault((boot, seq), body) == body
        ledger.ack(2 + base, 0xFFFFFFFF)
    assert {boot for boot, _ in records} == {2 + base}
    assert sum([body.get(USAGE_MERGED, 1) for body in records.values()]) == 10, (mode, at, width, reboot)
    assert sum([body[4] for body in records.values()]) == 45
    return reached


def test_a_record_of_another_firmware_blocks_nothing_and_stays_as_it_is():
    """EG-ENV-006, EG-USE-011: it is told as a bad place, by every boot that finds it."""
    strange = dumps(["another", 1, [5], {}])
    for key in (None, KEY):
        for place in range(4):
            flash = FaultyFlash()
            if key:
                devicekey.provision(flash, key)
            ledger = loaded(flash)
            for number in range(3):
                if number == place:
                    assert ledger.journal.append(strange)
                run_cycle(ledger, 2, number)
            if place == 3:
                assert ledger.journal.append(strange)
            ledger = loaded(flash)
            assert ledger.damage == (1, 0, 0) and ledger.pending == 3
            assert ledger.adopt(9)
            run_cycle(ledger, 11, 3)
            assert strange in bytes(flash.files["use.00000001"]) and ledger.damage == (1, 0, 0)
            for one in (ledger, loaded(FaultyFlash(flash.files))):
                envelopes = announce(one)
                assert [(record[0], record[3][4]) for record in [loads(envelope) for envelope in envelopes]] == [
                    (11, number) for number in range(4)
                ]
                assert not key or break_of(envelopes) is None
            assert one.ack(11, 4) == 4 and not one.pending


def test_what_a_newer_firmware_put_behind_a_body_stays_when_numbers_rise():
    """EG-ENV-006: an extension with a tag before it or without, and what may come behind that; all of it is one chain."""
    ext = {3: b"12345678", 40: [1, {2: "x"}]}
    for rest in ([ext], [ext, 5, b"8 bytes."], [ext, 1, 2, 3, 4, 5]):
        for key in (None, KEY):
            for tags in ([], [bytes(8)]):
                flash = FaultyFlash()
                if key:
                    devicekey.provision(flash, key)
                ledger = loaded(flash)
                run_cycle(ledger, 2, 0)
                assert ledger.journal.append(dumps([2, 2, [1000], {0: 1, 2: 60, 4: 1}] + tags + rest))
                ledger = loaded(flash)
                run_cycle(ledger, 2, 2)
                ledger = loaded(FaultyFlash(flash.files))
                assert ledger.damage == (0, 0, 0) and ledger.adopt(70000)
                run_cycle(ledger, 70002, 3)
                for one in (ledger, loaded(FaultyFlash(flash.files))):
                    records = [loads(envelope) for envelope in announce(one)]
                    assert [(record[:2], record[3][4]) for record in records] == [([70002, n + 1], n) for n in range(4)]
                    assert records[1][2] == [1000] and records[1][4 + bool(key) :] == rest, (rest, key, tags)
                    plain = [record[: 4 + bool(key)] for record in records]
                    assert not key or break_of([dumps(record) for record in plain]) is None


def test_a_record_that_would_get_too_long_loses_what_stands_behind_its_body():
    """EG-ENV-006"""
    body = {0: 1, 2: 60}
    for spare in (-1, 0):
        flash = FaultyFlash()
        devicekey.provision(flash, KEY)
        ledger = loaded(flash)
        ext = {3: bytes(RECORD_MAX - len(dumps([70002, 1, [5], body, bytes(8), {3: b""}])) - 2 - spare)}
        assert ledger.journal.append(dumps([2, 1, [5], body, ext]))
        ledger = loaded(flash)
        assert ledger.adopt(70000)
        (envelope,) = announce(ledger)
        assert loads(envelope)[:4] == [70002, 1, [5], body] and loads(envelope)[5:] == ([] if spare else [ext])
        assert break_of([dumps(loads(envelope)[:5])]) is None


def test_a_record_that_is_no_cbor_behind_its_number_is_damage_and_announced_by_nobody():
    """EG-USE-011, EG-ENV-006: it takes its number with it, and is told by every boot that comes across it."""
    for strange in (
        b"\x84\x02\x02\x81\x05\xa1\x00",
        b"\x85\x02\x02\x18\x63\xa0",
        b"\x84\x02\x02\x05\xa0\x00",
        b"\x86\x02\x02\x05\xa0\x48" + bytes(8),
    ):
        for key in (None, KEY):
            flash = FaultyFlash()
            if key:
                devicekey.provision(flash, key)
            ledger = loaded(flash)
            run_cycle(ledger, 2, 0)
            assert ledger.journal.append(strange)
            for base in (0, 70000):
                flash_now = FaultyFlash(dict(flash.files))
                ledger = loaded(flash_now)
                run_cycle(ledger, 2, 1)
                assert ledger.adopt(base)
                for one in (ledger, loaded(FaultyFlash(flash_now.files))):
                    envelopes = announce(one)
                    assert [loads(envelope)[:2] for envelope in envelopes] == [[base + 2, 1], [base + 2, 3]], (strange, key, base)
                    assert not key or break_of(envelopes) is None
                    assert one.damage == (1, 0, 0) and one.pending == 2
                assert one.ack(base + 2, 3) == 2 and not one.pending
                assert not [name for name in flash_now.files if name.startswith("use.0")]


async def test_a_new_flash_that_takes_nothing_is_told_and_telemetry_flows_all_the_same():
    """EG-ENV-007: until it takes it; no usage before."""
    cloud = Cloud()
    cloud.least_boot = 40
    flash = FaultyFlash(fail=lambda count: True)
    device = Device(cloud, flash, telemetry_signals=(1, 3), telemetry_s=1)

    async def story(device):
        await device.until(lambda: len(cloud.of("birth")) > 1)
        boot, _, _, birth = cloud.of("birth")[0]
        assert boot > 1 << 31 and birth[9] == FLAG_FRESH | FLAG_RANDOM_BOOT
        assert cloud.of("birth")[1][3][9] == FLAG_FRESH | FLAG_RANDOM_BOOT | FLAG_STORAGE
        await device.run_cycle()
        await device.until(lambda: cloud.of("tele"))
        assert {message[0] for message in cloud.of("tele")} == {boot}
        assert {kind for kind, _, _, _ in cloud.up} == {"birth", "state", "tele"}
        cloud.welcomes = False
        births = len(cloud.of("birth"))
        await device.until(lambda: len(cloud.of("birth")) > births)
        batches = len(cloud.of("tele"))
        await device.run_cycle()
        assert len(cloud.of("tele")) == batches  # only what a welcome has answered
        cloud.welcomes = True
        flash.fail = None
        await device.until(lambda: cloud.usage)
        assert list(cloud.usage) == [(boot, 1)] and cloud.usage[(boot, 1)][USAGE_MERGED] == 2
        device.agent.link.publish_birth()
        await device.until(lambda: cloud.of("birth")[-1][3][9] == FLAG_RANDOM_BOOT)

    await device.live(story)
    assert sum(device.agent.crashes.values()) == 0, device.agent.last_crash


async def test_a_number_that_the_cloud_may_know_is_used_for_nothing_not_even_telemetry():
    """EG-ENV-005, EG-ENV-007"""
    cloud = Cloud()
    cloud.least_boot = 0xFFFFFFF0
    device = Device(cloud, FaultyFlash(fail=lambda count: True), telemetry_signals=(1, 3), telemetry_s=1)

    async def story(device):
        await device.until(lambda: len(cloud.of("birth")) > 1)
        await device.run_cycle()
        await device.clock.sleep_ms(60_000)
        assert {kind for kind, _, _, _ in cloud.up} == {"birth", "state"}
        assert cloud.of("birth")[-1][3][9] == FLAG_FRESH | FLAG_RANDOM_BOOT | FLAG_STORAGE

    await device.live(story)
