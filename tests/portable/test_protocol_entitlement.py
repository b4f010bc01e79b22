"""Entitlements as bytes: evergrow_protocol.entitlement."""

from evergrow_protocol import entitlement, hmac
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.errors import (
    BAD_TYPE,
    MALFORMED,
    NOT_AUTHORISED,
    NOT_DETERMINISTIC,
    OUT_OF_RANGE,
    TOO_LARGE,
    UNSUPPORTED,
    ProtocolError,
)
from support import raises
from trustkit import KEY, SUBKEY, claims_of, token_of

HEAP = "512K"

# The example of SPEC section 13.
EXAMPLE = bytes.fromhex(
    "d18443a10105a05834a4026d61636d652f7761736865722d31041a6b36ec80061a6b02b3c03a00010000a60002011903e902040414051a00093a8006f5"
    "582087e8086f625d33073934397c9b53659d5352428ca60699d6f161a20e55521f5f"
)


def code(call, *args):
    return raises(ProtocolError, call, *args).code


def test_the_example_of_the_specification_is_read():
    """EG-ENT-001, EG-ENT-006"""
    found = entitlement.parse(entitlement.authentic(EXAMPLE, hmac.digest(KEY, b"eg1 entitlement")))
    assert (found.subject, found.publisher, found.feature, found.sequence) == ("acme/washer-1", 2, 1001, 4)
    assert (found.expires, found.issued, found.not_before) == (1798761600, 1795339200, 0)
    assert (found.uses, found.grace_s, found.trial, found.tier) == (20, 604800, True, 0)
    assert (found.first, found.last) == (0, 0xFFFFFFFF)


def test_every_bit_counts():
    """EG-ENT-001"""
    for at in range(len(EXAMPLE)):
        for bit in (1, 0x80):
            bad = bytearray(EXAMPLE)
            bad[at] ^= bit
            if bytes(bad[:2]) == EXAMPLE[:2] or bad[0] >> 5 != 6:
                raises(ProtocolError, entitlement.authentic, bytes(bad), SUBKEY)
    for end in range(len(EXAMPLE)):
        raises(ProtocolError, entitlement.authentic, EXAMPLE[:end], SUBKEY)


def test_another_key_algorithm_or_a_short_tag_is_refused():
    """EG-ENT-001"""
    content = claims_of()
    assert bytes(entitlement.authentic(token_of(content), SUBKEY)) == content
    assert code(entitlement.authentic, token_of(content), KEY) == NOT_AUTHORISED
    assert code(entitlement.authentic, token_of(content, alg=4), SUBKEY) == NOT_AUTHORISED
    assert code(entitlement.authentic, token_of(content, tag=b""), SUBKEY) == NOT_AUTHORISED
    right = hmac.digest(SUBKEY, dumps(["MAC0", dumps({1: 5}), b"", content]))
    assert code(entitlement.authentic, token_of(content, tag=right[:8]), SUBKEY) == NOT_AUTHORISED
    assert code(entitlement.authentic, token_of(content, unprotected={1: 5}), SUBKEY) == UNSUPPORTED
    assert code(entitlement.authentic, bytes(513), SUBKEY) == TOO_LARGE
    assert code(entitlement.authentic, dumps(Tag(18, [dumps({1: 5}), {}, content, right])), SUBKEY) == MALFORMED
    untagged = dumps([dumps({1: 5}), {}, content, right])
    assert bytes(entitlement.authentic(untagged, SUBKEY)) == content


def test_the_claims_are_held_to_their_ranges():
    """EG-ENT-006"""
    whole = entitlement.parse(claims_of(claims={4: 9, 5: 3, 1: "issuer", 7: b"id"}, k3=[2, 5], k4=0, k7=3, k50=1))
    assert (whole.expires, whole.not_before, whole.first, whole.last, whole.uses, whole.tier) == (9, 3, 2, 5, 0, 3)
    for own, expected in (
        ({"k0": 0}, OUT_OF_RANGE),
        ({"k1": 65536}, OUT_OF_RANGE),
        ({"k2": -1}, OUT_OF_RANGE),
        ({"k3": [5, 2]}, OUT_OF_RANGE),
        ({"k3": [5]}, MALFORMED),
        ({"k4": "x"}, BAD_TYPE),
        ({"k6": 1}, BAD_TYPE),
        ({"k-1": 1}, UNSUPPORTED),
    ):
        assert code(entitlement.parse, claims_of(**own)) == expected, own
    assert code(entitlement.parse, claims_of(claims={4: -1})) == OUT_OF_RANGE
    assert code(entitlement.parse, claims_of(subject="")) == MALFORMED
    assert code(entitlement.parse, claims_of(subject="x" * 66)) == MALFORMED
    assert code(entitlement.parse, dumps({2: "acme/d1"})) == MALFORMED
    assert code(entitlement.parse, b"\xbf" + claims_of()[1:] + b"\xff") == NOT_DETERMINISTIC
