"""Telemetry batches (SPEC section 7): columns of samples, lossy by design.

Columns are lists that are made once and hold the first value and then differences, ready for the encoder. A batch that is
complete stays until the link takes it or the next one is complete; what is overwritten shows as a gap in `seq`.
"""

from evergrow_protocol import messages
from evergrow_protocol.cbor import Encoder
from evergrow_protocol.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evergrow_agent.timebase import Timebase

SAMPLES = 10

_BATCH_BYTES = 256  # 10 x 4 samples that go from end to end of 32 bits


class Telemetry:
    """`read(signal)` gives a value now, or raises OSError. `boot` is to be set before the first tick.

    `dropped`: batches that nobody took in time.
    """

    def __init__(self, read: "Callable[[int], int]", signals: "tuple[int, ...]", interval_s: int, timebase: "Timebase") -> None:
        self.boot = 0
        self.dropped = 0
        self._read = read
        self._signals = signals
        self._interval_ms = 1000 * interval_s
        self._timebase = timebase
        self._seq = 0
        self._columns: "dict[int, list[int]]" = {signal: [0] * SAMPLES for signal in signals}
        self._body: "dict[int, Any]" = {0: interval_s, 1: self._columns}
        self._last = [0] * len(signals)
        self._count = 0
        self._t: "int | list[int]" = 0
        self._due_ms = 0
        self._filling = Encoder(bytearray(_BATCH_BYTES))
        self._taken = Encoder(bytearray(_BATCH_BYTES))
        self._ready = False

    def tick(self, now_ms: int, active: bool) -> bool:
        """Sample if it is time to, while `active`; True when a batch has just become complete."""
        if not self._signals:
            return False
        if not active:
            return self._finish()
        if not self._count:
            self._due_ms = now_ms
        if now_ms < self._due_ms:
            return False
        late = now_ms - self._due_ms >= self._interval_ms
        finished = self._finish() if late else False  # The samples of a batch are evenly spaced, or it is another batch.
        if late:
            self._due_ms = now_ms
        self._due_ms += self._interval_ms
        self._sample()
        return (self._finish() if self._count == SAMPLES else False) or finished

    def take(self) -> "memoryview | None":
        """The newest complete batch, encoded, once; valid until the next call."""
        if not self._ready:
            return None
        self._ready = False
        self._filling, self._taken = self._taken, self._filling
        return self._taken.result()

    @property
    def ready(self) -> bool:
        return self._ready

    def _sample(self) -> None:
        index = self._count
        if not index:
            self._t = self._timebase.t()
        for i, signal in enumerate(self._signals):
            try:
                value = self._read(signal)
            except OSError:
                value = self._last[i]  # A sensor that does not answer keeps its value, as the meters do.
            self._columns[signal][index] = value - self._last[i] if index else value
            self._last[i] = value
        self._count += 1

    def _finish(self) -> bool:
        count, self._count = self._count, 0
        if not count:
            return False
        body = self._body
        if count < SAMPLES:
            body = {0: body[0], 1: {signal: column[:count] for signal, column in self._columns.items()}}
        self._seq += 1
        if self._ready:
            self.dropped += 1
        self._ready = True
        try:
            messages.encode(self._filling, self.boot, self._seq, self._t, body)
        except ProtocolError:  # Values that no signal has: more than 32 bits apart.
            self._ready = False
            self.dropped += 1
        return self._ready
