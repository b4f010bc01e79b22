"""Feature bodies: what is accepted, and the code with which everything else is refused."""

from evergrow_protocol import feature
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import (
    BAD_TYPE,
    MALFORMED,
    NOT_DETERMINISTIC,
    OUT_OF_RANGE,
    TOO_LARGE,
    UNKNOWN_KIND,
    UNSUPPORTED,
    ProtocolError,
)
from support import raises

UNLOCK = {0: 1, 1: 1002, 2: "spin-1400", 3: "1.0.0", 4: {4: 1400}, 6: [1, 1]}
PROGRAMME = {0: 2, 1: 1001, 2: "allergen-care", 3: "1.0.0", 5: [1001, [{0: 4, 5: 60}]]}


def changed(base, **values):
    """`base` with the keys of `values` ("k4") set, or removed where the value is None."""
    items = dict(base)
    for name in values:
        items[int(name[1:])] = values[name]
        if values[name] is None:
            del items[int(name[1:])]
    return dumps(items)


def code(buf):
    return raises(ProtocolError, feature.parse, buf).code


def test_an_unlock_is_read():
    parsed = feature.parse(dumps(UNLOCK))
    assert (parsed.kind, parsed.id, parsed.name, parsed.version) == (feature.UNLOCK, 1002, "spin-1400", "1.0.0")
    assert parsed.unlocks == {4: 1400} and parsed.programme is None
    assert (parsed.class_id, parsed.registry_version) == (1, 1)


def test_a_programme_stays_encoded():
    parsed = feature.parse(memoryview(dumps(PROGRAMME)))
    assert parsed.kind == feature.PROGRAMME and bytes(parsed.programme) == dumps(PROGRAMME[5])
    assert parsed.unlocks == {} and (parsed.class_id, parsed.registry_version) == (0, 0)


def test_unknown_keys_are_ignored_and_negative_ones_are_critical():
    extended = dict(PROGRAMME)
    extended[7] = {"later": [1, 2.5, None]}
    assert feature.parse(dumps(extended)).id == 1001
    extended[-1] = 0
    assert code(dumps(extended)) == UNSUPPORTED
    assert code(dumps({"kind": 1})) == UNSUPPORTED


def test_kinds_that_are_none_are_refused():
    for kind in (0, 4, -1):
        assert code(changed(UNLOCK, k0=kind)) == UNKNOWN_KIND
    assert code(changed(UNLOCK, k0=None)) == UNKNOWN_KIND


def test_every_kind_has_what_it_is_about_and_nothing_else():
    """EG-BODY-001"""
    for body in (
        changed(UNLOCK, k4=None),
        changed(UNLOCK, k4={}),
        changed(UNLOCK, k0=2),
        changed(PROGRAMME, k5=None),
        changed(PROGRAMME, k0=1),
        changed(PROGRAMME, k4={4: 1400}),
        changed(UNLOCK, k0=3),
        changed(UNLOCK, k1=None),
        changed(UNLOCK, k2=None),
        changed(UNLOCK, k3=None),
    ):
        assert code(body) == MALFORMED


def test_numbers_and_texts_are_bounded():
    """EG-FEAT-012"""
    for body in (
        changed(UNLOCK, k1=999),
        changed(UNLOCK, k1=65536),
        changed(UNLOCK, k2=""),
        changed(UNLOCK, k3="1" * 33),
        changed(UNLOCK, k4={0: 1}),
        changed(UNLOCK, k4={4: -1}),
        changed(UNLOCK, k4={4: 1 << 31}),
        changed(UNLOCK, k4={"spin": 1}),
        changed(UNLOCK, k4=dict([(i, 1) for i in range(1, 10)])),
        changed(UNLOCK, k6=[0, 1]),
    ):
        assert code(body) == OUT_OF_RANGE


def test_wrong_types_are_refused():
    for body in (changed(UNLOCK, k0="unlock"), changed(UNLOCK, k4=[4, 1400]), changed(PROGRAMME, k5=b"x"), changed(UNLOCK, k6=1)):
        assert code(body) == BAD_TYPE
    assert code(changed(UNLOCK, k6=[1, 1, 1])) == MALFORMED


def test_a_body_of_more_than_8_kib_is_too_large():
    """EG-LIM-003"""
    assert code(bytes(feature.MAX_BODY + 1)) == TOO_LARGE


def test_bodies_that_are_not_deterministic_or_end_wrongly_are_refused():
    body = dumps(UNLOCK)
    assert code(b"\xbf" + body[1:] + b"\xff") == NOT_DETERMINISTIC
    assert code(body + b"\0") == MALFORMED
    for size in range(len(body)):
        raises(ProtocolError, feature.parse, body[:size])


def test_a_flip_in_any_byte_gives_a_feature_or_a_protocol_error():
    for base in (UNLOCK, PROGRAMME):
        body = dumps(base)
        for at in range(len(body)):
            for bit in range(8):
                flipped = bytearray(body)
                flipped[at] ^= 1 << bit
                try:
                    feature.parse(flipped)
                except ProtocolError:
                    pass
