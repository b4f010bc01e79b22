"""The cloud's CBOR: deterministic, bounded, and never more than it promises."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrow_cloud import strict
from evergrow_cloud.errors import WireError
from evergrow_protocol import errors as codes

integers = st.integers(-strict.MAX_INT - 1, strict.MAX_INT)
values = st.recursive(
    st.none() | st.booleans() | integers | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(integers, inner, max_size=6),
    max_leaves=30,
)


def refusal(data: bytes) -> int:
    with pytest.raises(WireError) as caught:
        strict.loads(data)
    return caught.value.code


@given(values)
def test_what_is_encoded_is_decoded(value: object) -> None:
    """EG-ENC-001"""
    assert strict.loads(strict.dumps(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_or_the_only_encoding_of_a_value(data: bytes) -> None:
    """EG-ENC-001 EG-ENC-004"""
    try:
        value = strict.loads(data)
    except WireError as error:
        assert error.code in (codes.MALFORMED, codes.NOT_DETERMINISTIC, codes.BAD_TYPE, codes.OUT_OF_RANGE, codes.TOO_LARGE)
    else:
        assert strict.dumps(value) == data


@given(values, st.data())
def test_a_damaged_item_is_an_error_or_another_value(value: object, data: st.DataObject) -> None:
    """EG-ENC-004"""
    encoded = bytearray(strict.dumps(value))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    try:
        found = strict.loads(bytes(encoded))
    except WireError:
        return
    assert strict.dumps(found) == encoded


@given(values)
def test_every_prefix_is_refused(value: object) -> None:
    encoded = strict.dumps(value)
    for end in range(len(encoded)):
        assert refusal(encoded[:end]) == codes.MALFORMED


def test_keys_are_in_bytewise_order_of_their_encoding() -> None:
    """EG-ENC-001: RFC 8949 section 4.2.1, not the length-first order of RFC 7049."""
    assert strict.dumps({-1: 0, 24: 0, 1: 0}).hex() == "a3010018180020" + "00"
    assert refusal(cbor2.dumps({-1: 0, 24: 0}, canonical=True)) == codes.NOT_DETERMINISTIC


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("1801", codes.NOT_DETERMINISTIC),  # 1 in two bytes
        ("190018", codes.NOT_DETERMINISTIC),
        ("9fff", codes.NOT_DETERMINISTIC),  # indefinite lengths
        ("5f4100ff", codes.NOT_DETERMINISTIC),
        ("bfff", codes.NOT_DETERMINISTIC),
        ("a202000100", codes.NOT_DETERMINISTIC),  # keys 2, 1
        ("a201000100", codes.NOT_DETERMINISTIC),  # key 1 twice
        ("0000", codes.MALFORMED),  # two items
        ("", codes.MALFORMED),
        ("1c", codes.MALFORMED),  # reserved
        ("62c328", codes.MALFORMED),  # not UTF-8
        ("f93c00", codes.BAD_TYPE),  # 1.0
        ("fb3ff0000000000000", codes.BAD_TYPE),
        ("f7", codes.BAD_TYPE),  # undefined
        ("e0", codes.BAD_TYPE),
        ("ff", codes.MALFORMED),  # a lone break
        ("c11a514b67b0", codes.BAD_TYPE),  # a date
        ("d81c81d81d00", codes.BAD_TYPE),  # an array that holds itself
        ("c249010000000000000000", codes.BAD_TYPE),  # a bignum
        ("a1616101", codes.BAD_TYPE),  # a text key
        ("a1800a", codes.BAD_TYPE),
        ("1b8000000000000000", codes.OUT_OF_RANGE),
        ("9b7fffffffffffffff", codes.MALFORMED),  # promises that the bytes do not keep
        ("9a00010000", codes.MALFORMED),
        ("5b7fffffffffffffff", codes.MALFORMED),
        ("bb7fffffffffffffff", codes.MALFORMED),
    ],
)
def test_forbidden_encodings_have_their_codes(data: str, code: int) -> None:
    """EG-ENC-001 EG-ENC-002 EG-ENC-005"""
    assert refusal(bytes.fromhex(data)) == code


def test_eight_levels_are_accepted_and_a_thousand_refused() -> None:
    """EG-ENC-005"""
    assert strict.loads(b"\x81" * 8 + b"\x00") == [[[[[[[[0]]]]]]]]
    assert refusal(b"\x81" * 1000 + b"\x00") == codes.TOO_LARGE
    assert refusal(b"\xa1\x00" * 1000 + b"\x00") == codes.TOO_LARGE


def test_bytes_and_items_are_bounded() -> None:
    """EG-ENC-005 EG-LIM-001"""
    assert refusal(bytes(strict.MAX_BYTES + 1)) == codes.TOO_LARGE
    assert refusal(b"\x99\x40\x00" + bytes(strict.MAX_ITEMS)) == codes.TOO_LARGE


@pytest.mark.parametrize("value", [1.0, {1, 2}, {"a": 1}, {True: 1}, 2**63, object()])
def test_what_the_protocol_has_not_is_not_encoded(value: object) -> None:
    """EG-ENC-002"""
    with pytest.raises(WireError) as caught:
        strict.dumps(value)
    assert caught.value.code == codes.BAD_TYPE
