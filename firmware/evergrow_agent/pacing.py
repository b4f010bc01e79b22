"""How much the cloud takes (SPEC section 19): credits for telemetry, and what it has asked to hold back for a while."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALL = 0  # the three below
TELEMETRY = 1
USAGE = 2
GET = 3

HOLD_MAX_S = 3600

_HOUR_MS = 3_600_000


class Pacing:
    """`clock`: the network's. Nothing is held, and there is no limit, until the cloud says so; a reboot forgets both."""

    def __init__(self, clock: "Any") -> None:
        self._clock = clock
        self._until_ms = [0, 0, 0, 0]  # by kind
        self._per_hour = -1  # credits; -1: no limit
        self._most = 0  # credits at once, in 1/_HOUR_MS as `_level`
        self._level = 0
        self._at_ms = 0

    def grant(self, credits: "tuple[int, int] | None") -> None:
        """(at once, per hour) of a welcome; None: without limit."""
        if credits is None:
            self._per_hour = -1
            return
        self._most = self._level = credits[0] * _HOUR_MS
        self._per_hour = credits[1]
        self._at_ms = self._clock.ticks_ms()

    def hold(self, kind: int, retry_s: int) -> None:
        """The cloud is busy: nothing of this kind for so long, an hour at most. What it said last counts."""
        until_ms = self._clock.ticks_ms() + 1000 * min(retry_s, HOLD_MAX_S)
        for one in (TELEMETRY, USAGE, GET) if kind == ALL else (kind,):
            self._until_ms[one] = until_ms

    def held(self, kind: int) -> bool:
        """Whether messages of this kind wait."""
        return bool(self._clock.ticks_ms() < self._until_ms[kind])

    def spend(self) -> None:
        """A message of usage goes out: it takes a credit if there is one, and needs none."""
        self._fill()
        self._level = max(0, self._level - _HOUR_MS)

    def take(self) -> bool:
        """Whether a batch of telemetry may go out now; it takes its credit."""
        if self.held(TELEMETRY):
            return False
        if self._per_hour < 0:
            return True
        self._fill()
        if self._level < _HOUR_MS:
            return False
        self._level -= _HOUR_MS
        return True

    def _fill(self) -> None:
        now_ms = self._clock.ticks_ms()
        self._level = min(self._most, self._level + (now_ms - self._at_ms) * max(0, self._per_hour))
        self._at_ms = now_ms
