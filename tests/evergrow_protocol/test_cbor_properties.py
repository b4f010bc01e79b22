"""The codec against cbor2 as an independent implementation, and against arbitrary bytes. Failures print how to replay them."""

import contextlib
import enum
import math
import struct
import tracemalloc
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergrow_protocol.cbor import BufferFull, CborError, Decoder, Encoder, Tag, dumps, loads
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, NOT_DETERMINISTIC, TOO_LARGE

DEPTH = 32
REPLAYABLE = settings(print_blob=True)

ints = st.integers(-(2**64), 2**64 - 1) | st.integers(-300, 300)
keys = ints | st.text(max_size=8) | st.binary(max_size=8)
scalars = ints | st.text() | st.binary() | st.booleans() | st.none()
# Tag numbers that cbor2 gives no meaning to, so that it keeps the tag.
tag_numbers = st.integers(60000, 2**64 - 1).filter(lambda number: number not in (55799,))


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=30) | st.dictionaries(keys, children, max_size=6) | st.builds(Tag, tag_numbers, children)


values = st.recursive(scalars, containers, max_leaves=20)
columns = st.lists(st.integers(-70000, 70000) | st.integers(-30, 30), max_size=40)


def reference(value: Any) -> bytes:
    """Core deterministic encoding by cbor2. (Its `canonical` is the older order of keys, by length first.)"""
    return cbor2.dumps(_ordered(value))


def _ordered(value: Any) -> Any:
    if isinstance(value, Tag):
        return cbor2.CBORTag(value.number, _ordered(value.value))
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=cbor2.dumps)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def from_reference(value: Any) -> Any:
    if isinstance(value, cbor2.CBORTag):
        return Tag(value.tag, from_reference(value.value))
    if hasattr(value, "items"):  # within a tag, a frozendict
        return {key: from_reference(item) for key, item in value.items()}
    return [from_reference(item) for item in value] if isinstance(value, (list, tuple)) else value


def identical(one: Any, other: Any) -> bool:
    """Equality that tells True from 1 and 1 from 1.0."""
    return bool(one == other) and dumps(one, DEPTH) == dumps(other, DEPTH)


@REPLAYABLE
@given(values | columns)
def test_our_bytes_are_the_reference_bytes(value: Any) -> None:
    assert dumps(value, DEPTH) == reference(value)


@REPLAYABLE
@given(values)
def test_the_round_trip_keeps_the_value(value: Any) -> None:
    item = dumps(value, DEPTH)
    assert identical(loads(item, DEPTH, 100000, deterministic=True), value)
    decoder = Decoder(item, DEPTH, 100000, deterministic=True)
    assert decoder.read_raw() == item


@REPLAYABLE
@given(values)
def test_what_the_reference_encodes_we_decode_to_the_same_value(value: Any) -> None:
    item = reference(value)
    assert identical(loads(item, DEPTH, 100000, deterministic=True), value)
    assert identical(from_reference(cbor2.loads(dumps(value, DEPTH))), value)


@REPLAYABLE
@given(values)
def test_indefinite_lengths_of_the_reference_decode_to_the_same_value(value: Any) -> None:
    item = cbor2.dumps(_ordered(value), indefinite_containers=True)
    assert identical(loads(item, DEPTH, 100000), value)


@REPLAYABLE
@given(st.floats() | st.floats(width=32) | st.floats(width=16))
def test_a_float_takes_the_reference_s_shortest_form_and_comes_back(value: float) -> None:
    item = dumps(value)
    assert item == cbor2.dumps(value, canonical=True)
    back = loads(item, deterministic=True)
    assert math.isnan(value) if math.isnan(back) else struct.pack(">d", back) == struct.pack(">d", value)


def test_every_half_is_what_the_reference_says() -> None:
    for bits in range(65536):
        item = b"\xf9" + bits.to_bytes(2, "big")
        ours, theirs = loads(item), cbor2.loads(item)
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))
        if not math.isnan(ours):
            assert dumps(ours) == item


@REPLAYABLE
@given(values, st.integers(0, 200))
def test_a_buffer_of_any_size_takes_the_item_or_is_full(value: Any, size: int) -> None:
    encoder = Encoder(bytearray(size), DEPTH)
    item = dumps(value, DEPTH)
    if len(item) <= size:
        encoder.encode(value)
        assert encoder.result() == item
    else:
        with pytest.raises(BufferFull) as caught:
            encoder.encode(value)
        assert caught.value.offset == 0


EDITS = ("set", "insert", "delete", "cut")
mutated = st.builds(
    lambda item, edits: _edited(item, edits),
    values.map(lambda value: dumps(value, DEPTH)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from(EDITS)), max_size=4),
)
garbage = st.binary(max_size=200) | mutated
"""Bytes without any plan, and good items with a few edits, which get much deeper into the decoder."""


def _edited(item: bytes, edits: list[tuple[int, int, str]]) -> bytes:
    data = bytearray(item)
    for position, byte, edit in edits:
        at = position % (len(data) + 1)
        if edit == "insert":
            data.insert(at, byte)
        elif edit == "cut":
            del data[at:]
        elif at < len(data):
            if edit == "set":
                data[at] = byte
            else:
                del data[at]
    return bytes(data)


@settings(REPLAYABLE, max_examples=300)
@given(garbage)
def test_arbitrary_bytes_decode_or_are_refused_with_code_and_offset(data: bytes) -> None:
    for deterministic in (False, True):
        for read in ("decode", "skip"):
            try:
                getattr(Decoder(data, deterministic=deterministic), read)()
            except CborError as error:
                assert error.code in (MALFORMED, NOT_DETERMINISTIC, BAD_TYPE, TOO_LARGE)
                assert error.code != NOT_DETERMINISTIC or deterministic
                assert error.offset is not None
                assert 0 <= error.offset <= len(data)


@settings(REPLAYABLE, max_examples=300)
@given(garbage)
def test_deterministic_input_is_the_one_encoding_of_its_value(data: bytes) -> None:
    try:
        value = loads(data, deterministic=True)
    except CborError:
        return
    assert dumps(value) == data


@settings(REPLAYABLE, max_examples=300)
@given(garbage)
def test_what_decodes_can_be_stepped_over(data: bytes) -> None:
    for deterministic in (False, True):
        decoder = Decoder(data, deterministic=deterministic)
        try:
            decoder.decode()
        except CborError:
            continue
        skipper = Decoder(data, deterministic=deterministic)
        skipper.skip()
        assert skipper.offset == decoder.offset


@settings(REPLAYABLE, max_examples=300)
@given(garbage)
def test_what_we_decode_the_reference_decodes_to_the_same(data: bytes) -> None:
    try:
        value = loads(data)
    except CborError:
        return
    if not _has_tag(value):  # the reference gives meanings to tags
        theirs = cbor2.loads(data)
        assert dumps(from_reference(theirs)) == dumps(value)


def _has_tag(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_tag, value.values()))
    return isinstance(value, Tag) or (isinstance(value, list) and any(map(_has_tag, value)))


def test_hostile_input_of_64_kb_stays_within_a_quarter_megabyte() -> None:
    size = 0xFFF0
    hostile = [
        b"\x9a\xff\xff\xff\xff" + b"\xa0" * size,
        b"\x9a\x00\x00\xff\x00" + b"\xa0" * size,
        b"\x9f" + b"\xa0" * size,
        b"\xbf" + b"\x00\xa0" * (size // 2),
        b"\x5f" + b"\x40" * size,
        b"\x5b\x10" + b"\x00" * size,
        b"\x81" * size,
        b"\xa1\x00" * (size // 2),
        b"\x99\x03\xf0" + b"\x80" * size,
    ]
    for data in hostile:
        for read in ("decode", "skip"):
            tracemalloc.start()
            with contextlib.suppress(CborError):
                getattr(Decoder(data), read)()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 256 * 1024, (data[:4], read)


def test_enumerations_encode_as_their_values() -> None:
    class Code(enum.IntEnum):
        BUSY = 7

    assert dumps({Code.BUSY: [Code.BUSY, {2: Code.BUSY}]}) == dumps({7: [7, {2: 7}]})
