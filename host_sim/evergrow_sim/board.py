"""A simulated board: the agent's ports on real TCP, a real file system, and an appliance made of physics."""

import os

from evergrow_agent.fsflash import FsFlash
from evergrow_mqtt.stream import open_stream
from evergrow_sim import lfs
from evergrow_sim.clock import ElasticClock, RealClock, WorkClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNT_POINT = "/flash"
_FLASH_BLOCKS = 128  # 512 KB, what a small board leaves for its file system


class Net:
    """The net port: TCP and TLS in real time."""

    def __init__(self, clock: RealClock) -> None:
        self.clock = clock

    async def connect(self, host: str, port: int, tls: "Any") -> "Any":
        return await open_stream(host, port, tls)


class Random:
    """The random port. With a seed it repeats itself, run for run; without one it is the host's own."""

    def __init__(self, seed: "int | None" = None) -> None:
        self._state = seed

    def bytes(self, count: int) -> bytes:
        if self._state is None:
            return os.urandom(count)
        out = bytearray(count)
        for i in range(count):
            # Knuth's MMIX generator; its high byte is random enough for a simulation.
            self._state = (self._state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
            out[i] = self._state >> 56
        return bytes(out)


class Watchdog:
    """The watchdog port as the world sees it: `missed` counts how often a real board would have been reset.

    It runs on the host's time, since a stalled loop stalls an elastic clock with it.
    """

    def __init__(self, clock: RealClock, timeout_ms: int = 8000) -> None:
        self.missed = 0
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._fed_ms = -1  # It starts when it is first fed.

    def feed(self) -> None:
        self.check()
        self._fed_ms = self._clock.ticks_ms()

    def check(self) -> None:
        """Count it if it ran out since it was last fed, or last counted."""
        now_ms = self._clock.ticks_ms()
        if 0 <= self._fed_ms < now_ms - self._timeout_ms:
            self.missed += 1
            self._fed_ms = now_ms


class SimBoard:
    """The ports, for one boot. `flash` and `appliance` outlive it; time and UTC begin anew.

    `run` drives time, physics and the watchdog, and ends when it is cancelled.
    """

    def __init__(self, appliance: "Any", flash: "Any", speed: float = 1.0, seed: "int | None" = None) -> None:
        real = RealClock()
        self.clock = ElasticClock(real, speed)
        self.net = Net(real)
        self.work = WorkClock(real)  # by which calls of features are measured: a busy host is not their fault
        self.flash = flash
        self.random = Random(seed)
        self.watchdog = Watchdog(real)
        self.appliance = appliance

    async def run(self) -> None:
        await self.clock.run(self._pass)

    def _pass(self, step_ms: int) -> None:
        self.appliance.step(step_ms)
        self.watchdog.check()


def open_flash(path: str, blocks: int = _FLASH_BLOCKS) -> FsFlash:
    """The flash port kept at `path` on the host: LittleFS2 in a file where the interpreter has it, else a directory.

    It survives the process. With LittleFS2 there is one in a process, mounted at MOUNT_POINT. Raises OSError.
    """
    if not lfs.AVAILABLE:
        return FsFlash(path)
    lfs.mount(lfs.Chip(lfs.FileBlocks(path, blocks)), MOUNT_POINT)
    return FsFlash(MOUNT_POINT)
