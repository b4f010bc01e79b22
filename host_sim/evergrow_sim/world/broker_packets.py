"""MQTT control packets from the server's side: reads what a client sends, writes what a server sends.

The client's own codec (evergrow_mqtt) is used wherever both sides share a rule; here is what only a server needs. Readers
raise ProtocolViolation with the reason code that the client is told. `version` is 5, or 4 for 3.1.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from evergrow_mqtt import codec, props
from evergrow_mqtt.errors import ProtocolViolation
from evergrow_mqtt.wire import Reader, Writer, malformed, varint_size
from evergrow_sim.world import broker_reasons as reasons
from evergrow_sim.world.broker_topics import Subscription, check_filter

AUTH = 15
NEVER = 0xFFFF_FFFF
"""A session expiry interval that never ends (§3.1.2.11.2)."""

_IN_CONNECT = b"\x11\x15\x16\x17\x19\x21\x22\x26\x27"
_IN_WILL = b"\x01\x02\x03\x08\x09\x18\x26"
_IN_PUBLISH = b"\x01\x02\x03\x08\x09\x23\x26"
_IN_SUBSCRIBE = b"\x0b\x26"
_IN_UNSUBSCRIBE = b"\x26"
_IN_DISCONNECT = b"\x11\x1f\x26"

_AUTHENTICATION_METHOD = 0x15
_AUTHENTICATION_DATA = 0x16
_WILL_DELAY = 0x18
_SUBSCRIPTION_ID = 0x0B
_SUBSCRIPTION_ID_AVAILABLE = 0x29
_SHARED_AVAILABLE = 0x2A

# Properties of a PUBLISH that a server hands on as they are (§3.3.2.3): bytes of each, or how many length-prefixed fields.
_FORWARDED = {0x01: (1, 0), 0x03: (0, 1), 0x08: (0, 1), 0x09: (0, 1), 0x26: (0, 2)}
_NOT_FORWARDED = {props.MESSAGE_EXPIRY: (4, 0), props.TOPIC_ALIAS: (2, 0), _WILL_DELAY: (4, 0)}

@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH, or the message of a will. `properties`: those to hand on, as bytes. `expiry_s`: None for never."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int = 0
    alias: int = 0
    expiry_s: int | None = None
    properties: bytes = b""


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT, with the standard's default for what it does not say. `maximum_packet`: None for no limit."""

    client_id: str
    clean_start: bool
    keepalive_s: int
    session_expiry_s: int
    receive_maximum: int
    maximum_packet: int | None
    will: Publish | None
    will_delay_s: int
    username: str
    password: bytes | None = field(repr=False)
    topic_aliases: int = 0


# --- what a client sends; `body` covers the packet after its fixed header ---


def read_version(body: Reader) -> int:
    """Protocol name and level at the start of a CONNECT (§3.1.2.1). Whether they will do is for the caller to say."""
    name = body.text()
    if name not in ("MQTT", "MQIsdp"):
        raise malformed("protocol name is not MQTT")
    return body.uint(1)


def read_connect(body: Reader, version: int) -> Connect:
    """The rest of a CONNECT (§3.1)."""
    flags = body.uint(1)
    will_qos = flags >> 3 & 3
    if flags & 0x01 or will_qos == 3 or (not flags & 0x04 and flags & 0x38):
        raise malformed(f"CONNECT flags are 0x{flags:02x}")
    if version == 4 and flags & 0xC0 == 0x40:
        raise malformed("password without a user name")
    keepalive_s = body.uint(2)
    found: dict[int, int | str] = {}
    if version == 5:
        seen = props.read(body, _IN_CONNECT, found)
        if seen >> _AUTHENTICATION_DATA & 1 and _AUTHENTICATION_METHOD not in found:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, "authentication data without a method")
        if _AUTHENTICATION_METHOD in found:
            raise ProtocolViolation(reasons.BAD_AUTHENTICATION_METHOD, "there is no extended authentication")
    client_id = body.text()
    will, delay_s = _read_will(body, will_qos, bool(flags & 0x20), version) if flags & 0x04 else (None, 0)
    username = body.text() if flags & 0x80 else ""
    password = bytes(body.data()) if flags & 0x40 else None
    _no_rest(body)
    clean_start = bool(flags & 0x02)
    expiry_s = _int(found, props.SESSION_EXPIRY, 0) if version == 5 else (0 if clean_start else NEVER)
    maximum_packet = _int(found, props.MAXIMUM_PACKET_SIZE, 0) or None
    receive_maximum = _int(found, props.RECEIVE_MAXIMUM, 0xFFFF)
    return Connect(
        client_id,
        clean_start,
        keepalive_s,
        expiry_s,
        receive_maximum,
        maximum_packet,
        will,
        delay_s,
        username,
        password,
        _int(found, props.TOPIC_ALIAS_MAXIMUM, 0),
    )


def _read_will(body: Reader, qos: int, retain: bool, version: int) -> tuple[Publish, int]:
    """(the will, its delay in s). One with QoS 2 is refused by §3.2.2.3.4."""
    found: dict[int, int | str] = {}
    properties = _read_message_properties(body, _IN_WILL, found) if version == 5 else b""
    topic = body.text()
    if not topic or "+" in topic or "#" in topic:
        raise ProtocolViolation(reasons.TOPIC_NAME_INVALID, "topic of the will is empty or has a wildcard in it")
    payload = bytes(body.data())
    if qos > 1:
        raise ProtocolViolation(reasons.QOS_NOT_SUPPORTED, "will with QoS 2")
    will = Publish(topic, payload, qos, retain, expiry_s=_expiry(found), properties=properties)
    return will, _int(found, _WILL_DELAY, 0)


def read_publish(body: Reader, flags: int, version: int) -> Publish:
    """A PUBLISH (§3.3). Its topic is empty where the alias stands for it."""
    codec.check_publish_flags(flags)
    topic, packet_id = codec.read_publish_topic(body, flags)
    found: dict[int, int | str] = {}
    properties = _read_message_properties(body, _IN_PUBLISH, found) if version == 5 else b""
    alias = _int(found, props.TOPIC_ALIAS, 0)
    if not topic and not alias:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "PUBLISH without a topic")
    payload = bytes(body.take(body.left()))
    qos = 1 if flags & codec.QOS1_FLAG else 0
    return Publish(topic, payload, qos, bool(flags & codec.RETAIN_FLAG), packet_id, alias, _expiry(found), properties)


def _read_message_properties(body: Reader, allowed: bytes, found: dict[int, int | str]) -> bytes:
    """Check a property block, and return those to hand on as they stand, in their order (§3.3.2.3.7)."""
    start = body.pos
    props.read(body, allowed, found)
    if body.pos == start + 1 or found.keys() == {props.TOPIC_ALIAS}:
        return b""  # the usual cases
    block = Reader(body.view)
    block.over(start, body.pos)
    block.varint()
    kept = bytearray()
    while block.left():
        at = block.pos
        ident = block.varint()
        size, fields = _FORWARDED.get(ident) or _NOT_FORWARDED[ident]
        block.take(size)
        for _ in range(fields):
            block.data()
        if ident in _FORWARDED:
            kept += block.view[at : block.pos]
    return bytes(kept)


def read_subscribe(body: Reader, version: int) -> tuple[int, list[Subscription]]:
    """(packet id, subscriptions) of a SUBSCRIBE (§3.8)."""
    packet_id = _request_id(body)
    if version == 5 and props.read(body, _IN_SUBSCRIBE) >> _SUBSCRIPTION_ID & 1:
        raise ProtocolViolation(reasons.SUBSCRIPTION_ID_NOT_SUPPORTED, "there are no subscription identifiers")
    wanted = []
    while body.left():
        topic_filter = body.text()
        check_filter(topic_filter)
        options = body.uint(1)
        qos, handling = options & 3, options >> 4 & 3
        if qos == 3 or handling == 3 or options & (0xC0 if version == 5 else 0xFC):
            raise malformed(f"subscription options are 0x{options:02x}")
        # A server without QoS 2 still takes subscriptions that ask for it, and grants less (§3.2.2.3.4).
        wanted.append(Subscription(topic_filter, min(qos, 1), bool(options & 4), bool(options & 8), handling))
    _not_empty(wanted)
    return packet_id, wanted


def read_unsubscribe(body: Reader, version: int) -> tuple[int, list[str]]:
    """(packet id, topic filters) of an UNSUBSCRIBE (§3.10)."""
    packet_id = _request_id(body)
    if version == 5:
        props.read(body, _IN_UNSUBSCRIBE)
    filters = []
    while body.left():
        topic_filter = body.text()
        check_filter(topic_filter)
        filters.append(topic_filter)
    _not_empty(filters)
    return packet_id, filters


def read_disconnect(body: Reader, version: int) -> tuple[int, int | None]:
    """(reason code, session expiry in s if it is to change) of a DISCONNECT (§3.14)."""
    code = reasons.SUCCESS
    found: dict[int, int | str] = {}
    if version == 5 and body.left():
        code = body.uint(1)
        if body.left():
            props.read(body, _IN_DISCONNECT, found)
    _no_rest(body)
    return code, _int(found, props.SESSION_EXPIRY, 0) if props.SESSION_EXPIRY in found else None


def read_nothing(body: Reader) -> None:
    """The body of a PINGREQ."""
    _no_rest(body)


def _request_id(body: Reader) -> int:
    packet_id = body.uint(2)
    if packet_id == 0:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "packet id 0")
    return packet_id


def _not_empty(filters: Sequence[object]) -> None:
    if not filters:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "no topic filter")


def _no_rest(body: Reader) -> None:
    if body.left():
        raise malformed(f"{body.left()} bytes too many in the packet")


def _int(found: dict[int, int | str], ident: int, default: int) -> int:
    return int(found.get(ident, default))


def _expiry(found: dict[int, int | str]) -> int | None:
    return _int(found, props.MESSAGE_EXPIRY, 0) if props.MESSAGE_EXPIRY in found else None


# --- what a server sends ---


def connack(version: int, session_present: bool, code: int, properties: Sequence[tuple[int, int | str]] = ()) -> bytes:
    """CONNACK (§3.2). `properties`: (identifier, value) of MQTT 5; for 3.1.1 `code` must be 0 or in V4_CONNACK."""
    if version == 4:
        return bytes((codec.CONNACK << 4, 2, session_present, reasons.V4_CONNACK[code] if code else 0))
    block = b"".join(_property(ident, value) for ident, value in properties)
    return _packet(codec.CONNACK << 4, bytes((session_present, code)) + _varint(len(block)) + block)


_SIZES = {
    props.SESSION_EXPIRY: 4,
    props.RECEIVE_MAXIMUM: 2,
    props.TOPIC_ALIAS_MAXIMUM: 2,
    props.MAXIMUM_QOS: 1,
    props.RETAIN_AVAILABLE: 1,
    props.MAXIMUM_PACKET_SIZE: 4,
    _SUBSCRIPTION_ID_AVAILABLE: 1,
    _SHARED_AVAILABLE: 1,
}
NOT_AVAILABLE = ((_SUBSCRIPTION_ID_AVAILABLE, 0), (_SHARED_AVAILABLE, 0))
"""Properties of every CONNACK: what this broker never has."""


def _property(ident: int, value: int | str) -> bytes:
    if isinstance(value, str):
        return bytes((ident,)) + _data(value.encode())
    return bytes((ident,)) + value.to_bytes(_SIZES[ident], "big")


def publish(
    message: Publish,
    packet_id: int,
    qos: int,
    retain: bool,
    dup: bool,
    expiry_s: int | None,
    version: int,
    alias: tuple[int, bool] = (0, True),
) -> bytes:
    """PUBLISH (§3.3) of a message to a subscriber; `expiry_s` is what is left of it now. `alias`: (it or 0 for none, whether
    the topic is named beside it)."""
    flags = (codec.QOS1_FLAG if qos else 0) | (codec.RETAIN_FLAG if retain else 0) | (codec.DUP_FLAG if dup else 0)
    head = _data(message.topic.encode() if alias[1] else b"")
    if qos:
        head += packet_id.to_bytes(2, "big")
    if version == 5:
        block = message.properties
        if expiry_s is not None:
            block = bytes((props.MESSAGE_EXPIRY,)) + expiry_s.to_bytes(4, "big") + block
        if alias[0]:
            block = bytes((props.TOPIC_ALIAS,)) + alias[0].to_bytes(2, "big") + block
        head += _varint(len(block)) + block
    return _packet(codec.PUBLISH << 4 | flags, head + message.payload)


def puback(packet_id: int, code: int, version: int) -> bytes:
    """PUBACK (§3.4); 3.1.1 has no reason code in it."""
    said = bytes((code,)) if code and version == 5 else b""
    return bytes((codec.PUBACK << 4, 2 + len(said))) + packet_id.to_bytes(2, "big") + said


def suback(packet_id: int, codes: Sequence[int], version: int) -> bytes:
    """SUBACK (§3.9); 3.1.1 knows no failure but 0x80."""
    if version == 4:
        codes = [min(code, 0x80) for code in codes]
    return _packet(codec.SUBACK << 4, packet_id.to_bytes(2, "big") + (b"\0" if version == 5 else b"") + bytes(codes))


def unsuback(packet_id: int, codes: Sequence[int], version: int) -> bytes:
    """UNSUBACK (§3.11), which says nothing in 3.1.1."""
    return _packet(codec.UNSUBACK << 4, packet_id.to_bytes(2, "big") + (b"\0" + bytes(codes) if version == 5 else b""))


PINGRESP = bytes((codec.PINGRESP << 4, 0))


def disconnect(code: int) -> bytes:
    """DISCONNECT (§3.14); a 3.1.1 server has none."""
    return bytes((codec.DISCONNECT << 4, 1, code))


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _varint(len(body)) + body


def _data(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = Writer(bytearray(varint_size(value)))
    out.varint(value)
    return bytes(out.buf)
