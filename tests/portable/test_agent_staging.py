"""What the installer makes of conditions, of patches, and of a transfer whose broker changes: evergrow_agent.staging."""

from evergrow_agent import delta, forms, heap
from evergrow_agent.lifecycle import MIN_HEAP_BYTES
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BAD_DIGEST, EXPIRED, INVALID_STATE, OK, REVERT, STALE
from evergrow_sim.publisher import manifest
from faultyflash import FaultyFlash
from installkit import CLASS, PUBLISHER, VENDOR, Appliance, World, digest_of, programme, signed, signer, unlock
from patchkit import NEW, OLD, PATCH, upgrade

HEAP = "1M"

BODY = unlock()
CONFIRMED, REVERTED, REFUSED = 4, 5, 6
LATER, BOTH = 2_000_000_000, [2, [1, 2]]


def conditional(commands, body=BODY, sequence=1):
    """-> [envelope, payload 1] of a manifest with these commands before it fetches."""
    shared = [20, {1: VENDOR, 2: CLASS, 3: digest_of(body), 14: len(body)}, 1, 15, 2, 15]
    sections = {20: commands + [20, {21: "evergrow:1"}, 21, 2, 3, 15], 7: [3, 15]}
    return [signer().envelope(manifest(shared, sections, ((b"acme", b"spin"),), sequence)), body]


async def outcome(world, payloads, transfer=1):
    report = await world.offer(payloads, transfer)
    return report[1], report[2]


# -- conditions


async def test_content_for_a_slot_that_can_be_loaded_is_taken():
    """EG-SUIT-006: byte code of a version that nobody has, then what this interpreter has."""
    here = 0 if forms.loads(0) else 6
    mine, other = unlock(version="1.0"), unlock(version="9.9")
    ways = []
    for slot, number, body in ((99, 2, other), (here, 1, mine)):
        form = {5: slot, 3: digest_of(body), 14: len(body), 21: f"evergrow:{number}"}
        ways.append(dumps([20, form, 5, 0, 21, 2, 3, 15]))
    shared = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
    world = World()
    envelope = signer().envelope(manifest(shared, {20: [15, ways]}, ((b"acme", b"spin"),)))
    assert await outcome(world, [envelope, mine, other]) == (OK, CONFIRMED)
    assert {request[1] for request in world.requests} == {0, 1}
    only = signer().envelope(manifest(shared, {20: [15, ways[:1]]}, ((b"acme", b"spin"),)))
    assert await outcome(World(), [only, mine, other]) == (INVALID_STATE, REFUSED)


async def test_use_before_holds_while_utc_is_known_and_earlier():
    """EG-SUIT-003"""
    for utc_s, expected in ((None, (EXPIRED, REFUSED)), (LATER, (EXPIRED, REFUSED)), (LATER - 1, (OK, CONFIRMED))):
        world = World()
        world.installer._stager._utc_s = lambda utc_s=utc_s: utc_s
        assert await outcome(world, conditional([20, {4: LATER}, 4, 15])) == expected, utc_s


async def test_a_version_condition_is_about_what_is_installed():
    """EG-SUIT-003: for those who have at least 1.2, whatever the sequence."""
    asks = [20, {28: dumps(BOTH)}, 28, 15]
    assert await outcome(World(), conditional(asks)) == (STALE, REFUSED)
    for version, expected in (("1.1", (STALE, REFUSED)), ("1.2", (OK, CONFIRMED)), ("2.0", (OK, CONFIRMED))):
        world = World()
        assert await outcome(world, signed(unlock(version=version))) == (OK, CONFIRMED)
        assert await outcome(world, conditional(asks, unlock(version="3"), 2), 2) == expected, version


async def test_a_battery_that_is_low_is_a_reason_to_wait():
    """EG-SUIT-003: an appliance without one has as much as anybody asks for."""
    asks = conditional([20, {26: 50}, 26, 15])
    assert await outcome(World(), asks) == (OK, CONFIRMED)
    for percent, expected in ((49, (INVALID_STATE, REFUSED)), (50, (OK, CONFIRMED))):
        appliance = Appliance()
        appliance.battery_percent = percent
        assert await outcome(World(appliance=appliance), asks) == expected


async def test_an_update_that_a_person_must_allow_is_refused_until_then():
    """EG-SUIT-003"""
    asks = conditional([20, {27: 3}, 27, 15])
    for priority, expected in ((0, (INVALID_STATE, REFUSED)), (2, (INVALID_STATE, REFUSED)), (3, (OK, CONFIRMED))):
        appliance = Appliance()
        appliance.update_priority = priority
        assert await outcome(World(appliance=appliance), asks) == expected


# -- patches


async def test_an_upgrade_by_a_patch_fetches_the_patch_alone():
    """EG-SUIT-007"""
    world = World()
    assert await outcome(world, signed(OLD)) == (OK, CONFIRMED)
    assert await outcome(world, upgrade(), 2) == (OK, CONFIRMED)
    assert {request[1] for request in world.requests if request[0] == 2} == {0, 2}
    envelope = len(world.payloads[2][0])
    assert world.reports[-1][4] == envelope + len(PATCH), "bytes that were pulled"
    record = world.features.find(PUBLISHER, dumps((b"acme", b"spin")))
    assert world.flash.read(record.file) == NEW
    assert sorted(world.flash.names()) == sorted([record.file, "features"]), "neither the patch nor the old is left"


async def test_a_patch_on_what_decayed_is_not_used():
    """EG-SUIT-007, EG-FEAT-014"""
    world = World()
    assert await outcome(world, signed(OLD)) == (OK, CONFIRMED)
    world.flash.files["feature.0"] = OLD[:-1] + b"\x01"
    world = World(FaultyFlash(world.flash.files))
    assert world.features.active() == []
    payloads = upgrade()
    world.payloads[2] = payloads
    world.installer.on_offer(2, len(payloads[0]))
    world.stop_when = lambda: [1 for report in world.reports if report[0] == 2]
    await world.run(9)
    assert (world.reports[-1][1], world.reports[-1][2]) == (OK, CONFIRMED)
    assert {request[1] for request in world.requests} == {0, 1}, "the whole"


async def test_a_patch_for_whose_window_there_is_no_memory_is_passed_over():
    """EG-SUIT-007: the whole takes less."""
    world = World()
    assert await outcome(world, signed(OLD)) == (OK, CONFIRMED)
    apply = delta.apply

    def greedy(*arguments):
        raise MemoryError

    delta.apply = greedy
    try:
        assert await outcome(world, upgrade(), 2) == (OK, CONFIRMED)
    finally:
        delta.apply = apply
    assert {request[1] for request in world.requests if request[0] == 2} == {0, 1, 2}


async def test_content_in_the_manifest_has_its_signed_size():
    """EG-FEAT-002: what is longer is not stored."""
    shared = [20, {1: VENDOR, 2: CLASS, 3: digest_of(BODY), 14: len(BODY)}, 1, 15, 2, 15]
    for content, expected in ((BODY, (OK, CONFIRMED)), (BODY + bytes(9000), (BAD_DIGEST, REFUSED))):
        envelope = signer().envelope(manifest(shared, {20: [20, {18: content}, 18, 2, 3, 15]}, ((b"acme", b"spin"),)))
        world = World()
        most = []
        append = world.flash.append
        world.flash.append = lambda name, data, append=append, most=most: (most.append(len(data)), append(name, data))
        assert await outcome(world, [envelope]) == expected
        assert max(most + [0]) <= len(BODY)


async def test_several_components_of_which_one_comes_by_a_patch():
    """EG-SUIT-007, EG-FEAT-007"""
    world = World()
    assert await outcome(world, signed(OLD)) == (OK, CONFIRMED)
    other = programme(1003, 1003)
    shared = [12, True, 20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
    patch = [12, 0, 20, {3: digest_of(OLD), 14: len(OLD)}, 3, 0]
    patch += [20, {3: digest_of(NEW), 14: len(NEW), 21: f"evergrow:2?patch={len(PATCH)}"}, 21, 2, 3, 15]
    whole = [12, 1, 20, {3: digest_of(other), 14: len(other), 21: "evergrow:3"}, 21, 2, 3, 15]
    names = ((b"acme", b"spin"), (b"acme", b"other"))
    envelope = signer().envelope(manifest(shared, {20: patch + whole}, names, 2))
    assert await outcome(world, [envelope, b"", PATCH, other], 2) == (OK, CONFIRMED)
    assert sorted(world.features.active()) == [(PUBLISHER, 1001, 2), (PUBLISHER, 1003, 2)]


# -- trials and transfers


async def test_a_version_that_leaves_too_little_heap_is_reverted():
    """EG-FEAT-024"""
    world = World()
    assert await outcome(world, signed(unlock(maximum=1200))) == (OK, CONFIRMED)
    free = [1 << 20]
    measure, heap.free = heap.free, lambda: free[0]
    try:
        free[0] = MIN_HEAP_BYTES - 1
        assert await outcome(world, signed(BODY, sequence=2), 2) == (REVERT, REVERTED)
        assert world.features.active() == [(PUBLISHER, 1001, 1)]
        assert world.reports[-1][9] == f"{MIN_HEAP_BYTES - 1} bytes of heap are left with it, of {MIN_HEAP_BYTES}"
        free[0] = MIN_HEAP_BYTES
        assert await outcome(world, signed(BODY, sequence=3), 3) == (OK, CONFIRMED)
    finally:
        heap.free = measure


async def test_another_broker_in_the_middle_of_a_transfer_costs_what_was_on_its_way():
    """EG-FEAT-016, EG-FEAT-010: the same boot goes on; of what had arrived nothing is asked for twice."""
    body = programme(1001, rinses=30, more={80: b"r" * 2000, 81: b"s" * 2000})
    payloads = signed(body)
    served = []

    def first_broker(world, transfer, payload, block_bytes, first, wanted):
        for i in range(8 * len(wanted)):
            if wanted[i >> 3] >> (i & 7) & 1 and len(served) < 50:
                served.append((payload, first + i))
                world.serve(transfer, payload, block_bytes, first + i, b"\x01")
        if len(served) == 50:  # what else was asked for is lost with the connection; the next broker knows nothing of it
            world.answer = second_broker
            world.installer.on_offer(1, len(payloads[0]))  # as after each birth
            world.installer.on_connected()

    def second_broker(world, transfer, payload, block_bytes, first, wanted):
        for i in range(8 * len(wanted)):
            if wanted[i >> 3] >> (i & 7) & 1:
                served.append((payload, first + i))
        world.serve(transfer, payload, block_bytes, first, wanted)

    world = World(answer=first_broker)
    assert await outcome(world, payloads) == (OK, CONFIRMED)
    assert len(served) == len(set(served)) == -(-len(payloads[0]) // 64) + -(-len(body) // 64)
    assert world.clock.now_ms < 2000, "at once, not when patience ends"
