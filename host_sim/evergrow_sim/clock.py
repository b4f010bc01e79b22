"""Clocks of a simulated board: the real one, and an elastic one that runs sped up without ever skipping physics."""

import asyncio
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_STEP_MS = 500  # a controller that looks this often at the appliance is never blind for longer
_MAX_DEBT_MS = 10 * MAX_STEP_MS  # what a host that does not keep up is let off beyond this

_thread_ns: "Any" = getattr(time, "thread_time_ns", None)
_process_s: "Any" = getattr(time, "clock", None)
_monotonic_ns: "Any" = getattr(time, "monotonic_ns", None)  # MicroPython has ticks, which wrap


class _Utc:
    """UTC as the agent was told it; unknown at boot, as on a board without a battery."""

    def __init__(self) -> None:
        self._boot_utc_ms: "int | None" = None

    def ticks_ms(self) -> int:
        raise NotImplementedError

    def utc_s(self) -> "int | None":
        return None if self._boot_utc_ms is None else (self._boot_utc_ms + self.ticks_ms()) // 1000

    def set_utc_s(self, utc_s: int) -> None:
        self._boot_utc_ms = utc_s * 1000 - self.ticks_ms()


class RealClock(_Utc):
    """The clock port on the host's own time, counted from the making of this object."""

    def __init__(self) -> None:
        super().__init__()
        self._since_boot_us = 0
        self._last = _monotonic_ns() if _monotonic_ns else time.ticks_us()  # type: ignore[attr-defined,unused-ignore]

    def ticks_us(self) -> int:
        """Microseconds since boot. On MicroPython it must be asked at least every 2^29 µs (9 minutes) of uptime."""
        if _monotonic_ns:
            return int(_monotonic_ns() - self._last) // 1000
        now: "Any" = time.ticks_us()  # type: ignore[attr-defined,unused-ignore]
        self._since_boot_us += time.ticks_diff(now, self._last)  # type: ignore[attr-defined,unused-ignore]
        self._last = now
        return self._since_boot_us

    def ticks_ms(self) -> int:
        return self.ticks_us() // 1000

    async def sleep_ms(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)


class WorkClock:
    """How long this thread (CPython) or process (MicroPython on Unix) has had the processor; real time where no host tells."""

    def __init__(self, real: RealClock) -> None:
        self._real = real

    def ticks_ms(self) -> int:
        if _thread_ns:
            return int(_thread_ns()) // 1_000_000
        if _process_s:
            return int(_process_s() * 1000)
        return self._real.ticks_ms()


class ElasticClock(_Utc):
    """The clock port at `speed` times real time, as far as the host keeps up.

    Time advances only in `run`, by at most MAX_STEP_MS at once; what a stalled host loses is stretched, never skipped. So a
    controller at speed meets the same physics, step for step, as one in real time. `speed` may be changed at any time.
    """

    def __init__(self, real: RealClock, speed: float) -> None:
        super().__init__()
        self._real = real
        self.speed = speed
        self._now_ms = 0
        self._sleepers: "list[tuple[int, asyncio.Event]]" = []  # the next to wake is the last

    def ticks_ms(self) -> int:
        return self._now_ms

    async def sleep_ms(self, ms: int) -> None:
        if ms <= 0:
            await asyncio.sleep(0)
            return
        wake_ms = self._now_ms + ms
        sleeper = (wake_ms, asyncio.Event())
        place = len(self._sleepers)
        while place and self._sleepers[place - 1][0] <= wake_ms:
            place -= 1
        self._sleepers.insert(place, sleeper)
        try:
            await sleeper[1].wait()
        finally:
            if sleeper in self._sleepers:  # cancelled
                self._sleepers.remove(sleeper)

    def advance(self, step_ms: int) -> None:
        """Let `step_ms` pass and wake who is due."""
        self._now_ms += step_ms
        while self._sleepers and self._sleepers[-1][0] <= self._now_ms:
            self._sleepers.pop()[1].set()

    async def run(self, world: "Callable[[int], None]") -> None:
        """Drive the time for ever; `world(step_ms)` is called with every step, before those who slept through it wake."""
        last_us = self._real.ticks_us()
        owed_us = 0
        while True:
            await self._real.sleep_ms(max(1, min(20, int(100 / self.speed))))
            now_us = self._real.ticks_us()
            owed_us = min(owed_us + int((now_us - last_us) * self.speed), _MAX_DEBT_MS * 1000)
            last_us = now_us
            while owed_us >= 1000:
                step_ms = min(owed_us // 1000, MAX_STEP_MS)
                owed_us -= step_ms * 1000
                world(step_ms)
                self.advance(step_ms)
                await asyncio.sleep(0)  # who woke has its turn before time goes on
