"""Deterministic CBOR encoder (RFC 8949 section 4.2.1) into a buffer that the caller owns and reuses."""

import struct

from .cbor_types import BufferFull, CborError, Tag, is_unicode
from .errors import BAD_TYPE, INVALID_STATE, MALFORMED, OUT_OF_RANGE, TOO_LARGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

# The integers that fit in one byte, -24..23, indexed by themselves.
_SMALL = bytes(range(24)) + bytes(range(0x37, 0x1F, -1))

# MicroPython finds a module's name by its hash, but a builtin's only after that has failed, by a linear search: it matters
# in the loops.
_type = type
_int = int
_len = len


class Encoder:
    """Writes CBOR items one behind the other into `buf`, a writable buffer.

    A method writes all it was asked to, or raises and leaves the encoder as it was. `result` gives complete items only.
    `depth`: how deep arrays, maps and tags may nest in a value given to `encode`; each level takes C stack on a board.

    Raises CborError: BufferFull, TOO_LARGE (depth), BAD_TYPE, OUT_OF_RANGE, MALFORMED (text), INVALID_STATE (`mark`, `result`).
    """

    def __init__(self, buf: "bytearray | memoryview", depth: int = 8) -> None:
        self._buf = memoryview(buf)
        self._depth = depth
        self._end = 0
        self._open = 0  # items that written headers have announced and that are still to come

    def mark(self) -> int:
        """Where the next item will start, for `result` and `rewind`. Only between complete items."""
        if self._open:
            self._refuse(INVALID_STATE, f"{self._open} items missing")
        return self._end

    def rewind(self, mark: int = 0) -> None:
        """Forget everything written since `mark`."""
        self._end = mark
        self._open = 0

    def result(self, mark: int = 0) -> memoryview:
        """What was written since `mark`: a view of the buffer, no copy, valid until the encoder overwrites it."""
        if self._open or self._end <= mark:
            self._refuse(INVALID_STATE, f"{self._end - mark} bytes, {self._open} items missing")
        return self._buf[mark : self._end]

    def encode(self, value: object) -> None:
        """Write a value of any type in the table of `cbor`; maps with their keys in order."""
        self._write(self._value, value, self._depth)

    def write_array_header(self, count: int) -> None:
        """Open an array: the next `count` items are its elements."""
        self._write(self._head, 0x80, count, count)

    def write_map_header(self, count: int) -> None:
        """Open a map: `count` pairs follow. Keys in bytewise order of their encoding are the caller's duty."""
        self._write(self._head, 0xA0, count, 2 * count)

    def write_tag(self, number: int) -> None:
        """Open a tag: the next item is what it tags."""
        self._write(self._head, 0xC0, number, 1)

    def write_raw(self, item: "bytes | bytearray | memoryview") -> None:
        """Copy one item that is already encoded; that it is one is the caller's promise."""
        self._write(self._copy, item, 0)

    def _write(self, put: "Callable[[Any, int, int], int]", what: "Any", more: int, opens: int = 0) -> None:
        try:
            self._end = put(what, more, self._end)
        except IndexError:
            raise BufferFull(TOO_LARGE, f"buffer of {_len(self._buf)} bytes is full", self._end) from None
        self._open = (self._open or 1) - 1 + opens

    def _refuse(self, code: int, text: str) -> None:
        raise CborError(code, text, self._end)

    # Below, every method takes the position to write at and returns the one behind what it wrote; the encoder's own state
    # changes only when all of an item is there. The end of the buffer shows as an IndexError.

    def _value(self, value: "Any", depth: int, pos: int) -> int:
        try:
            put = _PUT[_type(value)]
        except KeyError:
            put = self._inherited(value)
        end: int = put(self, value, depth, pos)
        return end

    def _inherited(self, value: object) -> "Any":
        for base in _PUT:
            if isinstance(value, base):
                return _PUT[base]
        self._refuse(BAD_TYPE, f"no encoding for {_type(value)}")

    # The loops of _array and _map are the hot code: a one-byte integer, which keys and deltas mostly are, calls only type().

    def _array(self, values: "Any", depth: int, pos: int) -> int:
        if not depth:
            self._too_deep()
        depth -= 1
        pos = self._head(0x80, _len(values), pos)
        buf = self._buf
        small = _SMALL
        kind = _type
        integer = _int
        for value in values:
            if kind(value) is not integer:
                pos = self._value(value, depth, pos)
            elif -25 < value < 24:
                buf[pos] = small[value]
                pos += 1
            elif value > 0:
                pos = self._head(0, value, pos)
            else:
                pos = self._head(0x20, ~value, pos)
        return pos

    def _map(self, pairs: "dict[Any, Any]", depth: int, pos: int) -> int:
        if not depth:
            self._too_deep()
        depth -= 1
        pos = self._head(0xA0, _len(pairs), pos)
        buf = self._buf
        small = _SMALL
        kind = _type
        integer = _int
        for key in self._in_order(pairs):
            if kind(key) is integer and -25 < key < 24:
                buf[pos] = small[key]
                pos += 1
            else:
                pos = self._value(key, 0, pos)
            value = pairs[key]
            if kind(value) is not integer:
                pos = self._value(value, depth, pos)
            elif -25 < value < 24:
                buf[pos] = small[value]
                pos += 1
            elif value > 0:
                pos = self._head(0, value, pos)
            else:
                pos = self._head(0x20, ~value, pos)
        return pos

    def _in_order(self, pairs: "dict[Any, Any]") -> "Iterable[Any]":
        """The keys in the order of their encodings, which for integers from 0 up is by value; most of our maps come so."""
        last = -1
        ascending = True
        for key in pairs:
            if _type(key) is not _int or key < 0:
                return [key for _, key in sorted([(self._key(key), key) for key in pairs])]
            if key < last:
                ascending = False
            last = key
        return pairs if ascending else sorted(pairs)

    def _key(self, key: "Any") -> bytes:
        if isinstance(key, bool) or not isinstance(key, (int, str, bytes)):
            self._refuse(BAD_TYPE, f"map key of {_type(key)}")
        return dumps(key)

    def _too_deep(self) -> None:
        self._refuse(TOO_LARGE, f"nested deeper than {self._depth}")

    def _tag(self, tag: Tag, depth: int, pos: int) -> int:
        if not depth:
            self._too_deep()
        return self._value(tag.value, depth - 1, self._head(0xC0, tag.number, pos))

    def _integer(self, value: int, depth: int, pos: int) -> int:
        value = _int(value)  # a subclass of int cannot do arithmetic on MicroPython
        return self._head(0, value, pos) if value >= 0 else self._head(0x20, ~value, pos)

    def _constant(self, value: "bool | None", depth: int, pos: int) -> int:
        self._buf[pos] = 0xF6 if value is None else 0xF5 if value else 0xF4
        return pos + 1

    def _bytes(self, data: "bytes | bytearray | memoryview", depth: int, pos: int) -> int:
        return self._copy(data, 0, self._head(0x40, _len(data), pos))

    def _text(self, text: str, depth: int, pos: int) -> int:
        try:
            data = text.encode()
        except UnicodeError:
            data = b""
        if not is_unicode(text, _len(data)):
            self._refuse(MALFORMED, "text is not Unicode")
        return self._copy(data, 0, self._head(0x60, _len(data), pos))

    def _float(self, value: float, depth: int, pos: int) -> int:
        from .cbor_float import pack

        return self._copy(pack(value), 0, pos)

    def _copy(self, data: "bytes | bytearray | memoryview", _: int, pos: int) -> int:
        end = pos + _len(data)
        if end > _len(self._buf):
            raise IndexError
        self._buf[pos:end] = data
        return end

    def _head(self, major: int, number: int, pos: int) -> int:
        buf = self._buf
        if number > 65535:
            return self._long_head(major, number, pos)
        if number > 255:
            buf[pos] = major | 25
            buf[pos + 1] = number >> 8
            buf[pos + 2] = number & 255
            return pos + 3
        if number > 23:
            buf[pos] = major | 24
            buf[pos + 1] = number
            return pos + 2
        if number < 0:
            self._refuse(OUT_OF_RANGE, f"{number} is negative")
        buf[pos] = major | number
        return pos + 1

    def _long_head(self, major: int, number: int, pos: int) -> int:
        if number >> 64:
            self._refuse(OUT_OF_RANGE, f"{number} exceeds 64 bits")
        wide = number >> 32 != 0
        end = pos + (9 if wide else 5)
        self._buf[end - 1] = 0  # the end of the buffer shows here, not as one of the errors that pack_into may raise
        struct.pack_into(">BQ" if wide else ">BI", self._buf, pos, major | (27 if wide else 26), number)
        return end


def put_uint(buf: "bytearray | memoryview", pos: int, number: int) -> int:
    """Write an unsigned integer of 32 bits at `pos` of `buf`, without an Encoder; returns the end of it."""
    if number < 24:
        buf[pos] = number
        return pos + 1
    if number < 256:
        buf[pos] = 0x18
        buf[pos + 1] = number
        return pos + 2
    if number < 65536:
        struct.pack_into(">BH", buf, pos, 0x19, number)
        return pos + 3
    struct.pack_into(">BI", buf, pos, 0x1A, number)
    return pos + 5


_PUT: "dict[Any, Any]" = {
    int: Encoder._integer,
    str: Encoder._text,
    bytes: Encoder._bytes,
    list: Encoder._array,
    dict: Encoder._map,
    bool: Encoder._constant,
    type(None): Encoder._constant,
    tuple: Encoder._array,
    bytearray: Encoder._bytes,
    memoryview: Encoder._bytes,
    Tag: Encoder._tag,
    float: Encoder._float,
}


def dumps(value: object, depth: int = 8) -> bytes:
    """`value` as deterministic CBOR, for where there is no buffer to reuse. Errors as Encoder's, but it is never full."""
    size = 64
    while True:
        encoder = Encoder(bytearray(size), depth)
        try:
            encoder.encode(value)
            return bytes(encoder.result())
        except BufferFull:
            size *= 2
