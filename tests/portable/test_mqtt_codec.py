from evergrow_mqtt import codec, props
from evergrow_mqtt.config import Config
from evergrow_mqtt.errors import ProtocolViolation, Refused
from evergrow_mqtt.wire import Reader, Writer
from support import raises


def written(write, *args):
    buf = bytearray(512)
    writer = Writer(buf)
    write(writer, *args)
    return bytes(buf[: writer.pos])


def connect(config, client_id, version):
    buf = bytearray(codec.connect_size(config, client_id))
    writer = Writer(buf)
    start = codec.write_connect(writer, config, client_id, version)
    assert len(buf) == codec.connect_size(config, client_id), "it fits"
    return bytes(buf[start : writer.pos])


def reader(data):
    made = Reader(memoryview(bytes(data)))
    made.over(0, len(data))
    return made


def test_connect_of_version_4_has_the_bytes_of_the_standard():
    """MQTT 3.1.1 §3.1, figure 3.6 with will, user name and password."""
    config = Config("dev", "h", 1, username="u", password=b"\x00p", keepalive_s=10, clean_start=True, will=("w", b"bye", 1, True))
    expected = b"\x10\x1e\x00\x04MQTT\x04\xee\x00\x0a\x00\x03dev\x00\x01w\x00\x03bye\x00\x01u\x00\x02\x00p"
    assert connect(config, b"dev", 4) == expected


def test_connect_of_version_5_announces_how_much_may_be_under_way_but_no_packet_size():
    config = Config("d", "h", 1, session_expiry_s=3600, rx_bytes=2048, receive_maximum=5, keepalive_s=30, rx_aliases=8)
    properties = b"\x11\x00\x00\x0e\x10" + b"\x21\x00\x05" + b"\x22\x00\x08" + b"\x17\x00"
    expected = b"\x10\x1b\x00\x04MQTT\x05\x00\x00\x1e\x0d" + properties + b"\x00\x01d"
    assert connect(config, b"d", 5) == expected


def test_publish_headers_in_both_versions():
    none = 0xFFFFFFFF
    assert written(codec.write_publish_head, 0x00, b"a/b", 3, 0, 0, none, 4) == b"\x30\x08\x00\x03a/b"
    assert written(codec.write_publish_head, 0x0B, b"a/b", 3, 258, 0, none, 4) == b"\x3b\x0a\x00\x03a/b\x01\x02"
    assert written(codec.write_publish_head, 0x02, b"a/b", 3, 258, 0, none, 5) == b"\x32\x0b\x00\x03a/b\x01\x02\x00"
    with_both = written(codec.write_publish_head, 0x00, b"", 0, 0, 9, 60, 5)
    assert with_both == b"\x30\x0b\x00\x00\x08\x02\x00\x00\x00\x3c\x23\x00\x09"
    for version in (4, 5):
        for qos in (0, 1):
            for expiry_s in (none, 60):
                head = written(codec.write_publish_head, qos << 1, b"topic", 300, 5, 0, expiry_s, version)
                assert codec.publish_size(5, 300, qos, 0, expiry_s, version) == len(head) + 300


def test_the_small_packets():
    assert written(codec.write_subscribe, 10, b"a/#", 1, 4) == b"\x82\x08\x00\x0a\x00\x03a/#\x01"
    assert written(codec.write_subscribe, 10, b"a/#", 1, 5) == b"\x82\x09\x00\x0a\x00\x00\x03a/#\x01"
    assert written(codec.write_subscribe, 10, b"a/#", None, 5) == b"\xa2\x08\x00\x0a\x00\x00\x03a/#"
    assert codec.subscribe_size(b"a/#", 5) == 11
    assert written(codec.write_puback, 7, 0, 5) == b"\x40\x02\x00\x07"
    assert written(codec.write_puback, 7, 0x83, 5) == b"\x40\x03\x00\x07\x83"
    assert written(codec.write_puback, 7, 0x83, 4) == b"\x40\x02\x00\x07"
    assert written(codec.write_pingreq) == b"\xc0\x00"
    assert written(codec.write_disconnect, 0, 5) == b"\xe0\x00"
    assert written(codec.write_disconnect, 0x82, 5) == b"\xe0\x01\x82"


def test_connack_limits_have_the_standards_defaults():
    info = codec.read_connack(reader(b"\x01\x00\x00"), 5)
    assert (info.session_present, info.code, info.receive_maximum, info.maximum_qos) == (True, 0, 65535, 2)
    assert (info.maximum_packet, info.topic_alias_maximum, info.server_keepalive_s) == (0, 0, 0)
    assert info.retain_available and info.wildcard_available


def test_connack_limits_are_read():
    found = (
        b"\x11\x00\x00\x00\x3c" + b"\x12\x00\x02id" + b"\x13\x00\x1e" + b"\x1f\x00\x02ok" + b"\x21\x00\x04" + b"\x22\x00\x03"
        b"\x24\x01" + b"\x25\x00" + b"\x26\x00\x01k\x00\x01v" + b"\x26\x00\x01k\x00\x01v" + b"\x27\x00\x00\x01\x00" + b"\x28\x00"
    )
    info = codec.read_connack(reader(b"\x00\x00" + bytes([len(found)]) + found), 5)
    assert (info.session_expiry_s, info.assigned_client_id, info.server_keepalive_s) == (60, "id", 30)
    assert (info.receive_maximum, info.topic_alias_maximum, info.maximum_qos, info.maximum_packet) == (4, 3, 1, 256)
    assert not info.retain_available and not info.wildcard_available


def test_every_3_1_1_refusal_becomes_a_reason_code():
    for said, code in ((0, 0), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87), (99, 0x80)):
        assert codec.read_connack(reader(bytes([0, said])), 4).code == code


def test_a_3_1_1_server_answers_a_version_5_connect_in_its_own_form():
    assert codec.read_connack(reader(b"\x00\x01"), 5).code == 0x84
    assert raises(ProtocolViolation, codec.read_connack, reader(b"\x00\x00"), 5).code == 0x81


def test_a_wrong_connack_is_rejected():
    for body, version, code in (
        (b"", 5, 0x81),
        (b"\x02\x00\x00", 5, 0x81),  # reserved flag
        (b"\x00\x00\x00\x00", 5, 0x81),  # more than it says
        (b"\x00\x00\x00", 4, 0x81),
        (b"\x01\x87\x00", 5, 0x82),  # refused and present
        (b"\x00\x00\x03\x21\x00\x00", 5, 0x82),  # receive maximum 0
        (b"\x00\x00\x06\x21\x00\x01\x21\x00\x01", 5, 0x82),  # twice
        (b"\x00\x00\x02\x25\x02", 5, 0x82),  # neither yes nor no
        (b"\x00\x00\x03\x23\x00\x01", 5, 0x81),  # not a property of CONNACK
        (b"\x00\x00\x02\x7e\x00", 5, 0x81),  # no property at all
        (b"\x00\x00\x09\x21", 5, 0x81),  # cut short
    ):
        assert raises(ProtocolViolation, codec.read_connack, reader(body), version).code == code, body


def test_publish_is_read_in_place():
    data = b"\x00\x03a/b\x01\x02\x00payload"
    topic, packet_id, payload = codec.read_publish(reader(data), 0x02, 5, [])
    assert (topic, packet_id, bytes(payload)) == ("a/b", 258, b"payload")
    topic, packet_id, payload = codec.read_publish(reader(b"\x00\x01t"), 0x00, 4, [])
    assert (topic, packet_id, bytes(payload)) == ("t", 0, b"")
    with_props = b"\x00\x01t\x0f\x02\x00\x00\x00\x09\x0b\x05\x0b\x06\x08\x00\x01r\x01\x01" + b"xy"
    assert bytes(codec.read_publish(reader(with_props), 0x00, 5, [])[2]) == b"xy"


def test_an_alias_stands_for_the_topic_that_it_last_came_with():
    """MQTT 5 section 3.3.2.3.4"""
    aliases = ["", ""]
    read = codec.read_publish
    assert read(reader(b"\x00\x01a\x03\x23\x00\x02x"), 0, 5, aliases)[0] == "a"
    assert bytes(read(reader(b"\x00\x00\x03\x23\x00\x02y"), 0, 5, aliases)[2]) == b"y"
    assert read(reader(b"\x00\x00\x03\x23\x00\x02y"), 0, 5, aliases)[0] == "a"
    assert read(reader(b"\x00\x01b\x03\x23\x00\x02x"), 0, 5, aliases)[0] == "b"
    assert read(reader(b"\x00\x00\x03\x23\x00\x02y"), 0, 5, aliases)[0] == "b"
    assert raises(ProtocolViolation, read, reader(b"\x00\x00\x03\x23\x00\x01y"), 0, 5, aliases).code == 0x82
    assert raises(ProtocolViolation, read, reader(b"\x00\x01a\x03\x23\x00\x03y"), 0, 5, aliases).code == 0x94


def test_a_wrong_publish_is_rejected():
    for body, flags, code in (
        (b"\x00\x03a/b\x00\x00\x00", 0x02, 0x82),  # packet id 0
        (b"\x00\x00\x00", 0x00, 0x82),  # no topic
        (b"\x00\x03a/+\x00", 0x00, 0x90),  # wildcard
        (b"\x00\x00\x03\x23\x00\x01", 0x00, 0x94),  # alias that nobody offered
        (b"\x00\x01a\x03\x23\x00\x00", 0x00, 0x82),  # alias 0
        (b"\x00\x01a\x02\x0b\x00", 0x00, 0x82),  # subscription identifier 0
        (b"\x00\x01a\x05\x11\x00\x00\x00\x00", 0x00, 0x81),  # session expiry does not belong here
        (b"\x00\x05a", 0x00, 0x81),
        (b"\x00\x01a\x01", 0x02, 0x81),
    ):
        assert raises(ProtocolViolation, codec.read_publish, reader(body), flags, 5, []).code == code, body
    for flags, code in ((0x04, 0x9B), (0x0D, 0x9B), (0x06, 0x81), (0x08, 0x81)):
        assert raises(ProtocolViolation, codec.check_publish_flags, flags).code == code
    for flags in (0x00, 0x01, 0x02, 0x03, 0x0A, 0x0B):
        codec.check_publish_flags(flags)


def test_acknowledgements_are_read_in_both_versions():
    for kind, body, version, expected in (
        (codec.PUBACK, b"\x00\x05", 4, (5, 0)),
        (codec.PUBACK, b"\x00\x05", 5, (5, 0)),
        (codec.PUBACK, b"\x00\x05\x87", 5, (5, 0x87)),
        (codec.PUBACK, b"\x00\x05\x10\x05\x1f\x00\x02no", 5, (5, 0x10)),
        (codec.SUBACK, b"\x00\x05\x01", 4, (5, 1)),
        (codec.SUBACK, b"\x00\x05\x80", 4, (5, 0x80)),
        (codec.SUBACK, b"\x00\x05\x00\xa2", 5, (5, 0xA2)),
        (codec.UNSUBACK, b"\x00\x05", 4, (5, 0)),
        (codec.UNSUBACK, b"\x00\x05\x00\x11", 5, (5, 0x11)),
    ):
        assert codec.read_ack(reader(body), kind, version) == expected


def test_a_wrong_acknowledgement_is_rejected():
    for kind, body, version, code in (
        (codec.PUBACK, b"\x00\x00", 5, 0x82),
        (codec.PUBACK, b"\x01", 5, 0x81),
        (codec.PUBACK, b"\x00\x05\x00", 4, 0x81),
        (codec.SUBACK, b"\x00\x05\x00", 5, 0x81),
        (codec.SUBACK, b"\x00\x05\x00\x02", 5, 0x82),  # more than was asked for
        (codec.SUBACK, b"\x00\x05\x00\x01\x01", 5, 0x81),
        (codec.UNSUBACK, b"\x00\x05\x00", 4, 0x81),
    ):
        assert raises(ProtocolViolation, codec.read_ack, reader(body), kind, version).code == code


def test_a_servers_disconnect_carries_its_reason():
    for body, code in ((b"", 0), (b"\x8e", 0x8E), (b"\x9d\x05\x1c\x00\x02ab", 0x9D)):
        assert codec.read_disconnect(reader(body)) == code


def test_topics_that_cannot_be_published_to_are_refused():
    for topic in ("", "a/+/b", "a/#", "nul\0", "x" * 65536):
        assert raises(Refused, codec.topic_name, topic).code == 0x90
    assert codec.topic_name("eg1/acme/é") == "eg1/acme/é".encode()


def test_every_property_of_the_standard_has_a_type():
    """MQTT 5 §2.2.2.2, table 2-4: 27 properties."""
    assert sum(1 for kind in props._TYPES if kind != ord(".")) == 27
    for allowed in (props.IN_CONNACK, props.IN_PUBLISH, props.IN_ACK, props.IN_DISCONNECT):
        for ident in allowed:
            assert props._TYPES[ident] != ord(".")


def test_settings_that_cannot_work_are_refused():
    for settings in (
        {"keepalive_s": 0},
        {"keepalive_s": 65536},
        {"rx_bytes": 16},
        {"receive_maximum": 0},
        {"version": 3},
        {"will": ("t", b"", 2, False)},
        {"client_id": "", "version": 4},
    ):
        arguments = {"client_id": "c", "host": "h", "port": 1}
        arguments.update(settings)
        raises(ValueError, lambda arguments=arguments: Config(**arguments))
