"""Attacks by what is offered: manifests, signatures and payloads that an enemy made, each with the code that it must get.

| attack (Uptane; RFC 9124 in capitals)                              | code                                                     |
|--------------------------------------------------------------------|----------------------------------------------------------|
| arbitrary software, IMG.NON_AUTH                                   | 10 no key that is trusted                                |
| component of another publisher, IMG.LOCATION                       | 10                                                       |
| rollback, IMG.EXPIRED                                              | 9                                                        |
| fast-forward                                                       | 9 beyond the jump that is allowed                        |
| expired while offline, IMG.EXPIRED.OFFLINE                         | 12                                                       |
| mix-and-match: of signatures, sections, payloads                   | 10, 14, 14                                               |
| endless data, IMG.EXTRA                                            | 8 beyond a limit; 12: blocks beyond the size are none    |
| payload replaced, NET.REDIRECT, IMG.REPLACE                        | 14                                                       |
| manifest modified, MFST.MODIFICATION                               | 14                                                       |
| other hardware, IMG.INCOMPATIBLE                                   | 5                                                        |
| what the interpreter cannot load, IMG.FORMAT                       | 11                                                       |
| patch on another content, UPD.WRONG_PRECURSOR                      | 14                                                       |
| critical metadata twice, MFST.OVERRIDE                             | 2 in one map, 1 in two headers                           |
| signature: truncated; by a known id; of another algorithm          | 1; 10; 10                                                |
| signature right, digest wrapped otherwise                          | 10, 14                                                   |
| 10,000 commands, written out or by loops; deep nesting; huge heads | 8, 8, 8, 1                                               |

Every one leaves the device as it was (EG-FEAT-011), and costs a bounded number of steps, which is counted and not timed.
"""

from hashlib import sha256

from evergrow_protocol import suit, suit_envelope
from evergrow_protocol.cbor import Tag, dumps, loads
from evergrow_protocol.errors import (
    BAD_DIGEST,
    EXPIRED,
    INVALID_STATE,
    MALFORMED,
    NOT_AUTHORISED,
    NOT_DETERMINISTIC,
    OK,
    OUT_OF_RANGE,
    STALE,
    TOO_LARGE,
    ProtocolError,
)
from evergrow_protocol.suit_manifest import INSTALL, Manifest
from evergrow_sim.publisher import Signer, manifest
from installkit import CLASS, VENDOR, World, digest_of, manifest_of, signed, signer, unlock
from support import raises

HEAP = "1536K"  # an enemy's tools need room

BODY = unlock()
FITS = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
MANY = 10000


def open_and_install(envelope, keys=None, most_steps=1500):
    """Everything that a device does with an envelope but the transfer; how many steps that took. Raises its refusal."""
    steps = 0
    opening = suit.open_steps(envelope, keys or [signer().key])
    while True:
        try:
            steps = next(opening)
        except StopIteration as stop:
            parsed = stop.value[1]
            break
    assert steps <= most_steps
    for _ in suit.Processor(parsed, VENDOR, CLASS).run(INSTALL):
        steps += 1
    assert steps <= most_steps + suit.MAX_COMMANDS
    return steps


def code(envelope, keys=None):
    return raises(ProtocolError, open_and_install, envelope, keys).code


def of_commands(commands, **more):
    return signer().envelope(manifest(FITS, {INSTALL: commands}, **more))


async def reported(payloads, world=None):
    """The report of a device that was offered this; it must have stayed as it was."""
    world = world or World()
    before = {name: world.flash.read(name) for name in world.flash.names()}
    active = world.features.active()
    report = await world.offer(payloads, transfer=len(world.reports) + 1)
    if report[1] != OK:
        assert {name: world.flash.read(name) for name in world.flash.names()} == before
        assert world.features.active() == active
    return report[1]


async def installed(sequence):
    """A device that has taken the feature with this sequence number."""
    world = World()
    assert await reported(signed(BODY, sequence=sequence), world) == OK
    return world


# -- who may


async def test_arbitrary_software():
    """EG-FEAT-003, EG-FEAT-011"""
    stranger = Signer("stranger", b"acme")
    assert await reported(signed(BODY, by=stranger)) == NOT_AUTHORISED
    assert await reported([signer().envelope(manifest_of(BODY), blocks=[]), BODY]) == NOT_AUTHORISED
    forged = stranger.envelope(
        manifest_of(BODY), blocks=[stranger.block(digest_of(dumps(manifest_of(BODY))), kid=signer().key.kid)]
    )
    assert await reported([forged, BODY]) == NOT_AUTHORISED


async def test_component_of_another_publisher():
    """EG-FEAT-003"""
    assert await reported(signed(BODY, prefix=b"maker")) == NOT_AUTHORISED
    mixed = of_commands([], components=((b"acme", b"spin"), (b"maker", b"drum")))
    assert code(mixed) == NOT_AUTHORISED


async def test_rollback():
    """EG-FEAT-005"""
    world = await installed(5)
    assert await reported(signed(BODY, sequence=4), world) == STALE
    assert await reported(signed(BODY, sequence=0), world) == STALE
    assert await reported(signed(BODY, sequence=5), world) == OK  # the same again changes nothing


async def test_fast_forward():
    """EG-FEAT-005: a slip, or a thief who wants no later version to be taken, cannot use all numbers up."""
    world = await installed(5)
    assert await reported(signed(BODY, sequence=0xFFFFFFFF), world) == STALE
    assert await reported(signed(BODY, sequence=5 + (1 << 26) + 1), world) == STALE
    assert await reported(signed(BODY, sequence=6), world) == OK
    world.utc = 1_795_339_200  # a publisher that counts in seconds may have been silent for years
    assert await reported(signed(BODY, sequence=world.utc + (1 << 26) + 1), world) == STALE
    assert await reported(signed(BODY, sequence=world.utc), world) == OK


def test_expired_while_offline():
    """EG-SUIT-003"""
    steps = suit.Processor(opened(of_commands([20, {4: 1700000000}, 4, 15, 20, {21: "#f"}, 21, 15])), VENDOR, CLASS).run(INSTALL)
    assert next(steps).kind == suit.USE_BEFORE
    assert raises(ProtocolError, steps.send, False).code == EXPIRED


async def test_other_hardware():
    """EG-FEAT-006"""
    assert await reported(signed(BODY, vendor=CLASS)) == OUT_OF_RANGE
    assert await reported(signed(BODY, class_id=VENDOR)) == OUT_OF_RANGE
    unsaid = signer().envelope(
        manifest(None, {INSTALL: [20, {21: "evergrow:1", 3: digest_of(BODY), 14: len(BODY)}, 21, 2, 3, 15]})
    )
    assert await reported([unsaid, BODY]) == OUT_OF_RANGE


def test_what_the_interpreter_cannot_load():
    """EG-SUIT-006"""
    ways = [dumps([20, {5: slot, 21: "#f"}, 5, 0, 21, 2]) for slot in (7, 8)]
    steps = suit.Processor(opened(of_commands([15, ways])), VENDOR, CLASS).run(INSTALL)
    assert next(steps).slot == 7 and steps.send(False).slot == 8
    assert raises(ProtocolError, steps.send, False).code == INVALID_STATE


def test_patch_on_another_content():
    """EG-SUIT-007: nothing is fetched for it."""
    commands = [20, {3: digest_of(b"old"), 14: 3}, 3, 0, 20, {3: digest_of(BODY), 14: len(BODY), 21: "evergrow:2?patch=9"}, 21, 2]
    steps = suit.Processor(opened(of_commands(commands)), VENDOR, CLASS).run(INSTALL)
    assert next(steps).kind == suit.IMAGE_MATCH
    assert raises(ProtocolError, steps.send, False).code == BAD_DIGEST


# -- what belongs together


async def test_mix_and_match():
    """EG-FEAT-002, EG-FEAT-004: parts of two envelopes by the same publisher do not make a third."""
    other = unlock(maximum=1200, version="0.9")
    old, new = signed(other, sequence=1), signed(BODY, sequence=2)
    assert await reported([new[0], other]) == BAD_DIGEST
    parts = [loads(envelope, copy=True).value for envelope in (old[0], new[0])]
    digests = [loads(part[2])[0] for part in parts]
    blocks = [loads(part[2])[1] for part in parts]
    assert code(dumps(Tag(107, {2: parts[0][2], 3: parts[1][3]}))) == BAD_DIGEST
    assert code(dumps(Tag(107, {2: dumps([digests[1], blocks[0]]), 3: parts[1][3]}))) == NOT_AUTHORISED
    # A severed section of another manifest.
    sections = [dumps([20, {21: uri}, 21, 2]) for uri in ("#a", "#b")]
    severed = signer().envelope(
        manifest(FITS, {}, members={INSTALL: [-16, sha256(dumps(sections[0])).digest()]}), {20: sections[1]}
    )
    assert code(severed) == BAD_DIGEST


async def test_payload_replaced():
    """EG-FEAT-004"""
    for bad in (BODY[:-1] + b"\0", bytes(len(BODY)), unlock(maximum=1399)):
        assert len(bad) == len(BODY)
        assert await reported([signed(BODY)[0], bad]) == BAD_DIGEST


async def test_manifest_modified():
    """EG-FEAT-002"""
    envelope = signed(BODY)[0]
    at = envelope.index(manifest_of(BODY))
    for offset in range(0, len(manifest_of(BODY)), 7):
        bad = bytearray(envelope)
        bad[at + offset] ^= 1
        assert code(bytes(bad)) == BAD_DIGEST, offset


# -- too much


async def test_endless_data():
    """EG-FEAT-002, EG-FEAT-010, EG-LIM-003"""
    envelope = signed(BODY)[0]
    assert await reported([bytes(suit_envelope.MAX_ENVELOPE + 1), b""]) == TOO_LARGE
    huge = signed(BODY, size=1 << 30)[0]
    assert await reported([huge, BODY]) == TOO_LARGE

    def flood(world, transfer, payload, block_bytes, first, wanted):
        """Blocks that were not asked for, blocks that are too long, and then what was asked for."""
        for block in range(100):
            world.installer.on_block(transfer, payload, block, bytes(block_bytes + 1))
            world.installer.on_block(transfer, payload, first + 1000 + block, bytes(block_bytes))
        World.serve(world, transfer, payload, block_bytes, first, wanted)

    world = World(answer=flood)
    assert await reported([envelope, BODY + bytes(5000)], World()) == EXPIRED  # a last block that is too long is none
    assert await reported([envelope, BODY], world) == OK  # it asks for what was signed, and takes no more
    assert world.features.active() and sum(world.flash.size(name) for name in world.flash.names() if name != "features") == len(
        BODY
    )


def test_ten_thousand_commands():
    """EG-SUIT-002: written out they are more than an envelope holds; as many as it holds are more than are parsed."""
    assert code(of_commands([12, 0] * MANY)) == TOO_LARGE
    assert code(of_commands([12, 0] * 7000)) == TOO_LARGE


def test_ten_thousand_commands_by_loops():
    """EG-SUIT-002: 16 times 16 times 40, in 1.5 KB: nested sequences run once for each component. It ends at the 65th."""
    loop = dumps([12, 0] * 40)
    for _ in range(2):
        loop = dumps([12, True, 32, loop] * 4)
    components = [(b"acme", bytes((i,))) for i in range(4)]
    looping = of_commands([32, loop], components=components)
    assert len(looping) < 5000 and code(looping) == TOO_LARGE
    ways = dumps([14, 0])
    assert code(of_commands([15, [ways] * 90])) == TOO_LARGE


def test_deep_nesting():
    """EG-SUIT-002, EG-ENC-005: in CBOR, before any signature was looked at; and in command sequences, after."""
    for head in (b"\x81", b"\xc6", b"\xa1\x00"):
        bomb = head * 5000 + b"\x00"
        assert code(b"\xd8\x6b\xa1\x18\x63" + bomb) == TOO_LARGE
    nested = dumps([12, 0])
    for _ in range(30):
        nested = dumps([32, nested])
    assert code(signer().envelope(manifest(FITS, {}, members={INSTALL: nested}))) == TOO_LARGE
    nested = dumps([12, 0])
    for _ in range(30):
        nested = dumps([15, [nested]])
    assert code(signer().envelope(manifest(FITS, {}, members={INSTALL: nested}))) == TOO_LARGE


def test_heads_that_announce_more_than_there_is():
    """EG-ENC-005: nothing is allocated for what is not there."""
    for head in (
        b"\x9a\xff\xff\xff\xff",
        b"\xba\xff\xff\xff\xff",
        b"\x5a\xff\xff\xff\xff",
        b"\x9b" + b"\xff" * 8,
        b"\x7b" + b"\xff" * 8,
    ):
        assert code(b"\xd8\x6b\xa1\x18\x63" + head) == MALFORMED
        assert code(head) in (MALFORMED, 4)


# -- what looks right


def test_duplicate_keys():
    """EG-ENC-001: in the envelope, the manifest, its common part, parameters, and between the headers of a signature."""
    twice = b"\xd8\x6b\xa2\x03\x41\x00\x03\x41\x00"
    assert code(twice) == NOT_DETERMINISTIC
    for encoded in (
        b"\xa4\x01\x01\x02\x01\x02\x02\x03\x40",
        dumps({1: 1, 2: 1, 3: b"\xa2\x02\x81\x81\x44acme\x02\x81\x81\x44acme"}),
        manifest(FITS, {}, members={INSTALL: b"\x82\x14\xa2\x15\x62#a\x15\x62#b"}),
    ):
        assert code(signer().envelope(encoded)) == NOT_DETERMINISTIC, encoded
    payload = digest_of(dumps(manifest_of(BODY)))
    block = signer().block(payload, unprotected={4: signer().key.kid})
    assert code(signer().envelope(manifest_of(BODY), blocks=[block])) == MALFORMED


def test_truncated_signature():
    """EG-FEAT-003: of every kind of length, refused before the first hash."""
    payload = digest_of(dumps(manifest_of(BODY)))
    header = dumps({1: signer().key.alg, 4: signer().key.kid})
    whole = loads(signer().block(payload), copy=True).value[3]
    for size in (0, 1, 4, 100, len(whole) - 32, len(whole) - 1):
        block = dumps(Tag(18, [header, {}, None, whole[:size]]))
        assert code(signer().envelope(manifest_of(BODY), blocks=[block])) == MALFORMED, size
    longer = dumps(Tag(18, [header, {}, None, whole + b"\0"]))
    assert code(signer().envelope(manifest_of(BODY), blocks=[longer])) == MALFORMED


def test_right_signature_on_the_wrong_digest_wrapping():
    """EG-SUIT-001: each of these was signed by the right key; none is what a SUIT signature covers."""
    encoded = manifest_of(BODY)
    right = digest_of(dumps(encoded))
    for payload in (
        digest_of(encoded),  # the manifest without the head of its byte string
        right[5:],  # the bare digest
        dumps(right),  # the digest array wrapped once more
        dumps(encoded),
        encoded,
        b"",
    ):
        assert code(signer().envelope(encoded, blocks=[signer().block(payload)])) == NOT_AUTHORISED
    # The wrapper names the digest of the bare manifest, and that is what was signed.
    bare = digest_of(encoded)
    assert code(dumps(Tag(107, {2: dumps([bare, signer().block(bare)]), 3: encoded}))) == BAD_DIGEST
    # The payload is attached instead of detached.
    tagged = loads(signer().block(right), copy=True).value
    attached = dumps(Tag(18, [tagged[0], {}, right, tagged[3]]))
    assert code(signer().envelope(encoded, blocks=[attached])) == 6


def test_signature_of_another_algorithm():
    """EG-FEAT-003: the algorithm is the key's, whatever the header says."""
    payload = digest_of(dumps(manifest_of(BODY)))
    for alg in (-7, -8, -19, 0, -16):
        assert code(signer().envelope(manifest_of(BODY), blocks=[signer().block(payload, alg=alg)])) == NOT_AUTHORISED


def test_every_crowd_of_signatures_costs_a_bounded_number_of_hashes():
    """EG-SUIT-002: four blocks by a known key, none good, and the device has hashed at most four signatures."""
    wrong = digest_of(b"something else")
    crowd = signer().envelope(manifest_of(BODY), blocks=[signer().block(wrong)] * 4)
    hashes = 0
    last = 0

    def count():
        nonlocal hashes, last
        for step in suit.open_steps(crowd, [signer().key]):
            hashes += step - last if step > last else step
            last = step

    assert raises(ProtocolError, count).code == NOT_AUTHORISED
    assert hashes <= 4 * 1100
    assert code(signer().envelope(manifest_of(BODY), blocks=[signer().block(wrong)] * 5)) == TOO_LARGE


def opened(envelope):
    return Manifest(suit_envelope.Envelope(envelope))
