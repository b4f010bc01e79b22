"""Removal by a manifest, and what manifests depend on: evergrow_agent.staging, .parts, .features."""

from bundlekit import FITS, around, named, whole
from evergrow_agent.features import Features
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BAD_DIGEST, MALFORMED, NOT_AUTHORISED, OK, OUT_OF_RANGE, STALE, TOO_LARGE, ProtocolError
from evergrow_sim import lfs
from evergrow_sim.publisher import manifest
from faultyflash import MODES, FaultyFlash, PowerCut
from installkit import CLASS, PUBLISHER, World, digest_of, programme, signed, signer, unlock
from lfskit import booted
from support import raises

HEAP = "1M"

STAGED, TRIAL, CONFIRMED, REVERTED, REFUSED, REMOVED = 2, 3, 4, 5, 6, 7
SPIN = (b"acme", b"spin")
MAKER = 1


def removal(sequence, components=(SPIN,), commands=(12, True, 33, 15), shared=FITS, by=None):
    """-> [envelope] of a manifest that removes."""
    return [(by or signer()).envelope(manifest([12, True] + shared, {24: list(commands)}, components, sequence))]


def maker():
    return signer("maker", b"maker", MAKER)


def both():
    return [signer().key, maker().key]


async def outcome(world, payloads, transfer):
    report = await world.offer(payloads, transfer)
    while report[0] != transfer:  # of what a person removed
        report = await world.run()
    return report[1], report[2]


async def with_spin(sequence=5, **more):
    world = World(**more)
    assert await outcome(world, signed(unlock(), sequence=sequence), 1) == (OK, CONFIRMED)
    return world


async def with_waiting_removal():
    """The removal of what is there is transfer 2, and no safe point comes."""
    world = await with_spin()
    world.busy = 1 << 30
    world.payloads[2] = removal(6)
    world.installer.on_offer(2, len(world.payloads[2][0]))
    world.stop_when = lambda: [1 for report in world.passing if report[0] == 2]
    await world.run(9)
    return world


def files(world):
    return sorted([name for name in world.flash.names() if name.startswith("feature.")])


# -- removal


async def test_a_removal_takes_the_feature_out_and_says_so():
    """EG-SUIT-005"""
    world = await with_spin()
    assert await outcome(world, removal(6), 2) == (OK, REMOVED)
    assert [report[0] for report in world.reports] == [1, 2], "once"
    assert world.reports[-1][3] == [PUBLISHER, 1001, 6] and world.reports[-1][4] > 0
    assert world.features.active() == [] and files(world) == []
    assert world.births == 3, "another set of features is active"


async def test_a_removal_that_is_offered_again_changes_nothing():
    """EG-SUIT-005: also when nobody remembers the transfer any more."""
    world = await with_spin()
    for transfer in (2, 2, 3):
        assert await outcome(world, removal(6), transfer) == (OK, REMOVED)
    index = world.flash.files["features"]
    for transfer in (4, 5):
        assert await outcome(World(FaultyFlash(world.flash.files)), removal(6), transfer) == (OK, REMOVED)
    assert world.flash.files["features"] == index


async def test_what_was_removed_does_not_come_back_with_an_older_sequence():
    """EG-SUIT-005, EG-FEAT-005"""
    world = await with_spin(5)
    assert await outcome(world, removal(7), 2) == (OK, REMOVED)
    world = World(FaultyFlash(world.flash.files))
    for sequence in (5, 6):
        assert await outcome(world, signed(unlock(), sequence=sequence), 10 + sequence) == (STALE, REFUSED)
    assert await outcome(world, removal(6), 3) == (STALE, REFUSED)
    assert await outcome(world, signed(unlock(), sequence=8), 4) == (OK, CONFIRMED)


async def test_a_removal_is_newer_than_what_it_removes():
    """EG-SUIT-005"""
    world = await with_spin(5)
    for sequence in (4, 5):
        assert await outcome(world, removal(sequence), 10 + sequence) == (STALE, REFUSED)
    assert world.features.active() == [(PUBLISHER, 1001, 5)]


async def test_the_removal_of_what_was_removed_by_a_person_is_remembered():
    """EG-SUIT-005: an offer that was overtaken by it stays out."""
    world = await with_spin(5)
    assert world.lifecycle.remove(PUBLISHER, 1001)
    assert await outcome(world, removal(7), 2) == (OK, REMOVED)
    assert await outcome(world, signed(unlock(), sequence=6), 3) == (STALE, REFUSED)


async def test_the_removal_of_what_never_was_there_is_done():
    """EG-SUIT-005"""
    world = World()
    assert await outcome(world, removal(6), 2) == (OK, REMOVED)
    assert not world.features.records


async def test_a_removal_waits_for_a_safe_point_and_survives_a_power_cut():
    """EG-FEAT-018, EG-SUIT-005"""
    world = await with_waiting_removal()
    assert world.passing[-1][2] == STAGED and world.features.active() == [(PUBLISHER, 1001, 5)]
    world = World(FaultyFlash(world.flash.files))
    assert world.features.active() == [(PUBLISHER, 1001, 5)]
    await world.run()
    assert (world.reports[-1][0], world.reports[-1][2]) == (2, REMOVED)
    assert world.features.active() == [] and files(world) == []


async def test_a_removal_that_waits_is_cancelled():
    """EG-FEAT-023"""
    world = await with_waiting_removal()
    world.installer.on_cancel(2)
    world.busy = 0
    world.stop_when = None
    await world.run()
    assert (world.reports[-1][0], world.reports[-1][2]) == (2, REFUSED)
    assert World(FaultyFlash(world.flash.files)).features.active() == [(PUBLISHER, 1001, 5)]


async def test_only_the_publisher_removes_and_only_from_this_hardware():
    """EG-FEAT-003, EG-FEAT-006"""
    world = await with_spin(keys=both())
    assert await outcome(world, removal(6, by=maker()), 2) == (NOT_AUTHORISED, REFUSED)
    stranger = [20, {1: CLASS, 2: CLASS}, 1, 15, 2, 15]
    assert await outcome(world, removal(6, shared=stranger), 3) == (OUT_OF_RANGE, REFUSED)
    assert await outcome(world, removal(6, shared=[]), 4) == (OUT_OF_RANGE, REFUSED)
    assert world.features.active() == [(PUBLISHER, 1001, 5)]


async def test_a_removal_that_leaves_a_component_is_refused():
    """EG-SUIT-005"""
    world = await with_spin()
    assert await outcome(world, removal(6, (SPIN, (b"acme", b"rinse")), (12, 0, 33, 15)), 2) == (MALFORMED, REFUSED)
    assert world.features.active() == [(PUBLISHER, 1001, 5)]


async def test_power_cuts_leave_the_feature_or_its_removal():
    """EG-FEAT-007, EG-SUIT-005"""
    prepared = (await with_spin()).flash.files
    cuts = 0
    for mode in MODES:
        at = 0
        done = False
        while not done:
            at += 1
            flash = FaultyFlash(dict(prepared), at, mode)
            try:
                assert await outcome(World(flash), removal(6), 2) == (OK, REMOVED)
                done = True
            except PowerCut:
                cuts += 1
            features = Features(FaultyFlash(flash.files))
            assert features.active() in ([(PUBLISHER, 1001, 5)], []) and not features.problems
            again = dict(flash.files)
            Features(FaultyFlash(flash.files))
            assert flash.files == again, "a second boot changes nothing"
            world = World(FaultyFlash(flash.files))
            assert await outcome(world, removal(6), 2) == (OK, REMOVED)
            assert world.features.active() == [] and sorted(world.flash.names()) == ["features"]
    assert cuts >= 6


# -- dependencies


BASE = (b"maker", b"base")


def base(sequence=1, version="1.2", component=BASE):
    """-> an envelope: a feature of the maker."""
    return whole(maker(), component, programme(1100, 1100, more={3: version}), sequence)


def bundle(needed, digest=None):
    """-> [envelope]: ours, and inside it the maker's, on which it depends."""
    return [around(signer(), SPIN, unlock(), needed, BASE, 1, digest)]


def requiring(least, sequence=1):
    """-> [envelope, payload 1]: ours, which needs the maker's in a version of at least `least`."""
    body = unlock()
    common = {1: {1: {1: BASE}}, 2: [SPIN]}
    ours = [20, {3: digest_of(body), 14: len(body), 21: "evergrow:1"}]
    common[4] = dumps(FITS + ours + [12, 1, 20, {28: dumps([2, least])}, 28, 15])
    encoded = manifest(None, {20: [12, 0, 21, 2, 3, 15], 7: [12, 0, 3, 15]}, sequence=sequence, members={3: dumps(common)})
    return [signer().envelope(encoded), body]


async def test_a_dependency_inside_the_envelope_is_installed_with_what_needs_it():
    """EG-SUIT-004: each under its own publisher's name and number, together."""
    world = World(keys=both())
    assert await outcome(world, bundle(base(3)), 2) == (OK, CONFIRMED)
    assert sorted(world.features.active()) == [(MAKER, 1100, 3), (PUBLISHER, 1001, 1)]
    assert sorted(World(FaultyFlash(world.flash.files), keys=both()).features.active()) == sorted(world.features.active())


async def test_a_dependency_that_is_here_already_is_left_alone_also_in_a_later_version():
    """EG-SUIT-004"""
    for here in (3, 4):
        world = World(keys=both())
        assert await outcome(world, [base(here, "2.0" if here == 4 else "1.2")], 1) == (OK, CONFIRMED)
        assert await outcome(world, bundle(base(3)), 2) == (OK, CONFIRMED)
        assert sorted(world.features.active()) == [(MAKER, 1100, here), (PUBLISHER, 1001, 1)]


async def test_a_dependency_is_held_to_its_own_publisher():
    """EG-SUIT-004: signed by nobody who is trusted, or of another prefix, the whole is refused and nothing is left."""
    for world, needed, code in (
        (World(), base(), NOT_AUTHORISED),
        (World(keys=both()), base(component=(b"acme", b"base")), NOT_AUTHORISED),
        (World(keys=both()), base()[:-1] + b"\0", NOT_AUTHORISED),
    ):
        found = await outcome(world, bundle(needed, digest=named(base())), 2)
        assert found[1] == REFUSED and found[0] in (code, BAD_DIGEST), found
        assert sorted(world.flash.names()) == []


async def test_manifests_within_manifests_without_end_are_refused():
    """EG-SUIT-002, EG-SUIT-004"""
    needed, component = base(), BASE
    for number in range(6):
        inner = component
        component = (b"maker", bytes((number,)))
        needed = around(maker(), component, programme(1200 + number, 1200 + number), needed, inner)
        world = World(keys=both())
        found = await outcome(world, [needed], 1)
        if found != (OK, CONFIRMED):
            break
        assert len(world.features.active()) == number + 2
    assert found == (TOO_LARGE, REFUSED) and world.features.active() == [] and sorted(world.flash.names()) == []
    assert 0 < number < 4


async def test_another_dependency_than_the_named_one_is_refused():
    """EG-SUIT-004"""
    world = World(keys=both())
    assert await outcome(world, bundle(base(2), digest=named(base(1))), 2) == (BAD_DIGEST, REFUSED)
    assert sorted(world.flash.names()) == []


async def test_a_version_of_another_feature_can_be_required():
    """EG-SUIT-009"""
    world = World(keys=both())
    assert await outcome(world, requiring([1, 2]), 1) == (STALE, REFUSED)
    assert await outcome(world, [base()], 2) == (OK, CONFIRMED)
    assert await outcome(world, requiring([1, 3]), 3) == (STALE, REFUSED)
    assert await outcome(world, requiring([1, 2]), 4) == (OK, CONFIRMED)


async def test_what_another_feature_needs_is_not_removed_before_it():
    """EG-SUIT-009: neither by a person nor by its publisher, also after a reboot; then it is."""
    for payloads in (bundle(base()), requiring([1, 0])):
        world = World(keys=both())
        assert await outcome(world, [base()], 1) == (OK, CONFIRMED)
        assert await outcome(world, payloads, 2) == (OK, CONFIRMED)
        world = World(FaultyFlash(world.flash.files), keys=both())
        assert raises(ProtocolError, world.lifecycle.remove, MAKER, 1100).code == STALE
        gone = removal(9, (BASE,), by=maker())
        assert await outcome(world, gone, 3) == (STALE, REFUSED)
        assert world.lifecycle.remove(PUBLISHER, 1001)
        assert await outcome(world, gone, 4) == (OK, REMOVED)
        assert world.features.active() == []


async def waiting(world, payloads, transfer):
    """Offer it while no safe point comes: it is staged."""
    world.busy = 1 << 30
    world.stop_when = lambda: [1 for report in world.passing if (report[0], report[2]) == (transfer, STAGED)]
    world.payloads[transfer] = payloads
    world.installer.on_offer(transfer, len(payloads[0]))
    await world.run(9)
    world.stop_when = None


async def at_safe_point(world, outcomes):
    """-> {transfer: (code, state)} of what was said there."""
    world.busy = 0
    world.reports.clear()
    await world.run(outcomes)
    return {report[0]: (report[1], report[2]) for report in world.reports}


async def test_a_removal_that_waits_is_refused_when_something_came_meanwhile_that_needs_it():
    """EG-SUIT-009: also after a reboot"""
    for reboot in (False, True):
        world = World(keys=both())
        assert await outcome(world, [base()], 1) == (OK, CONFIRMED)
        await waiting(world, requiring([1, 0]), 2)
        await waiting(world, removal(9, (BASE,), by=maker()), 3)
        if reboot:
            world = World(FaultyFlash(world.flash.files), keys=both())
        assert await at_safe_point(world, 2) == {2: (OK, CONFIRMED), 3: (STALE, REFUSED)}
        assert len(world.features.active()) == 2


async def test_what_waits_is_refused_when_what_it_needs_was_removed_meanwhile():
    """EG-SUIT-009: by its publisher, or by a person, before it or at the same safe point"""
    for how in ("manifest", "command", "same"):
        world = World(keys=both())
        assert await outcome(world, [base()], 1) == (OK, CONFIRMED)
        if how == "manifest":
            await waiting(world, removal(9, (BASE,), by=maker()), 3)
        await waiting(world, requiring([1, 0]), 2)
        if how != "manifest":
            world.busy = 0 if how == "command" else 1 << 30
            assert world.lifecycle.remove(MAKER, 1100)
        found = await at_safe_point(world, 2)
        assert found[2] == (STALE, REFUSED), (how, found)
        assert world.features.active() == [], how


async def test_what_is_being_removed_counts_as_not_there():
    """EG-SUIT-009"""
    world = World(keys=both())
    assert await outcome(world, [base()], 1) == (OK, CONFIRMED)
    world.busy = 1 << 30
    assert world.lifecycle.remove(MAKER, 1100) and len(world.features.active()) == 1
    assert await outcome(world, requiring([1, 0]), 2) == (STALE, REFUSED)
    await waiting(world, bundle(base()), 3)
    assert raises(ProtocolError, world.features.activate, world.features.in_state(STAGED)).code == STALE
    assert await at_safe_point(world, 2) == {0: (OK, REMOVED), 3: (STALE, REFUSED)}
    assert world.features.active() == [] and files(world) == []
    assert await outcome(world, bundle(base()), 4) == (OK, CONFIRMED)
    assert len(world.features.active()) == 2


async def test_what_the_version_before_the_one_on_trial_needs_stays():
    """EG-SUIT-009: it may come back"""
    world = World(keys=both())
    assert await outcome(world, [base()], 1) == (OK, CONFIRMED)
    assert await outcome(world, requiring([1, 0]), 2) == (OK, CONFIRMED)
    world.welcomes = False
    world.stop_when = lambda: [1 for report in world.passing if (report[0], report[2]) == (3, TRIAL)]
    assert not await outcome_of_trial(world, signed(unlock(), sequence=2), 3)
    assert raises(ProtocolError, world.lifecycle.remove, MAKER, 1100).code == STALE
    world.birth()
    world.lifecycle.on_welcome()
    world.lifecycle.step()
    assert world.lifecycle.remove(MAKER, 1100)


async def outcome_of_trial(world, payloads, transfer):
    world.payloads[transfer] = payloads
    world.installer.on_offer(transfer, len(payloads[0]))
    world.reports.clear()
    await world.run(9)
    return world.reports


async def test_power_cuts_leave_all_of_a_bundle_or_nothing():
    """EG-FEAT-007, EG-SUIT-004: on the real LittleFS2 where it is, at every block operation."""
    if not lfs.AVAILABLE:
        return
    blocks = lfs.RamBlocks(16)
    payloads = bundle(base())
    cuts = 0
    for how in (lfs.CUT_BEFORE, lfs.CUT_TORN, lfs.CUT_AFTER):
        at = 0
        done = False
        while not done:
            at += 1
            for block in range(blocks.block_count):
                blocks.erase(block)
            chip, flash = booted(blocks)
            world = World(flash, keys=both(), block_bytes=256)
            chip.cut(chip.ops + at, how)
            try:
                assert await outcome(world, payloads, 2) == (OK, CONFIRMED)
                done = True
            except lfs.PowerCut:
                cuts += 1
            _, flash = booted(blocks)
            assert len(Features(flash).active()) in (0, 2), (how, at)
    print(f"{cuts} cut points")
    assert cuts > 30
