"""The codec against an independent one (PyPI mqtt5), both ways, and the session against arbitrary pieces and arbitrary bytes."""

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrow_mqtt import codec, session
from evergrow_mqtt.config import Config
from evergrow_mqtt.errors import MqttError, ProtocolViolation
from evergrow_mqtt.session import Session
from evergrow_mqtt.wire import Reader, Writer

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
TOPIC = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=60)
PACKET_ID = st.integers(1, 65535)
U16 = st.integers(1, 65535)
U32 = st.integers(1, 0xFFFF_FFFF)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3)
PUBACK_CODES = st.sampled_from([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]).map(mqtt5.PubAckReasonCode)
DISCONNECT_CODES = st.sampled_from([0x00, 0x04, 0x80, 0x81, 0x82, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x93, 0x95, 0x9C, 0xA2]).map(
    mqtt5.DisconnectReasonCode
)
RX_BYTES = 1024


def written(write, *args) -> bytes:
    buf = bytearray(70_000)
    writer = Writer(buf)
    write(writer, *args)
    return bytes(buf[: writer.pos])


def connect(config: Config, client_id: bytes, version: int) -> bytes:
    buf = bytearray(codec.connect_size(config, client_id))
    writer = Writer(buf)
    start = codec.write_connect(writer, config, client_id, version)
    assert len(buf) == codec.connect_size(config, client_id), "it fits"
    return bytes(buf[start : writer.pos])


def parsed(data: bytes):
    packet, size = mqtt5.read(memoryview(data))
    assert size == len(data)
    return packet


def connected(version: int = 5) -> Session:
    state = Session(Config("c", "h", 1, rx_bytes=RX_BYTES, tx_bytes=512))
    state.begin(version, 0)
    feed(state, b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00", 10_000)
    return state


def feed(state: Session, data: bytes, piece: int) -> list[tuple]:
    """Events of `data`, handed over at most `piece` bytes at a time, payloads copied; PUBACKs are written as they come."""
    events = []
    while data:
        window = state.rx_window()
        size = min(len(window), len(data), piece)
        window[:size] = data[:size]
        data = data[size:]
        state.received(size, 0)
        while (event := state.next_event()) is not None:
            events.append(tuple(bytes(part) if isinstance(part, memoryview) else part for part in event))
            while (chunk := state.next_chunk()) is not None:
                assert len(chunk) > 0
                state.chunk_sent(0)
    return events


# --- what we write, it reads ---


@given(
    client_id=TEXT,
    username=st.none() | TEXT,
    password=st.none() | st.binary(max_size=30),
    keepalive_s=U16,
    clean=st.booleans(),
    expiry_s=st.integers(0, 0xFFFF_FFFF),
    will=st.none() | st.tuples(TOPIC, st.binary(max_size=50), st.integers(0, 1), st.booleans()),
    rx_bytes=st.integers(128, 0x1000_0000),
    receive_maximum=U16,
)
def test_connect(client_id, username, password, keepalive_s, clean, expiry_s, will, rx_bytes, receive_maximum):
    config = Config("x", "h", 1, None, username, password, keepalive_s, clean, expiry_s, will, 4096, 4096, receive_maximum)
    config.rx_bytes = rx_bytes
    data = connect(config, client_id.encode(), 5)
    assert len(data) <= codec.connect_size(config, client_id.encode())
    packet = parsed(data)
    assert (packet.client_id, packet.username, packet.password) == (client_id, username, password)
    assert (packet.keep_alive, packet.clean_start, packet.session_expiry_interval) == (keepalive_s, clean, expiry_s)
    assert (packet.max_packet_size, packet.receive_max, packet.topic_alias_max) == (None, receive_maximum, 0)
    if will is None:
        assert packet.will is None
    else:
        assert (packet.will.topic, packet.will.payload or b"", int(packet.will.qos), packet.will.retain) == will


@given(
    topic=TOPIC,
    payload=st.binary(max_size=400),
    packet_id=st.none() | PACKET_ID,
    retain=st.booleans(),
    dup=st.booleans(),
    alias=st.none() | U16,
    expiry_s=st.none() | st.integers(0, 0xFFFF_FFFE),
)
def test_publish(topic, payload, packet_id, retain, dup, alias, expiry_s):
    flags = (2 | dup << 3 if packet_id else 0) | retain
    expiry = 0xFFFF_FFFF if expiry_s is None else expiry_s
    head = written(codec.write_publish_head, flags, topic.encode(), len(payload), packet_id or 0, alias or 0, expiry, 5)
    size = codec.publish_size(len(topic.encode()), len(payload), 1 if packet_id else 0, alias or 0, expiry, 5)
    assert len(head) + len(payload) == size
    packet = parsed(head + payload)
    assert (packet.topic, packet.payload, packet.retain, packet.packet_id) == (topic, payload, retain, packet_id)
    assert packet.duplicate == (dup and packet_id is not None)
    assert (packet.topic_alias, packet.message_expiry_interval) == (alias, expiry_s)


@given(packet_id=PACKET_ID, topic_filter=TOPIC, qos=st.integers(0, 1))
def test_subscribe_and_unsubscribe(packet_id, topic_filter, qos):
    data = written(codec.write_subscribe, packet_id, topic_filter.encode(), qos, 5)
    assert len(data) == codec.subscribe_size(topic_filter.encode(), 5)
    packet = parsed(data)
    assert packet.packet_id == packet_id
    assert [(each.pattern, int(each.max_qos)) for each in packet.topic_filters] == [(topic_filter, qos)]
    packet = parsed(written(codec.write_subscribe, packet_id, topic_filter.encode(), None, 5))
    assert (packet.packet_id, packet.patterns) == (packet_id, [topic_filter])


@given(packet_id=PACKET_ID, code=PUBACK_CODES, why=st.sampled_from([0, 0x81, 0x82, 0x83, 0x95]))
def test_small_packets(packet_id, code, why):
    packet = parsed(written(codec.write_puback, packet_id, int(code), 5))
    assert (packet.packet_id, packet.reason_code) == (packet_id, code)
    assert int(parsed(written(codec.write_disconnect, why, 5)).reason_code) == why
    assert isinstance(parsed(written(codec.write_pingreq)), mqtt5.PingReqPacket)


# --- what it writes, we read ---


@given(
    present=st.booleans(),
    expiry=st.none() | st.integers(0, 0xFFFF_FFFF),
    assigned=st.none() | TEXT.filter(bool),
    keepalive=st.none() | U16,
    receive_max=U16,
    alias_max=st.integers(0, 65535),
    max_qos=st.sampled_from([0, 1, 2]),
    retain=st.booleans(),
    max_packet=st.none() | U32,
    wildcard=st.booleans(),
    reason=st.none() | TEXT,
    pairs=PAIRS,
)
def test_connack(
    present, expiry, assigned, keepalive, receive_max, alias_max, max_qos, retain, max_packet, wildcard, reason, pairs
):
    data = mqtt5.ConnAckPacket(
        session_present=present,
        session_expiry_interval=expiry,
        assigned_client_id=assigned,
        server_keep_alive=keepalive,
        receive_max=receive_max,
        topic_alias_max=alias_max,
        max_qos=mqtt5.QoS(max_qos),
        retain_available=retain,
        max_packet_size=max_packet,
        wildcard_subscription_available=wildcard,
        reason_str=reason,
        user_properties=pairs,
    ).write()
    state = Session(Config("c", "h", 1, rx_bytes=4096, tx_bytes=512))
    state.begin(5, 0)
    ((kind, info),) = feed(state, data, 10_000)
    assert kind == session.EV_CONNACK and info.session_present == present
    assert (info.session_expiry_s, info.assigned_client_id) == (expiry or 0, assigned or "")
    assert info.server_keepalive_s == (keepalive or 0)
    assert (info.receive_maximum, info.topic_alias_maximum, info.maximum_qos) == (receive_max, alias_max, max_qos)
    assert (bool(info.retain_available), bool(info.wildcard_available)) == (retain, wildcard)
    assert info.maximum_packet == (max_packet or 0)


def a_publish(draw) -> bytes:
    packet_id = draw(st.none() | PACKET_ID)
    return mqtt5.PublishPacket(
        draw(TOPIC),
        draw(st.binary(max_size=200)),
        qos=mqtt5.QoS(1 if packet_id else 0),
        packet_id=packet_id,
        retain=draw(st.booleans()),
        duplicate=bool(packet_id) and draw(st.booleans()),
        message_expiry_interval=draw(st.none() | U32),
        content_type=draw(st.none() | TEXT),
        response_topic=draw(st.none() | TOPIC),
        correlation_data=draw(st.none() | st.binary(max_size=20)),
        subscription_ids=draw(st.lists(st.integers(1, 268_435_455), max_size=3)),
        user_properties=draw(PAIRS),
    ).write()


@st.composite
def server_packets(draw) -> bytes:
    """Some packets a server may send, one after the other."""
    made = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["publish", "publish", "puback", "suback", "unsuback", "pingresp"]))
        if kind == "publish":
            made.append(a_publish(draw))
        elif kind == "puback":
            code = draw(PUBACK_CODES)
            made.append(mqtt5.PubAckPacket(draw(PACKET_ID), reason_code=code, reason_str=draw(st.none() | TEXT)).write())
        elif kind == "suback":
            code = mqtt5.SubAckReasonCode(draw(st.sampled_from([0, 1, 0x87])))
            made.append(mqtt5.SubAckPacket(draw(PACKET_ID), [code]).write())
        elif kind == "unsuback":
            made.append(mqtt5.UnsubAckPacket(draw(PACKET_ID), [mqtt5.UnsubAckReasonCode.SUCCESS]).write())
        else:
            made.append(mqtt5.PingRespPacket().write())
    return b"".join(made)


@given(st.data())
def test_publish_of_a_server(data):
    wire = a_publish(data.draw)
    packet = parsed(wire)
    events = feed(connected(), wire, 10_000)
    if len(wire) > RX_BYTES:
        assert [event[0] for event in events] == [session.EV_OVERSIZED]
    else:
        expected = (packet.topic, packet.payload, packet.packet_id or 0, packet.retain, packet.duplicate)
        assert events == [(session.EV_MESSAGE, *expected)]


@given(packet_id=PACKET_ID, code=PUBACK_CODES, reason=st.none() | TEXT, pairs=PAIRS)
def test_acknowledgements_of_a_server(packet_id, code, reason, pairs):
    for kind, packet in (
        (codec.PUBACK, mqtt5.PubAckPacket(packet_id, reason_code=code, reason_str=reason, user_properties=pairs)),
        (codec.SUBACK, mqtt5.SubAckPacket(packet_id, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED], reason_str=reason)),
        (codec.UNSUBACK, mqtt5.UnsubAckPacket(packet_id, [mqtt5.UnsubAckReasonCode.SUCCESS], user_properties=pairs)),
    ):
        wire = packet.write()
        body = Reader(memoryview(wire))
        body.over(1, len(wire))
        assert body.varint() == body.left()
        expected = int(packet.reason_code) if kind == codec.PUBACK else int(packet.reason_codes[0])
        assert codec.read_ack(body, kind, 5) == (packet_id, expected)


@given(code=DISCONNECT_CODES, reason=st.none() | TEXT, pairs=PAIRS)
def test_disconnect_of_a_server(code, reason, pairs):
    wire = mqtt5.DisconnectPacket(reason_code=code, reason_str=reason, user_properties=pairs).write()
    assert feed(connected(), wire, 10_000) == [(session.EV_DISCONNECT, int(code))]


# --- pieces and garbage ---


@given(stream=server_packets(), pieces=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_any_split_of_a_stream_gives_the_same_events(stream, pieces):
    whole = feed(connected(), stream, 10_000)
    state, events, at, turn = connected(), [], 0, 0
    while at < len(stream):
        size = pieces[turn % len(pieces)]
        events += feed(state, stream[at : at + size], size)
        at, turn = at + size, turn + 1
    assert events == whole


def only_typed_errors(state: Session, data: bytes, piece: int) -> None:
    sizes = len(state._rx), len(state._out), len(state._ring._buf)
    try:
        feed(state, data, piece)
    except ProtocolViolation as error:
        assert error.code >= 0x80
    except MqttError as error:
        pytest.fail(f"garbage is a protocol violation, not {error!r}")
    assert (len(state._rx), len(state._out), len(state._ring._buf)) == sizes


@given(data=st.binary(max_size=3000), version=st.sampled_from([4, 5]), piece=st.integers(1, 3000))
def test_garbage_gives_only_typed_errors_and_no_memory(data, version, piece):
    only_typed_errors(connected(version), data, piece)
    state = Session(Config("c", "h", 1, rx_bytes=RX_BYTES, tx_bytes=512))
    state.begin(version, 0)
    only_typed_errors(state, b"\x20" + data, piece)


@given(
    stream=server_packets(),
    edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    version=st.sampled_from([4, 5]),
)
def test_damaged_packets_give_only_typed_errors(stream, edits, version):
    damaged = bytearray(stream)
    for at, value in edits:
        damaged[at % len(damaged)] = value
    only_typed_errors(connected(version), bytes(damaged), 500)


@given(stream=st.data(), edits=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=3))
def test_no_message_is_taken_from_a_publish_that_the_other_codec_rejects(stream, edits):
    damaged = bytearray(a_publish(stream.draw))
    for at, value in edits:
        damaged[at % len(damaged)] = value
    try:
        events = feed(connected(), bytes(damaged), 10_000)
    except ProtocolViolation:
        return
    for event in events[:1]:
        if event[0] == session.EV_MESSAGE:
            packet, _ = mqtt5.read(memoryview(damaged))
            assert (packet.topic, packet.payload, packet.packet_id or 0) == event[1:4]
