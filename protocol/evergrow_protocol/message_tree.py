"""CBOR as a tree of items that know where in the payload they stand, for host programs that explain. Not for boards.

It is as strict as SPEC.md section 1, and says which sentence is violated where. Nesting is bounded, so that recursion is.
"""

from dataclasses import dataclass

from evergrow_protocol.errors import BAD_TYPE, MALFORMED, NOT_DETERMINISTIC, OUT_OF_RANGE, TOO_LARGE, ProtocolError

MAX_BYTES = 65_536
MAX_INT = 2**63 - 1  # EG-ENC-002; of negative ones -1 - MAX_INT
MAX_DEPTH = 12
MAX_ITEMS = 16_384

UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
TYPE_NAMES = ("an integer", "an integer", "a byte string", "text", "an array", "a map", "a tag", "true, false or null")

_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_LEAST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
_SIMPLE = {20: False, 21: True, 22: None}


class Flaw(ProtocolError):
    """What is wrong with a payload. `code` as on the wire; `rule`: the id of SPEC.md that is violated; `at`: at which byte."""

    def __init__(self, code: int, rule: str, text: str, offset: int) -> None:
        super().__init__(code, text, offset)
        self.rule = rule
        self.at = offset


@dataclass(frozen=True)
class Item:
    """One item of the payload, bytes `start` to `end`; behind its head, what is inside begins at `inside`.

    `value`: int, bytes, str, bool or None; of an array or map the number of its elements or pairs. `children`: the
    elements, or keys and values in turn.
    """

    major: int
    value: "int | bytes | str | bool | None"
    start: int
    inside: int
    end: int
    children: "tuple[Item, ...]" = ()

    @property
    def number(self) -> int:
        """Of an integer its value, of an array or map how many elements or pairs; 0 for anything else."""
        return self.value if isinstance(self.value, int) else 0

    @property
    def content(self) -> bytes:
        """Of a byte string; empty for anything else."""
        return self.value if isinstance(self.value, bytes) else b""

    @property
    def pairs(self) -> "list[tuple[Item, Item]]":
        """Of a map: its keys and values."""
        return list(zip(self.children[::2], self.children[1::2], strict=True))


def parse(data: bytes) -> Item:
    """The one item that a payload is. Raises Flaw: code 1, 2, 4 or 8."""
    if len(data) > MAX_BYTES:
        raise Flaw(TOO_LARGE, "EG-LIM-001", f"{len(data)} bytes, {MAX_BYTES} at most", MAX_BYTES)
    reader = _Reader(data)
    root = reader.item(0, 0)
    if root.end != len(data):
        raise Flaw(MALFORMED, "EG-ENC-001", f"{len(data) - root.end} bytes after the end", root.end)
    return root


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._items = 0

    def item(self, start: int, depth: int) -> Item:
        self._items += 1
        if self._items > MAX_ITEMS:
            raise Flaw(TOO_LARGE, "EG-ENC-005", f"more than {MAX_ITEMS} items", start)
        major, argument, inside = self._head(start)
        if major in (UINT, NINT) and argument > MAX_INT:
            raise Flaw(OUT_OF_RANGE, "EG-ENC-002", "an integer of more than 64 bits with its sign", start)
        if major == UINT:
            return Item(major, argument, start, inside, inside)
        if major == NINT:
            return Item(major, -1 - argument, start, inside, inside)
        if major == SIMPLE:
            return Item(major, _SIMPLE[argument], start, inside, inside)
        room = len(self._data) - inside
        if argument * (2 if major == MAP else 1) > room:
            raise Flaw(MALFORMED, "EG-ENC-001", f"truncated: {argument} announced, and {room} bytes left", start)
        if major in (BYTES, TEXT):
            return self._string(major, start, inside, inside + argument)
        if depth == MAX_DEPTH:
            raise Flaw(TOO_LARGE, "EG-ENC-005", f"nested deeper than {MAX_DEPTH}", start)
        if major == ARRAY:
            return self._array(argument, start, inside, depth)
        return self._map(argument, start, inside, depth)

    def _string(self, major: int, start: int, inside: int, end: int) -> Item:
        content = self._data[inside:end]
        if major == BYTES:
            return Item(major, content, start, inside, end)
        try:
            return Item(major, content.decode(), start, inside, end)
        except UnicodeDecodeError as error:
            raise Flaw(MALFORMED, "EG-ENC-001", "text that is not UTF-8", inside + error.start) from None

    def _array(self, count: int, start: int, inside: int, depth: int) -> Item:
        children, pos = [], inside
        for _ in range(count):
            children.append(self.item(pos, depth + 1))
            pos = children[-1].end
        return Item(ARRAY, count, start, inside, pos, tuple(children))

    def _map(self, count: int, start: int, inside: int, depth: int) -> Item:
        children: list[Item] = []
        pos, last = inside, b""
        for _ in range(count):
            key = self.item(pos, depth + 1)
            if key.major not in (UINT, NINT):
                raise Flaw(BAD_TYPE, "EG-ENC-003", f"a key that is {TYPE_NAMES[key.major]}", pos)
            encoded = self._data[key.start : key.end]
            if encoded == last:
                raise Flaw(NOT_DETERMINISTIC, "EG-ENC-001", f"key {key.number} twice", pos)
            if encoded < last:
                raise Flaw(NOT_DETERMINISTIC, "EG-ENC-001", f"key {key.number} out of order", pos)
            last = encoded
            value = self.item(key.end, depth + 1)
            children += [key, value]
            pos = value.end
        return Item(MAP, count, start, inside, pos, tuple(children))

    def _head(self, start: int) -> tuple[int, int, int]:
        if start >= len(self._data):
            raise Flaw(MALFORMED, "EG-ENC-001", "truncated", start)
        major, info = self._data[start] >> 5, self._data[start] & 31
        if major == TAG:
            raise Flaw(BAD_TYPE, "EG-ENC-002", "a tag", start)
        if major == SIMPLE:
            if info > 27 or (info == 24 and self._data[start + 1 : start + 2] < b" "):
                raise Flaw(MALFORMED, "EG-ENC-001", "a break, or a head that CBOR does not have", start)
            if info not in _SIMPLE:
                raise Flaw(BAD_TYPE, "EG-ENC-002", "a float, undefined or simple value", start)
            return major, info, start + 1
        if info < 24:
            return major, info, start + 1
        if info == 31 and major in (BYTES, TEXT, ARRAY, MAP):
            raise Flaw(NOT_DETERMINISTIC, "EG-ENC-002", "an indefinite length", start)
        if info not in _WIDTHS:
            raise Flaw(MALFORMED, "EG-ENC-001", f"reserved additional information {info}", start)
        end = start + 1 + _WIDTHS[info]
        if end > len(self._data):
            raise Flaw(MALFORMED, "EG-ENC-001", "truncated", start)
        argument = int.from_bytes(self._data[start + 1 : end], "big")
        if argument < _LEAST[info]:
            raise Flaw(NOT_DETERMINISTIC, "EG-ENC-001", f"{argument} in more bytes than it needs", start)
        return major, argument, end
