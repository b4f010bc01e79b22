"""Installing features: evergrow_agent.install with a real signature, on a flash that fails and a line that does too."""

import asyncio

from evergrow_agent.features import Features
from evergrow_agent.transfer import MAX_SILENT_REQUESTS
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import (
    BAD_DIGEST,
    BAD_TYPE,
    BUSY,
    EXPIRED,
    INVALID_STATE,
    MALFORMED,
    NOT_AUTHORISED,
    OUT_OF_RANGE,
    STALE,
    STORAGE,
    TOO_LARGE,
    UNKNOWN_KIND,
    UNSUPPORTED,
    ProtocolError,
)
from evergrow_sim import lfs
from evergrow_sim.publisher import manifest
from faultyflash import AFTER, BEFORE, MODES, TORN, FaultyFlash, PowerCut
from installkit import CLASS, DRUM, PUBLISHER, VENDOR, World, digest_of, manifest_of, programme, signed, signer, unlock
from lfskit import booted

HEAP = "1M"

CONFIRMED = 4
REFUSED = 6
REMOVED = 7
ACTIVE_1 = [(PUBLISHER, 1001, 1)]
ACTIVE_2 = [(PUBLISHER, 1001, 2)]


async def device_with_version(sequence, body=None):
    """The files of a device with that version of `spin` active."""
    world = World()
    report = await world.offer(signed(body or unlock(), sequence=sequence))
    assert report[1] == 0, report
    return world.flash.files


async def refusal(payloads, code, world=None, transfer=1):
    """The offer is refused with `code`, and the device is as it was before."""
    world = world or World()
    files = dict(world.flash.files)
    active = world.features.active()
    report = await world.offer(payloads, transfer)
    assert (report[1], report[2]) == (code, REFUSED), report
    assert len(report[9].encode()) <= 80
    assert world.features.active() == active
    assert world.flash.files == files
    return report


async def test_an_offered_feature_is_installed_and_reported_with_its_costs():
    """EG-FEAT-009"""
    world = World()
    payloads = signed(unlock())
    report = await world.offer(payloads)
    assert report[0] == 1
    assert (report[1], report[2]) == (0, CONFIRMED)
    assert report[3] == [PUBLISHER, 1001, 1]
    assert report[4] == len(payloads[0]) + len(payloads[1])
    assert report[5] == -(-len(payloads[0]) // 64) + -(-len(payloads[1]) // 64)
    assert report[6] >= 0
    assert report[7] >= 0
    assert 300 < report[8] < 1100
    assert world.features.unlocks() == [(DRUM, 1400, (PUBLISHER, 1001))]
    assert Features(world.flash).active() == ACTIVE_1


async def test_a_payload_inside_the_envelope_is_installed_without_being_pulled():
    world = World()
    body = programme()
    envelope = signer().envelope(manifest_of(body, uri="#body"), {"#body": body})
    report = await world.offer([envelope])
    assert report[1] == 0, report
    assert world.features.programme(1002)
    assert {request[1] for request in world.requests} == {0}


async def test_the_envelope_is_verified_before_anything_else_is_pulled():
    """EG-FEAT-002"""
    world = World()
    payloads = signed(unlock())
    payloads[0] = payloads[0].replace(b"evergrow:1", b"evergrow:2")
    await refusal(payloads, BAD_DIGEST, world)
    assert {request[1] for request in world.requests} == {0}
    assert world.flash.count == 0


async def test_an_upgrade_replaces_the_old_version():
    world = World(FaultyFlash(await device_with_version(1, unlock(maximum=1200))))
    report = await world.offer(signed(unlock(), sequence=2))
    assert (report[1], report[3]) == (0, [PUBLISHER, 1001, 2])
    assert world.features.unlocks() == [(DRUM, 1400, (PUBLISHER, 1001))]
    assert len(world.flash.files) == 2


async def test_a_confirmed_transfer_that_cannot_be_pulled_again_stays_confirmed():
    """EG-FEAT-023, EG-FEAT-025: its outcome was lost, the cloud offers it again, and then the line is bad, or it is cancelled."""
    world = World()
    report = await world.offer(signed(unlock()))
    assert (report[1], report[2]) == (0, CONFIRMED)
    world.answer = lambda *request: None
    report = await world.offer(signed(unlock()))
    assert (report[1], report[2]) == (0, CONFIRMED) and world.features.active()
    world.answer = lambda world, transfer, *request: world.installer.on_cancel(transfer)
    report = await world.offer(signed(unlock()))
    assert (report[1], report[2]) == (0, CONFIRMED) and world.features.active()


async def test_the_same_version_again_changes_nothing_and_is_reported_as_installed():
    """EG-FEAT-005"""
    files = await device_with_version(3)
    before = dict(files)
    world = World(FaultyFlash(files))
    report = await world.offer(signed(unlock(), sequence=3))
    assert (report[1], report[2], report[3]) == (0, CONFIRMED, [PUBLISHER, 1001, 3])
    assert files == before
    assert world.flash.count == 0


async def test_a_lower_sequence_is_refused():
    """EG-FEAT-005"""
    world = World(FaultyFlash(await device_with_version(3)))
    report = await refusal(signed(unlock(), sequence=2), STALE, world)
    assert report[3] == [PUBLISHER, 1001, 2]


async def test_a_lower_sequence_is_refused_after_the_feature_was_removed():
    """EG-FEAT-005"""
    world = World(FaultyFlash(await device_with_version(3)))
    world.features.remove(PUBLISHER, 1001)
    assert (await world.run())[2] == REMOVED
    await refusal(signed(unlock(), sequence=2), STALE, world)
    assert (await world.offer(signed(unlock(), sequence=3), 2))[1] == 0
    assert world.features.active() == [(PUBLISHER, 1001, 3)]


async def test_a_jump_of_the_sequence_beyond_reason_is_refused():
    world = World(FaultyFlash(await device_with_version(3)))
    await refusal(signed(unlock(), sequence=0xFFFFFFFF), STALE, world)


async def test_a_version_that_decayed_is_repaired_by_the_same_sequence():
    files = await device_with_version(3)
    files["feature.0"] = bytes(len(files["feature.0"]))
    world = World(FaultyFlash(files))
    assert world.features.active() == []
    world.payloads[1] = signed(unlock(), sequence=3)
    world.installer.on_offer(1, len(world.payloads[1][0]))
    await world.run(2)
    reverted, confirmed = world.reports
    assert (reverted[0], reverted[1], reverted[2], reverted[3]) == (0, BAD_DIGEST, 5, [PUBLISHER, 1001, 3])
    assert confirmed[1] == 0
    assert world.features.active() == [(PUBLISHER, 1001, 3)]


async def test_a_tampered_payload_is_refused():
    """EG-FEAT-004"""
    payloads = signed(unlock())
    payloads[1] = payloads[1].replace(b"spin", b"spun")
    await refusal(payloads, BAD_DIGEST)
    world = World(FaultyFlash(await device_with_version(1)))
    payloads = signed(unlock(version="2"), sequence=2)
    payloads[1] = unlock(version="3")
    await refusal(payloads, BAD_DIGEST, world)


async def test_a_tampered_payload_inside_the_envelope_is_refused():
    """EG-FEAT-004"""
    body = unlock()
    tampered = body.replace(b"spin", b"spun")
    await refusal([signer().envelope(manifest_of(body, uri="#body"), {"#body": tampered})], BAD_DIGEST)
    await refusal([signer().envelope(manifest_of(body, uri="#body"), {"#other": body})], BAD_DIGEST)
    await refusal([signer().envelope(manifest_of(body, uri="#body"), {"#body": body + b"\0"})], BAD_DIGEST)


async def test_an_unknown_key_is_refused():
    """EG-FEAT-003"""
    await refusal(signed(unlock(), by=signer("mallory")), NOT_AUTHORISED)
    await refusal(signed(unlock()), NOT_AUTHORISED, World(keys=[]))


async def test_a_key_ring_that_cannot_be_read_is_no_reason_to_distrust_a_publisher():
    """EG-FEAT-015: code 10 would be for ever."""
    world = World()
    world.rights.held = None
    await refusal(signed(unlock()), STORAGE, world)


async def test_a_known_key_id_on_the_signature_of_another_key_is_refused():
    """EG-FEAT-003"""
    forged = manifest_of(unlock())
    mallory = signer("mallory")
    block = [mallory.block(digest_of_manifest(forged), kid=b"acme")]
    await refusal([mallory.envelope(forged, blocks=block), unlock()], NOT_AUTHORISED)


def digest_of_manifest(encoded):
    return digest_of(dumps(encoded))


async def test_a_component_below_another_publishers_prefix_is_refused():
    """EG-FEAT-003"""
    await refusal(signed(unlock(), prefix=b"rival"), NOT_AUTHORISED)


async def test_a_manifest_for_another_vendor_or_class_is_refused():
    """EG-FEAT-006"""
    await refusal(signed(unlock(), vendor=CLASS), OUT_OF_RANGE)
    await refusal(signed(unlock(), class_id=VENDOR), OUT_OF_RANGE)


async def test_an_envelope_that_is_none_is_refused():
    await refusal([b"\x00" * 100], BAD_TYPE)
    await refusal([b"\xd8\x6b\xff" * 30], BAD_TYPE)
    envelope = signed(unlock())[0]
    await refusal([envelope[:-1]], MALFORMED)
    await refusal([envelope + b"\0"], MALFORMED)


async def test_an_envelope_of_an_impossible_size_is_refused_without_a_request():
    world = World()
    for transfer, size in ((1, 0), (2, 16385), (3, 0xFFFFFFFF)):
        world.installer.on_offer(transfer, size)
        report = await world.run()
        assert (report[0], report[1], report[2]) == (transfer, TOO_LARGE, REFUSED)
    assert world.requests == []


async def test_a_payload_whose_signed_size_is_too_large_is_refused_before_a_byte_is_stored():
    """EG-FEAT-002"""
    world = World()
    await refusal(signed(unlock(), size=16385), TOO_LARGE, world)
    assert world.flash.count == 0
    await refusal(signed(unlock(), size=0), TOO_LARGE)


async def test_a_payload_shorter_than_its_signed_size_never_completes_and_is_given_up():
    """EG-FEAT-010"""
    report = await refusal(signed(unlock(), size=len(unlock()) + 1), EXPIRED)
    assert "block 0" in report[9]


async def test_a_body_that_is_no_feature_is_refused():
    await refusal(signed(b"\xa0"), UNKNOWN_KIND)
    await refusal(signed(b"\x80"), BAD_TYPE)
    await refusal(signed(unlock() + b"\0"), MALFORMED)
    await refusal(signed(unlock(more={0: 9})), UNKNOWN_KIND)


async def test_a_code_feature_without_code_is_refused():
    await refusal(signed(dumps({0: 3, 1: 1001, 2: "code", 3: "1"})), MALFORMED)


async def test_a_feature_id_below_1000_is_refused():
    """EG-FEAT-012"""
    await refusal(signed(unlock(feature=999)), OUT_OF_RANGE)
    await refusal(signed(programme(programme_id=999)), OUT_OF_RANGE)


async def test_an_unlock_beyond_what_the_hardware_can_do_is_refused():
    """EG-FEAT-013"""
    await refusal(signed(unlock(maximum=1401)), OUT_OF_RANGE)
    await refusal(signed(unlock(actuator=1, maximum=1)), OUT_OF_RANGE)


async def test_a_programme_that_names_what_this_appliance_lacks_is_refused():
    body = dumps({0: 2, 1: 1002, 2: "odd", 3: "1", 5: [1002, [{0: 5, 1: {77: 1}, 4: 1, 5: 600}]]})
    await refusal(signed(body), OUT_OF_RANGE)


async def test_a_feature_for_another_class_or_a_later_registry_is_refused():
    """EG-BODY-001"""
    await refusal(signed(unlock(more={6: [2, 1]})), OUT_OF_RANGE)
    await refusal(signed(unlock(more={6: [1, 999]})), UNSUPPORTED)
    assert (await World().offer(signed(unlock(more={6: [1, 1]}))))[1] == 0


def two_components(first, second, sequence=1):
    """-> [envelope, payload 1, payload 2]: two features that come and go together."""
    shared = [12, True, 20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
    for index, body in enumerate((first, second)):
        shared += [12, index, 20, {3: digest_of(body), 14: len(body)}]
    fetch = [12, 0, 20, {21: "evergrow:1"}, 12, 1, 20, {21: "evergrow:2"}, 12, True, 21, 2, 3, 15]
    names = ((b"acme", b"spin"), (b"acme", b"rinse"))
    envelope = signer().envelope(manifest(shared, {20: fetch, 7: [12, True, 3, 15]}, names, sequence))
    return [envelope, first, second]


async def test_several_payloads_of_one_transfer_are_installed_together_or_not_at_all():
    """EG-FEAT-007"""
    world = World()
    report = await world.offer(two_components(unlock(), programme()))
    assert (report[1], report[2]) == (0, CONFIRMED)
    assert sorted(world.features.active()) == [(PUBLISHER, 1001, 1), (PUBLISHER, 1002, 1)]
    await refusal(two_components(unlock(version="2"), programme(1003, 99), 2), OUT_OF_RANGE, world, 2)
    await refusal(two_components(unlock(1001), programme(1001), 3), STALE, world, 3)


async def test_a_manifest_that_installs_nothing_is_refused():
    await refusal([signer().envelope(manifest(None, {}, ((b"acme", b"spin"),)))], MALFORMED)


async def test_a_payload_without_a_digest_or_size_in_the_manifest_is_refused():
    """EG-FEAT-002"""
    for parameters in ({21: "evergrow:1"}, {3: digest_of(unlock()), 21: "evergrow:1"}, {14: 9, 21: "evergrow:1"}):
        fits = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
        envelope = signer().envelope(manifest(fits, {20: [20, parameters, 21, 2]}))
        await refusal([envelope, unlock()], MALFORMED)


async def test_what_follows_a_failed_match_in_a_try_each_is_carried_out():
    body = unlock()
    shared = [20, {1: VENDOR, 2: CLASS, 3: digest_of(body), 14: len(body)}, 1, 15, 2, 15]
    keep_or_fetch = [15, [dumps([3, 15]), dumps([20, {21: "evergrow:1"}, 21, 2, 3, 15])]]
    world = World()
    report = await world.offer([signer().envelope(manifest(shared, {20: keep_or_fetch}, ((b"acme", b"spin"),))), body])
    assert (report[1], report[2]) == (0, CONFIRMED), report


async def test_a_flash_without_room_refuses_and_keeps_the_reserve():
    await refusal(signed(unlock()), STORAGE, World(FaultyFlash(capacity=1024 + len(unlock()) - 1), reserve_bytes=1024))
    assert (await World(FaultyFlash(capacity=1024 + len(unlock())), reserve_bytes=1024).offer(signed(unlock())))[1] == 0


async def test_a_flash_that_fails_at_any_operation_refuses_and_leaves_the_device_as_it_was():
    """EG-FEAT-011"""
    files = await device_with_version(1, unlock(maximum=1200))
    payloads = signed(programme(1001, rinses=30), sequence=2)
    for mode in (BEFORE, TORN, AFTER):
        failures = 0
        at = 1
        while True:
            flash = FaultyFlash(dict(files), mode=mode)
            world = World(flash, block_bytes=32)
            flash.fail = lambda number, at=at: number == at
            report = await world.offer(payloads, 2)  # not that of the version before (EG-FEAT-001)
            assert report[1] in (0, STORAGE), report
            expected = ACTIVE_1 if report[1] else ACTIVE_2
            assert world.features.active() == expected
            assert Features(FaultyFlash(flash.files)).active() == expected
            if at > flash.count:
                break
            if report[1]:
                failures += 1
                assert flash.files == files
            at += 1
        assert failures > 5


async def test_too_little_memory_for_the_envelope_refuses_and_the_next_offer_is_handled():
    world = World()

    def greedy(*_):
        raise MemoryError

    serve, world.answer = world.answer, greedy
    await refusal(signed(unlock()), TOO_LARGE, world)
    world.answer = serve
    assert (await world.offer(signed(unlock()), 2))[1] == 0


async def test_a_fault_in_the_program_refuses_and_the_next_offer_is_handled():
    world = World()

    def broken(*_):
        raise ZeroDivisionError("oops")

    serve, world.answer = world.answer, broken
    report = await refusal(signed(unlock()), INVALID_STATE, world)
    assert "oops" in report[9]
    world.answer = serve
    assert (await world.offer(signed(unlock()), 2))[1] == 0


async def test_the_text_of_a_report_is_cut_to_80_bytes_between_two_characters():
    """EG-ERR-001"""
    world = World()

    def broken(*_):
        raise ProtocolError(INVALID_STATE, "x" + 100 * "°")

    world.answer = broken
    report = await refusal(signed(unlock()), INVALID_STATE, world)
    assert report[9] == "x" + 39 * "°"


async def test_a_cloud_that_never_answers_is_given_up_and_the_next_offer_is_handled():
    world = World()
    world.payloads[2] = signed(unlock())

    def deaf_to_1(world, transfer, *rest):
        if transfer != 1:
            world.serve(transfer, *rest)

    world.answer = deaf_to_1
    world.installer.on_offer(1, 3000)
    world.installer.on_offer(2, len(world.payloads[2][0]))
    await world.run(2)
    first, second = world.reports
    assert (first[0], first[1], first[2]) == (1, EXPIRED, REFUSED)
    assert (second[0], second[1]) == (2, 0)
    assert len([request for request in world.requests if request[0] == 1]) == MAX_SILENT_REQUESTS


async def test_a_lost_link_is_waited_out_and_nothing_is_pulled_twice():
    world = World()
    drops = [3, 7]
    reconnects = []

    def dropping(world, *request):
        if len(world.requests) in drops:
            world.online = False
            reconnects.append(asyncio.create_task(reconnect(world)))
            return
        world.serve(*request)

    async def reconnect(world):
        for _ in range(50):
            await asyncio.sleep(0)
        world.online = True
        world.installer.on_connected()

    world.answer = dropping
    payloads = signed(unlock())
    report = await world.offer(payloads)
    assert report[1] == 0, report
    assert report[5] == -(-len(payloads[0]) // 64) + -(-len(payloads[1]) // 64)


async def test_offers_that_come_together_are_all_handled_and_repetitions_are_not():
    world = World()
    world.payloads = {1: signed(unlock()), 2: signed(programme(), name=b"rinse"), 3: [signed(unlock())[0][:-1]]}
    for transfer in (1, 2, 1, 3, 2):
        world.installer.on_offer(transfer, len(world.payloads[transfer][0]))
    await world.run(3)
    assert [(report[0], report[1]) for report in world.reports] == [(1, 0), (2, 0), (3, MALFORMED)]
    assert world.features.active() == [(PUBLISHER, 1001, 1), (PUBLISHER, 1002, 1)]


async def test_offers_without_end_do_not_grow_the_queue_without_end():
    world = World()
    for transfer in range(1000):
        world.installer.on_offer(transfer, 0)
    await world.run(16)
    assert len(world.reports) == 16


async def test_blocks_nobody_asked_for_are_ignored():
    """EG-FEAT-010"""
    world = World()
    world.installer.on_block(1, 0, 0, b"x" * 64)

    def flooding(world, transfer, payload, block_bytes, first, wanted):
        for other in ((transfer + 1, payload, first), (transfer, payload + 1, first), (transfer, payload, first + 99)):
            world.installer.on_block(*other, b"x" * block_bytes)
        world.installer.on_block(transfer, payload, first, b"x" * (block_bytes + 1))
        world.serve(transfer, payload, block_bytes, first, wanted)
        world.installer.on_block(transfer, payload, first, b"x" * block_bytes)

    world.answer = flooding
    assert (await world.offer(signed(unlock())))[1] == 0


async def test_a_feature_waits_for_the_end_of_the_cycle_and_says_so():
    """EG-FEAT-008"""
    world = World()
    world.busy = 5
    await world.offer(signed(unlock()))
    assert [(report[2], report[1]) for report in world.passing] == [(2, 0), (3, 0)]
    assert [(report[2], report[1]) for report in world.reports] == [(CONFIRMED, 0)]
    assert world.passing[0][3] == [PUBLISHER, 1001, 1]
    assert world.clock.now_ms >= 2000


async def test_a_body_that_changes_on_flash_while_it_waits_is_not_activated():
    """EG-FEAT-004"""
    world = World()
    is_safe = world.lifecycle._is_safe

    def decaying():
        if world.busy == 2:
            world.flash.files["feature.0"] = unlock(maximum=1300)
        return is_safe()

    world.lifecycle._is_safe = decaying
    world.busy = 5
    report = await world.offer(signed(unlock()))
    assert (report[1], report[2]) == (BUSY, REFUSED), "not the publisher's fault: the cloud may offer it again"
    assert world.features.active() == []
    assert sorted(world.flash.files) == ["features"]


async def test_a_higher_sequence_with_the_same_content_is_installed_without_pulling_it_again():
    files = await device_with_version(1)
    world = World(FaultyFlash(files))
    body = unlock()
    shared = [20, {1: VENDOR, 2: CLASS, 3: digest_of(body), 14: len(body)}, 1, 15, 2, 15]
    either = [dumps([3, 15]), dumps([20, {21: "evergrow:1"}, 21, 2, 3, 15])]
    envelope = signer().envelope(manifest(shared, {20: [15, either], 7: [3, 15]}, ((b"acme", b"spin"),), 2))
    report = await world.offer([envelope, body])
    assert (report[1], report[3]) == (0, [PUBLISHER, 1001, 2])
    assert {request[1] for request in world.requests} == {0}
    assert Features(FaultyFlash(files)).active() == ACTIVE_2


def bodies(names):
    return sorted([name for name in names if name.startswith("feature.")])


def named(features):
    return sorted([record.file for record in features.records if record.file])


async def install_first(world):
    return await world.offer(signed(programme(1001, rinses=30)))


async def upgrade(world):
    return await world.offer(signed(programme(1001, rinses=30), sequence=2))


async def remove(world):
    assert world.features.remove(PUBLISHER, 1001)
    return {1: 0}


# What is done, whether version 1 is active before, and what may be active after a power cut in it.
SCENARIOS = ((install_first, False, ([], ACTIVE_1)), (upgrade, True, (ACTIVE_1, ACTIVE_2)), (remove, True, (ACTIVE_1, [])))


async def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new_whole():
    """EG-FEAT-007"""
    cuts = 0
    for act, installed, allowed in SCENARIOS:
        files = await device_with_version(1, unlock(maximum=1200)) if installed else {}
        for mode in MODES:
            at = 0
            done = False
            while not done:
                at += 1
                flash = FaultyFlash(dict(files), at, mode)
                try:
                    assert (await act(World(flash, block_bytes=32)))[1] == 0
                    done = True
                except PowerCut:
                    cuts += 1
                features = Features(FaultyFlash(flash.files))
                assert features.active() in allowed, (act, mode, at)
                assert features.problems == []
                assert bodies(flash.files) == named(features), "no orphans"
                again = dict(flash.files)
                assert Features(FaultyFlash(flash.files)).active() == features.active()
                assert flash.files == again, "a second boot changes nothing"
                # Done again after the reboot, as a repeated offer is, it ends as it would have.
                if features.active() or act is not remove:
                    world = World(FaultyFlash(flash.files), block_bytes=32)
                    assert (await act(world))[1] == 0
                    assert world.features.active() == allowed[1]
    print(f"{cuts} cut points")
    assert cuts > 40


async def test_a_power_cut_of_real_littlefs_leaves_the_old_or_the_new_whole():
    """EG-FEAT-007"""
    if not lfs.AVAILABLE:
        return
    cuts = 0
    blocks = lfs.RamBlocks(12)
    image = bytearray(len(blocks.data))
    for act, installed, allowed in SCENARIOS:
        for block in range(blocks.block_count):
            blocks.erase(block)
        _, flash = booted(blocks)
        if installed:
            assert (await World(flash).offer(signed(unlock(maximum=1200))))[1] == 0
        image[:] = blocks.data
        for how in (lfs.CUT_BEFORE, lfs.CUT_TORN, lfs.CUT_AFTER):
            at = 0
            done = False
            while not done:
                at += 1
                blocks.data[:] = image
                chip, flash = booted(blocks)
                world = World(flash, block_bytes=128)
                chip.cut(chip.ops + at, how)
                try:
                    assert (await act(world))[1] == 0
                    done = True
                except lfs.PowerCut:
                    cuts += 1
                _, flash = booted(blocks)
                features = Features(flash)
                assert features.active() in allowed, (act, how, at)
                assert features.problems == []
                names = sorted(flash.names())
                assert bodies(names) == named(features), "no orphans"
                chip, flash = booted(blocks)
                ops = chip.ops
                assert Features(flash).active() == features.active()
                assert sorted(flash.names()) == names
                assert chip.ops == ops, "a second boot writes nothing"
            assert features.active() == allowed[1]
    lfs.unmount("/chip")
    print(f"{cuts} cut points on LittleFS2")
    assert cuts > 60
