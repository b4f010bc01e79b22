"""What the encoder writes, what it refuses, and what a full buffer does."""

from evergrow_protocol.cbor import BufferFull, CborError, Encoder, Tag, dumps, loads
from evergrow_protocol.errors import BAD_TYPE, INVALID_STATE, MALFORMED, OUT_OF_RANGE, TOO_LARGE
from support import raises

SAMPLES = (
    0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -1, -24, -25, -256, -257, -65537, -(2**32) - 1, -(2**64),
    True, False, None, b"", b"x" * 23, b"x" * 24, bytearray(b"abc"), "", "a" * 24, "\u6c34" * 9, [], (), [0] * 24, {},
    1.5, 1.1, 1e300, Tag(0, 0), Tag(24, b"x"), Tag(70000, [1]),
    [7, 1234, 1735689600, {0: 3, 1: 850, 2: 48000, 3: 5400, 4: 400, 5: 1400, 6: 0, 7: 1, 8: 2, 9: 3}],
    [7, 1234, 1735689600, {0: 1000, 1: {n: [2301, -25, 30, -300] + [-1] * 6 for n in range(1, 5)}}],
    {-1: 0, 1: 1, "a": [None, True], b"a": {"": b""}, 300: -300, -70000: {}},
)  # fmt: skip


def test_an_item_fits_exactly_or_not_at_all():
    """With every buffer from empty to large enough; a buffer that is too small stays without a result."""
    for value in SAMPLES:
        item = dumps(value)
        for size in range(len(item)):
            encoder = Encoder(bytearray(size))
            error = raises(BufferFull, encoder.encode, value)
            assert (error.code, error.offset) == (TOO_LARGE, 0)
            assert str(size) in error.text
            assert raises(CborError, encoder.result).code == INVALID_STATE
        encoder = Encoder(bytearray(len(item)))
        encoder.encode(value)
        assert bytes(encoder.result()) == item


def test_a_full_buffer_keeps_what_it_holds():
    encoder = Encoder(bytearray(8))
    encoder.encode([1, 2, 3])
    for write, what in (
        (encoder.encode, "12345"), (encoder.encode, [1, 2, 3, 4]), (encoder.encode, 2**32), (encoder.write_raw, b"\x44abcd"),
        (encoder.write_tag, 2**40), (encoder.write_array_header, 2**40), (encoder.write_map_header, 2**40),
    ):  # fmt: skip
        error = raises(BufferFull, write, what)
        assert error.offset == 4
        assert bytes(encoder.result()) == b"\x83\x01\x02\x03"
    encoder.encode("123")
    assert bytes(encoder.result()) == b"\x83\x01\x02\x03\x63123"


def test_an_array_that_lacks_items_has_no_result():
    encoder = Encoder(bytearray(4))
    encoder.write_array_header(3)
    encoder.encode(1)
    encoder.encode(2)
    raises(BufferFull, encoder.encode, 24)
    for refused in (encoder.result, encoder.mark):
        error = raises(CborError, refused)
        assert error.code == INVALID_STATE
        assert "1" in error.text
    encoder.encode(3)
    assert bytes(encoder.result()) == b"\x83\x01\x02\x03"


def test_piece_by_piece_gives_the_bytes_of_the_whole():
    encoder = Encoder(bytearray(64))
    encoder.write_array_header(4)
    encoder.encode(7)
    encoder.write_map_header(2)
    encoder.encode(1)
    encoder.encode({2: 3})
    encoder.encode("k")
    encoder.write_array_header(0)
    encoder.write_tag(1)
    encoder.write_array_header(1)
    encoder.write_raw(dumps("raw"))
    encoder.encode(None)
    assert bytes(encoder.result()) == dumps([7, {1: {2: 3}, "k": []}, Tag(1, ["raw"]), None])


def test_the_result_is_a_view_of_the_callers_buffer():
    buf = bytearray(16)
    encoder = Encoder(buf)
    encoder.encode("abc")
    view = encoder.result()
    buf[1] = ord("X")
    assert bytes(view) == b"\x63Xbc"


def test_the_buffer_is_reused_after_rewind():
    encoder = Encoder(bytearray(4))
    for value in (b"abc", b"def"):
        encoder.rewind()
        encoder.encode(value)
        assert bytes(encoder.result()) == dumps(value)


def test_a_mark_tells_messages_in_one_buffer_apart():
    encoder = Encoder(bytearray(16))
    encoder.encode(1)
    mark = encoder.mark()
    encoder.encode([2])
    assert bytes(encoder.result(mark)) == b"\x81\x02"
    assert bytes(encoder.result()) == b"\x01\x81\x02"
    encoder.write_array_header(5)
    encoder.rewind(mark)
    assert bytes(encoder.result()) == b"\x01"
    assert raises(CborError, encoder.result, mark).code == INVALID_STATE


def test_nothing_written_is_no_result():
    encoder = Encoder(bytearray(4))
    assert raises(CborError, encoder.result).code == INVALID_STATE


def test_keys_are_written_in_the_order_of_their_bytes():
    for pairs, expected in (
        ({2: 0, 1: 0}, "a201000200"),
        ({300: 0, 24: 0, 23: 0}, "a317001818001901" + "2c00"),
        ({-1: 0, 0: 0}, "a200002000"),
        ({-1: 0, -2: 0, 24: 0}, "a3181800" + "20002100"),
        ({"b": 0, "aa": 0}, "a26162006261" + "6100"),
        ({"a": 0, b"b": 0, 70000: 0}, "a31a000111700041620061" + "6100"),
    ):
        assert dumps(pairs).hex() == expected


def test_a_boolean_among_integers_stays_a_boolean():
    assert dumps([1, True, 0, False, -1]) == b"\x85\x01\xf5\x00\xf4\x20"
    assert dumps({0: True, 1: False}) == b"\xa2\x00\xf5\x01\xf4"


def test_a_number_without_an_encoding_is_out_of_range():
    for value in (2**64, -(2**64) - 1, 2**200):
        for nested in (value, [value], {1: value}, {value: 1}, Tag(1, value)):
            error = raises(CborError, dumps, nested)
            assert (error.code, error.offset) == (OUT_OF_RANGE, 0)
    for tag in (Tag(-1, 0), Tag(2**64, 0)):
        assert raises(CborError, dumps, tag).code == OUT_OF_RANGE
    encoder = Encoder(bytearray(16))
    for write in (encoder.write_tag, encoder.write_array_header, encoder.write_map_header):
        assert raises(CborError, write, -1).code == OUT_OF_RANGE


def test_a_value_without_an_encoding_is_a_bad_type():
    for value in (object(), {1}, int, lambda: 0, 1 + 1j, Ellipsis):
        for nested in (value, [1, value], {1: value}, Tag(1, value)):
            assert raises(CborError, dumps, nested).code == BAD_TYPE


def test_a_key_that_a_decoder_could_confuse_is_a_bad_type():
    for key in (True, False, None, 1.0, (1, 2), (), 0.5):
        for pairs in ({key: 0}, {5: 0, key: 0}, {"a": 0, key: 0}, {-1: 0, key: 0}):
            assert raises(CborError, dumps, pairs).code == BAD_TYPE, pairs


def test_nesting_is_limited_even_for_a_list_that_holds_itself():
    deep = []
    deep.append(deep)
    error = raises(CborError, dumps, deep)
    assert error.code == TOO_LARGE
    assert "8" in error.text
    for nested in ([[[]]], {1: {2: {}}}, Tag(1, Tag(1, Tag(1, 0)))):
        assert loads(dumps(nested, 3)) == nested
        assert raises(CborError, dumps, nested, 2).code == TOO_LARGE


def test_an_error_leaves_the_encoder_as_it_was():
    encoder = Encoder(bytearray(64))
    encoder.encode(1)
    for value in (2**64, [1, object()], {1: {2: object()}}, {None: 1}):
        error = raises(CborError, encoder.encode, value)
        assert error.offset == 1
        assert bytes(encoder.result()) == b"\x01"


def test_text_that_utf8_cannot_carry_is_malformed():
    for text in ("\ud800", "a\udfff", "\ud83d\ude00"):
        assert raises(CborError, dumps, text).code == MALFORMED


def test_subclasses_encode_as_what_they_extend():
    class Id(int):
        pass

    class Record(dict):
        pass

    assert dumps([Id(5), Record({1: 2})]) == b"\x82\x05\xa1\x01\x02"


def test_any_bytes_like_value_is_a_byte_string():
    for value in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
        assert dumps(value) == b"\x43abc"


def test_a_part_of_a_buffer_serves_as_buffer():
    buf = bytearray(8)
    encoder = Encoder(memoryview(buf)[2:5])
    encoder.encode([1, 2])
    assert buf == b"\0\0\x82\x01\x02\0\0\0"
    raises(BufferFull, encoder.encode, 0)
    assert buf[5:] == b"\0\0\0"
