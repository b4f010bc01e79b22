"""Attacks by who stands between the cloud and a device, or is the cloud: what is kept back, slowed, flooded or mixed.

| attack (Uptane; RFC 9124 in capitals)                     | code                                                          |
|-----------------------------------------------------------|---------------------------------------------------------------|
| eavesdrop                                                 | TLS's job (EG-SEC-001): tests/evergrow_mqtt/test_tls.py       |
| drop-request: some of the requests or blocks are lost     | 0: asked again; 12 when nothing comes any more                |
| slow retrieval                                            | 0 or 12: each block has its time, others wait, nothing else   |
| freeze, IMG.EXPIRED: an old offer for ever                | 9; the cloud sees what is active in birth                     |
| partial bundle                                            | 12: all of it or nothing                                      |
| repository denial                                         | 12; the appliance works, and nothing grows                    |
| payload under another number, NET.REDIRECT                | 14                                                            |
| zip-bomb-like deflate                                     | 11 without another way; never more than the signed size       |
| patch for another version, UPD.WRONG_PRECURSOR            | 11; 0 where the whole is offered as well                      |
| offers and cancellations without end                      | 12 for each; 16 wait                                          |

Every one leaves the device as it was (EG-FEAT-011) unless the code is 0.
"""

from evergrow_agent.transfer import MAX_PAUSE_MS, MAX_SILENT_REQUESTS
from evergrow_protocol.errors import BAD_DIGEST, EXPIRED, INVALID_STATE, OK, STALE
from installkit import CLASS, PUBLISHER, VENDOR, World, digest_of, manifest, programme, signed, signer, unlock
from patchkit import BOMB, NEW, OLD, PATCH, upgrade

HEAP = "768K"

BODY = programme(1001, rinses=30)
BLOCK = 64


def two_features(sequence=1):
    """-> [envelope, payload 1, payload 2]"""
    shared = [12, True, 20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
    bodies = (unlock(), programme())
    for index, body in enumerate(bodies):
        shared += [12, index, 20, {3: digest_of(body), 14: len(body), 21: f"evergrow:{index + 1}"}]
    names = ((b"acme", b"spin"), (b"acme", b"rinse"))
    envelope = signer().envelope(manifest(shared, {20: [12, True, 21, 2, 3, 15], 7: [12, True, 3, 15]}, names, sequence))
    return [envelope, bodies[0], bodies[1]]


async def with_old():
    """A device that has OLD."""
    world = World()
    assert (await world.offer(signed(OLD)))[1] == OK
    return world


async def outcome(world, payloads, transfer=2):
    """The code of the report; whatever was refused left the device as it was."""
    before = {name: world.flash.read(name) for name in world.flash.names()}
    active = world.features.active()
    report = await world.offer(payloads, transfer)
    if report[1] != OK:
        assert {name: world.flash.read(name) for name in world.flash.names()} == before
        assert world.features.active() == active
    return report[1]


async def test_drop_request():
    """EG-FEAT-010: every third request and every other block is lost; what is missing, and only that, is asked for again."""
    dropped = [0]

    def lossy(world, transfer, payload, block_bytes, first, wanted):
        if len(world.requests) % 3 == 0:
            return
        kept = bytearray(len(wanted))
        for i in range(8 * len(wanted)):
            if wanted[i >> 3] >> (i & 7) & 1:
                dropped[0] += 1
                if dropped[0] % 2:
                    kept[i >> 3] |= 1 << (i & 7)
        world.serve(transfer, payload, block_bytes, first, bytes(kept))

    world = World(answer=lossy)
    payloads = signed(BODY)
    assert await outcome(world, payloads) == OK
    assert world.reports[-1][5] == -(-len(payloads[0]) // BLOCK) + -(-len(BODY) // BLOCK), "no block was taken twice"


async def test_slow_retrieval():
    """EG-FEAT-010: one block just before each request's patience ends. It takes long, but at most so long for each block."""

    def slowly(world, transfer, payload, block_bytes, first, wanted):
        if len(world.requests) % (MAX_SILENT_REQUESTS - 1):
            return  # all but the last request before it would be given up
        i = min([i for i in range(8 * len(wanted)) if wanted[i >> 3] >> (i & 7) & 1])
        world.serve(transfer, payload, block_bytes, first + i, b"\x01")

    world = World(answer=slowly)
    payloads = signed(unlock())
    assert await outcome(world, payloads) == OK
    blocks = -(-len(payloads[0]) // BLOCK) + -(-len(payloads[1]) // BLOCK)
    assert world.clock.now_ms <= blocks * MAX_SILENT_REQUESTS * MAX_PAUSE_MS


async def test_freeze():
    """EG-FEAT-005, EG-BIRTH-003: who offers what was newest once gets nowhere, and what is active is in every birth."""
    world = World()
    assert await outcome(world, signed(BODY, sequence=5), 1) == OK
    for transfer in range(2, 12):
        assert await outcome(world, signed(BODY, sequence=4), transfer) == STALE
    assert world.features.active() == [(PUBLISHER, 1001, 5)]


async def test_partial_bundle():
    """EG-FEAT-007: of two features that come together one is kept back, at any of its blocks. Neither is there then."""
    envelope, first, second = two_features()
    for most in range(-(-len(second) // BLOCK)):

        def partly(world, transfer, payload, block_bytes, start, wanted, most=most):
            for i in range(8 * len(wanted)):
                if wanted[i >> 3] >> (i & 7) & 1 and (payload < 2 or start + i < most):
                    world.serve(transfer, payload, block_bytes, start + i, b"\x01")

        assert await outcome(World(answer=partly), [envelope, first, second]) == EXPIRED, most
    assert await outcome(World(), [envelope, first, second]) == OK


async def test_repository_denial():
    """EG-FEAT-011, EG-FEAT-016: nothing ever comes; what is installed stays in use, and each offer is given up after a while."""
    world = await with_old()
    world.answer = lambda *request: None
    asked = len(world.requests)
    for transfer in range(2, 6):
        assert await outcome(world, signed(BODY, sequence=2), transfer) == EXPIRED
    assert len(world.requests) - asked == 4 * MAX_SILENT_REQUESTS
    assert world.features.active() == [(PUBLISHER, 1001, 1)]


async def test_payload_under_another_number():
    """EG-FEAT-004"""
    envelope, first, second = two_features()
    assert await outcome(World(), [envelope, second + bytes(len(first)), first + bytes(len(second))]) in (BAD_DIGEST, EXPIRED)
    same = [signed(BODY)[0], programme(1001, rinses=30, more={3: "6.6"})]
    assert len(same[1]) == len(BODY) and await outcome(World(), same) == BAD_DIGEST


async def test_zip_bomb():
    """EG-SUIT-007: a patch that would make a megabyte is stopped at the signed size; nothing of it stays."""
    world = await with_old()
    most = 0
    append = world.flash.append

    def watched(name, data):
        nonlocal most
        append(name, data)
        most = max(most, world.flash.size(name))

    world.flash.append = watched
    assert await outcome(world, upgrade(patch=BOMB, whole=False)) == INVALID_STATE
    assert 0 < most <= max(len(NEW), len(BOMB))
    assert await outcome(world, upgrade(patch=BOMB), 3) == OK, "the whole is fetched instead"
    assert world.features.active() == [(PUBLISHER, 1001, 2)]


async def test_wrong_precursor():
    """EG-SUIT-007: a patch for what is not installed is not even fetched."""
    world = await with_old()
    assert await outcome(world, upgrade(old=NEW, whole=False)) == INVALID_STATE
    assert {request[1] for request in world.requests if request[0] == 2} == {0}
    assert await outcome(world, upgrade(patch=bytes(len(PATCH)), whole=False), 3) == INVALID_STATE
    assert await outcome(world, upgrade(), 4) == OK
    assert {request[1] for request in world.requests if request[0] == 4} == {0, 2}, "the patch alone"


async def test_offers_and_cancellations_without_end():
    """EG-FEAT-017, EG-FEAT-023: at most 16 wait, and each cancellation is answered; the queue of answers is bounded, too."""
    world = World(answer=lambda *request: None)
    for transfer in range(1, 1001):
        world.installer.on_offer(transfer, 5000)
        world.installer.on_cancel(transfer)
    for transfer in range(2001, 3001):
        world.installer.on_offer(transfer, 5000)
    assert len(world.installer._offers) <= 16 and len(world.installer._told._queue) <= 16
    world.answer = World.serve
    for transfer in range(2001, 3001):
        world.installer.on_cancel(transfer)
    payloads = signed(BODY)
    world.payloads[9] = payloads
    world.installer.on_offer(9, len(payloads[0]))
    world.stop_when = lambda: [1 for report in world.reports if report[0] == 9]
    await world.run(1 << 20)
    assert world.features.active() == [(PUBLISHER, 1001, 1)]
