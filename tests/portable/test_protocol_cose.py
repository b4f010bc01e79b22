"""COSE_Sign1 with a detached payload: what verifies, and that no header talks the device into anything."""

from evergrow_protocol import cose, lms
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.errors import MALFORMED, NOT_AUTHORISED, NOT_DETERMINISTIC, UNSUPPORTED, ProtocolError
from evergrow_sim.publisher import Signer
from support import finish, raises

SIGNER = Signer("acme", b"acme")
OTHER = Signer("other", b"other")
PAYLOAD = b"a payload that travels beside its signature"
BLOCK = SIGNER.block(PAYLOAD)


def verify(buf, payload=PAYLOAD, key=SIGNER.key):
    return finish(cose.verify_steps(cose.Sign1(buf), payload, key))


def encoded(protected, unprotected=None, payload=None, signature=b"", tag=18):
    if isinstance(protected, dict):
        protected = dumps(protected)
    return dumps(Tag(tag, [protected, unprotected or {}, payload, signature]))


def test_a_signature_over_the_detached_payload_verifies():
    assert verify(BLOCK) is True
    assert verify(memoryview(BLOCK), memoryview(PAYLOAD)) is True


def test_the_tag_may_be_left_out():
    assert verify(BLOCK[1:]) is True


def test_another_payload_or_key_does_not_verify():
    assert verify(BLOCK, PAYLOAD + b"\0") is False
    assert verify(BLOCK, b"") is False
    assert verify(BLOCK, key=cose.Key(b"acme", cose.ALG_HSS_LMS, OTHER.key.public, 7, b"acme")) is False


def test_payloads_of_all_head_sizes_verify():
    for size in (0, 23, 24, 255, 256, 1000):
        payload = bytes(size)
        assert verify(SIGNER.block(payload), payload) is True


def test_verification_yields_hash_counts():
    counts = list(cose.verify_steps(cose.Sign1(BLOCK), PAYLOAD, SIGNER.key))
    assert len(counts) > 10 and max([b - a for a, b in zip([0] + counts, counts)]) <= lms.STEP_HASHES


def test_header_fields_are_exposed():
    block = cose.Sign1(BLOCK)
    assert block.alg == -46 and bytes(block.kid) == b"acme"
    assert cose.Sign1(encoded(b"")).alg is None and cose.Sign1(encoded(b"")).kid is None
    assert cose.Sign1(encoded({1: "private"})).alg is None


def test_an_algorithm_that_is_not_the_keys_is_refused_by_code():
    """EG-FEAT-003"""
    for alg in (-7, -8, -19, 5):
        block = SIGNER.block(PAYLOAD, alg=alg)
        assert raises(ProtocolError, verify, block).code == NOT_AUTHORISED
    es256 = cose.Key(b"acme", -7, SIGNER.key.public, 7, b"acme")
    assert raises(ProtocolError, verify, BLOCK, PAYLOAD, es256).code == NOT_AUTHORISED
    assert raises(ProtocolError, verify, SIGNER.block(PAYLOAD, alg=-7), PAYLOAD, es256).code == NOT_AUTHORISED


def test_an_unprotected_algorithm_is_never_believed():
    header = dumps({4: b"acme"})
    signature = SIGNER.sign(dumps(["Signature1", header, b"", PAYLOAD]))
    block = encoded(header, {1: -46}, signature=signature)
    assert raises(ProtocolError, verify, block).code == NOT_AUTHORISED


def test_an_unprotected_key_id_is_accepted():
    header = dumps({1: -46})
    signature = SIGNER.sign(dumps(["Signature1", header, b"", PAYLOAD]))
    block = encoded(header, {4: b"acme"}, signature=signature)
    assert cose.find_key([OTHER.key, SIGNER.key], cose.Sign1(block).kid) is SIGNER.key
    assert verify(block) is True


def test_an_unknown_or_absent_key_id_finds_no_key():
    keys = [SIGNER.key, OTHER.key]
    for kid in (None, b"", b"acm", b"acme2"):
        assert cose.find_key(keys, kid) is None
    assert cose.find_key((), b"acme") is None


def test_a_label_in_both_headers_is_malformed():
    block = encoded({1: -46, 4: b"acme"}, {4: b"acme"})
    assert raises(ProtocolError, cose.Sign1, block).code == MALFORMED


def test_critical_headers_and_attached_payloads_are_unsupported():
    for block in (encoded({1: -46, 2: [99], 99: 0}), encoded({1: -46}, payload=PAYLOAD), encoded({1: -46}, payload=False)):
        assert raises(ProtocolError, cose.Sign1, block).code == UNSUPPORTED


def test_unknown_headers_are_passed_over():
    block = cose.Sign1(encoded({1: -46, 33: [b"chain"], "x": {1: 2}}, {-70000: None, "y": 1.5}))
    assert block.alg == -46


def test_what_is_no_cose_sign1_is_refused_by_code():
    three = dumps([b"", {}, None])
    for buf in (b"", b"\x80", dumps({}), three, BLOCK[:-1], BLOCK + b"\0", encoded(b"", tag=17), encoded(b"\xa0\0")):
        raises(ProtocolError, cose.Sign1, buf)


def test_a_header_that_is_not_deterministic_is_refused():
    for protected in (b"\xbf\x01\x38\x2d\xff", b"\xa1\x18\x01\x38\x2d", b"\xa2\x04\x41a\x01\x38\x2d"):
        assert raises(ProtocolError, cose.Sign1, encoded(protected)).code == NOT_DETERMINISTIC


def test_a_flip_in_any_byte_of_a_block_is_refused():
    for at in list(range(40)) + list(range(40, len(BLOCK), 7)):
        block = bytearray(BLOCK)
        block[at] ^= 1 << at % 8
        try:
            parsed = cose.Sign1(block)
            if cose.find_key([SIGNER.key], parsed.kid) is not None:
                assert verify(block) is False, at
        except ProtocolError:
            pass
