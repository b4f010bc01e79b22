"""Time for envelopes (SPEC section 4): UTC that the cloud has confirmed in this boot; before, milliseconds, and what the board's
clock believes.

A clock that kept its time without power may be wrong by years, and one that runs may jump. So UTC counts as known only between a
welcome and the next jump; a jump shows against the milliseconds since boot, which cannot.
"""

from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNCONFIRMED = 1  # quality of a doubtful UTC: the board's clock had it when it booted
JUMPED = 2  # the clock has jumped since it was confirmed

_UTC_MIN = 1_600_000_000  # 2020-09: older than this protocol
_UTC_MAX = 0xFFFFFFFF
_TOLERANCE_S = 1  # The welcome was on its way for a while; do not step the clock for that.
_JUMP_S = 10  # A clock and the milliseconds that part by less since they were last compared only drift.


class Timebase:
    """Stands before the clock port. `steps` counts how often UTC was set, forwards or backwards; `jumps`, how often it jumped."""

    def __init__(self, clock: "Any") -> None:
        self.steps = 0
        self.jumps = 0
        self._clock = clock
        self._sync_due = True
        self._confirmed = False
        self._quality = UNCONFIRMED
        self._boot_utc_s = 0  # UTC at boot, by the clock when it was last looked at

    def utc_s(self) -> "int | None":
        """UTC in seconds, or None while it is unknown or doubtful."""
        utc_s = self._shown()
        if utc_s is None or not self._confirmed:
            return None
        boot_utc_s = utc_s - self._clock.ticks_ms() // 1000
        if abs(boot_utc_s - self._boot_utc_s) > _JUMP_S:
            self._confirmed = False
            self._quality = JUMPED
            self.jumps += 1
            return None
        self._boot_utc_s = boot_utc_s
        return utc_s

    def t(self) -> "int | list[int]":
        """The `t` of an envelope made now: UTC seconds, or [milliseconds since boot, ? doubtful UTC, its quality]."""
        utc_s = self.utc_s()
        if utc_s is not None:
            return utc_s
        shown_s = self._shown()
        mono_ms = self._clock.ticks_ms()
        return [mono_ms] if shown_s is None else [mono_ms, shown_s, self._quality]

    def set_utc_s(self, utc_s: int) -> None:
        """Take UTC from a welcome (EG-TIME-001). It may jump both ways: records that are stored keep the time they have.

        Raises ProtocolError 5 for a time that cannot be.
        """
        if not _UTC_MIN <= utc_s <= _UTC_MAX:
            raise ProtocolError(OUT_OF_RANGE, f"UTC {utc_s} is not between {_UTC_MIN} and {_UTC_MAX}")
        shown_s = self._shown()
        if shown_s is None or abs(shown_s - utc_s) > _TOLERANCE_S:
            self._clock.set_utc_s(utc_s)
            self.steps += 1
        self._confirmed = True
        self._boot_utc_s = (self._shown() or utc_s) - self._clock.ticks_ms() // 1000

    def sync(self) -> "tuple[int, int] | None":
        """(mono_ms, utc_s) for `up/sync` if it is due: UTC is confirmed, and `synced` was not called in this boot."""
        utc_s = self.utc_s() if self._sync_due else None
        return None if utc_s is None else (self._clock.ticks_ms(), utc_s)

    def synced(self) -> None:
        """`up/sync` was published (EG-TIME-003)."""
        self._sync_due = False

    def _shown(self) -> "int | None":
        """What the board's clock shows; None for nothing, and for what is plainly wrong."""
        utc_s: "int | None" = self._clock.utc_s()
        if utc_s is None or not _UTC_MIN <= utc_s <= _UTC_MAX:
            return None
        return utc_s
