"""Telemetry (SPEC section 7): sets of signals, sampled at intervals or when they change, in batches; lossy by design.

A batch is encoded once it is complete (`columns`), and stays until the link takes it or the next one of its set is complete.
What is lost on the device is counted, and the next batch says it.
"""

from evergrow_agent.columns import HEAD_MAX, Columns, row
from evergrow_protocol.cbor import dumps, put_uint
from evergrow_protocol.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evergrow_agent.timebase import Timebase

SAMPLES = 10
SETS_MAX = 4
SIGNALS_MAX = 8  # in all sets together
SAMPLES_MAX = 20

_ENVELOPE_MAX = 1 + 2 * HEAD_MAX + 2 + 9 + 2 * HEAD_MAX  # [boot, seq, [mono_ms, utc_s, quality], ...


class SignalSet:
    """Signals that are sampled together: `bands` {signal: change that is worth a sample, 0 for none}.

    They are looked at every `min_s` seconds, while a programme runs or `always`. With `max_s` equal to it each look is a sample;
    otherwise one at which a signal has changed by its band since the last sample, or which is `max_s` after that.
    `samples`: how many make a batch.
    """

    def __init__(self, min_s: int, max_s: int, always: bool, bands: "dict[int, int]", samples: int = SAMPLES) -> None:
        self.always = always
        self.columns = Columns(sorted(bands), samples, min_s if min_s == max_s else 0)
        self.t: "Any" = 0  # of the first sample
        # A complete batch that waits: its bytes, how many; its number, its samples, and how many lost ones it tells of.
        self.out = bytearray(_ENVELOPE_MAX + self.columns.size_max)
        self.size = 0
        self.seq = 0
        self.samples = 0
        self.told = 0
        self._signals = sorted(bands)
        self._bands = [bands[signal] for signal in self._signals]
        self._values = row(len(bands))  # as read last
        self._sampled = row(len(bands))
        self._even = min_s == max_s
        self._min_ms = 1000 * min_s
        self._max_ms = 1000 * max_s
        self._due_ms = -1  # of the next look; -1: at once
        self._first_ms = 0
        self._last_ms = -1  # of the last sample; -1: none yet
        self._gaps_s = 0  # from the first sample of the batch to the last

    def rest(self) -> None:
        """It is not sampled now."""
        self._due_ms = self._last_ms = -1

    def missed(self, now_ms: int) -> int:
        """How many samples that were due evenly have not been taken: then another batch must be begun."""
        if not self._even or self._due_ms < 0 or now_ms - self._due_ms < self._min_ms:
            return 0
        missed = (now_ms - self._due_ms) // self._min_ms
        self._due_ms += missed * self._min_ms
        return missed

    def look(self, now_ms: int, read: "Callable[[int], int]", timebase: "Timebase") -> bool:
        """Sample if there is reason to; True when the batch is complete."""
        if now_ms < self._due_ms:
            return False
        late = self._due_ms < 0 or now_ms - self._due_ms >= self._min_ms
        self._due_ms = (now_ms if late else self._due_ms) + self._min_ms
        values = self._values
        columns = self.columns
        for i, signal in enumerate(self._signals):
            try:
                value = read(signal)
            except (OSError, ProtocolError):
                continue  # A sensor that does not answer keeps its value, as the meters do; one that is not there: EG-TELE-007.
            if -1 <= value >> 31 <= 0:  # 32 bits with their sign; what has more is no answer
                values[i] = value
                columns.silent &= ~(1 << i)
        if not self._even and self._last_ms >= 0 and now_ms - self._last_ms < self._max_ms and not self._changed():
            return False
        if not columns.end:
            self.t = timebase.t()
            self._first_ms = now_ms
            self._gaps_s = 0
        gap_s = (now_ms - self._first_ms) // 1000 - self._gaps_s
        self._gaps_s += gap_s
        self._last_ms = now_ms
        self._sampled[:] = values
        if not self._even:
            columns.gap(gap_s)
        columns.add(values)
        return columns.end == columns.size

    def _changed(self) -> bool:
        for value, sampled, band in zip(self._values, self._sampled, self._bands):
            if band and (value - sampled >= band or sampled - value >= band):
                return True
        return False


class Telemetry:
    """`read(signal)` gives a value now, or raises OSError. `boot` is to be set before the first tick.

    `sets`: what `configure` was given last. `dropped`: batches that nobody took in time. `lost`: samples that were lost and that
    no batch has told of yet.
    """

    def __init__(self, read: "Callable[[int], int]", timebase: "Timebase") -> None:
        self.boot = 0
        self.dropped = 0
        self.lost = 0
        self.sets: "list[SignalSet]" = []
        self._read = read
        self._timebase = timebase
        self._seq = 0
        self._prefix = b""
        self._taken = memoryview(b"")

    def renumber(self, boot: int) -> None:
        """The boot has another number from now on; what waits under the old one is lost, and counted."""
        self.boot = boot
        self._prefix = b""
        for one in self.sets:
            self._lose(one)

    def configure(self, sets: "list[SignalSet]") -> None:
        """Sample these from now on. What the sets before have not sent is lost, and counted."""
        for one in self.sets:
            self.lost += one.columns.count()
            self._lose(one)
        self.sets = sets
        size = max([len(one.out) for one in sets] + [0])
        if size > len(self._taken):
            self._taken = memoryview(bytearray(size))

    def tick(self, now_ms: int, running: bool) -> bool:
        """Sample what it is time for; `running`: a programme runs. True when a batch has just become complete."""
        complete = False
        for one in self.sets:
            if not (running or one.always):
                complete = self._finish(one) or complete
                one.rest()
                continue
            missed = one.missed(now_ms)
            if missed:
                complete = self._finish(one) or complete
                self.lost += missed
            if one.look(now_ms, self._read, self._timebase):
                complete = self._finish(one) or complete
        return complete

    def take(self) -> "memoryview | None":
        """The oldest complete batch, encoded, once; valid until the next call."""
        oldest = None
        for one in self.sets:
            if one.size and (oldest is None or one.seq < oldest.seq):
                oldest = one
        if oldest is None:
            return None
        size, oldest.size = oldest.size, 0
        self._taken[:size] = memoryview(oldest.out)[:size]
        return self._taken[:size]

    @property
    def ready(self) -> bool:
        return any([one.size for one in self.sets])

    def _finish(self, one: SignalSet) -> bool:
        columns = one.columns
        if not columns.end or columns.nothing():  # Nobody answered: there is nothing to tell.
            columns.clear()
            return False
        self._lose(one)
        self._seq += 1
        one.seq = self._seq
        one.told = self.lost
        one.size = self._encode(one)
        one.samples = columns.count()
        self.lost = 0
        columns.clear()
        return True

    def _lose(self, one: SignalSet) -> None:
        """Give up the batch that waits; with its number the cloud sees that there was one."""
        if one.size:
            self.dropped += 1
            self.lost += one.samples + one.told
            one.size = 0

    def _encode(self, one: SignalSet) -> int:
        """Write [boot, seq, t, body]; returns its size."""
        if not self._prefix:
            self._prefix = b"\x84" + dumps(self.boot)
        out = one.out
        pos = len(self._prefix)
        out[:pos] = self._prefix
        pos = put_uint(out, pos, one.seq)
        t = one.t
        if isinstance(t, int):
            pos = put_uint(out, pos, t)
        else:
            data = dumps(t)
            start = pos
            pos += len(data)
            out[start:pos] = data
        return one.columns.write(out, pos, self.lost)
