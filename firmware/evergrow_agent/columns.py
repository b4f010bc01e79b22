"""The samples of one batch, encoded as they are taken (SPEC section 7).

Each signal has a column of varints that is filled in place, so that what is left to do for a batch is to copy the columns one
behind the other: on MicroPython that takes less time than its json, in C, would need. All memory is taken once.
"""

from evergrow_protocol import varint
from evergrow_protocol.cbor import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_MAX = 5  # bytes of the largest head of a 32-bit number
OVERHEAD_MAX = 3 + 2 * HEAD_MAX  # bytes that `write` puts before the first column, and the number of lost samples

_HEAD = 2  # bytes before a column: a byte string of 24 to 255 bytes


class Columns:
    """`signals`: ids, ascending. `rows`: how many samples there is room for. `dt_s`: their distance, 0: it differs.

    `count`: samples so far. `silent`: bit i is set while signal i has not answered in this batch; its column is left out.
    """

    def __init__(self, signals: "Sequence[int]", rows: int, dt_s: int) -> None:
        self.rows = rows
        self.count = 0
        self.silent = 0
        uneven = not dt_s
        size = rows * varint.BYTES_MAX
        self._columns = [bytearray(size) for _ in range(len(signals) + uneven)]
        self._views = [memoryview(column) for column in self._columns]
        self._keys = [dumps(signal) for signal in signals]
        self._zeros = [0] * len(self._columns)
        self._ends = [0] * len(self._columns)
        self._last = [0] * len(signals)
        self._uneven = len(signals) if uneven else -1  # the column of the gaps
        self._all = (1 << len(signals)) - 1
        self._spacing = b"" if uneven else b"\x00" + dumps(dt_s)  # key and value of the map
        self.size_max = OVERHEAD_MAX + len(self._columns) * (HEAD_MAX + _HEAD + size)
        self.clear()

    def clear(self) -> None:
        self.count = 0
        self.silent = self._all
        self._ends[:] = self._zeros
        self._last[:] = self._zeros[: len(self._last)]

    def add(self, values: "list[int]", gap_s: int = 0) -> None:
        """Take a sample, `gap_s` after the one before. A value more than 34 bits from the last is taken for that one."""
        ends = self._ends
        last = self._last
        columns = self._columns
        one_byte = varint.ONE_BYTE
        i = 0
        for value in values:
            step = value - last[i]
            end = ends[i]
            last[i] = value
            if -65 < step < 64:
                columns[i][end] = one_byte[step]
                ends[i] = end + 1
            elif -8193 < step < 8192:  # Two bytes, as `varint.put` would write them: these two are almost all.
                column = columns[i]
                step = step + step if step >= 0 else ~(step + step)
                column[end] = step & 127 | 128
                column[end + 1] = step >> 7
                ends[i] = end + 2
            else:
                if not -varint.LIMIT <= step < varint.LIMIT:
                    last[i] = value - step
                    step = 0
                ends[i] = varint.put(columns[i], end, step)
            i += 1
        if i == self._uneven:
            ends[i] = varint.put_uint(columns[i], ends[i], gap_s)
        self.count += 1

    def write(self, buf: "bytearray | memoryview", pos: int, lost: int) -> int:
        """Write the body of the message at `pos` of `buf`, with `lost` in key 3; returns the end of it."""
        silent = self.silent
        spacing = self._spacing
        start = pos + 1
        buf[pos] = 0xA3 if lost else 0xA2
        pos = start + len(spacing)
        buf[start:pos] = spacing
        buf[pos] = 1
        buf[pos + 1] = 0xA0 | (self._answering() if silent else len(self._keys))
        pos += 2
        views = self._views
        for i, size in enumerate(self._ends):
            if not silent >> i & 1:
                start = pos + 2
                if i == self._uneven:
                    buf[pos] = 2
                    start = pos + 1
                else:
                    key = self._keys[i]
                    start = pos + len(key)
                    buf[pos:start] = key
                if size < 24:
                    buf[start] = 0x40 | size
                    start += 1
                else:
                    buf[start] = 0x58
                    buf[start + 1] = size
                    start += 2
                pos = start + size
                buf[start:pos] = views[i][:size]
        if lost:
            tail = b"\x03" + dumps(lost)
            start = pos
            pos += len(tail)
            buf[start:pos] = tail
        return pos

    @property
    def nothing(self) -> bool:
        """Whether no signal has answered."""
        return self.silent == self._all

    def _answering(self) -> int:
        return len([key for i, key in enumerate(self._keys) if not self.silent >> i & 1])
