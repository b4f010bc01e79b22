"""MQTT control packets to and from bytes, for versions 5 and 4 (= 3.1.1). Client side: writes what a client sends.

`version` is 5 or 4 everywhere. Writers assume room for the size their `*_size` twin computes; readers
raise ProtocolViolation for anything that the standard does not allow, and keep no reference to the buffer.
"""

from . import props, reasons
from .errors import ProtocolViolation, Refused
from .wire import Reader, Writer, malformed, packet_size, varint_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Config

CONNECT = 1
CONNACK = 2
PUBLISH = 3
PUBACK = 4
SUBSCRIBE = 8
SUBACK = 9
UNSUBSCRIBE = 10
UNSUBACK = 11
PINGREQ = 12
PINGRESP = 13
DISCONNECT = 14

RETAIN_FLAG = 0x01
QOS1_FLAG = 0x02
DUP_FLAG = 0x08

PUBACK_SIZE = 5  # with a reason code; without one it is 4

_NO_EXPIRY = 0xFFFF_FFFF
_HEADER_MAX = 5
_ID_0 = "packet id 0"


def utf8(text: "str | bytes") -> bytes:
    """The bytes of a text, or bytes as they are; Refused(TOPIC_NAME_INVALID) over 65535 bytes or with U+0000."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > 0xFFFF:
        raise Refused(reasons.TOPIC_NAME_INVALID, f"string of {len(data)} bytes")
    if isinstance(text, str) and b"\0" in data:
        raise Refused(reasons.TOPIC_NAME_INVALID, "string with U+0000")
    return data


def topic_name(topic: str) -> bytes:
    """A topic to publish to, as bytes (§4.7.3); Refused(TOPIC_NAME_INVALID) if empty or with a wildcard in it."""
    if not topic or "+" in topic or "#" in topic:
        raise Refused(reasons.TOPIC_NAME_INVALID, f"topic {topic!r}")
    return utf8(topic)


class Connack:
    """What the server said to CONNECT (§3.2), with the standard's default where it said nothing.

    `version` is the one spoken now; `code`: 0, or why the server refuses. `server_keepalive_s`, `session_expiry_s`,
    `maximum_packet` (bytes): 0 unless the server set one. `assigned_client_id`: "" unless the server chose one.
    """

    if TYPE_CHECKING:
        receive_maximum: int
        maximum_qos: int
        retain_available: int
        wildcard_available: int
        maximum_packet: int
        topic_alias_maximum: int
        server_keepalive_s: int
        session_expiry_s: int
        assigned_client_id: str

    def __init__(self, version: int, session_present: bool, code: int, found: "dict[int, int | str]") -> None:
        self.version = version
        self.session_present = session_present
        self.code = code
        for ident, name, default in _CONNACK_FIELDS:
            setattr(self, name, found.get(ident, default))

    def publish_refusal(self, qos: int, retain: bool, size: int) -> int:
        """0, or the reason code for which this server would not take a PUBLISH of `size` bytes on the wire."""
        if qos > self.maximum_qos:
            return reasons.QOS_NOT_SUPPORTED
        if retain and not self.retain_available:
            return reasons.RETAIN_NOT_SUPPORTED
        if 0 < self.maximum_packet < size:
            return reasons.PACKET_TOO_LARGE
        return reasons.SUCCESS


_CONNACK_FIELDS = (
    (props.RECEIVE_MAXIMUM, "receive_maximum", 0xFFFF),
    (props.MAXIMUM_QOS, "maximum_qos", 2),
    (props.RETAIN_AVAILABLE, "retain_available", 1),
    (props.WILDCARD_AVAILABLE, "wildcard_available", 1),
    (props.MAXIMUM_PACKET_SIZE, "maximum_packet", 0),
    (props.TOPIC_ALIAS_MAXIMUM, "topic_alias_maximum", 0),
    (props.SERVER_KEEP_ALIVE, "server_keepalive_s", 0),
    (props.SESSION_EXPIRY, "session_expiry_s", 0),
    (props.ASSIGNED_CLIENT_ID, "assigned_client_id", ""),
)


# --- what a client sends ---


def connect_size(config: "Config", client_id: bytes) -> int:
    """Room that `write_connect` may need."""
    texts = [text for text in (config.username, config.password) if text is not None]
    if config.will is not None:
        texts += config.will[:2]
    return 46 + len(client_id) + sum([2 + len(utf8(text)) for text in texts])


def write_connect(out: Writer, config: "Config", client_id: bytes, version: int) -> int:
    """CONNECT (§3.1): session expiry, receive maximum, topic aliases, and no problem texts, please.

    No maximum packet size: mosquitto 2.0.11 does not send what is larger, but counts it as under way for ever, so that a few such
    messages use the receive maximum up and nothing arrives any more. What is too large is drained and acknowledged anyway.
    Its size is known when it is written, so it begins a few bytes after `out.pos`; returns where.
    """
    flags = 0x02 if config.clean_start else 0
    texts: "list[str | bytes]" = [client_id]
    will = config.will
    if will is not None:
        flags |= 0x04 | will[2] << 3 | (0x20 if will[3] else 0)
        texts += will[:2]
    if config.username is not None:
        flags |= 0x80
        texts.append(config.username)
    if config.password is not None:
        flags |= 0x40
        texts.append(config.password)
    start = out.pos
    out.pos = body = start + _HEADER_MAX
    out.take(b"\0\4MQTT")
    out.uint(version, 1)
    out.uint(flags, 1)
    out.uint(config.keepalive_s, 2)
    if version == 5:
        out.uint(13 if config.rx_aliases else 10, 1)
        for ident, value, size in (
            (props.SESSION_EXPIRY, config.session_expiry_s, 4),
            (props.RECEIVE_MAXIMUM, config.receive_maximum, 2),
            (props.TOPIC_ALIAS_MAXIMUM, config.rx_aliases, 2),
            (props.REQUEST_PROBLEM_INFO, 0, 1),
        ):
            if value or ident != props.TOPIC_ALIAS_MAXIMUM:
                out.uint(ident, 1)
                out.uint(value, size)
    for i, text in enumerate(texts):
        if i == 1 and will is not None and version == 5:
            out.uint(0, 1)  # no properties of the will
        out.data(utf8(text))
    end = out.pos
    start = body - 1 - varint_size(end - body)
    out.pos = start
    out.uint(CONNECT << 4, 1)
    out.varint(end - body)
    out.pos = end
    return start


def _publish_head_size(topic_size: int, qos: int, alias: int, expiry_s: int, version: int) -> int:
    size = 2 + topic_size + (2 if qos else 0)
    if version == 5:
        size += 1 + (3 if alias else 0) + (0 if expiry_s == _NO_EXPIRY else 5)
    return size


def publish_size(topic_size: int, payload_size: int, qos: int, alias: int, expiry_s: int, version: int) -> int:
    """Bytes on the wire of a PUBLISH; `topic_size` is 0 where the alias stands for the topic."""
    return packet_size(_publish_head_size(topic_size, qos, alias, expiry_s, version) + payload_size)


def write_publish_head(
    out: Writer,
    flags: int,
    topic: "bytes | memoryview",
    payload_size: int,
    packet_id: int,
    alias: int,
    expiry_s: int,
    version: int,
) -> None:
    """PUBLISH (§3.3) up to its payload. `flags`: RETAIN_FLAG, QOS1_FLAG, DUP_FLAG. `alias`: 0 for none."""
    qos = 1 if flags & QOS1_FLAG else 0
    out.uint(PUBLISH << 4 | flags, 1)
    out.varint(_publish_head_size(len(topic), qos, alias, expiry_s, version) + payload_size)
    out.data(topic)
    if qos:
        out.uint(packet_id, 2)
    if version == 5:
        out.varint((3 if alias else 0) + (0 if expiry_s == _NO_EXPIRY else 5))
        if expiry_s != _NO_EXPIRY:
            out.uint(props.MESSAGE_EXPIRY, 1)
            out.uint(expiry_s, 4)
        if alias:
            out.uint(props.TOPIC_ALIAS, 1)
            out.uint(alias, 2)


def write_puback(out: Writer, packet_id: int, code: int, version: int) -> None:
    """PUBACK (§3.4). A 3.1.1 server cannot be told a reason; SUCCESS is left out, as it may be."""
    with_code = version == 5 and code != reasons.SUCCESS
    out.uint(PUBACK << 4, 1)
    out.uint(3 if with_code else 2, 1)
    out.uint(packet_id, 2)
    if with_code:
        out.uint(code, 1)


def subscribe_size(topic_filter: bytes, version: int) -> int:
    """Bytes of a SUBSCRIBE for one filter; an UNSUBSCRIBE is one shorter."""
    return packet_size(2 + (1 if version == 5 else 0) + 2 + len(topic_filter) + 1)


def write_subscribe(out: Writer, packet_id: int, topic_filter: bytes, qos: "int | None", version: int) -> None:
    """SUBSCRIBE (§3.8) for one filter, or UNSUBSCRIBE (§3.10) when `qos` is None."""
    kind = UNSUBSCRIBE if qos is None else SUBSCRIBE
    out.uint(kind << 4 | 2, 1)
    out.varint(2 + (1 if version == 5 else 0) + 2 + len(topic_filter) + (0 if qos is None else 1))
    out.uint(packet_id, 2)
    if version == 5:
        out.varint(0)
    out.data(topic_filter)
    if qos is not None:
        out.uint(qos, 1)


def write_pingreq(out: Writer) -> None:
    """PINGREQ (§3.12)."""
    out.uint(PINGREQ << 12, 2)


def write_disconnect(out: Writer, code: int, version: int) -> None:
    """DISCONNECT (§3.14), at most 3 bytes. In 3.1.1 only a normal one exists; for others that client just leaves."""
    with_code = version == 5 and code != reasons.SUCCESS
    out.uint(DISCONNECT << 4, 1)
    out.uint(1 if with_code else 0, 1)
    if with_code:
        out.uint(code, 1)


# --- what a server sends; `body` covers the packet after its fixed header ---


def read_connack(body: Reader, version: int) -> Connack:
    """CONNACK (§3.2). A 3.1.1 server answers a version 5 CONNECT in its own short form, so both are read here."""
    flags = body.uint(1)
    code = body.uint(1)
    if flags > 1:
        raise malformed(f"CONNACK flags are 0x{flags:02x}")
    short = body.left() == 0
    if short:
        code = reasons.from_v4_connack(code)
    found: "dict[int, int | str]" = {}
    if not short and version == 5:
        props.read(body, props.IN_CONNACK, found)
    _no_rest(body)
    if version == 5 and short and code == reasons.SUCCESS:
        raise malformed("CONNACK without properties")
    if flags and code:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "CONNACK refuses, and a session is present")
    return Connack(version, flags == 1, code, found)


def check_publish_flags(flags: int) -> None:
    """The low four bits of a PUBLISH header: this client never subscribes above QoS 1, so QoS 2 cannot come."""
    if flags & 0x06 == 0x04:
        raise ProtocolViolation(reasons.QOS_NOT_SUPPORTED, "PUBLISH with QoS 2")
    if flags & 0x06 == 0x06:
        raise malformed("PUBLISH with QoS 3")
    if flags & (DUP_FLAG | QOS1_FLAG) == DUP_FLAG:
        raise malformed("PUBLISH with QoS 0 and DUP")


def read_publish_topic(body: Reader, flags: int) -> "tuple[str, int]":
    """(topic, packet id or 0): the start of a PUBLISH, before properties and payload."""
    topic = body.text()
    if "+" in topic or "#" in topic:
        raise ProtocolViolation(reasons.TOPIC_NAME_INVALID, f"PUBLISH to {topic!r}")
    packet_id = 0
    if flags & QOS1_FLAG:
        packet_id = body.uint(2)
        if packet_id == 0:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, _ID_0)
    return topic, packet_id


def read_publish(body: Reader, flags: int, version: int, aliases: "list[str]") -> "tuple[str, int, memoryview]":
    """(topic, packet id or 0, payload in place) of a PUBLISH (§3.3). `aliases`: topics by alias - 1, of this connection."""
    topic, packet_id = read_publish_topic(body, flags)
    if version == 5:
        found: "dict[int, int | str]" = {}
        if props.read(body, props.IN_PUBLISH, found) >> props.TOPIC_ALIAS & 1:
            alias = int(found[props.TOPIC_ALIAS])
            if alias > len(aliases):
                raise ProtocolViolation(reasons.TOPIC_ALIAS_INVALID, f"topic alias {alias}, at most {len(aliases)}")
            topic = aliases[alias - 1] = topic or aliases[alias - 1]
    if not topic:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "PUBLISH without a topic")
    return topic, packet_id, body.take(body.left())


def read_ack(body: Reader, kind: int, version: int) -> "tuple[int, int]":
    """(packet id, reason code) of PUBACK, SUBACK or UNSUBACK (§3.4, §3.9, §3.11), one filter to a SUBACK."""
    packet_id = body.uint(2)
    if packet_id == 0:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, _ID_0)
    code = reasons.SUCCESS
    if kind == PUBACK:
        if version == 5 and body.left():
            code = body.uint(1)
            if body.left():
                props.read(body, props.IN_ACK)
    else:
        if version == 5:
            props.read(body, props.IN_ACK)
        if kind == SUBACK or version == 5:
            code = body.uint(1)
        if kind == SUBACK and 1 < code < 0x80:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"SUBACK grants QoS {code}")
    _no_rest(body)
    return packet_id, code


def read_disconnect(body: Reader) -> int:
    """The reason code of the server's DISCONNECT (§3.14), which exists in version 5 only."""
    code = reasons.SUCCESS
    if body.left():
        code = body.uint(1)
        if body.left():
            props.read(body, props.IN_DISCONNECT)
    _no_rest(body)
    return code


def _no_rest(body: Reader) -> None:
    if body.left():
        raise malformed(f"{body.left()} bytes too many")

