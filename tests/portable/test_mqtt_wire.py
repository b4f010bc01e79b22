from evergrow_mqtt.errors import ProtocolViolation
from evergrow_mqtt.wire import MAX_VARINT, Reader, Writer, packet_size, varint_size
from support import raises


def reader(data):
    made = Reader(memoryview(bytes(data)))
    made.over(0, len(data))
    return made


def test_variable_byte_integers_have_the_bytes_of_the_standard():
    """MQTT 5, table 1-1."""
    for value, data in (
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16383, b"\xff\x7f"),
        (16384, b"\x80\x80\x01"),
        (2097151, b"\xff\xff\x7f"),
        (2097152, b"\x80\x80\x80\x01"),
        (MAX_VARINT, b"\xff\xff\xff\x7f"),
    ):
        buf = bytearray(8)
        writer = Writer(buf)
        writer.varint(value)
        assert bytes(buf[: writer.pos]) == data
        assert varint_size(value) == len(data)
        assert reader(data).varint() == value
    assert packet_size(127) == 129 and packet_size(128) == 131


def test_a_variable_byte_integer_that_is_too_long_or_not_the_shortest_is_malformed():
    for data in (b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff", b"\x80\x00", b"\x81\x80\x00"):
        assert raises(ProtocolViolation, reader(data).varint).code == 0x81


def test_reading_past_the_end_is_malformed_and_never_a_longer_read():
    for call in (lambda r: r.uint(4), lambda r: r.take(4), lambda r: r.data(), lambda r: r.text(), lambda r: r.varint()):
        assert raises(ProtocolViolation, call, reader(b"\xff\xff\xff")).code == 0x81
    assert raises(ProtocolViolation, reader(b"").uint, 1).code == 0x81


def test_a_string_must_be_utf8_without_nul():
    assert reader(b"\x00\x03a\xc3\xa9").text() == "aé"
    for data in (b"\x00\x01\xff", b"\x00\x02\xc3\x28", b"\x00\x03a\x00b"):
        assert raises(ProtocolViolation, reader(data).text).code == 0x81


def test_integers_and_data_are_written_big_endian_and_read_back():
    buf = bytearray(16)
    writer = Writer(buf)
    writer.uint(0x01020304, 4)
    writer.uint(0xABCD, 2)
    writer.data(b"xyz")
    assert bytes(buf[: writer.pos]) == b"\x01\x02\x03\x04\xab\xcd\x00\x03xyz"
    back = reader(buf[: writer.pos])
    assert (back.uint(4), back.uint(2), bytes(back.data()), back.left()) == (0x01020304, 0xABCD, b"xyz", 0)
