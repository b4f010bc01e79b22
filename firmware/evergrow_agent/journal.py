"""An append-only journal of small records in bounded segment files on the flash port.

    segment  frame*                            file `use.00000001`, in the order of its number
    frame    length (2) | SHA-256(record)[:4] | record (1..RECORD_MAX, a CBOR array of 4 to 11)
    file `use.new`   what `rewrite` makes of a segment, before it takes its place

Nothing is ever rewritten in place. A frame that is torn or has decayed is skipped, with whatever lies between it and the next
good one. RAM holds three numbers for each segment and one chunk of bytes.
"""

from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Buffer = bytes | bytearray | memoryview

RECORD_MAX = 448  # a merged record with all the features that it has room for; others take about 50
HEAD = 6  # bytes of a frame before its record

_CHUNK = 512  # a frame at least
_NEW = "use.new"  # a segment that is being rewritten
_STARTS = b"\x84\x85\x86\x87\x88\x89\x8a\x8b"  # first byte of an envelope: cheap to test before a hash


class Segment:
    """`pending`: records in it that are still needed."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.pending = 0

    @property
    def name(self) -> str:
        return f"use.{self.number:08d}"


class Journal:
    """`segment_bytes` is the size at which a new segment is begun, `cap_bytes` bounds all of them together.

    `segments`: oldest first. `damaged`: bad places found by `load`. `unread`: segments that `load` could not read and left.
    `failures`: flash errors. `broken`: the flash neither took a frame nor said how much of it, or was never loaded; nothing
    is appended before the next `load`.
    """

    def __init__(self, flash: "Any", segment_bytes: int = 4096, cap_bytes: int = 65536, reserve_bytes: int = 16384) -> None:
        self.segments: "list[Segment]" = []
        self.damaged = 0
        self.unread = 0
        self.failures = 0
        self.broken = True
        self._flash = flash
        self._segment_bytes = segment_bytes
        self._cap_bytes = cap_bytes
        self._max_segments = 2 * cap_bytes // segment_bytes
        self._reserve_bytes = reserve_bytes
        self._next_number = 1  # Never one whose file may still be there.
        self._chunk = bytearray(_CHUNK)
        self._view = self._record = memoryview(self._chunk)
        self._chunk_of = 0  # Number of the segment that the chunk shows, 0 for none.
        self._chunk_at = 0
        self._chunk_size = 0

    def load(self, visit: "Callable[[memoryview], bool]") -> None:
        """Find the segments and show each good record to `visit`, oldest first; it says whether the record is still needed.

        Segments in which nothing is needed are removed. OSError: the flash cannot even be listed.
        """
        self.broken = True
        self.segments = []
        self.damaged = self.unread = self._chunk_of = 0
        numbers = []
        for name in self._flash.names():
            if name.startswith("use.") and len(name) == 12 and name[4:].isdigit():
                numbers.append(int(name[4:]))
        numbers.sort()
        for number in numbers:
            self._next_number = number + 1
            segment = Segment(number, 0)
            try:
                segment.size = self._flash.size(segment.name)
                self._scan(segment, visit)
            except OSError:
                self.failures += 1
                self.unread += 1
                continue  # Left on the flash for another boot.
            self.segments.append(segment)
            if not segment.pending:
                self.remove(segment)
        self.broken = False

    def has_room(self, record_bytes: int) -> bool:
        """Whether a record of this size may be appended within the cap and without touching the reserve of the flash."""
        if self.broken or len(self.segments) >= self._max_segments:
            return False
        if sum([segment.size for segment in self.segments]) + HEAD + record_bytes > self._cap_bytes:
            return False
        try:
            return bool(self._flash.free() >= self._reserve_bytes)
        except OSError:
            self.failures += 1
            return False

    def append(self, record: "Buffer") -> bool:
        """True: the record (1..RECORD_MAX bytes) is durable. False: it is not, and no later load finds it, unless `broken`."""
        frame = _frame(record)
        if not self.segments or self.segments[-1].size + len(frame) > self._segment_bytes:
            self.segments.append(Segment(self._next_number, 0))
            self._next_number += 1
        segment = self.segments[-1]
        self._chunk_of = 0
        try:
            self._flash.append(segment.name, frame)
        except OSError:
            self.failures += 1
            try:
                whole = self._reached(segment, frame)
            except OSError:
                self.failures += 1
                self.broken = True
                whole = False
            if not whole:
                return False
        segment.size += len(frame)
        segment.pending += 1
        return True

    def find(self, number: int, offset: int) -> "tuple[Segment, int, memoryview] | None":
        """The first good frame at or after byte `offset` of segment `number`, or in a later one: (segment, offset, record).

        `record` is valid until the next call. None: there is none. OSError: cannot be read.
        """
        for segment in self.segments:
            if segment.number < number:
                continue
            start = offset if segment.number == number else 0
            found = self._find(segment, start)
            if found >= 0:
                return segment, found, self._record
        return None

    def records(self, segment: Segment) -> "Iterator[memoryview]":
        """The good records of a segment in their order, each valid until the next. OSError."""
        offset = self._find(segment, 0)
        while offset >= 0:
            yield self._record
            offset = self._find(segment, offset + HEAD + len(self._record))

    def rewrite(self, segment: Segment, change: "Callable[[memoryview], bytes]") -> None:
        """Put what `change` makes of each record in its place: of all of them, or of none when power fails. OSError: of none."""
        self._flash.remove(_NEW)
        size = 0
        out = b""
        for record in self.records(segment):
            out += _frame(change(record))
            if len(out) >= _CHUNK:
                self._flash.append(_NEW, out)
                size += len(out)
                out = b""
        if out:
            self._flash.append(_NEW, out)
            size += len(out)
        if size:
            self._flash.rename(_NEW, segment.name)
            segment.size = size
            self._chunk_of = 0

    def remove(self, segment: Segment) -> None:
        """Forget a segment and its file. A file that cannot be removed now is found again by the next load."""
        try:
            self._flash.remove(segment.name)
        except OSError:
            self.failures += 1
        self.segments.remove(segment)
        self._chunk_of = 0

    def _reached(self, segment: Segment, frame: bytes) -> bool:
        """After a failed append: is the whole frame there none the less? Part of one stays, and is skipped when it is read."""
        size = self._flash.size(segment.name)
        if size == segment.size + len(frame) and self._find(segment, segment.size, size) == segment.size:
            return True
        segment.size = max(segment.size, size)
        return False

    def _scan(self, segment: Segment, visit: "Callable[[memoryview], bool]") -> None:
        offset = 0
        while offset < segment.size:
            found = self._find(segment, offset)
            if found != offset:
                self.damaged += 1
                if found < 0:
                    break
            offset = found + HEAD + len(self._record)
            if visit(self._record):
                segment.pending += 1

    def _find(self, segment: Segment, offset: int, size: int = -1) -> int:
        """Offset of the first good frame from `offset` on, its record in `_record`; -1: none."""
        if size < 0:
            size = segment.size
        while offset < size:
            length = self._good(segment, offset, size)
            if length:
                at = offset - self._chunk_at + HEAD
                self._record = self._view[at : at + length]
                return offset
            offset += 1
        return -1

    def _good(self, segment: Segment, offset: int, size: int) -> int:
        """Length of the record of a good frame at exactly `offset`, else 0."""
        want = min(HEAD + RECORD_MAX, size - offset)
        at = offset - self._chunk_at
        if self._chunk_of != segment.number or at < 0 or at + want > self._chunk_size:
            self._chunk_of = 0
            self._chunk_size = self._flash.readinto(segment.name, offset, self._view[: min(_CHUNK, size - offset)])
            self._chunk_of, self._chunk_at, at = segment.number, offset, 0
        left = self._chunk_size - at
        if left <= HEAD:
            return 0
        length = self._chunk[at] << 8 | self._chunk[at + 1]
        start = at + HEAD
        if not 0 < length <= min(left - HEAD, RECORD_MAX) or self._chunk[start] not in _STARTS:
            return 0
        good = sha256(self._view[start : start + length]).digest()[:4] == self._chunk[at + 2 : start]
        return length if good else 0


def _frame(record: "Buffer") -> bytes:
    return len(record).to_bytes(2, "big") + sha256(record).digest()[:4] + bytes(record)
