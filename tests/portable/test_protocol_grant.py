"""Grants and revocation lists as bytes: evergrow_protocol.grant."""

from evergrow_agent.grants import root_key
from evergrow_protocol import cose, grant
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.errors import (
    BAD_TYPE,
    MALFORMED,
    NOT_AUTHORISED,
    NOT_DETERMINISTIC,
    OUT_OF_RANGE,
    TOO_LARGE,
    UNKNOWN_KIND,
    UNSUPPORTED,
    ProtocolError,
)
from support import finish, raises
from trustkit import grant_of, list_of, root

HEAP = "1M"
# The examples of SPEC section 12.
GRANT = bytes.fromhex("ac00010102020703481f2e3d4c5b6a798804382d05583c") + bytes(60) + bytes.fromhex(
    "06496e6f7274687761736807830102030883010204098204050a1960000b00"
)
LIST = bytes.fromhex("a5000201030281481f2e3d4c5b6a79880380048184021903e90006")


def code(parse, payload):
    return raises(ProtocolError, parse, payload).code


def trusted():
    key = root().key
    return root_key(key.alg, key.public)


def opened(data):
    return bytes(finish(grant.open_steps(data, trusted())))


def test_the_examples_of_the_specification_are_read():
    """EG-TRUST-002, EG-TRUST-010"""
    found = grant.parse_grant(GRANT)
    assert (found.publisher, found.sequence, found.flash_bytes, found.heap_bytes) == (2, 7, 24576, 0)
    assert (found.key.kid.hex(), found.key.prefix, found.key.publisher) == ("1f2e3d4c5b6a7988", b"northwash", 2)
    assert (found.signals, found.actuators, found.meters) == ((1, 2, 3), (1, 2, 4), (4, 5))
    assert (found.not_before, found.not_after) == (0, None)
    revoked = grant.parse_revocations(LIST)
    assert revoked.sequence == 3 and [kid.hex() for kid in revoked.kids] == ["1f2e3d4c5b6a7988"]
    assert revoked.names(2, 1001, 0) and revoked.names(2, 1001, 6)
    assert not revoked.names(2, 1001, 7) and not revoked.names(2, 1002, 0) and not revoked.names(1, 1001, 0)


def test_a_signature_of_the_root_opens_it():
    """EG-TRUST-001"""
    assert opened(root().message(GRANT)) == GRANT
    assert opened(root().message(LIST)) == LIST


def test_what_the_root_did_not_sign_is_refused():
    """EG-TRUST-001"""
    good = root().message(GRANT)
    for bad in (
        root().message(GRANT, kid=b"another"),
        root().message(GRANT, alg=-7),
        root().message(LIST).replace(LIST, LIST[:-1] + b"\x07"),
        good[:-1] + bytes([good[-1] ^ 1]),
    ):
        assert code(opened, bad) == NOT_AUTHORISED
    assert code(opened, good[:-1]) == MALFORMED
    assert code(opened, good + b"\x00") == MALFORMED
    assert code(opened, root().block(GRANT, kid=trusted().kid)) == BAD_TYPE  # the payload is not inside
    assert code(opened, dumps(Tag(17, [b"", {}, GRANT, b""]))) == MALFORMED
    assert code(opened, bytes(grant.MAX_SIGNED + 1)) == TOO_LARGE


def test_a_cut_signature_never_opens():
    good = root().message(LIST)
    for end in range(0, len(good), 97):
        assert code(opened, good[:end]) in (MALFORMED, NOT_AUTHORISED)


def test_the_one_cannot_pass_for_the_other():
    """EG-TRUST-001"""
    assert code(grant.parse_grant, LIST) == UNKNOWN_KIND
    assert code(grant.parse_revocations, GRANT) == UNKNOWN_KIND
    assert code(grant.parse_grant, dumps({0: 3})) == UNKNOWN_KIND
    assert code(grant.parse_grant, dumps({1: 3})) == UNKNOWN_KIND


def test_each_key_of_a_grant_is_needed_and_held_to_its_range():
    """EG-TRUST-002"""
    grant.parse_grant(grant_of(k12=5, k13=9, k99=[1]))
    for key in range(1, 12):
        assert code(grant.parse_grant, grant_of(**{f"k{key}": None})) == MALFORMED
    bad = {
        "k1": (0, 65536), "k2": (-1, 1 << 32), "k3": (b"", bytes(33)), "k5": (bytes(59), bytes(61)), "k6": (b"", bytes(33)),
        "k7": ([0], [65536]), "k8": ([-1],), "k9": ([0],), "k10": (-1,), "k11": (1 << 32,), "k12": (-1,), "k13": (1 << 32,),
    }  # fmt: skip
    for name in bad:
        for value in bad[name]:
            assert code(grant.parse_grant, grant_of(**{name: value})) == OUT_OF_RANGE, (name, value)
    for name in ("k1", "k2", "k4", "k10", "k12"):
        assert code(grant.parse_grant, grant_of(**{name: "1"})) == BAD_TYPE
    assert code(grant.parse_grant, grant_of(k4=-7)) == UNSUPPORTED
    assert code(grant.parse_grant, grant_of(k8=list(range(1, 70)))) == TOO_LARGE
    assert code(grant.parse_grant, grant_of(k20=bytes(1100))) == TOO_LARGE
    assert code(grant.parse_grant, grant_of(**{"k-1": 0})) == UNSUPPORTED


def test_a_list_is_held_to_its_form():
    """EG-TRUST-010"""
    assert grant.parse_revocations(list_of(k9=1)).sequence == 1
    for name in ("k1", "k2", "k3", "k4"):
        assert code(grant.parse_revocations, list_of(**{name: None})) == MALFORMED
    for fields, expected in (
        ({"sequence": 0}, OUT_OF_RANGE),
        ({"kids": [b""]}, OUT_OF_RANGE),
        ({"kids": [b"k"] * 65}, TOO_LARGE),
        ({"publishers": [0]}, OUT_OF_RANGE),
        ({"features": [[1, 1001, 2]]}, MALFORMED),
        ({"features": [[1, 1001, 2, 1]]}, OUT_OF_RANGE),
        ({"features": [[1, 1001, 0, 1]] * 65}, TOO_LARGE),
        ({"k-5": 0}, UNSUPPORTED),
    ):
        assert code(grant.parse_revocations, list_of(**fields)) == expected, fields


def test_other_encodings_are_refused():
    """EG-ENC-001, EG-ENC-004"""
    for parse, good in ((grant.parse_grant, GRANT), (grant.parse_revocations, LIST)):
        for end in range(len(good)):
            raises(ProtocolError, parse, good[:end])
        assert code(parse, good + b"\x00") == MALFORMED
        assert code(parse, b"\xbf" + good[1:] + b"\xff") == NOT_DETERMINISTIC


def test_the_algorithm_is_the_keys():
    """EG-TRUST-001"""
    assert cose.ALG_HSS_LMS == -46 == trusted().alg
