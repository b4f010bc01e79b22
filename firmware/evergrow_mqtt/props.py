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
        raise malformed(f"properties of {size} bytes")
    outer_end = reader.end
    reader.end = reader.pos + size
    seen = 0
    while reader.left():
        ident = reader.varint()
        if ident > 0x7F or ident not in allowed:
            raise malformed(f"property {ident} not allowed")
        if seen >> ident & 1 and ident not in (_USER_PROPERTY, _SUBSCRIPTION_ID):
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"property {ident} twice")
        seen |= 1 << ident
        kind = chr(_TYPES[ident])
        value = _value(reader, kind)
        if (value == 0 and ident in _NEVER_ZERO) or (kind == "b" and value not in (0, 1)):
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"property {ident} is {value}")
        if found is not None and value is not None:
            found[ident] = value
    reader.end = outer_end
    return seen


def _value(reader: Reader, kind: str) -> "int | str | None":
    if kind == "t":
        return reader.text()
    if kind == "v":
        return reader.varint()
    if kind == "p":
        reader.text()
        reader.text()
    elif kind == "d":
        reader.data()
    else:
        return reader.uint(1 if kind == "b" else int(kind))
    return None
