"""Time for envelopes (SPEC section 4): UTC as soon as the cloud or the board knows it, monotonic milliseconds before."""

from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UTC_MIN = 1_600_000_000  # 2020-09: older than this protocol
_UTC_MAX = 0xFFFFFFFF
_TOLERANCE_S = 1  # The welcome was on its way for a while; do not step the clock for that.


class Timebase:
    """Stands before the clock port. `steps` counts how often UTC was set, forwards or backwards."""

    def __init__(self, clock: "Any") -> None:
        self.steps = 0
        self._clock = clock
        self._sync_due = True

    def utc_s(self) -> "int | None":
        """UTC in seconds, or None while it is unknown (or the board's clock is plainly wrong)."""
        utc_s: "int | None" = self._clock.utc_s()
        if utc_s is None or not _UTC_MIN <= utc_s <= _UTC_MAX:
            return None
        return utc_s

    def t(self) -> "int | list[int]":
        """The `t` of an envelope made now: UTC seconds, or [milliseconds since boot]."""
        utc_s = self.utc_s()
        return [self._clock.ticks_ms()] if utc_s is None else utc_s

    def set_utc_s(self, utc_s: int) -> None:
        """Take UTC from a welcome (EG-TIME-001). It may jump both ways: records that are stored keep the time they have.

        Raises ProtocolError 5 for a time that cannot be.
        """
        if not _UTC_MIN <= utc_s <= _UTC_MAX:
            raise ProtocolError(OUT_OF_RANGE, f"UTC {utc_s} is not between {_UTC_MIN} and {_UTC_MAX}")
        now_s = self.utc_s()
        if now_s is None or abs(now_s - utc_s) > _TOLERANCE_S:
            self._clock.set_utc_s(utc_s)
            self.steps += 1

    def sync(self) -> "tuple[int, int] | None":
        """(mono_ms, utc_s) for `up/sync` if it is due: UTC is known, and `synced` was not called in this boot."""
        utc_s = self.utc_s() if self._sync_due else None
        return None if utc_s is None else (self._clock.ticks_ms(), utc_s)

    def synced(self) -> None:
        """`up/sync` was published (EG-TIME-003)."""
        self._sync_due = False
