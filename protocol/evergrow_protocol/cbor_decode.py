"""CBOR decoder (RFC 8949) for hostile input: every limit is checked before anything is allocated."""

from .cbor_types import CborError, Tag, is_unicode
from .errors import BAD_TYPE, MALFORMED, NOT_DETERMINISTIC, TOO_LARGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

# Major types, as `Decoder.peek` gives them.
UINT = 0
NINT = 1
BYTES = 2
TEXT = 3
ARRAY = 4
MAP = 5
TAG = 6
OTHER = 7  # false, true, null, simple values, floats

_FLOORS = (24, 1 << 8, 1 << 16, 1 << 32)  # the least argument that needs a head of 1, 2, 4, 8 more bytes


class Decoder:
    """Reads CBOR items one behind the other from `buf`, any contiguous buffer of bytes, without copying it.

    `depth`: how deep arrays, maps and tags may nest; each level takes C stack on a board.
    `items`: elements, keys and values of all arrays and maps together, and chunks of strings: it bounds memory.
    `length`: bytes of one string. `copy`: whether `decode` copies byte strings out of the input (else memoryviews of it).
    `deterministic`: refuse what RFC 8949 section 4.2.1 rules out: a longer head or float than needed, keys that do not
    strictly ascend, indefinite lengths.

    Every method raises CborError: MALFORMED, NOT_DETERMINISTIC, TOO_LARGE, BAD_TYPE. After a `peek` or `read_...` that met
    another type the decoder still stands in front of the item; after any other error its position is undefined.
    """

    def __init__(
        self,
        buf: "bytes | bytearray | memoryview",
        depth: int = 8,
        items: int = 1024,
        length: int = 65536,
        deterministic: bool = False,
        copy: bool = True,
    ) -> None:
        self.offset = 0  # of the next item
        self._buf = memoryview(buf)
        self._end = len(buf)
        self._depth = depth
        self._items = items
        self._items_left = items
        self._length = length
        self._deterministic = deterministic
        self._copy = copy
        self._body = 0  # what follows the head last read

    # -- whole items

    def decode(self) -> "Any":
        """The next item as a Python value, see the table in `cbor`."""
        return self._guard(self._value)

    def skip(self) -> None:
        """Step over the next item without building it.

        Checks all that `decode` checks but UTF-8, what types keys and simple values have, and, unless deterministic, that
        keys differ.
        """
        self._guard(self._skip)

    def read_raw(self) -> memoryview:
        """The next item as it stands in the input, stepped over as `skip` does."""
        start = self.offset
        self.skip()
        return self._buf[start : self.offset]

    # -- piece by piece

    def at_end(self) -> bool:
        """Whether the input is used up."""
        return self.offset >= self._end

    def peek(self) -> int:
        """Major type of the next item: UINT .. OTHER."""
        return self._first() >> 5

    def read_int(self) -> int:
        """An integer, -2**64 .. 2**64-1."""
        return self._int(self._expect(NINT if self.peek() else UINT))

    def read_bytes(self) -> memoryview:
        """A byte string, as a view of the input (of a copy if it came in chunks)."""
        return self._bytes(self._expect(BYTES))

    def read_bytes_header(self) -> int:
        """How many bytes of a byte string follow, all of them in this input or not. MALFORMED for one that comes in chunks."""
        size = self._head(self._expect(BYTES))
        self.offset = self._body
        return size

    def read_text(self) -> str:
        """A text string."""
        return self._text(self._expect(TEXT))

    def read_bool(self) -> bool:
        """True or False."""
        first = self._first()
        if first >> 1 != 0x7A:
            self._refuse(BAD_TYPE, "no boolean")
        self.offset += 1
        return first == 0xF5

    def read_array_header(self) -> int:
        """How many elements follow. NOT_DETERMINISTIC, always, for an array of indefinite length: those take `decode`."""
        first = self._expect(ARRAY)
        if first == 0x9F:
            self._refuse(NOT_DETERMINISTIC, "indefinite length")
        return self._count(first, 1, 1)

    def read_map(self) -> "Iterator[int | str | bytes]":
        """Iterate over the keys of a map; the caller reads or skips the value of each before it asks for the next.

        Unless deterministic, keys may come twice.
        """
        count = self._count(self._expect(MAP), 2, 1)
        last = -1
        while count > 0 or (count < 0 and self._more(2)):
            count -= 1
            at = self.offset
            key = self._key(self._first())
            if self._deterministic:
                self._ascends(last, at)
            last = at
            yield key

    def read_tag(self) -> int:
        """The number of a tag; the next item is what it tags."""
        number = self._head(self._expect(TAG))
        self.offset = self._body
        return number

    # -- errors

    def _refuse(self, code: int, text: str) -> None:
        raise CborError(code, text, self.offset)

    def _truncated(self) -> None:
        raise CborError(MALFORMED, "input ends inside an item", self._end)

    def _guard(self, read: "Callable[[int], Any]") -> "Any":
        try:
            return read(self._depth)
        except IndexError:  # the loops below read first bytes without asking for the end
            self._truncated()
        except RuntimeError:  # a `depth` that this stack cannot hold; both interpreters notice in time
            self._refuse(TOO_LARGE, "nested deeper than the stack")

    # -- heads

    def _first(self) -> int:
        if self.offset >= self._end:
            self._truncated()
        return self._buf[self.offset]

    def _expect(self, major: int) -> int:
        first = self._first()
        if first >> 5 != major:
            self._refuse(BAD_TYPE, f"major type {first >> 5}, expected {major}")
        return first

    def _head(self, first: int) -> int:
        """The argument of the head at `offset`; `_body` is where it ends."""
        pos = self.offset + 1
        info = first & 31
        if info < 24:
            self._body = pos
            return info
        if info > 27:
            self._refuse(MALFORMED, f"head {first:02x}")
        buf = self._buf
        info &= 3
        try:
            number = buf[pos]
            for pos in range(pos + 1, pos + (1 << info)):  # noqa: B020
                number = number << 8 | buf[pos]
        except IndexError:
            self._truncated()
        self._body = pos + 1
        if self._deterministic and number < _FLOORS[info]:
            self._refuse(NOT_DETERMINISTIC, f"{number} has a shorter head")
        return number

    def _count(self, first: int, per: int, depth: int) -> int:
        """Step into an array (`per` 1) or a map (2); its announced count, or -1 for one that a break ends."""
        if not depth:
            self._too_deep()
        if first & 31 == 31:
            self._indefinite()
            return -1
        count = self._head(first)
        if count * per > self._end - self._body:  # each item takes a byte at least
            self._truncated()
        self._spend(count * per)
        self.offset = self._body
        return count

    def _indefinite(self) -> None:
        if self._deterministic:
            self._refuse(NOT_DETERMINISTIC, "indefinite length")
        self.offset += 1

    def _spend(self, items: int) -> None:
        self._items_left -= items
        if self._items_left < 0:
            self._refuse(TOO_LARGE, f"more than {self._items} items")

    def _more(self, per: int) -> bool:
        """Whether another element comes before the break."""
        if self._first() == 0xFF:
            self.offset += 1
            return False
        self._spend(per)
        return True

    def _too_deep(self) -> None:
        self._refuse(TOO_LARGE, f"nested deeper than {self._depth}")

    # -- values: each method starts with `offset` at the item and leaves it behind the item; `depth` is what is left of it

    def _value(self, depth: int) -> "Any":
        first = self._buf[self.offset]
        if first < 24:
            self.offset += 1
            return first
        if first < 0x40:
            number = self._head(first)
            self.offset = self._body
            return number if first < 0x20 else ~number
        if first < 0x60:
            span = self._bytes(first)
            return bytes(span) if self._copy else span
        if first < 0x80:
            return self._text(first)
        if first >= 0xE0:
            return self._other(first, True)
        if first < 0xA0:
            return self._array(self._count(first, 1, depth), depth - 1)
        if first < 0xC0:
            return self._map(self._count(first, 2, depth), depth - 1)
        if not depth:
            self._too_deep()
        return Tag(self.read_tag(), self._value(depth - 1))

    def _int(self, first: int) -> int:
        number = self._head(first)
        self.offset = self._body
        return number if first < 0x20 else ~number

    def _array(self, count: int, depth: int) -> "list[Any]":
        if count < 0:
            values: list[Any] = []
            while self._more(1):
                values.append(self._value(depth))
            return values
        values = [None] * count  # no more than `items` allows and bytes are there; growing it would litter a small heap
        buf = self._buf
        pos = self.offset
        for index in range(count):  # the hot loop: one-byte integers, which deltas mostly are, cost no call
            first = buf[pos]
            if first < 24:
                values[index] = first
                pos += 1
            elif 0x20 <= first < 0x38:
                values[index] = 31 - first
                pos += 1
            else:
                self.offset = pos
                values[index] = self._value(depth)
                pos = self.offset
        self.offset = pos
        return values

    def _map(self, count: int, depth: int) -> "dict[Any, Any]":
        pairs: dict[Any, Any] = {}
        buf = self._buf
        strict = self._deterministic
        key: int | str | bytes
        last = -1
        while count > 0 or (count < 0 and self._more(2)):
            count -= 1
            at = self.offset
            key = first = buf[at]
            if first < 24:
                self.offset = at + 1
            else:
                key = self._key(first)
            if strict:
                if last >= 0 and buf[last] >= first:  # else the first bytes already ascend
                    self._ascends(last, at)
                last = at
            elif key in pairs:
                raise CborError(MALFORMED, f"duplicate key {key!r}", at)
            pairs[key] = self._value(depth)
        return pairs

    def _key(self, first: int) -> "int | str | bytes":
        # Python holds 1, 1.0 and True for the same key, CBOR does not; the three types here cannot be confused.
        if first < 0x40:
            return self._int(first)
        if first >= 0x80:
            at = self.offset
            self._skip(self._depth)  # what is malformed is not of a bad type
            self.offset = at
            self._refuse(BAD_TYPE, f"map key of major type {first >> 5}")
        return self._text(first) if first >= 0x60 else bytes(self._bytes(first))

    def _ascends(self, last: int, at: int) -> None:
        """The key from `at` to `offset` must follow the key at `last`, if there is one. No item is a prefix of another."""
        buf = self._buf
        pos = at
        while last >= 0:
            if pos == self.offset or buf[last] > buf[pos]:
                raise CborError(NOT_DETERMINISTIC, "map keys do not ascend", at)
            if buf[last] < buf[pos]:
                return
            last += 1
            pos += 1

    def _skip(self, depth: int) -> None:
        first = self._first()
        major = first >> 5
        if major < BYTES:
            self._int(first)
        elif major < ARRAY:
            self._string(first)
        elif major == OTHER:
            self._other(first, False)
        elif major == TAG:
            if not depth:
                self._too_deep()
            self.read_tag()
            self._skip(depth - 1)
        else:
            count = self._count(first, major - 3, depth)
            depth -= 1
            last = -1
            while count > 0 or (count < 0 and self._more(major - 3)):
                count -= 1
                if major == MAP:
                    at = self.offset
                    self._skip(depth)
                    if self._deterministic:
                        self._ascends(last, at)
                        last = at
                self._skip(depth)

    # -- strings

    def _string(self, first: int) -> int:
        """Step over a string; where its content starts."""
        if first & 31 == 31:
            self._chunks(first)
            return self.offset
        size = self._head(first)
        if size > self._end - self._body:
            self._truncated()
        if size > self._length:
            self._refuse(TOO_LARGE, f"string of {size} bytes exceeds {self._length}")
        self.offset = self._body + size
        return self._body

    def _chunks(self, first: int) -> "list[Any]":
        """What a string of indefinite length is made of, for `join`."""
        at = self.offset
        self._indefinite()
        parts: list[Any] = []
        size = 0
        while self._more(1):
            chunk = self._first()
            if chunk >> 5 != first >> 5 or chunk & 31 == 31:
                self._refuse(MALFORMED, f"chunk {chunk:02x}")
            parts.append(self._text(chunk) if chunk >= 0x60 else bytes(self._bytes(chunk)))
            size += self.offset - self._body
            if size > self._length:
                raise CborError(TOO_LARGE, f"string of {size} bytes exceeds {self._length}", at)
        return parts

    def _bytes(self, first: int) -> memoryview:
        if first == 0x5F:
            return memoryview(b"".join(self._chunks(first)))
        start = self._string(first)
        return self._buf[start : self.offset]

    def _text(self, first: int) -> str:
        if first == 0x7F:
            return "".join(self._chunks(first))
        at = self.offset
        span = self._bytes(first)
        try:
            text = str(span, "utf-8")
        except UnicodeError:
            text = ""
        if not is_unicode(text, len(span)):
            raise CborError(MALFORMED, "text is not UTF-8", at)
        return text

    # -- major type 7

    def _other(self, first: int, wanted: bool) -> "Any":
        at = self.offset
        end = at + 1
        if first > 0xF7:
            if first > 0xFB:
                self._refuse(MALFORMED, f"head {first:02x}")  # or a break where none belongs
            end += 1 << (first & 7)
            if end > self._end:
                self._truncated()
            if first == 0xF8 and self._buf[at + 1] < 32:
                self._refuse(MALFORMED, "simple value in two bytes")
        value = None
        if first > 0xF8:
            from .cbor_float import is_shortest, unpack

            item = bytes(self._buf[at:end])
            if self._deterministic and not is_shortest(item):
                self._refuse(NOT_DETERMINISTIC, "float has a shorter form")
            value = unpack(item)
        elif 0xF3 < first < 0xF7:
            value = None if first == 0xF6 else first == 0xF5
        elif wanted:
            self._refuse(BAD_TYPE, "simple value")
        self.offset = end
        return value


def loads(
    data: "bytes | bytearray | memoryview",
    depth: int = 8,
    items: int = 1024,
    length: int = 65536,
    deterministic: bool = False,
    copy: bool = True,
) -> "Any":
    """The one item that `data` is; limits and errors as Decoder's. Bytes behind it are MALFORMED."""
    decoder = Decoder(data, depth, items, length, deterministic, copy)
    value = decoder.decode()
    if not decoder.at_end():
        raise CborError(MALFORMED, "bytes behind the item", decoder.offset)
    return value
