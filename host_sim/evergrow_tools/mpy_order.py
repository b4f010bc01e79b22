"""Byte code whose names and constants have the numbers that they had in an older version, so that a patch is small.

mpy-cross numbers them in the order in which it comes across them: one that is new renumbers all behind it, and with them every
operation that uses one. A module means the same in every order. Here those that the older version had get their old numbers, as
far as a number takes as many bytes; everything else in the file stays where it is. `evergrow_agent.mpyscan` describes the format.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from evergrow_agent import mpyscan
from evergrow_protocol.errors import ProtocolError

_LOAD_CONST_OBJ = 0x23
_ONE_BYTE = 128  # numbers below it take a byte

# mpyscan's view of operations: two bits for each sixteen, and where one more byte follows.
_FORMATS, _QSTR, _VARUINT, _OFFSET = mpyscan._FORMATS, mpyscan._QSTR, mpyscan._VARUINT, mpyscan._OFFSET
_EXTRA_BYTE_MASK = mpyscan._EXTRA_BYTE_MASK


@dataclass
class _Table:
    """Entries as they stand in the file, and the places (offset, bytes) of all numbers that mean one of them."""

    entries: list[bytes] = field(default_factory=list)
    uses: list[tuple[int, int, int]] = field(default_factory=list)  # offset, bytes, number


@dataclass
class _Module:
    names: _Table
    constants: _Table
    start: int  # of the tables
    end: int


def like(old: bytes, new: bytes) -> bytes:
    """`new` in the order of `old`; as it is if one of them is no byte code that can be read. What it means is unchanged."""
    try:
        before, after = _Reader(old).module(), _Reader(new).module()
    except (ProtocolError, IndexError):
        return new
    ordered = bytearray(new)
    tables = b""
    for one, other, fixed in ((before.names, after.names, 1), (before.constants, after.constants, 0)):
        numbers = _numbers(one.entries, other.entries, other.uses, fixed)
        places = sorted(range(len(numbers)), key=numbers.__getitem__)
        tables += b"".join(other.entries[number] for number in places)
        for offset, size, number in other.uses:
            ordered[offset : offset + size] = _uint(numbers[number])
    ordered[after.start : after.end] = tables
    made = bytes(ordered)
    if _meaning(made) != _meaning(new):
        raise AssertionError("another order must not mean something else")
    return made


def _numbers(old: Sequence[Hashable], new: Sequence[Hashable], uses: Sequence[tuple[int, int, int]], fixed: int) -> list[int]:
    """The new number of each entry of `new`. The first `fixed` stay, and nobody's number takes more or fewer bytes."""
    wide = {number for _, size, number in uses if size > 1}
    narrow = {number for _, size, number in uses if size == 1}
    was = {entry: number for number, entry in reversed(list(enumerate(old)))}
    numbers = dict(zip(range(fixed), range(fixed), strict=True)) if len(new) >= fixed else {}
    taken = set(numbers.values())

    def fits(number: int, place: int) -> bool:
        return not ((number in wide and place < _ONE_BYTE) or (number in narrow and place >= _ONE_BYTE))

    for number, entry in enumerate(new):
        place = was.get(entry, -1)
        if number not in numbers and 0 <= place < len(new) and place not in taken and fits(number, place):
            numbers[number] = place
            taken.add(place)
    free = [place for place in range(len(new)) if place not in taken]
    rest = [number for number in range(len(new)) if number not in numbers]
    for number in sorted(rest, key=lambda number: (number in wide, number not in narrow, number)):
        place = next((place for place in free if fits(number, place)), -1)
        if place < 0:
            return list(range(len(new)))  # it does not come out even: as it was
        numbers[number] = place
        free.remove(place)
    return [numbers[number] for number in range(len(new))]


def _meaning(data: bytes) -> tuple[bytes, list[bytes], list[bytes]]:
    """All that does not depend on the order: the file without tables and numbers, and what each number stands for."""
    module = _Reader(data).module()
    rest = bytearray(data)
    for table in (module.names, module.constants):
        for offset, size, _ in table.uses:
            rest[offset : offset + size] = bytes(size)
    del rest[module.start : module.end]
    meant = [[table.entries[number] for _, _, number in table.uses] for table in (module.names, module.constants)]
    return bytes(rest), meant[0], meant[1]


def _uint(value: int) -> bytes:
    encoded = bytes([value & 0x7F])
    while value := value >> 7:
        encoded = bytes([value & 0x7F | 0x80]) + encoded
    return encoded


class _Reader(mpyscan.Scan):
    """Reads what `Scan` reads, and notes where it stands."""

    def __init__(self, data: bytes) -> None:
        self._names = _Table()
        self._objects = _Table()
        self._start = self._end = 0
        super().__init__(data)

    def module(self) -> _Module:
        return _Module(self._names, self._objects, self._start, self._end)

    def _qstr(self) -> None:
        self._start = self._start or self._at
        before = self._at
        super()._qstr()
        self._end = self._at
        self._names.entries.append(bytes(self._data[before : self._at]))

    def _constant(self, depth: int) -> None:
        before = self._at
        super()._constant(depth)
        if not depth:
            self._end = self._at
            self._objects.entries.append(bytes(self._data[before : self._at]))

    def _operations(self, end: int) -> None:
        start = self._at
        super()._operations(end)
        self._at = start
        data = self._data
        names = self._signature()
        body = self._body()
        for _ in range(names):
            self._use(self._names)
        self._at = body
        while self._at < end:
            operation = data[self._at]
            self._at += 1
            kind = _FORMATS >> 2 * (operation >> 4) & 3
            if kind == _QSTR:
                self._use(self._names)
                continue
            if kind == _VARUINT:
                if operation == _LOAD_CONST_OBJ:
                    self._use(self._objects)
                else:
                    self._skip()
            elif kind == _OFFSET:
                self._at += 2 if data[self._at] & 0x80 else 1
            if not operation & _EXTRA_BYTE_MASK:
                self._at += 1

    def _signature(self) -> int:
        """How many names stand in the head of a function: its own, and those of its arguments (py/bc.h, MP_BC_PRELUDE_SIG)."""
        byte = self._data[self._at]
        self._at += 1
        positional, only_named, shift = byte & 3, 0, 0
        while byte & 0x80:
            byte = self._data[self._at]
            self._at += 1
            positional |= (byte & 4) << shift
            only_named |= (byte >> 3 & 1) << shift
            shift += 1
        return 1 + positional + only_named

    def _use(self, table: _Table) -> None:
        before = self._at
        number = self._uint()
        table.uses.append((before, self._at - before, number))
