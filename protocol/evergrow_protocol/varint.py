"""Base-128 varints, as protobuf has them, plain or zigzag: what columns of telemetry are made of (SPEC section 7).

Seven bits a byte, the lowest first, the top bit set in all bytes but the last. Zigzag: 0, -1, 1, -2, 2 are 0, 1, 2, 3, 4.
"""

from evergrow_protocol.errors import MALFORMED, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

BYTES_MAX = 5
LIMIT = 1 << 34
"""A value lies in -LIMIT..LIMIT - 1: what five bytes hold, and the difference of any two values of 32 bits."""

ONE_BYTE = bytes(range(0, 128, 2)) + bytes(range(127, 0, -2))
"""The encodings of -64..63, indexed by the value itself. Who writes many tests for one byte first: most are."""


def put(buf: "bytearray | memoryview", at: int, value: int) -> int:
    """Write `value`, within the limit, zigzag at `at`; returns the place behind it."""
    return put_uint(buf, at, value + value if value >= 0 else ~(value + value))


def put_uint(buf: "bytearray | memoryview", at: int, number: int) -> int:
    """Write a number >= 0 as it is; returns the place behind it."""
    while number > 127:
        buf[at] = number & 127 | 128
        number >>= 7
        at += 1
    buf[at] = number
    return at + 1


def values(data: "Buffer", zigzag: bool = True) -> "list[int]":
    """All of them. ProtocolError 1: one is cut off, longer than need be, or than BYTES_MAX."""
    out = []
    value = shift = 0
    for byte in data:
        if (byte == 0 and shift) or shift == 7 * BYTES_MAX:
            raise ProtocolError(MALFORMED, f"a varint longer than need be, or than {BYTES_MAX} bytes")
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            out.append(~(value >> 1) if zigzag and value & 1 else value >> 1 if zigzag else value)
            value = shift = 0
    if shift:
        raise ProtocolError(MALFORMED, "ends within a varint")
    return out
