"""A washer that tells when it becomes dangerous: by what is physically so, whatever sensors, guard and agent believe.

Every rule has a grace of two looks of the controller, since no controller can act on what it has not seen, and margins beyond
the noise of the sensors; except that a door must never unlock while the drum turns.
"""

from collections.abc import Callable
from typing import Any

from evergrow_protocol import registry_washer as ids
from evergrow_sim.appliances.washer import Washer
from evergrow_sim.world import brisk

_STEP_MS = 500
_UNLOCKED_TEMP_MC = 43_000
_UNLOCKED_WATER_UL = 3_400_000
_SPIN_RPM = 150
_SPIN_WATER_UL = 5_400_000
_HEATER_WATER_UL = 2_600_000
_HOT_MC = 98_000
_BASE_RPM = 1000
_UNLOCKED_RPM = 1400


class WatchedWasher(Washer):
    """`report(rule)` is called once for each time that a rule is broken.

    `tick_ms`: how often the controller looks. `unlocked`: whether a feature that raises the speed was ever rightly offered.
    `over_base`: it was driven faster than without one since somebody last set this to False.
    `stalled`: nobody is looking; the watchdog will see to that.
    `history`: (energy_mj, water_in_ul) every `HISTORY_MS` of its life.
    """

    HISTORY_MS = 10_000

    def __init__(self, random: Any, load_g: int, tick_ms: int, report: Callable[[str], None]) -> None:
        super().__init__(random, load_g)
        self.programmes = {**Washer.programmes, **brisk.PROGRAMMES}
        self.unlocked = False
        self.over_base = False
        self.stalled = False
        self.history: list[tuple[int, int]] = []
        self._report = report
        self._grace_steps = (2 * tick_ms + _STEP_MS) // _STEP_MS
        self._broken: dict[str, int] = {}  # rule: how many steps it has been broken for
        self._first_heat_mj = self.heat_mj
        self._seen_spilled_ul = 0

    def write(self, actuator: int, value: int) -> None:
        super().write(actuator, value)
        self.over_base |= actuator == ids.ACTUATOR_DRUM_RPM and value > _BASE_RPM

    def _rests(self) -> bool:
        return False  # Each step is looked at.

    def _sub_step(self, dt_ms: int) -> None:
        if self._elapsed_ms % self.HISTORY_MS == 0:
            self.history.append((self.energy_mj, self.water_in_ul))
        super()._sub_step(dt_ms)
        commands = self._commands
        active = commands[ids.ACTUATOR_DRUM_RPM] or commands[ids.ACTUATOR_HEATER] or commands[ids.ACTUATOR_INLET]
        if active or self._broken or self.drum_rpm or self.spilled_ul != self._seen_spilled_ul or not self._elapsed_ms % 5000:
            self._look()

    def _look(self) -> None:
        commands = self._commands
        if self.drum_rpm and not self.door_locked:
            self._report("the door is unlocked while the drum turns")
        if self.spilled_ul != self._seen_spilled_ul:
            self._seen_spilled_ul = self.spilled_ul
            if self.door_closed and not self.door_forced:
                self._report("water runs over")
        broken = []
        rpm = commands[ids.ACTUATOR_DRUM_RPM]
        if self.door_forced or not self.door_locked:
            if rpm or commands[ids.ACTUATOR_HEATER] or commands[ids.ACTUATOR_INLET]:
                broken.append("driven behind an unlocked door")
            if not self.door_forced and self.temp_mc > _UNLOCKED_TEMP_MC:
                broken.append("unlocked while hot")
            if not self.door_forced and self.water_ul > _UNLOCKED_WATER_UL:
                broken.append("unlocked while full")
        if rpm > _SPIN_RPM and self.water_ul > _SPIN_WATER_UL:
            broken.append("spun while full")
        if commands[ids.ACTUATOR_HEATER] and not self.heater_dead and self.water_ul < _HEATER_WATER_UL:
            broken.append("heated dry")
        if self.temp_mc > _HOT_MC:
            broken.append("too hot")
        if rpm > (_UNLOCKED_RPM if self.unlocked else _BASE_RPM):
            broken.append("faster than allowed")
        if broken or self._broken:
            self._count(broken)

    def _count(self, broken: list[str]) -> None:
        if self.stalled:
            self._broken.clear()
            return
        self._broken = {rule: self._broken.get(rule, 0) + 1 for rule in broken}
        for rule, steps in self._broken.items():
            if steps == self._grace_steps + 1:
                self._report(rule)

    def unbalanced(self) -> str:
        """What does not add up: water, heat or energy; "" when all does."""
        if self.water_in_ul != self.water_ul + self.absorbed_ul + self.drained_ul + self.spilled_ul:
            return "water"
        if self.heat_mj != self._first_heat_mj + self.heated_mj - self.lost_mj + self.carried_mj:
            return "heat"
        return "energy" if self.energy_mj < self.heated_mj else ""

