"""The time that entitlements go by: the highest that this device has ever seen (EG-ENT-007, EG-ENT-008).

UTC carries it forward while UTC is believable; otherwise the device's own running does, and is counted as run time without UTC.
Either way it never goes back, whatever a clock says; only an entitlement can set it (EG-ENT-014).

    file `seen`   [highest UTC second, seconds run without UTC], a `checked` file
"""

from evergrow_agent import checked
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from evergrow_agent.timebase import Timebase

FILE = "seen"
SAVE_S = 3600
TOLERANCE_S = 3600  # A good clock may be corrected backwards by this much, and is still UTC.
_SLOWER = 1024  # Own running counts a thousandth less: a fast oscillator must not overtake UTC for good.
_LOST = 0x7FFFFFFF


class SeenTime:
    """`now_s`: the highest time seen, UTC seconds, 0 before any. `offline_s`: how long the device has run since it last knew UTC.

    `needed`: whether anything depends on it; until then nothing is written. `failures`: writes that failed.
    """

    def __init__(self, flash: "Any", clock: "Any", timebase: "Timebase") -> None:
        self.now_s = 0
        self.offline_s = 0
        self.needed = False
        self.failures = 0
        self._flash = flash
        self._clock = clock
        self._timebase = timebase
        self._last_ms: int = clock.ticks_ms()
        self._ran_ms = 0  # not yet in `offline_s`
        self._own = 0  # not yet in `now_s`: a part of a second
        try:
            content = checked.load(flash, FILE)
            if content is not None:
                self.now_s, self.offline_s = loads(content)
        except (OSError, ProtocolError, ValueError, TypeError):
            self.offline_s = _LOST  # What was counted is lost: only UTC can help.
        self._saved = (self.now_s, self.offline_s)

    def tick(self) -> None:
        """To be called now and then, and before either value is used."""
        ran_ms = self._clock.ticks_ms() - self._last_ms
        self._last_ms += ran_ms
        self._own += ran_ms * (_SLOWER - 1)
        self.now_s += self._own // (1000 * _SLOWER)
        self._own %= 1000 * _SLOWER
        self._ran_ms += ran_ms
        ran_s = self._ran_ms // 1000
        self._ran_ms %= 1000
        utc_s = self._timebase.utc_s()
        if utc_s is not None and utc_s + TOLERANCE_S >= self.now_s:
            self.now_s = max(self.now_s, utc_s)
            self.offline_s = 0
        else:
            self.offline_s += ran_s
        far = self.now_s - self._saved[0] >= SAVE_S or abs(self.offline_s - self._saved[1]) >= SAVE_S
        if far and self.needed:
            self.save()

    def learn(self, utc_s: int, exactly: bool = False) -> None:
        """It is at least this late: somebody who is believed said so. `exactly`: also if later was seen (EG-ENT-014)."""
        if exactly and utc_s:
            self.now_s = self.offline_s = 0
        self.now_s = max(self.now_s, utc_s)

    def save(self) -> None:
        """Make both values durable. A flash that fails costs what was counted since it did not, nothing else."""
        values = (self.now_s, self.offline_s)
        if values != self._saved:
            self._saved = values
            try:
                checked.save(self._flash, FILE, dumps(list(values)))
            except OSError:
                self.failures += 1
