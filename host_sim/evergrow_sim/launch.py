"""Starts simulated devices from a host program, watches them, and pulls their plug.

    device = DeviceProcess(config, folder, code=build_dir, heap="160K")      # the real agent on the real MicroPython
    device = DeviceTask(config, folder)                                      # the same in this process, on CPython
    async with device:
        await device.wait_for("connected")
        device.command("start 3")
        ended = await device.wait_for("ended", timeout_s=60)

Both have the same methods. A device may be started again after `stop` or `kill`: its flash is kept in `folder`.
"""

import asyncio
import contextlib
import json
import re
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from evergrow_sim import romfs

Event = dict[str, Any]

_BLOCK_BYTES = 32  # of MicroPython's heap on a 64-bit host
_STOP_S = 10
_MAX_EVENTS = 10_000


class DeviceError(Exception):
    """A device that cannot be started, ended when it should not have, or did not do in time what was waited for."""


class _Watched:
    """What both kinds of device share: the record of their events, and waiting for one.

    `events`: what it said since it was made, newest last. `output`: the last lines that were no events, tracebacks for instance.
    `on_event` is called with each event.
    """

    def __init__(self, config: dict[str, Any], folder: Path, on_event: Callable[[Event], None] | None = None) -> None:
        self.config = config
        self.folder = folder
        self.events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self.output: deque[str] = deque(maxlen=50)
        self._on_event = on_event
        self._changed = asyncio.Event()
        self._running = False

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> int:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running:
            await self.stop()

    async def ended(self) -> None:
        """Wait until it has ended. Raises DeviceError if nobody told it to."""
        while self._running:
            self._changed.clear()
            await self._changed.wait()
        if not self.events or self.events[-1]["event"] != "stopped":
            raise DeviceError(f"{self._name} ended: {self._last_words()}")

    async def wait_for(self, name: str, timeout_s: float = 30, since: int = 0, **fields: Any) -> Event:
        """The first event of that name whose `fields` have these values, of those from number `since` on, or to come.

        `since`: `len(device.events)` of an earlier moment. Raises DeviceError when the device ends before, or the time is up.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for event in list(self.events)[since:]:
                        if event["event"] == name and all(event.get(key) == value for key, value in fields.items()):
                            return event
                    if not self._running:
                        raise DeviceError(f"{self._name} ended before {name!r}: {self._last_words()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DeviceError(f"{self._name}: no {name!r} within {timeout_s:g} s: {self._last_words()}") from None

    @property
    def _name(self) -> str:
        return str(self.config.get("device", "device"))

    def _last_words(self) -> str:
        if self.output:
            return "\n".join(self.output)
        return f"the last event is {self.events[-1]}" if self.events else "it said nothing"

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        if self._on_event is not None:
            self._on_event(event)

    def _ended(self) -> None:
        self._running = False
        self._changed.set()


class DeviceProcess(_Watched):
    """A device on MicroPython, in a process of its own, its heap capped to `heap`.

    `code`: a folder of compiled modules, as `evergrow_tools.mpy.build` makes it; they are run from a ROM, so that the heap
    holds what is RAM on a board. The flash is the file `flash.img` in `folder`. A `heap` event gets `largest_free`, in bytes.
    """

    def __init__(
        self,
        config: dict[str, Any],
        folder: Path,
        code: Path,
        heap: str = "256K",
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        super().__init__({"flash": str(folder / "flash.img"), **config}, folder, on_event)
        self._code = code
        self._heap = heap
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._largest_free = 0

    async def start(self) -> None:
        """Power on. Raises DeviceError."""
        if self._running:
            raise DeviceError(f"{self._name} runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        config_path, image_path = self.folder / "device.json", self.folder / "rom.img"
        config_path.unlink(missing_ok=True)
        config_path.touch(0o600)  # Passwords and the device key are in it.
        config_path.write_text(json.dumps(self.config))
        image_path.write_bytes(romfs.image(self._code))
        script = Path(__file__).with_name("rom_host.py")
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(script),
                str(image_path),
                self._heap,
                str(config_path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the host program, which then asks the device to quit
            )
        except OSError as error:
            raise DeviceError(f"{self._name} cannot be started: {error}") from error
        self._running = True
        self._reader = asyncio.create_task(self._read(self._process))

    def command(self, line: str) -> None:
        """What a person does at the appliance, see `evergrow_sim.device`. Raises DeviceError when it does not run."""
        if not self._running or self._process is None or self._process.stdin is None:
            raise DeviceError(f"{self._name} does not run")
        self._process.stdin.write(line.encode() + b"\n")

    async def stop(self) -> int:
        """Leave in good order, within some seconds; returns the exit code."""
        with contextlib.suppress(DeviceError, ConnectionError):
            self.command("quit")
        try:
            return await asyncio.wait_for(self._wait(), _STOP_S)
        except TimeoutError:
            await self.kill()
            raise DeviceError(f"{self._name} did not quit within {_STOP_S} s and was killed: {self._last_words()}") from None

    async def kill(self) -> None:
        """A power cut."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._wait()

    def _last_words(self) -> str:
        if self.output and self.output[-1].startswith("MemoryError"):
            return f"its heap of {self._heap} is too small ({self.output[-1]})"
        return super()._last_words()

    async def _wait(self) -> int:
        if self._process is None or self._reader is None:
            raise DeviceError(f"{self._name} was never started")
        code = await self._process.wait()
        await self._reader
        return code

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._line(line.decode(errors="replace").rstrip())
        await process.wait()
        self._ended()

    def _line(self, line: str) -> None:
        if found := re.search(r"max free sz: (\d+)", line):
            self._largest_free = int(found[1]) * _BLOCK_BYTES
            return
        if line.startswith(("mem: total", "stack:", "GC: total")):
            return
        try:
            event = json.loads(line)
        except ValueError:
            self.output.append(line)
            return
        if event.get("event") == "heap":
            event["largest_free"] = self._largest_free
        self._emit(event)


class DeviceTask(_Watched):
    """A device on this interpreter, in this process. The flash is the directory `flash` in `folder`."""

    def __init__(self, config: dict[str, Any], folder: Path, on_event: Callable[[Event], None] | None = None) -> None:
        super().__init__({"flash": str(folder / "flash"), **config}, folder, on_event)
        self._device: Any = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Power on. Raises DeviceError."""
        from evergrow_sim.device import ConfigError, Device

        if self._running:
            raise DeviceError(f"{self._name} runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._device = Device(self.config, self._emit)
        except (ConfigError, OSError, ValueError) as error:
            raise DeviceError(f"{self._name} cannot be started: {error}") from error
        self._running = True
        self._task = asyncio.create_task(self._device.run())
        self._task.add_done_callback(self._done)

    def command(self, line: str) -> None:
        """What a person does at the appliance, see `evergrow_sim.device`. Raises DeviceError when it does not run."""
        if not self._running:
            raise DeviceError(f"{self._name} does not run")
        self._device.command(line)

    async def stop(self) -> int:
        """Leave in good order; returns the exit code."""
        if self._task is None:
            raise DeviceError(f"{self._name} was never started")
        if self._running:
            await self._device.quit()
            await self._task
        return int(self._device.failed)

    async def kill(self) -> None:
        """A power cut."""
        if self._task is not None and self._running:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.output.append(repr(error))
        self._ended()
