"""Appliances without cycles in the world: a refrigerator or an air conditioner lives for days, and things go wrong.

    outcome = run(7, "refrigerator")
    outcome.violations      what was not as it must be: balance, compressor, usage, period, reachable, crash

They have worlds of their own, with the same agent, flash, network, broker and cloud as those of washers, and fewer faults: power
cut at any time or inside flash operations, lines that stall or reset, a broker that restarts, a cloud that crashes.
"""

from dataclasses import dataclass, field
from typing import Any

from evergrow_agent.board import Config
from evergrow_agent.runner import IDLE
from evergrow_cloud import wire
from evergrow_cloud.messages import Usage
from evergrow_protocol import registry_air_conditioner as climate
from evergrow_protocol import registry_refrigerator as fridge
from evergrow_sim.appliances.air_conditioner import AirConditioner
from evergrow_sim.appliances.refrigerator import Refrigerator
from evergrow_sim.world import stored
from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.cloud import CloudEnd
from evergrow_sim.world.device import WorldDevice
from evergrow_sim.world.flash import PowerFlash
from evergrow_sim.world.rand import Rand
from evergrow_sim.world.world import World

KINDS = ("refrigerator", "air conditioner")
DAY_S = 86_400
CHECKPOINT_S = 3600
"""So much of its time a power cut may cost."""
SETTLE_S = 900
HOURS = 60
"""How long a life is, if nobody says otherwise."""
LEAST_HOURS = 0.1
FAULTS = {"none": 0, "light": 3, "heavy": 8}
"""How many, by level."""

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_MOST_W = {"refrigerator": 80, "air conditioner": 900}
_PROGRAMMES = {
    "refrigerator": (fridge.PROGRAMME_FRIDGE_NORMAL, fridge.PROGRAMME_SUPER_COOL, fridge.PROGRAMME_SUPER_FREEZE),
    "air conditioner": (climate.PROGRAMME_CLIMATE_COOL, climate.PROGRAMME_CLIMATE_DRY, climate.PROGRAMME_CLIMATE_FAN),
}
_FAULTS = ("power", "power", "flash cut", "flash cut", "link", "reset", "broker", "cloud")
_NAME = "a1"


@dataclass
class Outcome:
    """`cuts`: of power. `used_wh`: by the physics, while a programme ran; `told_wh`: what the records add up to.

    `digest`: of all that happened; `virtual_s`: how long it took in the world.
    """

    violations: list[str] = field(default_factory=list)
    records: int = 0
    cuts: int = 0
    used_wh: int = 0
    told_wh: int = 0
    digest: str = ""
    virtual_s: int = 0


def run(seed: int, kind: str, hours: float = HOURS, faults: int = FAULTS["heavy"]) -> Outcome:
    """The life of one appliance. `kind`: one of KINDS; `hours`: LEAST_HOURS or more, else ValueError."""
    if hours < LEAST_HOURS:
        raise ValueError(f"{hours:g} hours are too short for a life: it has {LEAST_HOURS:g} or more")
    with World(seed) as world:
        outcome = _Life(world, kind, hours, faults).live()
        outcome.digest, outcome.virtual_s = world.trace.digest(), world.loop.now_ms // 1000
        return outcome


class _Life:
    def __init__(self, world: World, kind: str, hours: float, faults: int) -> None:
        self._world = world
        self._kind = kind
        self._span_ms = round(hours * _HOUR_MS)
        self._rand = world.rand("continuous", kind)
        self.outcome = Outcome()
        loop = world.loop
        self._broker = Broker(lambda: loop.now_ms, trace=world.trace)
        world.network.listen("broker", 1883, BrokerServer(self._broker, loop).accept)
        self._cloud = CloudEnd(world, "broker", 1883)
        appliance: Any = (Refrigerator if kind == KINDS[0] else AirConditioner)(world.rand("sensors"))
        self._first_mj = appliance.heat_mj
        self._stopped_mj = 0
        config = Config("broker", 1883, tick_ms=2000)
        self._device = WorldDevice(world, _NAME, config, appliance=appliance, flash=PowerFlash())
        self._device.flash.on_cut = lambda: self._cut(_off_ms(self._rand))
        loop.call_at_us(0, self._cloud.start)
        loop.call_at_us(1_000_000, self._device.power_on)
        for at_ms in range(10 * _MINUTE_MS, self._span_ms, 10 * _MINUTE_MS):
            loop.call_at_us(1000 * at_ms, self._audit)
        for _ in range(int(3 * hours / 4)):
            loop.call_at_us(1000 * self._rand.between(60_000, self._span_ms), self._person, self._rand.below(100))
        for _ in range(faults):
            loop.call_at_us(1000 * self._rand.between(60_000, self._span_ms), self._fault, self._rand.choice(_FAULTS))

    def live(self) -> Outcome:
        world, device = self._world, self._device
        world.run(until_ms=self._span_ms)
        device.flash.cut(0, 0)
        self._heal()
        device.power_on()
        world.run(until_ms=world.loop.now_ms + 10 * _MINUTE_MS)
        # What runs is told: another programme takes its place, and the appliance goes back to what it does by itself.
        device.start_programme(_PROGRAMMES[self._kind][1])
        world.run(until_ms=world.loop.now_ms + _MINUTE_MS)
        device.stop_programme()
        self._stopped_mj = device.appliance.energy_mj
        end_ms = world.loop.now_ms + 1000 * SETTLE_S
        while world.loop.now_ms < end_ms and not self._well():
            world.run(until_ms=world.loop.now_ms + 10_000)
        if not self._well():
            self._wrong("reachable: it has not told all")
        self._audit()
        self._check_usage()
        return self.outcome

    # -- what happens

    def _person(self, dice: int) -> None:
        """Programmes are changed in the first half only, so that there are whole periods, too."""
        device = self._device
        appliance = device.appliance
        if dice < 40 and self._kind == KINDS[0]:
            appliance.open_door()
            wait_ms = self._rand.between(3_000, 200_000)
            self._world.loop.call_at_us(self._world.loop.now_us + 1000 * wait_ms, lambda: device.appliance.close_door())
        elif dice < 50 and self._kind == KINDS[1]:
            appliance.window_open = not appliance.window_open
        elif self._world.loop.now_ms > self._span_ms // 2:
            return
        elif dice < 85:
            device.start_programme(self._rand.choice(_PROGRAMMES[self._kind]))
        else:
            device.stop_programme()

    def _fault(self, kind: str) -> None:
        world, device = self._world, self._device
        world.note(_NAME, "fault", kind)
        if kind == "power":
            self._cut(_off_ms(self._rand))
        elif kind == "flash cut":
            device.flash.cut(device.flash.ops + self._rand.between(1, 8), self._rand.below(3))
        elif kind == "link":
            world.network.link(_NAME).stalled = True
            world.loop.call_at_us(world.loop.now_us + self._rand.between(1, 7200) * 1_000_000, self._heal)
        elif kind == "reset":
            world.network.reset(_NAME)
        elif kind == "broker":
            self._broker.restart(bool(self._rand.below(2)))
        else:
            self._cloud.crash(bool(self._rand.below(2)))
            world.loop.call_at_us(world.loop.now_us + 30_000_000, self._cloud.start)

    def _cut(self, off_ms: int) -> None:
        self.outcome.cuts += self._device.on
        self._device.reboot(off_ms)

    def _heal(self) -> None:
        self._world.network.link(_NAME).heal()

    # -- what must be so

    def _wrong(self, what: str) -> None:
        self._world.note(_NAME, "VIOLATION", what)
        if what not in self.outcome.violations:
            self.outcome.violations.append(what)

    def _audit(self) -> None:
        device = self._device
        appliance = device.appliance
        moved = (
            appliance.leaked_mj + appliance.door_mj + appliance.inside_mj
            if self._kind == KINDS[0]
            else appliance.gained_mj + appliance.people_mj
        )
        if appliance.heat_mj != self._first_mj + moved - appliance.pumped_mj:
            self._wrong("balance: heat does not add up")
        if appliance.compressor.stalls:
            self._wrong("compressor: it was started against pressure")
        if device.failures or device.bites or self._cloud.failures:
            self._wrong(f"crash: {device.failures}, {device.bites} bites of the watchdog, {self._cloud.failures}")
        if device.boot is not None and device.boot.agent is not None and any(device.agent.crashes.values()):
            self._wrong(f"crash: {device.agent.last_crash}")

    def _well(self) -> bool:
        device = self._device
        if not device.on or not device.agent.link.online or device.agent.ledger.pending:
            return False
        runner = device.agent.runner
        return bool(runner.state == IDLE or runner.period_ms)  # not on its way to rest

    def _told(self) -> list[Usage]:
        rows = self._cloud.store.rows("SELECT raw FROM usage")
        records = [one for (raw,) in rows for one in wire.decode("usage", raw)]  # type: ignore[union-attr]
        told = {(one.header.boot, one.header.seq): one for one in records}
        held = stored.usage(self._device.flash.files)
        return [*told.values(), *[one for key, one in held.items() if key not in told]]

    def _check_usage(self) -> None:
        """Records are told once, none of more than a day; together they are what was used, but for what power cuts may cost."""
        outcome, plant = self.outcome, self._device.plant
        plant.measure()
        records = self._told()
        outcome.records = len(records)
        outcome.told_wh = sum(one.energy_wh or 0 for one in records)
        outcome.used_wh = sum(cycle.energy_wh for cycle in plant.cycles)
        longest_s = max((one.duration_s for one in records if one.merged_cycles is None), default=0)
        if longest_s > DAY_S + 60:
            self._wrong(f"period: a record of {longest_s} s")
        # A count is a difference of whole counts, taken up to a tick before a person ends a period; what runs since the last stop
        # has no record yet.
        slack_wh = 2 * len(records) + 1 + (self._device.appliance.energy_mj - self._stopped_mj) // 3_600_000
        lost_wh = (outcome.cuts * (CHECKPOINT_S + 60) * _MOST_W[self._kind]) // 3600
        if outcome.told_wh > outcome.used_wh + len(records):
            self._wrong(f"usage: {outcome.told_wh} Wh are told, {outcome.used_wh} were used")
        if outcome.told_wh < outcome.used_wh - slack_wh - lost_wh:
            self._wrong(f"usage: {outcome.told_wh} Wh are told of {outcome.used_wh}; {outcome.cuts} cuts may cost {lost_wh}")


def _off_ms(rand: Rand) -> int:
    return rand.choice((1, 500, 20_000, rand.between(0, 7_200_000)))
