"""A device of the world: the real agent on a board whose power can go at any moment.

RAM is what a boot holds; it is gone with it, tasks and all. Flash and physics stay. All that a boot reaches the world by is made
for that boot and cut off with it, so that nothing which Python still runs on the way out can leave a mark.
"""

import asyncio
from typing import Any

from evergrow_agent.agent import Agent
from evergrow_agent.board import Board, Config, Identity
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.messages import VOICE_RATING
from evergrow_sim.appliances.washer import Washer
from evergrow_sim.lfs import PowerCut
from evergrow_sim.world.clocks import Clock
from evergrow_sim.world.flash import PowerFlash
from evergrow_sim.world.loop import Group, Timer, VirtualLoop
from evergrow_sim.world.plant import AppliancePort, Plant
from evergrow_sim.world.world import World

NOBODY = -1
"""There was no power, or no agent yet: nobody answered."""

WATCHDOG_MS = 8000

_MACHINE = ["python", "world", "virtual"]  # what birth says: the same on every interpreter that runs the world
_BIRTH_MACHINE = 5


class PowerOff(Exception):
    """There is no power, or no agent yet: there is nothing to look at."""


class Watchdog:
    """Calls `bite` when it was fed once and then not for `timeout_ms`. `bitten`: it caused this boot."""

    def __init__(self, loop: VirtualLoop, timeout_ms: int, bite: Any) -> None:
        self.timeout_ms = timeout_ms
        self.bitten = False
        self._loop = loop
        self._timeout_us = 1000 * timeout_ms
        self._bite = bite
        self._due_us = 0
        self._timer: Timer | None = None

    def feed(self) -> None:
        self._due_us = self._loop.now_us + self._timeout_us
        if self._timer is None:
            self._timer = self._loop.call_at_us(self._due_us, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._loop.now_us >= self._due_us:
            self._bite()
        elif self._timer is not None:
            self._timer.when_us = self._due_us
            self._loop.push(self._timer)


class WorldAgent(Agent):
    """The agent, but that it does not tell on which Python it runs: runs of one seed are the same on all of them."""

    def _birth(self) -> "dict[int, Any]":
        return {**super()._birth(), _BIRTH_MACHINE: _MACHINE}


class Boot:
    """What is gone when power is: the ports of one boot, and its tasks (`group`). `agent`: None until it is made."""

    def __init__(self, device: "WorldDevice", utc_s: int | None) -> None:
        loop = device.world.loop
        self.group = Group(loop, f"{device.name}-{device.boots}")
        self.clock = Clock(loop, device.drift_ppm, utc_s)
        self.watchdog = Watchdog(loop, device.watchdog_ms, device.bitten)
        self.appliance = AppliancePort(loop, device.plant)
        self.agent: WorldAgent | None = None
        net = device.world.network.port_for(device.name, self.clock, device.boots)
        self._board = Board(self.clock, net, device.flash, device.random, self.watchdog, self.appliance)
        self._device = device

    async def live(self) -> None:
        device = self._device
        try:
            agent = WorldAgent(self._board, device.identity, device.config)
            device.plant.watch(agent)
            self.agent = agent
            await agent.run()
        except PowerCut:
            return
        except Exception as exc:
            if device.boot is self:  # else power is gone, and this is how the agent's tasks were ended
                device.failed(exc)
        # As on a board whose main program is over: nobody feeds the watchdog any more.

    def end(self) -> None:
        self.watchdog.stop()
        self.appliance.unplug()
        self.group.kill()


class WorldDevice:
    """One appliance with its board. Off at first: `power_on`.

    `config`: how its agent reaches the cloud; `identity`: None for tenant `acme` and `name`. `appliance`: None for a washer, or
    something with the appliance port and `step(dt_ms)`; see it through `appliance`. `flash`: None for an empty one.
    `drift_ppm`, `rtc` and `watchdog_ms` hold from the next boot on; `rtc` is what the board knows of UTC when it starts:
    "none", "1970", or "kept" (a battery: the time, and `rtc_off_s`).
    `boots`: how often it was started. `bites`: how often the watchdog reset it. `failures`: exceptions that ended its agent.
    """

    def __init__(
        self,
        world: World,
        name: str,
        config: Config,
        identity: Identity | None = None,
        appliance: Any = None,
        flash: Any = None,
        drift_ppm: int = 0,
        rtc: str = "none",
        watchdog_ms: int = WATCHDOG_MS,
    ) -> None:
        self.world = world
        self.name = name
        self.config = config
        self.identity = identity or Identity("acme", name, "evergrow-w1", "0.1.0")
        self.flash = flash if flash is not None else PowerFlash()
        self.plant = Plant(world.loop, appliance if appliance is not None else Washer(world.rand("sensors", name)))
        self.random = world.rand("device", name)
        self.drift_ppm = drift_ppm
        self.rtc = rtc
        self.rtc_off_s = 0
        self.watchdog_ms = watchdog_ms
        self.boots = 0
        self.bites = 0
        self.failures: list[str] = []
        self.boot: Boot | None = None
        self._bitten = False
        self._starting: Timer | None = None
        self._buried: list[Boot] = []
        self.flash.on_cut = self.power_cut
        world.network.power_off(name)

    @property
    def agent(self) -> Agent:
        """PowerOff when there is none."""
        if self.boot is None or self.boot.agent is None:
            raise PowerOff(f"{self.name} is off")
        return self.boot.agent

    @property
    def on(self) -> bool:
        """Whether it has power."""
        return self.boot is not None

    @property
    def appliance(self) -> Any:
        """The physics as they are now: to look at, and to set faults of."""
        return self.plant.now()

    # -- power

    def power_on(self) -> None:
        """Start the agent's real boot; it runs as soon as others let it. Harmless when there is power."""
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        if self.boot is not None:
            return
        self._bury()
        self.boots += 1
        self.world.note(self.name, "power on", self.boots)
        self.flash.power_on()
        self.world.network.power_on(self.name)
        self.boot = Boot(self, self._rtc_utc_s())
        self.boot.watchdog.bitten, self._bitten = self._bitten, False
        self.boot.group.spawn(self.boot.live())

    def power_cut(self) -> None:
        """Power is gone, now: between two steps of its tasks, or inside one if the flash calls this. Harmless without power."""
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        self._die("power cut")

    def reboot(self, after_ms: int = 0) -> None:
        """Cut the power, and give it back so much later."""
        self.power_cut()
        self._starting = self.world.loop.call_at_us(self.world.loop.now_us + 1000 * after_ms, self.power_on)

    def bitten(self) -> None:
        """For the watchdog: it resets the board."""
        self.bites += 1
        self._die("watchdog")
        self._bitten = True
        self.power_on()

    def hang(self) -> None:
        """Its program never returns from where this is called; the watchdog resets the board when its time is up."""
        self.power_cut()
        self._starting = self.world.loop.call_at_us(self.world.loop.now_us + 1000 * self.watchdog_ms, self._reset)

    def _reset(self) -> None:
        self.bites += 1
        self._bitten = True
        self.power_on()

    def failed(self, error: Exception) -> None:
        """For the boot: its agent is over, which should never be."""
        self.failures.append(type(error).__name__)
        self.world.note(self.name, "agent failed", type(error).__name__)

    def _die(self, why: str) -> None:
        boot, self.boot = self.boot, None
        if boot is None:
            return
        self.world.note(self.name, why)
        self.plant.end(False)
        self.plant.now().power_off()
        self.flash.power_off()
        self.world.network.power_off(self.name)
        boot.end()
        if asyncio.current_task(self.world.loop) in boot.group.tasks():
            self._buried.append(boot)  # It dies of a PowerCut, at its next `await` at the latest; what is left goes then.
            self.world.loop.call_soon(self._bury)

    def _bury(self) -> None:
        for boot in self._buried:
            boot.group.kill()
        self._buried.clear()

    def _rtc_utc_s(self) -> int | None:
        if self.rtc == "none":
            return None
        return 0 if self.rtc == "1970" else self.world.utc_s() + self.rtc_off_s

    # -- a person at the appliance

    def start_programme(self, programme_id: int) -> int:
        """Choose a programme and press start. Returns 0, the code with which the agent refuses, or NOBODY."""
        return self._press("start", "start_programme", programme_id)

    def stop_programme(self) -> int:
        """Press stop. Returns as `start_programme`."""
        return self._press("stop", "stop_programme")

    def open_door(self) -> bool:
        """Pull at the door; False if it is locked."""
        opened = bool(self.appliance.open_door())
        self.world.note(self.name, "door pulled", opened)
        return opened

    def close_door(self) -> None:
        self.world.note(self.name, "door closed")
        self.appliance.close_door()

    def enable_remote(self, enabled: bool) -> None:
        """Allow it to be started from afar, or not."""
        self.world.note(self.name, "remote", enabled)
        self.appliance.remote_enable = enabled
        self.appliance.on_change()

    def say(self, stars: int, text: str) -> int:
        """Rate, and say why. Returns as `start_programme`."""
        return self._press("say", "say", VOICE_RATING, stars, text)

    def _press(self, what: str, method: str, *args: int | str) -> int:
        code = NOBODY
        if self.boot is not None and self.boot.agent is not None:
            try:
                self.boot.group.call(getattr(self.boot.agent, method), *args)
                code = 0
            except PowerCut:
                pass  # It lost its power over it.
            except ProtocolError as exc:
                code = exc.code
        self.world.note(self.name, what, *args, code)
        return code
