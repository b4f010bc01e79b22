"""The clock port on virtual time: it drifts, its UTC jumps, is unknown, or starts in 1970."""

import asyncio
from collections.abc import Awaitable

from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.timers import Sleep

_MILLION = 1_000_000


class Clock:
    """A clock that starts from 0 when it is made: one for each boot.

    `drift_ppm`: how much too fast it runs, in millionths; it may be changed at any time, for those who sleep from their next
    sleep on. `utc_s`: None for a board that knows no UTC, 0 for one whose clock starts in 1970.
    """

    def __init__(self, loop: VirtualLoop, drift_ppm: int = 0, utc_s: int | None = None) -> None:
        self._loop = loop
        self._since_us = loop.now_us
        self._shown_us = 0  # at that moment
        self._rate = _MILLION + drift_ppm
        self._boot_utc_ms = None if utc_s is None else 1000 * utc_s

    @property
    def drift_ppm(self) -> int:
        return self._rate - _MILLION

    @drift_ppm.setter
    def drift_ppm(self, drift_ppm: int) -> None:
        self._shown_us = self._now_us()
        self._since_us = self._loop.now_us
        self._rate = _MILLION + drift_ppm

    def ticks_ms(self) -> int:
        """Milliseconds since boot, as this clock counts them."""
        passed_us = self._loop.now_us - self._since_us
        if self._rate != _MILLION:
            passed_us = passed_us * self._rate // _MILLION
        return (self._shown_us + passed_us) // 1000

    def sleep_ms(self, ms: int) -> Awaitable[None]:
        """To be awaited at once: sleep until this clock shows `ms` more; at least let everybody else have a turn."""
        if ms <= 0:
            return asyncio.sleep(0)
        loop = self._loop
        if self._rate == _MILLION:
            return Sleep(loop, loop.now_us + 1000 * ms)
        lasting_us = -(-(self._now_us() + 1000 * ms - self._shown_us) * _MILLION // self._rate)  # rounded up
        return loop.sleep_until_us(self._since_us + lasting_us)

    def utc_s(self) -> int | None:
        """UTC in seconds, or None while nobody has told."""
        return None if self._boot_utc_ms is None else (self._boot_utc_ms + self.ticks_ms()) // 1000

    def set_utc_s(self, utc_s: int) -> None:
        """Somebody tells what time it is."""
        self._boot_utc_ms = 1000 * utc_s - self.ticks_ms()

    def jump_s(self, seconds: int) -> None:
        """A fault: UTC is off by so much more, forwards or backwards. Milliseconds since boot never jump."""
        if self._boot_utc_ms is not None:
            self._boot_utc_ms += 1000 * seconds

    def _now_us(self) -> int:
        return self._shown_us + (self._loop.now_us - self._since_us) * self._rate // _MILLION
