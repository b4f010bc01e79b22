"""MQTT control packets to and from bytes, for versions 5 and 4 (= 3.1.1). Client side: writes what a client sends.

`version` is 5 or 4 everywhere. Writers assume room for the size their `*_size` twin computes; readers
raise ProtocolViolation for anything that the standard does not allow, and keep no reference to the buffer.
"""

from . import props, reasons
from .errors import ProtocolViolation, Refused
from .wire import Reader, Writer, malformed, packet_size

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


def utf8(text: "str | bytes") -> bytes:
    """The bytes of a text, or bytes as they are; Refused(TOPIC_NAME_INVALID) over 65535 bytes or with U+0000."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > 0xFFFF:
        raise Refused(reasons.TOPIC_NAME_INVALID, f"string of {len(data)} bytes, at most 65535 fit")
    if isinstance(text, str) and b"\0" in data:
        raise Refused(reasons.TOPIC_NAME_INVALID, "string contains U+0000")
    return data


def topic_name(topic: str) -> bytes:
    """A topic to publish to, as bytes (§4.7.3); Refused(TOPIC_NAME_INVALID) if empty or with a wildcard in it."""
    if not topic or "+" in topic or "#" in topic:
        raise Refused(reasons.TOPIC_NAME_INVALID, f"cannot publish to topic {topic!r}")
    return utf8(topic)


class Connack:
    """What the server said to CONNECT (§3.2), with the standard's default where it said nothing.

    `code`: 0, or why it refuses. `server_keepalive_s`, `session_expiry_s`: None unless the server overrode ours.
    `assigned_client_id`: "" unless the server chose one. Sizes in bytes; `maximum_packet` None means no limit.
    """

    def __init__(self, version: int, session_present: bool, code: int) -> None:
        self.version = version
        self.session_present = session_present
        self.code = code
        self.receive_maximum = 0xFFFF
        self.maximum_qos = 2
        self.retain_available = True
        self.wildcard_available = True
        self.maximum_packet: "int | None" = None
        self.topic_alias_maximum = 0
        self.server_keepalive_s: "int | None" = None
        self.session_expiry_s: "int | None" = None
        self.assigned_client_id = ""

    def publish_refusal(self, qos: int, retain: bool, size: int) -> int:
        """0, or the reason code for which this server would not take a PUBLISH of `size` bytes on the wire."""
        if qos > self.maximum_qos:
            return reasons.QOS_NOT_SUPPORTED
        if retain and not self.retain_available:
            return reasons.RETAIN_NOT_SUPPORTED
        if self.maximum_packet is not None and size > self.maximum_packet:
            return reasons.PACKET_TOO_LARGE
        return reasons.SUCCESS


# --- what a client sends ---


def _connect_properties_size(config: "Config") -> int:
    return (5 if config.session_expiry_s else 0) + 3 + 5 + 2


def _connect_body_size(config: "Config", client_id: bytes, version: int) -> int:
    size = 10 + 2 + len(client_id)
    if version == 5:
        size += 1 + _connect_properties_size(config)
    if config.will is not None:
        size += 4 + len(utf8(config.will[0])) + len(config.will[1]) + (1 if version == 5 else 0)
    for text in (config.username, config.password):
        if text is not None:
            size += 2 + len(utf8(text))
    return size


def connect_size(config: "Config", client_id: bytes, version: int) -> int:
    """Bytes of the CONNECT packet that `write_connect` writes."""
    return packet_size(_connect_body_size(config, client_id, version))


def write_connect(out: Writer, config: "Config", client_id: bytes, version: int) -> None:
    """CONNECT (§3.1): session expiry, receive maximum, maximum packet size, and no problem texts, please."""
    flags = 0x02 if config.clean_start else 0
    if config.will is not None:
        flags |= 0x04 | config.will[2] << 3 | (0x20 if config.will[3] else 0)
    if config.password is not None:
        flags |= 0x40
    if config.username is not None:
        flags |= 0x80
    out.uint(CONNECT << 4, 1)
    out.varint(_connect_body_size(config, client_id, version))
    out.data(b"MQTT")
    out.uint(version, 1)
    out.uint(flags, 1)
    out.uint(config.keepalive_s, 2)
    if version == 5:
        out.varint(_connect_properties_size(config))
        if config.session_expiry_s:
            out.uint(props.SESSION_EXPIRY, 1)
            out.uint(config.session_expiry_s, 4)
        out.uint(props.RECEIVE_MAXIMUM, 1)
        out.uint(config.receive_maximum, 2)
        out.uint(props.MAXIMUM_PACKET_SIZE, 1)
        out.uint(config.rx_bytes, 4)
        out.uint(props.REQUEST_PROBLEM_INFO, 1)
        out.uint(0, 1)
    out.data(client_id)
    if config.will is not None:
        if version == 5:
            out.varint(0)
        out.data(utf8(config.will[0]))
        out.data(config.will[1])
    for text in (config.username, config.password):
        if text is not None:
            out.data(utf8(text))


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
    info = Connack(version, flags == 1, code)
    if not short and version == 5:
        found: "dict[int, int | str]" = {}
        props.read(body, props.IN_CONNACK, found)
        for ident, name in _CONNACK_FIELDS:
            if ident in found:
                setattr(info, name, found[ident])
    _no_rest(body)
    if version == 5 and short and code == reasons.SUCCESS:
        raise malformed("CONNACK has no properties")
    if flags and code:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "CONNACK refuses, yet says that a session is present")
    return info


_CONNACK_FIELDS = (
    (props.RECEIVE_MAXIMUM, "receive_maximum"),
    (props.MAXIMUM_QOS, "maximum_qos"),
    (props.RETAIN_AVAILABLE, "retain_available"),
    (props.WILDCARD_AVAILABLE, "wildcard_available"),
    (props.MAXIMUM_PACKET_SIZE, "maximum_packet"),
    (props.TOPIC_ALIAS_MAXIMUM, "topic_alias_maximum"),
    (props.SERVER_KEEP_ALIVE, "server_keepalive_s"),
    (props.SESSION_EXPIRY, "session_expiry_s"),
    (props.ASSIGNED_CLIENT_ID, "assigned_client_id"),
)


def check_publish_flags(flags: int) -> None:
    """The low four bits of a PUBLISH header: this client never subscribes above QoS 1, so QoS 2 cannot come."""
    if flags & 0x06 == 0x04:
        raise ProtocolViolation(reasons.QOS_NOT_SUPPORTED, "PUBLISH with QoS 2, which was never asked for")
    if flags & 0x06 == 0x06:
        raise malformed("PUBLISH with QoS 3")
    if flags & (DUP_FLAG | QOS1_FLAG) == DUP_FLAG:
        raise malformed("PUBLISH with QoS 0 and DUP")


def read_publish_topic(body: Reader, flags: int) -> "tuple[str, int]":
    """(topic, packet id or 0): the start of a PUBLISH, before properties and payload."""
    topic = body.text()
    if "+" in topic or "#" in topic:
        raise ProtocolViolation(reasons.TOPIC_NAME_INVALID, "PUBLISH topic has a wildcard in it")
    packet_id = 0
    if flags & QOS1_FLAG:
        packet_id = body.uint(2)
        if packet_id == 0:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, "PUBLISH with packet id 0")
    return topic, packet_id


def read_publish(body: Reader, flags: int, version: int) -> "tuple[str, int, memoryview]":
    """(topic, packet id or 0, payload in place) of a PUBLISH (§3.3). No alias was offered, so none may come."""
    topic, packet_id = read_publish_topic(body, flags)
    if version == 5:
        seen = props.read(body, props.IN_PUBLISH)
        if seen >> props.TOPIC_ALIAS & 1:
            raise ProtocolViolation(reasons.TOPIC_ALIAS_INVALID, "PUBLISH with a topic alias, and none was offered")
    if not topic:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "PUBLISH without a topic")
    return topic, packet_id, body.take(body.left())


def read_ack(body: Reader, kind: int, version: int) -> "tuple[int, int]":
    """(packet id, reason code) of PUBACK, SUBACK or UNSUBACK (§3.4, §3.9, §3.11), one filter to a SUBACK."""
    packet_id = body.uint(2)
    if packet_id == 0:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, "acknowledgement of packet id 0")
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
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"SUBACK grants 0x{code:02x} where at most QoS 1 was asked")
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
        raise malformed(f"{body.left()} bytes too many in the packet")

