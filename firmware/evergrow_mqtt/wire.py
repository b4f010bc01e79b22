"""Reading and writing MQTT's data types in a caller's buffer (MQTT 5 §1.5), with every bound checked."""

from . import reasons
from .errors import ProtocolViolation

MAX_VARINT = 268_435_455

_SHORT = "packet ends inside a field"
_VARINT = "variable byte integer too long"
_TEXT = "string is not UTF-8, or has U+0000"


def malformed(text: str) -> ProtocolViolation:
    """The error for bytes that cannot be parsed (MQTT 5 §1.2, Malformed Packet)."""
    return ProtocolViolation(reasons.MALFORMED, text)


class Reader:
    """A cursor over `view[pos:end]`. Nothing is copied but what `text()` decodes.

    Raises ProtocolViolation(MALFORMED) instead of ever reading past `end`.
    """

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.pos = 0
        self.end = 0

    def over(self, pos: int, end: int) -> None:
        """Start again at `pos`; `end` is the first byte that is not ours."""
        self.pos = pos
        self.end = end

    def left(self) -> int:
        return self.end - self.pos

    def uint(self, size: int) -> int:
        """A big-endian unsigned integer of `size` bytes."""
        pos = self.pos
        if self.end - pos < size:
            raise malformed(_SHORT)
        self.pos = pos + size
        value = 0
        while pos < self.pos:
            value = value << 8 | self.view[pos]
            pos += 1
        return value

    def varint(self) -> int:
        """A variable byte integer, in its shortest form (§1.5.5)."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.uint(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise malformed(_VARINT)
                return value
        raise malformed(_VARINT)

    def take(self, size: int) -> memoryview:
        """The next `size` bytes, in place."""
        pos = self.pos
        if self.end - pos < size:
            raise malformed(_SHORT)
        self.pos = pos + size
        return self.view[pos : self.pos]

    def data(self) -> memoryview:
        """Binary data: two bytes of length, then that many bytes."""
        return self.take(self.uint(2))

    def text(self) -> str:
        """A UTF-8 string without U+0000 (§1.5.4)."""
        try:
            text = str(self.data(), "utf-8")
        except UnicodeError:
            raise malformed(_TEXT)
        if "\0" in text:
            raise malformed(_TEXT)
        return text


class Writer:
    """A cursor that fills `buf` from `pos`. The caller has made sure of the room: sizes are computed before."""

    def __init__(self, buf: bytearray) -> None:
        self.buf = buf
        self.pos = 0

    def uint(self, value: int, size: int) -> None:
        pos = self.pos + size
        self.pos = pos
        while size:
            pos -= 1
            self.buf[pos] = value & 0xFF
            value >>= 8
            size -= 1

    def varint(self, value: int) -> None:
        while value > 0x7F:
            self.uint(value & 0x7F | 0x80, 1)
            value >>= 7
        self.uint(value, 1)

    def take(self, data: "bytes | bytearray | memoryview") -> None:
        end = self.pos + len(data)
        self.buf[self.pos : end] = data
        self.pos = end

    def data(self, data: "bytes | bytearray | memoryview") -> None:
        self.uint(len(data), 2)
        self.take(data)


def varint_size(value: int) -> int:
    """Bytes that `Writer.varint` needs for `value`."""
    size = 1
    while value > 0x7F:
        value >>= 7
        size += 1
    return size


def packet_size(body_size: int) -> int:
    """Bytes on the wire of a packet whose remaining length is `body_size`."""
    return 1 + varint_size(body_size) + body_size
