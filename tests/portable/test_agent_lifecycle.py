"""Staged, on trial, confirmed or reverted, removed: evergrow_agent.lifecycle; transfers that go on, are cancelled or replaced."""

from evergrow_agent.features import Features
from evergrow_agent.lifecycle import HEALTHY_MS, HOUR_MS, MAX_BAD_CYCLES, MAX_BOOTS, MAX_HOURS
from evergrow_agent.records import MAX_FAILED_BOOTS
from evergrow_agent.transfer import WINDOW_BLOCKS
from evergrow_protocol.errors import BAD_DIGEST, BUSY, EXPIRED, INVALID_STATE, OK, REVERT, STALE, UNKNOWN_KIND, ProtocolError
from faultyflash import FaultyFlash
from installkit import PUBLISHER, Reported, World, programme, signed, unlock

HEAP = "512K"

STAGED, TRIAL, CONFIRMED, REVERTED, REFUSED, REMOVED = 2, 3, 4, 5, 6, 7
LARGE = programme(
    1001, rinses=30, more={80: b"r" * 2000, 81: b"s" * 2000, 82: b"t" * 900}
)  # more than is begun anew after a power cut


async def with_version(sequence, more=None):
    """The flash of a device with that version of 1001 confirmed."""
    world = World()
    assert (await world.offer(signed(unlock(more=more), sequence=sequence), sequence))[1] == OK
    return world.flash


async def on_trial(flash=None, sequence=2, more=None):
    """A world whose version of that sequence is on trial, and whose cloud does not answer."""
    world = World(flash)
    world.welcomes = False
    await offer_until(world, signed(unlock(maximum=1300, more=more), sequence=sequence), sequence, TRIAL)
    return world


async def offer_until(world, payloads, transfer, state):
    """Offer, and run until a passing state is reported."""
    world.payloads[transfer] = payloads
    world.installer.on_offer(transfer, len(payloads[0]))
    await until(world, lambda: [report for report in world.passing if report[0] == transfer and report[2] == state])


async def until(world, condition):
    world.stop_when = condition
    try:
        await world.run(1 << 30)
    except Reported:
        pass
    world.stop_when = None


def states(world, transfer):
    """The states that were reported of a transfer, in order."""
    return [report[2] for report in world.said if report[0] == transfer]


def boot(world, **more):
    """The device of `world` after its next start."""
    return World(FaultyFlash(world.flash.files), **more)


async def test_a_feature_without_a_trial_is_confirmed_as_soon_as_the_cloud_was_reached_with_it():
    """EG-FEAT-019"""
    world = World()
    world.welcomes = False
    await offer_until(world, signed(unlock()), 1, TRIAL)
    world.lifecycle.on_welcome()
    assert world.features.active() == [(PUBLISHER, 1001, 1)]
    assert world.births == 2, "EG-FEAT-018: at the connect, and when the feature became active"
    await world.run()
    assert states(world, 1) == [TRIAL, CONFIRMED]


async def test_an_answer_to_a_birth_that_did_not_list_it_confirms_nothing():
    """EG-FEAT-019"""
    world = World()
    world.welcomes = False
    world.lifecycle.changed = lambda: None  # birth is late
    await offer_until(world, signed(unlock()), 1, TRIAL)
    world.lifecycle.on_welcome()
    world.lifecycle.step()
    assert states(world, 1) == [TRIAL] and world.features.records[0].state == TRIAL
    world.lifecycle.on_birth()
    world.lifecycle.on_welcome()
    world.lifecycle.step()
    assert world.features.records[0].state == CONFIRMED


async def test_a_trial_takes_the_seconds_and_cycles_that_its_body_asks_for():
    """EG-FEAT-019"""
    world = await on_trial(await with_version(1), 2, {8: [300, 2]})
    world.birth()
    world.lifecycle.on_welcome()
    began_ms = world.clock.now_ms
    world.lifecycle.on_cycle([(PUBLISHER, 1001)], False)
    world.clock.now_ms = began_ms + 400_000
    world.lifecycle.step()
    assert record(world, 2).state == TRIAL, "one cycle is missing"
    again = boot(world)  # cycles are counted across boots, seconds are not
    again.lifecycle.on_cycle([(PUBLISHER, 1001), (PUBLISHER, 1002)], False)
    again.lifecycle.on_cycle([(PUBLISHER, 1002)], True)
    again.birth()
    again.clock.now_ms = 299_000
    again.lifecycle.step()
    assert record(again, 2).state == TRIAL
    again.clock.now_ms = 300_000
    again.lifecycle.step()
    assert record(again, 2).state == CONFIRMED
    assert len([r for r in again.features.records if r.file]) == 1, "the version before is given up"
    assert sorted(again.flash.files) == ["feature.1", "features"] or sorted(again.flash.files) == ["feature.0", "features"]


def record(world, sequence):
    return next(r for r in world.features.records if r.sequence == sequence)


async def test_a_crash_loop_reverts_to_the_version_before_and_says_why():
    """EG-FEAT-024: so many starts, each too short"""
    world = await on_trial(await with_version(1))
    for _ in range(MAX_BOOTS):
        world = boot(world)
        assert world.features.active() == [(PUBLISHER, 1001, 2)]
    world = boot(world)
    assert world.features.active() == [(PUBLISHER, 1001, 1)]
    report = await world.run()
    assert (report[0], report[1], report[2], report[3]) == (2, REVERT, REVERTED, [PUBLISHER, 1001, 2])
    assert "3 starts" in report[9]
    assert boot(world).features.active() == [(PUBLISHER, 1001, 1)]
    assert "trial" not in world.flash.files


async def test_a_crash_loop_without_a_version_before_leaves_the_basic_appliance():
    """EG-FEAT-024"""
    world = await on_trial()
    for _ in range(MAX_BOOTS + 1):
        world = boot(world)
    assert world.features.active() == [] and world.features.unlocks() == []
    assert world.features.sequence(PUBLISHER, world.features.records[0].component) == 2, "EG-FEAT-005: still owed"


async def test_starts_that_go_well_for_a_while_are_no_crash_loop():
    """EG-FEAT-024: somebody who pulls the plug after every wash loses no feature"""
    world = await on_trial(await with_version(1))
    for _ in range(4 * MAX_BOOTS):
        world = boot(world)
        world.clock.now_ms = HEALTHY_MS
        world.lifecycle.step()
    assert world.features.active() == [(PUBLISHER, 1001, 2)]


async def test_a_trial_that_never_reaches_the_cloud_is_reverted_after_a_day():
    """EG-FEAT-027: to the version before, at a safe point."""
    world = await on_trial(await with_version(1))
    world.clock.now_ms += HEALTHY_MS
    for hour in range(MAX_HOURS):
        world.lifecycle.step()
        world.lifecycle.step()
        assert world.features.active() == [(PUBLISHER, 1001, 2)], hour
        world.clock.now_ms += HOUR_MS
    world.busy = 3
    world.lifecycle.step()
    assert world.features.active() == [(PUBLISHER, 1001, 2)], "a cycle runs"
    world.busy = 0
    world.lifecycle.step()
    assert world.features.active() == [(PUBLISHER, 1001, 1)]
    await world.run()
    assert (world.reports[-1][1], world.reports[-1][2], world.reports[-1][9]) == (REVERT, REVERTED, "24 hours without the cloud")


async def test_hours_without_the_cloud_are_counted_over_all_boots_until_it_answers():
    """EG-FEAT-027: an appliance that is switched off after each use is no exception."""
    world = await on_trial(await with_version(1))
    for _ in range(MAX_HOURS - 1):
        world = boot(world)
        world.clock.now_ms += HEALTHY_MS
        world.lifecycle.step()
        assert world.features.active() == [(PUBLISHER, 1001, 2)]
    last = boot(world)
    last.clock.now_ms += HEALTHY_MS
    last.lifecycle.step()
    last = boot(last)
    last.clock.now_ms += HEALTHY_MS
    last.lifecycle.step()
    assert last.features.active() == [(PUBLISHER, 1001, 1)]
    reached = boot(await on_trial(await with_version(1), more={8: [0, 3]}))
    for _ in range(MAX_HOURS + 1):
        reached.clock.now_ms += HEALTHY_MS
        reached.lifecycle.step()
        reached.birth()
        reached.lifecycle.step()
        reached = boot(reached)
    assert reached.features.active() == [(PUBLISHER, 1001, 2)]
    assert [record.hours for record in reached.features.in_state(TRIAL)] == [0]


async def test_cycles_that_end_in_faults_revert_at_a_safe_point_only():
    """EG-FEAT-024, EG-FEAT-018"""
    world = await on_trial(await with_version(1), 2, {8: [0, 1]})
    for _ in range(MAX_BAD_CYCLES):
        world.lifecycle.on_cycle([(PUBLISHER, 1001)], True)
    world.busy = 1
    world.lifecycle.step()
    assert world.features.active() == [(PUBLISHER, 1001, 2)]
    world.lifecycle.step()
    assert world.features.active() == [(PUBLISHER, 1001, 1)]
    report = await world.run()
    assert (report[1], report[2]) == (REVERT, REVERTED) and "fault" in report[9]


async def test_a_reverted_transfer_that_is_offered_again_is_not_tried_again():
    """EG-FEAT-025"""
    world = await on_trial(await with_version(1))
    world.lifecycle.fail(PUBLISHER, 1001, "it raised 3 errors")
    world.online = False
    world.lifecycle.step()
    world = boot(world)
    report = await world.offer(signed(unlock(maximum=1300), sequence=2), 2)
    assert (report[0], report[1], report[2], report[9]) == (2, REVERT, REVERTED, "it raised 3 errors")
    await world.run() if world.awaited else None
    assert world.requests == []
    assert world.features.active() == [(PUBLISHER, 1001, 1)]


async def test_a_transfer_on_trial_whose_feature_is_about_to_leave_is_not_called_confirmed():
    """EG-FEAT-025, EG-FEAT-022: offered again until then it is on trial; once the feature has left it was reverted."""
    world = await on_trial(await with_version(1))
    world.busy = 99
    assert world.lifecycle.remove(PUBLISHER, 1001)
    asked = len(world.requests)
    world.passing.clear()
    await offer_until(world, signed(unlock(maximum=1300), sequence=2), 2, TRIAL)
    assert world.reports == [] and len(world.requests) == asked
    world.busy = 0
    await world.run(2)
    assert [(r[0], r[2]) for r in world.reports] == [(0, REMOVED), (2, REVERTED)]


async def test_a_report_that_cannot_be_sent_is_repeated_with_the_next_link_and_after_a_boot():
    """EG-FEAT-025"""
    world = await on_trial(await with_version(1))
    world.lifecycle.fail(PUBLISHER, 1001, "why")
    world.online = False
    world.lifecycle.step()
    assert not await world.installer._told.flush()
    after = boot(world)
    report = await after.run()
    assert (report[0], report[2], report[9]) == (2, REVERTED, "why")
    last = boot(after)
    assert await last._flush() and last.said == [], "what was told is not told again"


async def test_a_version_on_trial_whose_body_decays_is_reverted():
    """EG-FEAT-024"""
    world = await on_trial(await with_version(1))
    files = dict(world.flash.files)
    files[record(world, 2).file] = b"rot"
    world = World(FaultyFlash(files))
    assert world.features.active() == [(PUBLISHER, 1001, 1)]
    await world.run(2)
    assert [(r[0], r[1], r[2]) for r in world.reports] == [(0, BAD_DIGEST, REVERTED), (2, BAD_DIGEST, REVERTED)]


async def test_consent_is_waited_for_and_survives_a_power_cut():
    """EG-FEAT-020"""
    world = World()
    await offer_until(world, signed(unlock(more={9: 1})), 1, STAGED)
    assert world.features.active() == []
    assert not world.lifecycle.consent(PUBLISHER, 1002, True)
    world.busy = 1 << 30  # agreed, but a cycle runs until power goes
    assert world.lifecycle.consent(PUBLISHER, 1001, True)
    world = boot(world)
    await world.run()
    assert states(world, 1) == [TRIAL, CONFIRMED]
    assert not world.lifecycle.consent(PUBLISHER, 1001, True), "nothing waits any more"


async def test_who_declines_gets_no_feature():
    """EG-FEAT-020"""
    world = World()
    await offer_until(world, signed(unlock(more={9: 1})), 1, STAGED)
    assert world.lifecycle.consent(PUBLISHER, 1001, False)
    report = await world.run()
    assert (report[0], report[1], report[2]) == (1, INVALID_STATE, REFUSED)
    assert [name for name in world.flash.files if name.startswith("feature.")] == []


async def test_quiet_hours_are_waited_for():
    """EG-FEAT-021"""
    for quiet, minute, now in (
        ((60, 300), 59, False),
        ((60, 300), 60, True),
        ((1380, 240), 1439, True),
        ((1380, 240), 240, False),
    ):
        world = World(quiet=quiet)
        await offer_until(world, signed(unlock(more={9: 2})), 1, STAGED)  # the time is not known
        world.minute = minute
        world.lifecycle.step()
        assert bool(world.features.active()) == now, (quiet, minute)
    world = World()
    assert (await world.offer(signed(unlock(more={9: 2}))))[2] == CONFIRMED, "no quiet hours: any time will do"


async def test_a_newer_staged_version_takes_the_place_of_an_older_one():
    """EG-FEAT-017"""
    world = World()
    await offer_until(world, signed(unlock(more={9: 1})), 1, STAGED)
    await offer_until(world, signed(unlock(version="2", more={9: 1}), sequence=2), 2, STAGED)
    assert [(r[0], r[1], r[2]) for r in world.reports] == [(1, STALE, REFUSED)]
    assert world.lifecycle.consent(PUBLISHER, 1001, True)
    await world.run()
    assert world.features.active() == [(PUBLISHER, 1001, 2)]
    assert sorted(states(world, 2)) == [STAGED, TRIAL, CONFIRMED]


async def test_a_newer_version_replaces_one_on_trial_and_falls_back_behind_it():
    """EG-FEAT-017, EG-FEAT-024"""
    world = await on_trial(await with_version(1))
    await offer_until(world, signed(unlock(maximum=1350), sequence=3), 3, TRIAL)
    assert [(r[0], r[1], r[2]) for r in world.reports] == [(2, STALE, REVERTED)]
    world.lifecycle.fail(PUBLISHER, 1001, "why")
    world.lifecycle.step()
    assert world.features.active() == [(PUBLISHER, 1001, 1)]


async def test_while_a_version_waits_other_offers_are_handled():
    """EG-FEAT-017"""
    world = World()
    await offer_until(world, signed(unlock(more={9: 1})), 1, STAGED)
    assert (await world.offer(signed(programme(), name=b"rinse"), 2))[2] == CONFIRMED


async def test_a_transfer_is_cancelled_while_it_is_pulled_while_it_waits_and_before():
    """EG-FEAT-023"""
    world = World()

    def cancelling(world, *request):
        world.installer.on_cancel(1)

    serve, world.answer = world.answer, cancelling
    report = await world.offer(signed(unlock()))
    assert (report[0], report[1], report[2], report[9]) == (1, EXPIRED, REFUSED, "cancelled")
    assert world.flash.files == {}
    world.answer = serve
    await offer_until(world, signed(unlock(more={9: 1})), 2, STAGED)
    world.installer.on_cancel(2)
    report = await world.run()
    assert (report[0], report[1], report[2]) == (2, EXPIRED, REFUSED)
    world.installer.on_offer(3, 3000)
    world.installer.on_cancel(3)
    report = await world.run()
    assert (report[0], report[1], report[2]) == (3, EXPIRED, REFUSED)
    world.installer.on_cancel(4)
    report = await world.run()
    assert (report[0], report[1], report[2]) == (4, EXPIRED, REFUSED), "known or not: the cloud learns that it is over"


async def test_what_is_active_is_not_cancelled():
    """EG-FEAT-023"""
    world = World()
    await world.offer(signed(unlock()))
    world.installer.on_cancel(1)
    report = await world.run()
    assert (report[0], report[1], report[2]) == (1, OK, CONFIRMED)
    assert world.features.active() == [(PUBLISHER, 1001, 1)]


async def test_a_removal_waits_for_a_safe_point_and_survives_a_power_cut():
    """EG-FEAT-022"""
    world = World(await with_version(1))
    world.busy = 1
    assert world.lifecycle.remove(PUBLISHER, 1001)
    assert not world.lifecycle.remove(PUBLISHER, 1002)
    assert world.features.active() == [(PUBLISHER, 1001, 1)], "a cycle runs with it"
    world = boot(world)
    world.lifecycle.step()
    assert world.features.active() == []
    report = await world.run()
    assert (report[0], report[1], report[2], report[3]) == (0, OK, REMOVED, [PUBLISHER, 1001, 1])
    assert (await world.offer(signed(unlock(), sequence=1), 9))[2] == CONFIRMED


async def test_removing_what_is_on_trial_ends_its_transfer_too():
    """EG-FEAT-022"""
    world = await on_trial(await with_version(1))
    assert world.lifecycle.remove(PUBLISHER, 1001)
    await world.run(2)
    assert [(r[0], r[2]) for r in world.reports] == [(0, REMOVED), (2, REVERTED)]
    assert world.features.active() == []


async def test_an_offer_of_other_content_goes_to_its_handler():
    """EG-FEAT-026"""
    world = World()
    taken = []

    def take(data):
        yield 1
        taken.append(bytes(data))

    def refuse(data):
        yield 1
        raise ProtocolError(STALE, "older than what is here")

    world.installer.handlers[1] = take
    world.installer.handlers[2] = refuse
    world.payloads = {1: [b"g" * 700], 2: [b"r" * 90], 3: [b"?" * 9]}
    for content in (1, 2, 3):
        world.installer.on_offer(content, len(world.payloads[content][0]), content)
    await world.run(3)
    assert taken == [b"g" * 700]
    assert [(r[0], r[1], r[2]) for r in world.reports] == [
        (1, OK, CONFIRMED),
        (2, STALE, REFUSED),
        (3, UNKNOWN_KIND, REFUSED),
    ]


async def test_after_a_power_cut_only_what_is_missing_is_asked_for():
    """EG-FEAT-016"""
    payloads = signed(LARGE)
    world = World(answer=serve_up_to(60))
    await until_silent(world, payloads)
    stored = world.flash.size("feature.0")
    assert stored >= 4096 // 64 * 32
    after = boot(world)
    report = await after.offer(payloads)
    assert (report[1], report[2]) == (OK, CONFIRMED)
    assert {request[1] for request in after.requests} == {1}, "the envelope is on the flash"
    assert min([request[3] for request in after.requests]) == stored // 64
    assert report[4] == len(LARGE) - stored
    assert sorted(after.flash.files) == ["feature.0", "features"]


async def test_another_transfer_begins_anew():
    """EG-FEAT-016"""
    payloads = signed(LARGE)
    world = World(answer=serve_up_to(60))
    await until_silent(world, payloads)
    after = boot(world)
    report = await after.offer(payloads, 2)
    assert report[2] == CONFIRMED and report[4] == len(payloads[0]) + len(payloads[1])
    assert sorted(after.flash.files) == ["feature.0", "features"] or sorted(after.flash.files) == ["feature.1", "features"]


async def test_progress_that_decayed_is_pulled_again_and_costs_nobody_a_feature():
    """EG-FEAT-016"""
    payloads = signed(LARGE)
    for spoilt in ("feature.0", "pull", "pull.env"):
        world = World(answer=serve_up_to(60))
        await until_silent(world, payloads)
        files = world.flash.files
        files[spoilt] = bytes((files[spoilt][0] ^ 1,)) + files[spoilt][1:]
        report = await World(FaultyFlash(files)).offer(payloads)
        assert (report[1], report[2]) == (OK, CONFIRMED), spoilt


def serve_up_to(blocks):
    """A cloud that serves so many blocks of payload 1, and then the link is gone."""

    def answer(world, transfer, payload, block_bytes, first, wanted):
        if payload and first >= blocks:
            world.online = False
            raise Reported
        world.serve(transfer, payload, block_bytes, first, wanted)

    return answer


async def until_silent(world, payloads):
    world.payloads[1] = payloads
    world.installer.on_offer(1, len(payloads[0]))
    try:
        await world.run()
    except Reported:
        pass


async def test_a_transfer_is_not_faster_than_its_rate():
    world = World(rate=100)
    payloads = signed(unlock())
    await world.offer(payloads)
    assert world.clock.now_ms >= 1000 * (len(payloads[0]) - WINDOW_BLOCKS * 64) // 100


async def test_a_staged_version_that_decays_may_be_offered_again():
    """EG-FEAT-015: code 7"""
    world = World()
    await offer_until(world, signed(unlock(more={9: 1})), 1, STAGED)
    files = world.flash.files
    files["feature.0"] = b"rot"
    world = World(FaultyFlash(files))
    report = await world.run()
    assert (report[0], report[1], report[2]) == (1, BUSY, REFUSED)
    await offer_until(world, signed(unlock(more={9: 1})), 1, STAGED)


async def test_a_confirmed_one_that_fails_in_three_boots_is_out_of_use_for_good_and_tells_each_time():
    """EG-CODE-009"""
    world = boot(World(await with_version(1)))
    for count in range(1, MAX_FAILED_BOOTS + 1):
        assert world.features.active() == [(PUBLISHER, 1001, 1)]
        assert world.lifecycle.fail(PUBLISHER, 1001, f"failure {count}")
        assert not world.lifecycle.fail(PUBLISHER, 1001, "once is enough"), "in one boot it counts once"
        assert world.features.active() == [] and world.lifecycle.busy
        report = await world.run()
        assert (report[0], report[1], report[2], report[3]) == (0, REVERT, REVERTED, [PUBLISHER, 1001, 1])
        assert report[9] == f"failure {count}"
        world = boot(world)
    assert world.features.active() == []
    world = boot(world)
    assert world.features.active() == [] and await world._flush() and world.said == [], "told once"


async def test_what_is_out_of_use_comes_back_with_the_same_version_or_a_newer_one_and_goes_when_it_is_removed():
    """EG-CODE-009"""
    for sequence in (1, 2):
        world = await out_of_use()
        report = await world.offer(signed(unlock(maximum=1300), sequence=sequence), 10 + sequence)
        assert (report[1], report[2]) == (OK, CONFIRMED)
        assert world.features.active() == [(PUBLISHER, 1001, sequence)]
        assert boot(world).features.active() == [(PUBLISHER, 1001, sequence)], "and its failures count anew"
    world = await out_of_use()
    assert world.lifecycle.remove(PUBLISHER, 1001)
    assert [record.state for record in boot(world).features.records] == [REMOVED]


async def test_one_out_of_use_stays_so_when_the_version_after_it_is_reverted():
    """EG-CODE-009, EG-FEAT-024"""
    world = await on_trial((await out_of_use()).flash)
    assert world.features.active() == [(PUBLISHER, 1001, 2)]
    world.lifecycle.fail(PUBLISHER, 1001, "it raises, too")
    await world.run()
    assert world.features.active() == [] and boot(world).features.active() == []


async def test_bad_cycles_of_a_trial_do_not_count_as_failed_boots():
    """EG-CODE-009, EG-FEAT-024"""
    world = await on_trial(await with_version(1), 2, {8: [0, 1]})
    for _ in range(MAX_BAD_CYCLES - 1):
        world.lifecycle.on_cycle([(PUBLISHER, 1001)], True)
    world.lifecycle.on_cycle([(PUBLISHER, 1001)], False)
    world.lifecycle.on_welcome()
    world.lifecycle.step()
    (record,) = world.features.records
    assert (record.state, record.bad) == (CONFIRMED, 0)


async def test_a_flash_that_refuses_the_count_is_asked_again():
    """EG-CODE-009"""
    world = boot(World(await with_version(1)))
    world.lifecycle.fail(PUBLISHER, 1001, "why")
    world.flash.fail = lambda n: True
    world.lifecycle.step()
    world.flash.fail = lambda n: False
    assert Features(FaultyFlash(world.flash.files)).records[0].bad == 0 and world.lifecycle.busy
    world.clock.now_ms += 60_000
    world.lifecycle.step()
    assert Features(FaultyFlash(world.flash.files)).records[0].bad == 1 and not world.lifecycle.busy


async def out_of_use():
    """A device whose version 1 failed in too many boots."""
    world = boot(World(await with_version(1)))
    for _ in range(MAX_FAILED_BOOTS):
        world.lifecycle.fail(PUBLISHER, 1001, "it raised")
        await world.run()
        world = boot(world)
    assert world.features.active() == []
    return world
