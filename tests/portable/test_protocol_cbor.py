"""RFC 8949 Appendix A (what CBOR looks like) and Appendix F (what it must not look like), and the round trip."""

from evergrow_protocol.cbor import CborError, Decoder, Tag, dumps, loads
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, NOT_DETERMINISTIC
from support import raises

INF = float("inf")

# Appendix A, those in deterministic form: decode to the value and encode to the bytes.
DETERMINISTIC = (
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (25, "1819"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (Tag(2, b"\x01\0\0\0\0\0\0\0\0"), "c249010000000000000000"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (Tag(3, b"\x01\0\0\0\0\0\0\0\0"), "c349010000000000000000"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (0.0, "f90000"),
    (-0.0, "f98000"),
    (1.0, "f93c00"),
    (1.1, "fb3ff199999999999a"),
    (1.5, "f93e00"),
    (65504.0, "f97bff"),
    (100000.0, "fa47c35000"),
    (3.4028234663852886e38, "fa7f7fffff"),
    (1.0e300, "fb7e37e43c8800759c"),
    (5.960464477539063e-8, "f90001"),
    (0.00006103515625, "f90400"),
    (-4.0, "f9c400"),
    (-4.1, "fbc010666666666666"),
    (INF, "f97c00"),
    (-INF, "f9fc00"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (Tag(0, "2013-03-21T20:04:00Z"), "c074323031332d30332d32315432303a30343a30305a"),
    (Tag(1, 1363896240), "c11a514b67b0"),
    (Tag(1, 1363896240.5), "c1fb41d452d9ec200000"),
    (Tag(23, b"\x01\x02\x03\x04"), "d74401020304"),
    (Tag(24, b"dIETF"), "d818456449455446"),
    (Tag(32, "http://www.example.com"), "d82076687474703a2f2f7777772e6578616d706c652e636f6d"),
    (b"", "40"),
    (b"\x01\x02\x03\x04", "4401020304"),
    ("", "60"),
    ("a", "6161"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, 2, 3], "83010203"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    (["a", {"b": "c"}], "826161a161626163"),
    ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145"),
)

# Appendix A, the others: floats longer than needed and indefinite lengths. They decode, unless deterministic is asked for;
# then the error is where the item starts that is at fault.
OTHER_FORMS = (
    (INF, "fa7f800000", 0),
    (-INF, "faff800000", 0),
    (INF, "fb7ff0000000000000", 0),
    (-INF, "fbfff0000000000000", 0),
    (b"\x01\x02\x03\x04\x05", "5f42010243030405ff", 0),
    ("streaming", "7f657374726561646d696e67ff", 0),
    ([], "9fff", 0),
    ([1, [2, 3], [4, 5]], "9f018202039f0405ffff", 0),
    ([1, [2, 3], [4, 5]], "9f01820203820405ff", 0),
    ([1, [2, 3], [4, 5]], "83018202039f0405ff", 5),
    ([1, [2, 3], [4, 5]], "83019f0203ff820405", 2),
    (list(range(1, 26)), "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", 0),
    ({"a": 1, "b": [2, 3]}, "bf61610161629f0203ffff", 0),
    (["a", {"b": "c"}], "826161bf61626163ff", 3),
    ({"Fun": True, "Amt": -2}, "bf6346756ef563416d7421ff", 0),
)

NANS = (("f97e00", True), ("fa7fc00000", False), ("fb7ff8000000000000", False), ("f97e01", False))

# Appendix A has undefined, simple(16) and simple(255). RFC 7049 also had simple(24) as F818, which is malformed (erratum 5917).
UNUSED_SIMPLE = ("f7", "f0", "f8ff", "e0", "f3", "f820")

# Appendix F.1, by its groups: item and offset of the error. Where the input ends too early that is its length.
TRUNCATED = (
    # in a head
    "18", "19", "1a", "1b", "1901", "1a0102", "1b01020304050607", "38", "58", "78", "98", "9a01ff00", "b8", "d8", "f8",
    "f900", "fa0000", "fb000000",
    # strings
    "41", "61", "5affffffff00", "5bffffffffffffffff010203", "7affffffff00", "7b7fffffffffffffff010203",
    # arrays, maps, tags
    "81", "818181818181818181", "8200", "a1", "a20102", "a100", "a1ff", "a200", "a20000", "a2000000", "a20000ff", "c0",
    # without their break
    "5f4100", "7f6100", "9f", "9f0102", "bf", "bf01020304", "819f", "9f8000", "9f9f9f9f9fffffffff", "9f819f819f9fffffff",
)  # fmt: skip
MALFORMED_ITEMS = (
    # reserved additional information
    ("1c", 0), ("1d", 0), ("1e", 0), ("3c", 0), ("3d", 0), ("3e", 0), ("5c", 0), ("5d", 0), ("5e", 0), ("7c", 0), ("7d", 0),
    ("7e", 0), ("9c", 0), ("9d", 0), ("9e", 0), ("bc", 0), ("bd", 0), ("be", 0), ("dc", 0), ("dd", 0), ("de", 0), ("fc", 0),
    ("fd", 0), ("fe", 0),
    # simple values that need one byte only
    ("f800", 0), ("f801", 0), ("f818", 0), ("f81f", 0),
    # chunks of another type, or without a length
    ("5f00ff", 1), ("5f21ff", 1), ("5f6100ff", 1), ("5f80ff", 1), ("5fa0ff", 1), ("5fc000ff", 1), ("5fe0ff", 1),
    ("7f4100ff", 1), ("5f5f4100ffff", 1), ("7f7f6100ffff", 1),
    # a break where none belongs
    ("ff", 0), ("81ff", 1), ("8200ff", 2), ("a1ff00", 1), ("a100ff", 2), ("9f81ff", 2),
    ("9f829f819f9fffffffff", 9), ("bf00ff", 2), ("bf000001ff", 4), ("c0ff", 1),
    # a length for what has none
    ("1f", 0), ("3f", 0), ("df", 0),
)  # fmt: skip


def same(value, expected):
    """Equality that also tells True from 1, 1 from 1.0 and 0.0 from -0.0."""
    return value == expected and type(value) is type(expected) and dumps(value) == dumps(expected)


def test_appendix_a_in_deterministic_form_goes_both_ways():
    for value, text in DETERMINISTIC:
        item = bytes.fromhex(text)
        assert same(loads(item, deterministic=True), value), text
        assert dumps(value) == item, text


def test_appendix_a_in_other_forms_decodes_to_the_value():
    for value, text, _ in OTHER_FORMS:
        assert same(loads(bytes.fromhex(text)), value), text


def test_appendix_a_in_other_forms_is_refused_as_not_deterministic():
    for _, text, offset in OTHER_FORMS:
        error = raises(CborError, lambda: loads(bytes.fromhex(text), deterministic=True))  # noqa: B023
        assert (error.code, error.offset) == (NOT_DETERMINISTIC, offset), text


def test_a_nan_decodes_from_every_form_and_has_one_deterministic_form():
    for text, deterministic in NANS:
        value = loads(bytes.fromhex(text))
        assert value != value
        assert dumps(value) == b"\xf9\x7e\x00"
        if not deterministic:
            error = raises(CborError, lambda: loads(bytes.fromhex(text), deterministic=True))  # noqa: B023
            assert (error.code, error.offset) == (NOT_DETERMINISTIC, 0), text


def test_a_simple_value_without_meaning_is_stepped_over_but_has_no_value():
    for text in UNUSED_SIMPLE:
        item = bytes.fromhex("8200" + text)
        error = raises(CborError, loads, item)
        assert (error.code, error.offset) == (BAD_TYPE, 2), text
        decoder = Decoder(item)
        decoder.skip()
        assert decoder.at_end()


def readers(item):
    """Each way to go through an item."""
    yield lambda: loads(item, 16)
    yield lambda: Decoder(item, 16).skip()
    yield lambda: Decoder(item, 16).read_raw()


def test_appendix_f_input_that_ends_too_early_is_refused_at_its_end():
    for text in TRUNCATED:
        item = bytes.fromhex(text)
        for read in readers(item):
            error = raises(CborError, read)
            assert (error.code, error.offset) == (MALFORMED, len(item)), text


def test_appendix_f_malformed_item_is_refused_where_it_starts():
    for text, offset in MALFORMED_ITEMS:
        for read in readers(bytes.fromhex(text)):
            error = raises(CborError, read)
            assert (error.code, error.offset) == (MALFORMED, offset), (text, error)


def test_appendix_f_malformed_map_with_a_duplicate_key_is_refused_for_one_of_the_two():
    """Decoding meets the second key before the end; stepping over keeps no memory of the first."""
    for text, at_key, at_end in (("bf000000ff", 3, 4), ("bf01020102", 3, 5)):
        item = bytes.fromhex(text)
        for read, offset in ((lambda: loads(item), at_key), (Decoder(item).skip, at_end)):  # noqa: B023
            error = raises(CborError, read)
            assert (error.code, error.offset) == (MALFORMED, offset)


def test_every_proper_prefix_of_an_item_ends_too_early():
    for _, text in DETERMINISTIC:
        item = bytes.fromhex(text)
        for length in range(len(item)):
            for read in readers(item[:length]):
                error = raises(CborError, read)
                assert (error.code, error.offset) == (MALFORMED, length), text


def test_bytes_behind_the_item_are_refused():
    error = raises(CborError, loads, b"\x82\x01\x02\x00")
    assert (error.code, error.offset) == (MALFORMED, 3)


def test_an_empty_input_is_refused():
    error = raises(CborError, loads, b"")
    assert (error.code, error.offset) == (MALFORMED, 0)


def test_all_half_precision_floats_keep_their_encoding():
    for high in range(256):
        for low in (0, 1, 2, 0x55, 0x80, 0xFE, 0xFF):
            item = bytes((0xF9, high, low))
            value = loads(item)
            if value == value:
                assert dumps(value) == item, item
                assert loads(item, deterministic=True) == value
