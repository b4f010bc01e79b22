"""What the decoder refuses, where, and what it spends before it does; and its piece-by-piece interface."""

import gc

from evergrow_protocol.cbor import ARRAY, BYTES, MAP, NINT, OTHER, TAG, TEXT, UINT, CborError, Decoder, Tag, dumps, loads
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, NOT_DETERMINISTIC, TOO_LARGE
from support import raises

HEAP = "352K"

STRICT = {"deterministic": True}


def refused(code, offset, text, **limits):
    item = bytes.fromhex(text)
    error = raises(CborError, lambda: loads(item, **limits))
    assert (error.code, error.offset) == (code, offset), (text, error)
    return error


def refused_by_all(code, offset, text, **limits):
    """By decoding and by stepping over."""
    refused(code, offset, text, **limits)
    error = raises(CborError, Decoder(bytes.fromhex(text), **limits).skip)
    assert (error.code, error.offset) == (code, offset), (text, error)
    return error


# -- deterministic form


def test_a_head_longer_than_needed_is_not_deterministic():
    for head in ("1800", "1817", "190000", "1900ff", "1a00000000", "1a0000ffff", "1b0000000000000000", "1b00000000ffffffff"):
        first = int(head[:2], 16)
        for major in range(7):
            refused_by_all(NOT_DETERMINISTIC, 0, f"{first | major << 5:02x}{head[2:]}00", **STRICT)
        assert loads(bytes.fromhex(head)) == int(head[2:], 16)


def test_the_shortest_head_of_each_length_is_deterministic():
    for number in (0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1):
        for value in (number, -1 - number, Tag(number, 0)):
            assert loads(dumps(value), deterministic=True) == value


def test_keys_that_do_not_strictly_ascend_are_not_deterministic():
    for item, offset in (
        ("a202000100", 3),  # 2, 1
        ("a201000100", 3),  # 1, 1
        ("a220000100", 3),  # -1, 1
        ("a2181900181800", 4),  # 25, 24
        ("a219010100190100" + "00", 5),  # 257, 256
        ("a2616200616100", 4),  # "b", "a"
        ("a262616100616200", 5),  # "aa", "b": the length comes first
        ("a2616100416100", 4),  # text, then bytes
        ("a361610061620061" + "6200", 7),  # "a", "b", "b"
    ):
        refused_by_all(NOT_DETERMINISTIC, offset, item, **STRICT)


def test_keys_in_order_of_their_bytes_are_deterministic():
    value = {0: 0, 23: 0, 24: 0, 256: 0, -1: 0, -25: 0, b"": 0, b"\xff": 0, b"aa": 0, "": 0, "b": 0, "aa": 0}
    item = dumps(value)
    assert loads(item, deterministic=True) == value
    decoder = Decoder(item, deterministic=True)
    decoder.skip()
    assert decoder.at_end()


def test_keys_out_of_order_are_fine_where_nobody_asked():
    assert loads(bytes.fromhex("a202000100")) == {1: 0, 2: 0}


def test_a_float_longer_than_needed_is_not_deterministic():
    for item in ("fa3fc00000", "fb3ff8000000000000", "fb40f86a0000000000", "fa33800000", "fb8000000000000000"):
        refused_by_all(NOT_DETERMINISTIC, 0, item, **STRICT)


def test_an_indefinite_length_is_not_deterministic():
    for item in ("5fff", "7fff", "9fff", "bfff"):
        refused_by_all(NOT_DETERMINISTIC, 0, item, **STRICT)
        refused_by_all(NOT_DETERMINISTIC, 2, "8200" + item, **STRICT)


# -- keys


def test_a_key_that_comes_twice_is_malformed():
    refused(MALFORMED, 3, "a201000100")
    refused(MALFORMED, 3, "bf01000100ff")
    refused(MALFORMED, 4, "a2616100616100")
    refused(MALFORMED, 3, "a20100180100")  # 1 and a longer 1


def test_a_key_that_a_dict_could_confuse_is_a_bad_type():
    for key in ("f4", "f5", "f6", "f93c00", "80", "a0", "c001", "8101"):
        refused(BAD_TYPE, 1, "a1" + key + "00")


def test_bytes_and_text_of_the_same_letters_are_two_keys():
    assert loads(bytes.fromhex("a2416101616102")) == {b"a": 1, "a": 2}


# -- text


def test_text_that_is_not_utf8_is_malformed():
    for text in (
        "ff", "80", "c3", "c328", "e6b0", "f0908591"[:6],
        "c080", "c1bf", "e08080", "e09fbf", "f0808080", "f08fbfbf",  # overlong
        "eda080", "edbfbf",  # surrogates
        "f4908080", "f7bfbfbf", "f8888080" + "80", "fc8080808080",  # beyond 10FFFF
        "61ff", "c3bcc3",
    ):  # fmt: skip
        item = f"{0x60 + len(text) // 2:02x}" + text
        refused(MALFORMED, 0, item)
        refused(MALFORMED, 1, "81" + item)
        refused(MALFORMED, 1, "a1" + item + "00")
        refused(MALFORMED, 1, "7f" + item + "ff")


def test_text_at_the_limits_of_each_utf8_length_is_read():
    for text in ("\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"):
        assert loads(dumps("a" + text + "z")) == "a" + text + "z"


def test_a_chunk_must_hold_whole_characters():
    refused(MALFORMED, 1, "7f61c361bcff")


# -- limits


def test_nesting_is_limited():
    for level, end in (("81", ""), ("a100", ""), ("c1", ""), ("9f", "ff"), ("bf00", "ff")):
        item = level * 3 + "00" + end * 3
        assert loads(bytes.fromhex(item), depth=3) is not None
        error = refused_by_all(TOO_LARGE, len(level), item, depth=2)
        assert "2" in error.text


def test_nesting_without_end_neither_hangs_nor_overflows_the_stack():
    for level in (b"\x81", b"\xa1\x00", b"\xc1", b"\x9f"):
        hostile = level * 20000 + b"\x00"
        for depth in (8, 100000):
            for read in (lambda: loads(hostile, depth), Decoder(hostile, depth).skip):  # noqa: B023
                assert raises(CborError, read).code in (TOO_LARGE, MALFORMED)


def test_items_are_limited_over_all_containers():
    item = "82820102820304"  # 6 items: two arrays and four integers
    assert loads(bytes.fromhex(item), items=6) == [[1, 2], [3, 4]]
    error = refused_by_all(TOO_LARGE, 4, item, items=5)
    assert "5" in error.text
    refused_by_all(TOO_LARGE, 3, "9f0102" + "03ff", items=2)
    refused_by_all(TOO_LARGE, 0, "a201020304", items=3)
    refused_by_all(TOO_LARGE, 3, "bf0102" + "0304ff", items=3)
    refused_by_all(TOO_LARGE, 3, "5f4101" + "4102ff", items=1)


def test_the_length_of_a_string_is_limited():
    for first in ("44", "64"):
        item = first + "61626364"
        assert len(loads(bytes.fromhex(item), length=4)) == 4
        error = refused_by_all(TOO_LARGE, 0, item, length=3)
        assert "4" in error.text and "3" in error.text
    refused_by_all(TOO_LARGE, 0, "5f426162" + "4263" + "64ff", length=3)


def test_an_announced_length_costs_nothing():
    """However much is announced, the answer is that the input is too short, before anything is allocated for it."""
    gc.collect()
    for text in (
        "9affffffff", "9bffffffffffffffff", "baffffffff", "bbffffffffffffffff", "5affffffff", "5b1000000000000000",
        "7b7fffffffffffffff", "5bffffffffffffffff", "819affffffff00", "5f5affffffff00",
    ):  # fmt: skip
        refused_by_all(MALFORMED, len(text) // 2, text)


def test_a_small_input_cannot_fill_the_heap():
    """A few KB of empty maps would be half a megabyte of dicts."""
    hostile = b"\x99\x20\x00" + b"\xa0" * 0x2000
    for data in (hostile, b"\x9f" + b"\xa0" * 0x2000 + b"\xff", b"\x5f" + b"\x40" * 0x2000 + b"\xff"):
        assert raises(CborError, loads, data).code == TOO_LARGE


# -- piece by piece


def test_peek_tells_the_major_type():
    decoder = Decoder(dumps([0, -1, b"", "", [], {}, Tag(1, 0), None]))
    decoder.read_array_header()
    for major in (UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG, OTHER):
        assert decoder.peek() == major
        decoder.skip()
    assert raises(CborError, Decoder(b"").peek).offset == 0


def test_an_envelope_is_read_piece_by_piece():
    decoder = Decoder(dumps([7, -300, True, b"abc", "text", Tag(99, None), {1: 2}, [1, [2], {3: "x"}], 5]), deterministic=True)
    assert decoder.read_array_header() == 9
    assert decoder.read_int() == 7
    assert decoder.read_int() == -300
    assert decoder.read_bool() is True
    assert decoder.read_bytes() == b"abc"
    assert decoder.read_text() == "text"
    assert decoder.read_tag() == 99
    assert decoder.decode() is None
    assert [(key, decoder.read_int()) for key in decoder.read_map()] == [(1, 2)]
    start = decoder.offset
    assert loads(decoder.read_raw()) == [1, [2], {3: "x"}]
    assert not decoder.at_end()
    assert decoder.offset == start + 8
    decoder.skip()
    assert decoder.at_end()


def test_reading_another_type_leaves_the_decoder_in_front_of_the_item():
    values = (0, -1, b"", "", [], {}, Tag(1, 0), None, False)
    for value in values:
        decoder = Decoder(dumps([value]))
        decoder.read_array_header()
        reads = {
            "int": decoder.read_int, "bytes": decoder.read_bytes, "str": decoder.read_text, "bool": decoder.read_bool,
            "list": decoder.read_array_header, "dict": lambda: next(decoder.read_map()), "Tag": decoder.read_tag,  # noqa: B023
        }  # fmt: skip
        for name, read in reads.items():
            if name != type(value).__name__:
                error = raises(CborError, read)
                assert (error.code, error.offset, decoder.offset) == (BAD_TYPE, 1, 1), (value, name)
        assert decoder.decode() == value


def test_reading_behind_the_end_is_malformed():
    empty = Decoder(b"")
    for read in (empty.decode, empty.skip, empty.read_raw, empty.read_int, empty.read_bytes, empty.read_text, empty.read_bool,
                 empty.read_array_header, empty.read_tag, lambda: next(empty.read_map())):  # fmt: skip
        error = raises(CborError, read)
        assert (error.code, error.offset) == (MALFORMED, 0)


def test_a_byte_string_is_read_without_a_copy():
    buf = bytearray(b"\x82\x43abc\x43def")
    decoder = Decoder(buf, copy=False)
    first, second = decoder.decode()
    decoder = Decoder(buf)
    decoder.read_array_header()
    third = decoder.read_bytes()
    copied = loads(buf)
    buf[2] = ord("X")
    assert bytes(first) == bytes(third) == b"Xbc"
    assert bytes(second) == b"def"
    assert copied == [b"abc", b"def"]


def test_a_byte_string_as_key_is_copied():
    assert loads(b"\xa1\x41a\x41b", copy=False) == {b"a": b"b"}


def test_map_keys_come_one_by_one_and_values_may_be_skipped():
    item = dumps({0: 1, 5: [1, 2], -1: {1: 2}, b"k": 3, "k": "v"})
    decoder = Decoder(item, deterministic=True)
    keys = []
    for key in decoder.read_map():
        keys.append(key)
        decoder.skip()
    assert keys == [0, 5, -1, b"k", "k"]
    assert decoder.at_end()


def test_map_keys_are_checked_as_they_come():
    for text, code, offset in (("a202000100", NOT_DETERMINISTIC, 3), ("a101" + "00", None, None), ("a1f600", BAD_TYPE, 1)):
        decoder = Decoder(bytes.fromhex(text), deterministic=True)

        def drain():
            for _ in decoder.read_map():  # noqa: B023
                decoder.skip()  # noqa: B023

        if code is None:
            drain()
            assert decoder.at_end()
        else:
            error = raises(CborError, drain)
            assert (error.code, error.offset) == (code, offset)


def test_a_map_of_indefinite_length_ends_with_its_break():
    decoder = Decoder(bytes.fromhex("82bf01020304ff05"))
    decoder.read_array_header()
    assert [(key, decoder.read_int()) for key in decoder.read_map()] == [(1, 2), (3, 4)]
    assert decoder.read_int() == 5


def test_an_array_of_indefinite_length_has_no_header_to_read():
    error = raises(CborError, Decoder(b"\x9f\xff").read_array_header)
    assert (error.code, error.offset) == (NOT_DETERMINISTIC, 0)


def test_chunks_are_put_together():
    assert Decoder(bytes.fromhex("5f4101420203ff")).read_bytes() == b"\x01\x02\x03"
    assert Decoder(bytes.fromhex("7f61616162ff")).read_text() == "ab"
    assert loads(bytes.fromhex("5fff")) == b"" and loads(bytes.fromhex("7fff")) == ""


def test_items_follow_one_another_in_one_input():
    decoder = Decoder(dumps(1) + dumps([2]) + dumps({3: 4}))
    values = []
    while not decoder.at_end():
        values.append(decoder.decode())
    assert values == [1, [2], {3: 4}]


def test_stepping_over_an_item_allocates_nothing_on_micropython():
    if not hasattr(gc, "mem_alloc"):
        return
    columns = {signal: [70000, 300, -100] + [1] * 7 for signal in range(4)}
    item = dumps([7, 1234, 1735689600, {0: 1000, 1: columns, 2: "text", 3: b"x" * 100}])
    decoder = Decoder(item, deterministic=True)
    decoder.skip()
    decoder.offset = 0
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    decoder.skip()
    after = gc.mem_alloc()
    gc.enable()
    assert decoder.at_end()
    assert after - before <= 64, after - before  # the one bound method
