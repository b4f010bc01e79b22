"""Zigzag varints."""

from evergrow_protocol import varint
from evergrow_protocol.errors import MALFORMED, ProtocolError
from support import raises


def encoded(*numbers):
    buf = bytearray(64)
    at = 0
    for number in numbers:
        at = varint.put(buf, at, number)
    return bytes(buf[:at])


def test_encodings_are_those_of_protobuf():
    """EG-TELE-003"""
    found = [encoded(n).hex() for n in (0, -1, 1, -2, 2, 63, -64, 64, -65)]
    assert found == ["00", "01", "02", "03", "04", "7e", "7f", "8001", "8101"]
    assert encoded(150).hex() == "ac02" and encoded((1 << 31) - 1).hex() == "feffffff0f"
    assert encoded(varint.LIMIT - 1, -varint.LIMIT).hex() == "feffffff7f" + "ffffffff7f"


def test_what_was_written_is_read():
    numbers = [n + d for n in (0, 63, -64, 8191, -8192, 1 << 20, -(1 << 31), (1 << 32) - 1) for d in (-1, 0, 1)]
    data = bytearray(200)
    at = 0
    for number in numbers:
        at = varint.put(data, at, number)
    assert varint.values(memoryview(data)[:at]) == numbers


def test_plain_numbers_are_those_of_protobuf_too():
    buf = bytearray(4)
    assert bytes(buf[: varint.put_uint(buf, 0, 300)]).hex() == "ac02"
    assert varint.values(b"\xac\x02\x05", zigzag=False) == [300, 5]


def test_the_table_holds_all_that_takes_one_byte():
    for number in range(-64, 64):
        assert encoded(number) == bytes((varint.ONE_BYTE[number],))


def test_what_is_no_varint_is_refused():
    for data in (b"\x80", b"\x02\xff\xff", b"\x80\x00", b"\xff\xff\xff\xff\xff\x01"):
        assert raises(ProtocolError, varint.values, data).code == MALFORMED
    assert varint.values(b"") == []
