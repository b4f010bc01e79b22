"""The samples of one batch, and the body of the message that they become (SPEC section 7).

Samples are kept as they come, row by row; columns are made of them when the batch is written, in a loop over one column that has
no state but its locals. That loop has a twin in machine code, where there is one for this processor: `columns_native`. All memory
is taken once.
"""

from array import array

from evergrow_protocol import varint
from evergrow_protocol.cbor import dumps, put_uint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_MAX = 5  # bytes of the largest head of a 32-bit number
OVERHEAD_MAX = 3 + 2 * HEAD_MAX  # bytes that `write` puts before the first column, and the number of lost samples

_HEAD = 2  # bytes before a column: a byte string of up to 255 bytes


def row(width: int) -> "array[int]":
    """Room for a sample of `width` signals: integers of 32 bits with their sign."""
    return array("i", [0] * width)


def put_column(buf: "bytearray", pos: int, values: "array[int]", at: int, stride: int, end: int) -> int:
    """Write `values[at:end:stride]` at `pos` as a byte string: the first, then differences, zigzag. Returns the end of it.

    `buf` has room for two bytes and varint.BYTES_MAX for each value.
    """
    one_byte = varint.ONE_BYTE
    last = 0
    to = pos + 1
    while at < end:
        value = values[at]
        at += stride
        step = value - last
        last = value
        if not step + 64 >> 7:
            buf[to] = one_byte[step]
            to += 1
        elif not step + 8192 >> 14:  # Two bytes, as `varint.put` would write them: these two are almost all.
            step = step + step if step >= 0 else ~(step + step)
            buf[to] = step & 127 | 128
            buf[to + 1] = step >> 7
            to += 2
        else:
            to = varint.put(buf, to, step)
    return _close(buf, pos, to)


def _close(buf: "bytearray", pos: int, end: int) -> int:
    """Put the head at `pos` of a byte string that stands behind it, one byte on, up to `end`; returns the end."""
    size = end - pos - 1
    if size < 24:
        buf[pos] = 0x40 | size
        return end
    buf[pos + 2 : end + 1] = buf[pos + 1 : end]
    buf[pos] = 0x58
    buf[pos + 1] = size
    return end + 1


try:
    from evergrow_agent.columns_native import put_column as fastest
except (ImportError, SyntaxError, ValueError):  # There is none; or no compiler for it; or it is of another processor.
    fastest = put_column


class Columns:
    """`signals`: ids, ascending. `rows`: how many samples there is room for. `dt_s`: their distance, 0: it differs.

    `silent`: bit i is set while signal i has not answered in this batch; its column is left out. `end`: how many values there
    are, of `size`. No properties: where a class has one, MicroPython takes far longer to set any attribute.
    """

    def __init__(self, signals: "Sequence[int]", rows: int, dt_s: int) -> None:
        self.size = rows * len(signals)
        self.put = fastest
        self._signals = signals
        self._width = len(signals)
        self._values = row(self.size)
        self._gaps = bytearray(0 if dt_s else rows * varint.BYTES_MAX)
        self._all = (1 << len(signals)) - 1
        self._spacing = b"\x00" + dumps(dt_s) + b"\x01" if dt_s else b"\x01"  # up to the map of columns
        self.size_max = OVERHEAD_MAX + (len(signals) + 1) * (HEAD_MAX + _HEAD + rows * varint.BYTES_MAX)
        self.clear()

    def clear(self) -> None:
        self.silent = self._all
        self.end = self._gaps_end = 0

    def add(self, values: "array[int]") -> None:
        """Take a sample, a `row`; of a set that is not even, after `gap`."""
        at = self.end
        self.end = end = at + self._width
        self._values[at:end] = values

    def gap(self, gap_s: int) -> None:
        """The next sample is taken `gap_s` after the one before."""
        self._gaps_end = varint.put_uint(self._gaps, self._gaps_end, gap_s)

    def count(self) -> int:
        """Samples so far."""
        return self.end // self._width

    def nothing(self) -> bool:
        """Whether no signal has answered."""
        return self.silent == self._all

    def write(self, buf: "bytearray", pos: int, lost: int) -> int:
        """Write the body of the message at `pos` of `buf`, with `lost` in key 3; returns the end of it."""
        silent = self.silent
        spacing = self._spacing
        start = pos + 1
        buf[pos] = 0xA3 if lost else 0xA2
        pos = start + len(spacing)
        buf[start:pos] = spacing
        width = self._width
        buf[pos] = 0xA0 | (self._answering() if silent else width)
        pos += 1
        put = self.put
        values = self._values
        end = self.end
        signals = self._signals
        for at in range(width):
            if not silent >> at & 1:
                signal = signals[at]
                if signal < 24:
                    buf[pos] = signal
                    start = pos + 1
                else:
                    start = put_uint(buf, pos, signal)
                pos = put(buf, start, values, at, width, end)
                if pos < 0:
                    pos = put_column(buf, start, values, at, width, end)
        size = self._gaps_end
        if size:
            buf[pos] = 2
            start = pos + 2
            pos = start + size
            buf[start:pos] = self._gaps[:size]
            pos = _close(buf, start - 1, pos)
        if lost:
            buf[pos] = 3
            pos = put_uint(buf, pos + 1, lost)
        return pos

    def _answering(self) -> int:
        return len([at for at in range(self._width) if not self.silent >> at & 1])
