"""The appliance itself, in virtual time: physics that are there whether or not a board is, and its own count of what it did."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evergrow_agent.runner import IDLE
from evergrow_protocol.registry_common import EVENT_CYCLE_ENDED
from evergrow_sim.lfs import PowerCut
from evergrow_sim.world.loop import VirtualLoop

_MJ_PER_WH = 3_600_000
_DESCRIPTION = (
    "class_id", "signals", "limits", "unlockable", "interlocks", "safe_state", "rest_state", "meters", "programmes", "ending"
)  # fmt: skip
_MORE = ("alarms", "control", "base_programme", "dials")
"""What only some appliances have."""


@dataclass(slots=True)
class CycleTruth:
    """What one cycle really used, by the physics. Times in virtual ms; `ended_ms` -1: power was cut, or it still runs.

    `energy_wh` and `water_ml` are differences of whole counts, as a meter takes them.
    """

    boot: int
    programme: int
    started_ms: int
    ended_ms: int = -1
    energy_wh: int = 0
    water_ml: int = 0
    spin_max_rpm: int = 0
    complete: bool = False


class Plant:
    """Steps `appliance` (with `step(dt_ms)`) up to the present whenever somebody looks at it or acts on it.

    `at_us`: when it was last brought up to date; `seen`: what was read of it since. `cycles`: oldest first, the last one may be
    running; who has checked them may remove them. `running`: that one, or None. `watchers`: called with the agent of each boot
    before it runs.
    """

    def __init__(self, loop: VirtualLoop, appliance: Any) -> None:
        self.cycles: list[CycleTruth] = []
        self.running: CycleTruth | None = None
        self.watchers: list[Callable[[Any], None]] = []
        self.appliance = appliance  # as it was then
        self.seen: dict[int, int] = {}
        self._loop = loop
        self._at_ms = loop.now_ms
        self.at_us = loop.now_us
        self._first = (0, 0)

    def now(self) -> Any:
        """The appliance as it is at this moment."""
        self.seen.clear()
        self.at_us = at_us = self._loop.now_us
        appliance = self.appliance
        step_ms = at_us // 1000 - self._at_ms
        if step_ms:
            self._at_ms += step_ms
            appliance.step(step_ms)
            running = self.running
            if running is not None and (rpm := getattr(appliance, "drum_rpm", 0)) > running.spin_max_rpm:
                running.spin_max_rpm = rpm
        return appliance

    def begin(self, boot: int, programme: int) -> None:
        """A cycle starts now."""
        appliance = self.now()
        self._first = _counts(appliance)
        self.running = CycleTruth(boot, programme, self._at_ms, spin_max_rpm=getattr(appliance, "drum_rpm", 0))
        self.cycles.append(self.running)

    def measure(self) -> None:
        """Bring the running cycle up to date."""
        if self.running is not None:
            energy_wh, water_ml = _counts(self.now())
            self.running.energy_wh = energy_wh - self._first[0]
            self.running.water_ml = water_ml - self._first[1]

    def end(self, complete: bool) -> None:
        """The cycle is over; not `complete` when its controller lost power."""
        self.measure()
        if self.running is not None:
            self.running.complete = complete
            self.running.ended_ms = self._at_ms if complete else -1
            self.running = None

    def watch(self, agent: Any) -> None:
        """Learn from an agent when cycles start and end, and nothing else; then the watchers have it."""
        start, tick = agent.cycle.start, agent.cycle.tick

        def started(programme_id: int, now_ms: int, *more: Any) -> None:
            if self.running is not None:
                start(programme_id, now_ms, *more)  # is refused
                return
            self.begin(agent.boot_number, programme_id)
            try:
                start(programme_id, now_ms, *more)
            finally:  # Power may be cut in it, too, after the programme has begun and before anybody is told.
                if agent.runner.state == IDLE or not agent.runner.programme_id:
                    self.cycles.pop()
                    self.running = None

        def ticked(now_ms: int) -> int:
            event: int = tick(now_ms)
            if event == EVENT_CYCLE_ENDED:
                self.end(True)
            return event

        agent.cycle.start, agent.cycle.tick = started, ticked
        for watcher in self.watchers:
            watcher(agent)


class AppliancePort:
    """The appliance port of one boot. After `unplug` it raises PowerCut: what runs on then is no longer there."""

    def __init__(self, loop: VirtualLoop, plant: Plant) -> None:
        self._loop = loop
        self._plant = plant
        appliance = plant.now()
        for name in _DESCRIPTION:
            setattr(self, name, getattr(appliance, name))
        for name in _MORE:
            if hasattr(appliance, name):
                setattr(self, name, getattr(appliance, name))
        self._read, self._write = appliance.read, appliance.write
        self._seen = plant.seen
        self.on_change: Callable[[], None] = _unheard
        appliance.on_change = self._changed

    @property
    def remote_enable(self) -> bool:
        plant = self._plant
        if plant.at_us != self._loop.now_us:
            plant.now()
        return bool(plant.appliance.remote_enable)

    @property
    def quiet(self) -> bool:
        return bool(getattr(self._plant.now(), "quiet", False))

    def read(self, signal: int) -> int:
        plant = self._plant
        if plant.at_us != self._loop.now_us:
            plant.now()
        value = self._seen.get(signal)
        if value is None:
            value = self._seen[signal] = self._read(signal)
        return value

    def write(self, actuator: int, value: int) -> None:
        self._plant.now()
        self._write(actuator, value)

    def unplug(self) -> None:
        self._read = self._write = _unplugged
        self._seen = {}
        self.on_change = _unheard

    def _changed(self) -> None:
        self.on_change()


def _unheard() -> None:
    pass


def _unplugged(*_: int) -> Any:
    raise PowerCut("no power")


def _counts(appliance: Any) -> tuple[int, int]:
    return appliance.energy_mj // _MJ_PER_WH, getattr(appliance, "water_in_ul", 0) // 1000
