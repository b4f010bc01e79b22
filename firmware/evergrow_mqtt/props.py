"""Properties of MQTT 5 (§2.2.2): read with full checks, kept only where this client uses them."""

from . import reasons
from .errors import ProtocolViolation
from .wire import Reader, malformed

SESSION_EXPIRY = 0x11
ASSIGNED_CLIENT_ID = 0x12
SERVER_KEEP_ALIVE = 0x13
REQUEST_PROBLEM_INFO = 0x17
MESSAGE_EXPIRY = 0x02
RECEIVE_MAXIMUM = 0x21
TOPIC_ALIAS_MAXIMUM = 0x22
TOPIC_ALIAS = 0x23
MAXIMUM_QOS = 0x24
RETAIN_AVAILABLE = 0x25
MAXIMUM_PACKET_SIZE = 0x27
WILDCARD_AVAILABLE = 0x28
_SUBSCRIPTION_ID = 0x0B
_USER_PROPERTY = 0x26

# What a server may put in each packet (§2.2.2.2, table 2-4).
IN_CONNACK = b"\x11\x12\x13\x15\x16\x1a\x1c\x1f\x21\x22\x24\x25\x26\x27\x28\x29\x2a"
IN_PUBLISH = b"\x01\x02\x03\x08\x09\x0b\x23\x26"
IN_ACK = b"\x1f\x26"
IN_DISCONNECT = b"\x1c\x1f\x26"

# Type of each property, by identifier: 1, 2, 4 = integer of that size; b = that, but only 0 or 1;
# v = variable byte integer, d = binary data, t = text, p = pair of texts.
_TYPES = b".b4t....td.v.....4t2.tdb4bt.t..t.222bbp4bbb"

_NEVER_ZERO = bytes((RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE, TOPIC_ALIAS, _SUBSCRIPTION_ID))


def read(reader: Reader, allowed: bytes, found: "dict[int, int | str] | None" = None) -> int:
    """Read one property block. Numbers and texts go into `found`, if given, by identifier.

    Returns the identifiers seen, as a bit mask. `allowed`: those that this packet may carry. Raises ProtocolViolation for any
    other, for a repeated one and for a value outside its range.
    """
    size = reader.varint()
    if size > reader.left():
        raise malformed(f"properties of {size} bytes in {reader.left()} bytes of packet")
    outer_end = reader.end
    reader.end = reader.pos + size
    seen = 0
    while reader.left():
        ident = reader.varint()
        if ident > 0x7F or ident not in allowed:
            raise malformed(f"property 0x{ident:02x} is not allowed here")
        if seen >> ident & 1 and ident not in (_USER_PROPERTY, _SUBSCRIPTION_ID):
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"property 0x{ident:02x} is there twice")
        seen |= 1 << ident
        value = _value(reader, chr(_TYPES[ident]))
        if value == 0 and ident in _NEVER_ZERO:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"property 0x{ident:02x} is 0")
        if found is not None and value is not None:
            found[ident] = value
    reader.end = outer_end
    return seen


def _value(reader: Reader, kind: str) -> "int | str | None":
    if kind == "t":
        return reader.text()
    if kind == "p":
        reader.text()
        reader.text()
        return None
    if kind == "d":
        reader.data()
        return None
    if kind == "v":
        return reader.varint()
    value = reader.uint(1 if kind == "b" else int(kind))
    if kind == "b" and value > 1:
        raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"a yes-or-no property is {value}")
    return value
