"""What is fuzzed: every parser that meets bytes of an enemy, as a function of bytes, on both interpreters.

A target returns when the input was accepted; it raises ProtocolError when it was refused by code; any other exception is a bug.
"""

import binascii
from hashlib import sha256

from evergrow_agent import codecheck, delta
from evergrow_protocol import cose, entitlement, feature, feature_code, grant, hmac, lms, suit
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.suit_envelope import Envelope
from evergrow_protocol.suit_manifest import SECTIONS, Manifest
from evergrow_sim.publisher import Signer, manifest

VENDOR, CLASS = bytes(range(16)), bytes(range(16, 32))
SIGNER = Signer("fuzz", b"acme")
OLD = bytes(range(256)) * 4
PATCHED_SIZE = 1000
KEY = bytes(range(32))
CLAIMS = dumps({2: "acme/d1", -65537: {0: 7, 1: 1001, 2: 1}})
# A small feature: start(api) with a tick that counts, as mpy-cross 1.29 made it.
MPY = (
    "4d06001f0b000e66656174757265000f82250a657665727900046f6b00087469636b00817b811506617069000b066e6f77004c00020132"
    "001602516301821c318e010208202366202b0002802702b0b2200002c125001403228768b1360259100463018228330e0509090a60202e"
    "25012500140682360183f4f227012500140722877225013602595163"
)
MESSAGE = b"the encoded digest of a manifest"


def envelope(data):
    """Everything from the offered bytes to the last action, as `suit.open_steps` and the processor do it."""
    steps = suit.open_steps(data, [SIGNER.key])
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            parsed = stop.value[1]
            break
    run(parsed, data)


def signed_manifest(data):
    """What a publisher that one trusts, or who stole its key, can do: the manifest, its digest right."""
    wrapper = dumps([dumps([-16, sha256(dumps(data)).digest()])])
    parsed = Envelope(dumps(Tag(107, {2: wrapper, 3: data})))
    parsed.check_digest()
    run(Manifest(parsed), data)


def run(parsed, data):
    """All sections, with answers that follow from the input; a dependency is the manifest itself."""
    answers = int.from_bytes(sha256(data).digest(), "big") | int.from_bytes(sha256(data + b"!").digest(), "big")
    for section in SECTIONS:
        steps = suit.Processor(parsed, VENDOR, CLASS).run(section)
        answer = None
        seen = 0
        try:
            while True:
                action = steps.send(answer)
                seen += 1
                answer = parsed if action.kind == suit.DEPENDENCY else bool(answers >> seen % 256 & 1)
                if action.uri is not None:
                    locate(action.uri)
        except StopIteration:
            pass
        except ProtocolError:
            pass
        assert seen <= suit.MAX_COMMANDS * len(parsed.components)


def locate(uri):
    try:
        number, patch = suit.locate(uri)
    except ProtocolError:
        return
    assert 0 <= number < 1000 and patch >= 0


def sign1(data):
    """A COSE block, up to its signature."""
    block = cose.Sign1(data)
    key = cose.find_key([SIGNER.key], block.kid)
    if key:
        for _ in cose.verify_steps(block, MESSAGE, key):
            pass


def signature(data):
    """An HSS signature under a key that the device has. No input but a signer's may verify."""
    good = lms.verify(SIGNER.key.public, (MESSAGE,), data)
    assert not good or data == SIGNER.sign(MESSAGE)


def public_key(data):
    """An HSS public key, as a grant brings it, with a signature."""
    if len(data) < 64 or data[7:8] != b"\5" or data[11:12] not in (b"\3", b"\2"):  # wide chains are long, by their nature
        lms.verify(data[:60], (MESSAGE,), data[60:2000][:60])
    else:
        lms.verify(data[:60], (MESSAGE,), data[60:])


def root_message(data):
    """A grant or a revocation list, as it arrives."""
    steps = grant.open_steps(data, SIGNER.key)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            root_payload(bytes(stop.value))
            return


def root_payload(data):
    """What a root key, or who stole it, can say."""
    if grant.what(data) == grant.GRANT:
        assert 1 <= grant.parse_grant(data).publisher <= 0xFFFF
    else:
        grant.parse_revocations(data).names(7, 1001, 1)


def token(data):
    """An entitlement, as it arrives. None but the cloud's may be authentic."""
    claims = entitlement.authentic(data, KEY)
    assert bytes(claims) == CLAIMS


def cwt_claims(data):
    found = entitlement.parse(data)
    assert found.subject and found.publisher and found.first <= found.last


def feature_body(data):
    feature.parse(data)


def declaration(data):
    """What a code feature says that it needs."""
    needs = feature_code.parse(data)
    assert 0 < needs.heap_bytes <= 65536 and len(needs.signals) <= 16


def byte_code(data):
    """A .mpy, looked through before anything of it is loaded."""
    codecheck.check_byte_code(data)


def patch(data):
    """A patch on a known content: never a byte more than the signed size."""
    made = 0
    try:
        for piece in delta.apply(_reader(OLD), len(OLD), _reader(data), len(data), PATCHED_SIZE):
            made += len(piece)
    finally:
        assert made <= PATCHED_SIZE


def _reader(data):
    def read(offset, buf):
        piece = data[offset : offset + len(buf)]
        buf[: len(piece)] = piece
        return len(piece)

    return read


TARGETS = {
    "envelope": envelope,
    "manifest": signed_manifest,
    "cose": sign1,
    "lms": signature,
    "lms_key": public_key,
    "root": root_message,
    "grant": root_payload,
    "mac0": token,
    "cwt": cwt_claims,
    "feature": feature_body,
    "needs": declaration,
    "byte_code": byte_code,
    "patch": patch,
}


def seeds(target):
    """Good inputs to begin with; what fuzzers found since is in corpus/."""
    body = dumps({0: 1, 1: 1001, 2: "spin", 3: "1.0", 4: {4: 1400}, 6: [1, 1]})
    digest = dumps([-16, sha256(body).digest()])
    fits = [20, {1: VENDOR, 2: CLASS, 3: digest, 14: len(body)}, 1, 15, 2, 15]
    ways = [dumps([20, {5: slot, 21: uri}, 5, 0, 21, 2, 3, 15]) for slot, uri in ((6, "evergrow:2?patch=9"), (0, "#feature"))]
    conditions = [20, {4: 9, 18: b"x", 23: b"y", 24: VENDOR, 26: 5, 27: -1, 28: dumps([2, [1, 2]])}]
    conditions += [command for kind in (4, 18, 23, 24, 26, 27, 28, 33) for command in (kind, 15)]
    manifests = [
        manifest(fits, {20: [20, {21: "#feature"}, 21, 2, 3, 15], 24: [33, 2]}, [[b"acme", b"f"]]),
        manifest(fits, {20: [15, ways], 16: [32, ways[1]], 7: [12, True, 3, 15]}, [[b"acme", b"f"], [b"acme", b"g"]]),
        manifest(fits, {20: conditions, 9: [23, 15]}, [[b"acme", b"f"]]),
        manifest(
            None,
            {20: [12, 1, 19, {3: digest}, 7, 15, 11, 0]},
            members={3: dumps({1: {1: {}}, 2: [[b"acme"], [b"b"]], 4: dumps(fits)})},
        ),
    ]
    signed = SIGNER.sign(MESSAGE)
    header = dumps({1: entitlement.ALG_HMAC_256})
    own = {0: 7, 1: 1001, 2: 1, 3: [0, 9], 4: 3, 5: 60, 6: False, 7: 2}
    rights = {7: [1, 2], 8: [1], 9: [4], 10: 8192, 11: 0, 12: 5, 13: 9}
    rights.update({0: 1, 1: 7, 2: 1, 3: b"k", 4: SIGNER.key.alg, 5: SIGNER.key.public, 6: b"acme"})
    granted = [
        dumps(rights),
        dumps({0: 2, 1: 1, 2: [b"k"], 3: [8], 4: [[7, 1001, 0, 3]]}),
    ]
    return {
        "envelope": [SIGNER.envelope(one, {"#feature": body}) for one in manifests],
        "manifest": manifests,
        "cose": [SIGNER.block(MESSAGE), SIGNER.block(b"other"), dumps(Tag(18, [dumps({1: -19, 4: b"k"}), {}, None, bytes(64)]))],
        "lms": [signed],
        "lms_key": [SIGNER.key.public + signed],
        "root": [SIGNER.message(one) for one in granted],
        "grant": granted,
        "mac0": [dumps(Tag(17, [header, {}, CLAIMS, hmac.digest(KEY, dumps(["MAC0", header, b"", CLAIMS]))]))],
        "cwt": [CLAIMS, dumps({2: "acme/d1", 4: 9, 5: 8, 6: 7, -65537: own})],
        "needs": [
            dumps({0: [1, 2], 1: [4], 2: [1010], 3: [1012], 4: {1: [500, 4000, 2500]}, 5: 6144, 6: 50, 7: 1}),
            dumps({5: 1, 6: 1}),
        ],
        "byte_code": [binascii.unhexlify(MPY)],
        "feature": [body, dumps({0: 2, 1: 1002, 2: "rinse", 3: "1.0", 5: [1002, [{0: 5}]]})],
        "patch": [
            b"\x03\x00",
            b"\x01\x02\x00\xfd\xffok",
            b"\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xf5\x4f\x6d\x0d\x0f\xa0" + bytes(59),
        ],
    }[target]


def outcome(target, data):
    """0 when the input was accepted, else the code of its refusal; raises for anything else."""
    try:
        TARGETS[target](data)
    except ProtocolError as error:
        assert error.code > 0 and error.text
        return error.code
    return 0
