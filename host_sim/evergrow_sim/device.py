"""A simulated appliance: the real agent on a simulated board. Portable: `main` runs it as a process of either interpreter.

Configuration, a JSON object; all but the first four may be left out:

    tenant, device, host, port     who it is, and where its broker listens
    tls                            {"ca": path, "cert": path, "key": path, "hostname": text}
    username, password, keepalive_s
    flash                          path on the host: a file (LittleFS2, MicroPython) or a directory (CPython)
    speed, seed                    times real time; of sensor noise and back-off
    device_key                     secret that it shares with its cloud, 32 bytes, for a first start
    root                           root key for a first start, which grants publishers: [algorithm, public key]
    trust                          key ring for a first start: [[kid, algorithm, public key, publisher, prefix], ...]
    vendor_id, class_id            what manifests must name, 16 bytes; bytes are hexadecimal throughout
    model, firmware                what birth says
    appliance                      its class, see evergrow_sim.appliances.catalogue; a washer when left out
    remote_enable                  whether a person allowed it to be started from afar
    home                           id of the home that it belongs to
    telemetry_signals, telemetry_s, rx_bytes, tx_bytes, block_bytes
    mqtt                           {name: value} of further settings, see evergrow_mqtt.config

Events are dicts with `event` and more (see `Device`); `main` prints each as a line of JSON. Commands are lines of text on
standard input, what a person does at the appliance: `start ID`, `stop`, `remote 0|1`, `set DIAL DEGREES`, and what this one
has, say `door 0|1` (see evergrow_sim.appliances.catalogue); `scene N`, which reaches it as from its home's hub; `look MINUTES`:
what sensors and actuators show then, and only then what is asked next is done; `speed TIMES`; and `heap`, `quit`. The end of
input is `quit`, so that no device outlives what started it. A power cut is the end of the process without any of this.
"""

import asyncio
import binascii
import gc
import json
import select
import sys

try:
    import micropython
except ImportError:  # CPython: there is no heap of a fixed size to tell of
    micropython = None  # type: ignore[assignment,unused-ignore]

from evergrow_agent import devicekey, grants, trust
from evergrow_agent.agent import Agent
from evergrow_agent.board import Config, Identity
from evergrow_agent.runner import IDLE
from evergrow_protocol.cose import Key
from evergrow_protocol.errors import ProtocolError
from evergrow_sim.appliances.catalogue import make
from evergrow_sim.board import Random, SimBoard, open_flash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

_WATCH_MS = 1000  # of the appliance's time
_POLL_MS = 50
_TURNS = 16  # of tasks between two looks at the sockets, at most


class ConfigError(Exception):
    """A configuration that cannot work; the text names the key."""


class Device:
    """One appliance, one boot. `emit(event)` is called with each of these:

    booted        boot, interpreter, version, features [[publisher, feature, sequence], ...], heap_free
    connected, disconnected (error)
    started       programme, energy_wh (a counter of the appliance, since power on); also one continuous programme after another
    phase         phase, remaining_s
    ended         programme, outcome, error, duration_s; energy_wh, water_ml: the appliance's own counters, where it has them
    features      features
    alarms        alarms: the ids of those that are raised now
    crash         text: a task of the agent failed and was started again
    watchdog      missed: a real board would have been reset
    refused       command, code, text: what a person asked for is not possible now
    look          minutes, signals [[id, value], ...], actuators [[id, value], ...]; a sensor that does not answer is left out
    heap          free, allocated (bytes; MicroPython), after a collection; before it comes what `mem_info` prints
    stopped       missed, crashes
    failed        text: no configuration that works, or a fault of the simulation
    """

    def __init__(self, config: "dict[str, Any]", emit: "Callable[[dict[str, Any]], None]") -> None:
        self.emit = emit
        self.failed = False
        seed = config.get("seed")
        self.appliance: "Any" = make(config.get("appliance", "washer"), Random(None if seed is None else seed + 1))
        if "remote_enable" in config:
            self.appliance.remote_enable = bool(config["remote_enable"])
        flash = open_flash(_need(config, "flash"))
        if flash.size(trust.FILE) < 0:
            trust.provision(flash, [_key(row) for row in config.get("trust", [])])
        if "root" in config and flash.size(grants.ROOT) < 0:
            alg, public = config["root"]
            grants.provision(flash, binascii.unhexlify(public), alg)
        if "device_key" in config and flash.size(devicekey.FILE) < 0:
            devicekey.provision(flash, binascii.unhexlify(config["device_key"]))
        self.board = SimBoard(self.appliance, flash, config.get("speed", 1), seed)
        self.agent = Agent(self.board, _identity(config), _agent_config(config))  # type: ignore[arg-type]
        self._seen: "dict[str, Any]" = {}
        self._started_ms = 0
        self._held: "list[str] | None" = None  # what was asked since a look began

    async def run(self) -> None:
        """Until `quit`, or until this is cancelled."""
        self.agent.boot()
        tasks = [asyncio.create_task(self._world(work)) for work in (self.board.run, self._watch)]
        try:
            await self.agent.run()
        finally:
            for task in tasks:
                task.cancel()
        if self._seen:
            self._look()
        self.emit({"event": "stopped", "missed": self.board.watchdog.missed, "crashes": self.agent.crashes})

    async def quit(self) -> None:
        """Leave the cloud in good order; `run` returns."""
        await self.agent.stop()

    def command(self, line: str) -> None:
        """What a person does at the appliance; all commands but `quit`.

        What is asked during a `look` is done after it, so that a script sent at once runs on the appliance's time alone.
        """
        if self._held is not None:
            self._held.append(line)
            return
        word, _, argument = line.partition(" ")
        try:
            if word == "start":
                self.agent.start_programme(int(argument))
            elif word == "stop":
                self.agent.stop_programme()
            elif word == "remote":
                self.appliance.remote_enable = bool(int(argument))
                if hasattr(self.appliance, "on_change"):
                    self.appliance.on_change()
            elif word == "set":
                self._set(argument)
            elif word == "scene":
                self.agent.home.on_scene(int(argument))
            elif word == "look":
                minutes = int(argument)
                self._held = []
                asyncio.create_task(self._show(minutes))  # noqa: RUF006 - it ends with the loop
            elif word == "speed":
                self._hurry(float(argument))
            elif word == "heap":
                free, allocated = _heap()
                if micropython is not None:
                    micropython.mem_info()
                self.emit({"event": "heap", "free": free, "allocated": allocated})
            else:
                self.appliance.act(word, int(argument))
        except ProtocolError as exc:
            self.emit({"event": "refused", "command": line, "code": exc.code, "text": exc.text})
        except ValueError as exc:
            self.emit({"event": "refused", "command": line, "code": 0, "text": str(exc)})

    def _hurry(self, speed: float) -> None:
        if not 0.1 <= speed <= 2000:
            raise ValueError(f"a speed is 0.1 to 2000 times real time, not {speed}")
        self.board.clock.speed = speed

    def _set(self, argument: str) -> None:
        """`NAME DEGREES`: turn a dial of the appliance."""
        name, _, degrees = argument.partition(" ")
        dials = getattr(self.appliance, "dials", {})
        if name not in dials:
            raise ValueError(f"no dial {name!r}, there are {', '.join(sorted(dials)) or 'none'}")
        self.agent.guard.preset(dials[name], round(float(degrees) * 10))

    async def _show(self, minutes: int) -> None:
        await self.board.clock.sleep_ms(60_000 * minutes)
        signals = []
        for signal in self.appliance.signals:
            try:
                signals.append([signal, self.appliance.read(signal)])
            except OSError:
                pass  # no answer is nothing to show
        actuators = [[actuator, self.agent.guard.value(actuator)] for actuator in sorted(self.appliance.limits)]
        self.emit({"event": "look", "minutes": minutes, "signals": signals, "actuators": actuators})
        held, self._held = self._held or [], None
        for line in held:
            self.command(line)

    async def _world(self, work: "Callable[[], Awaitable[None]]") -> None:
        """A fault in the simulation itself ends the device: nothing that it showed would mean anything."""
        try:
            await work()
        except Exception as exc:
            self.failed = True
            self.emit({"event": "failed", "text": f"simulation: {exc!r}"})
            await self.quit()

    async def _watch(self) -> None:
        features = self._features()  # those of the boot: an offer may be through before anybody looks again
        await self.board.clock.sleep_ms(_WATCH_MS)  # The agent has found out by then what state the appliance is in.
        self.emit(self._booted(features))
        runner = self.agent.runner
        self._seen = {
            "link": False,
            "unreachable": "",
            "idle": runner.state == IDLE,
            "programme": 0 if runner.period_ms else runner.programme_id,  # A base programme has started by itself.
            "phase": runner.phase,
            "features": features,
            "alarms": [],
            "crashes": 0,
            "missed": 0,
        }
        while True:
            self._look()
            await self.board.clock.sleep_ms(_WATCH_MS)

    def _booted(self, features: "list[tuple[int, int, int]]") -> "dict[str, Any]":
        implementation = sys.implementation
        return {
            "event": "booted",
            "boot": self.agent.boot_number,
            "interpreter": implementation.name,
            "version": ".".join([str(part) for part in implementation.version[:3]]),
            "features": features,
            "heap_free": _heap()[0],
        }

    def _features(self) -> "list[tuple[int, int, int]]":
        features = getattr(self.agent, "features", None)  # Not there if they could not be made at boot.
        return features.active() if features else []

    def _look(self) -> None:
        """Turn what has changed since the last look into events."""
        agent = self.agent
        runner = agent.runner
        link = getattr(agent, "link", None)
        if link and self._changed("link", link.online):
            self.emit({"event": "connected"} if link.online else {"event": "disconnected", "error": link.last_error})
        elif link and not link.connects and self._changed("unreachable", link.last_error):
            self.emit({"event": "unreachable", "error": link.last_error})
        idle = runner.state == IDLE
        if self._changed("idle", idle):
            now_ms = self.board.clock.ticks_ms()
            if not idle:
                self._started_ms = now_ms
                self._started()
            elif self._started_ms:
                event = {
                    "event": "ended",
                    "programme": runner.programme_id,
                    "outcome": runner.outcome,
                    "error": runner.error,
                    "duration_s": (now_ms - self._started_ms) // 1000,
                }
                event.update(self.appliance.counters())
                self.emit(event)
        elif not idle and self._seen["programme"] != runner.programme_id:  # One continuous programme after another.
            self._started()
        if self._changed("phase", runner.phase) and not idle:
            self.emit({"event": "phase", "phase": runner.phase, "remaining_s": runner.remaining_s})
        features = self._features()
        if self._changed("features", features):
            self.emit({"event": "features", "features": features})
        alarms = agent.events.raised()
        if self._changed("alarms", alarms):
            self.emit({"event": "alarms", "alarms": alarms})
        if self._changed("crashes", sum(agent.crashes.values())):
            self.emit({"event": "crash", "text": agent.last_crash})
        if self._changed("missed", self.board.watchdog.missed):
            self.emit({"event": "watchdog", "missed": self.board.watchdog.missed})

    def _started(self) -> None:
        programme = self._seen["programme"] = self.agent.runner.programme_id
        self.emit({"event": "started", "programme": programme, "energy_wh": self.appliance.counters()["energy_wh"]})

    def _changed(self, what: str, value: "Any") -> bool:
        changed = self._seen[what] != value
        self._seen[what] = value
        return bool(changed)


def main(config_path: str) -> int:
    """Run the device that the file describes until it is told to quit; returns the exit code: 2 for a bad configuration."""
    try:
        with open(config_path) as file:
            device = Device(json.load(file), _print)  # Nobody holds the configuration once it is taken in.
    except (ConfigError, OSError, ValueError, ProtocolError) as exc:
        _print({"event": "failed", "text": f"{config_path}: {exc}"})
        return 2
    _poll_less()
    asyncio.run(_run(device))
    return int(device.failed)


def _poll_less() -> None:
    """MicroPython on Unix looks at its sockets before each turn of a task, and with TLS among them that takes a millisecond even
    when somebody is ready: time at a thousandfold would not keep up. So those who are ready go first, a few of them.
    """
    queue: "Any" = getattr(getattr(asyncio, "core", None), "IOQueue", None)
    if queue is None:
        return
    poll = queue.wait_io_event
    turns = 0

    def wait_io_event(self: "Any", wait_ms: int) -> None:
        nonlocal turns
        turns += 1
        if wait_ms or turns >= _TURNS:
            turns = 0
            poll(self, wait_ms)

    queue.wait_io_event = wait_io_event


async def _run(device: Device) -> None:
    asyncio.create_task(_listen(device))  # noqa: RUF006 - it ends with the loop
    await device.run()


async def _listen(device: Device) -> None:
    """Pass the lines of standard input on. Unbuffered and byte by byte, so that poll knows of all that is there."""
    stdin = open(0, "rb", 0)
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    line = b""
    while True:
        while poll.poll(0):
            char = stdin.read(1)
            if not char or (char == b"\n" and line == b"quit"):
                await device.quit()
                return
            if char == b"\n":
                device.command(line.decode())
                line = b""
            else:
                line += char
        await device.board.net.clock.sleep_ms(_POLL_MS)


def _print(event: "dict[str, Any]") -> None:
    print(json.dumps(event))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()


def _heap() -> "tuple[int, int]":
    """(free, allocated) bytes of the interpreter's heap; zeros where it has no bound."""
    gc.collect()
    if not hasattr(gc, "mem_free"):
        return 0, 0
    return gc.mem_free(), gc.mem_alloc()  # type: ignore[attr-defined,unused-ignore]


def _need(config: "dict[str, Any]", key: str) -> "Any":
    if key not in config:
        raise ConfigError(f"{key} is missing")
    return config[key]


def _identity(config: "dict[str, Any]") -> Identity:
    return Identity(
        _need(config, "tenant"),
        _need(config, "device"),
        config.get("model", "evergrow-w1"),
        config.get("firmware", "0.1.0"),
        binascii.unhexlify(config.get("vendor_id", "")),
        binascii.unhexlify(config.get("class_id", "")),
    )


def _agent_config(config: "dict[str, Any]") -> Config:
    options: "dict[str, Any]" = {}
    for key in ("username", "password", "keepalive_s", "telemetry_s", "rx_bytes", "tx_bytes", "block_bytes", "home"):
        if key in config:
            options[key] = config[key]
    options["mqtt"] = config.get("mqtt", {})
    options["telemetry_signals"] = tuple(config.get("telemetry_signals", ()))
    tls = config.get("tls")
    if tls:
        from evergrow_mqtt.tls import client_tls

        options["tls"] = client_tls(_need(tls, "ca"), tls.get("cert"), tls.get("key"), tls.get("hostname"))
    return Config(_need(config, "host"), _need(config, "port"), **options)


def _key(row: "list[Any]") -> Key:
    return Key(binascii.unhexlify(row[0]), row[1], binascii.unhexlify(row[2]), row[3], row[4].encode())
