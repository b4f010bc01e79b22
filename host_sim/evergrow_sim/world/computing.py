"""How long the code of features takes. Time stands still in the world while Python runs, so it is the code's reads that cost."""

from collections.abc import Callable
from typing import Any

from evergrow_sim.lfs import PowerCut
from evergrow_sim.world.plant import Plant
from evergrow_sim.world.trials import HANG_SIGNAL

READ_MS = 20


class Computing:
    """Of one device; made before its first boot. `hang()` is called when code does not return: it has to end the boot."""

    def __init__(self, plant: Plant, hang: Callable[[], None]) -> None:
        self.spent_ms = 0
        self._hang = hang
        plant.watchers.append(self._watched)

    def read(self) -> None:
        """Some code reads a sensor."""
        self.spent_ms += READ_MS

    def never_return(self) -> None:
        self._hang()
        raise PowerCut("the watchdog bites")

    def _watched(self, agent: Any) -> None:
        make = agent._make_runtime

        def made() -> Any:
            runtime = make()
            runtime._clock = _Clock(runtime._clock, self)
            runtime._guard = _Guard(runtime._guard, self)
            return runtime

        agent._make_runtime = made


class _Clock:
    def __init__(self, clock: Any, computing: Computing) -> None:
        self._clock = clock
        self._computing = computing

    def ticks_ms(self) -> int:
        return int(self._clock.ticks_ms()) + self._computing.spent_ms


class _Guard:
    """The guard as the code of features has it."""

    def __init__(self, guard: Any, computing: Computing) -> None:
        self.appliance = _Appliance(guard.appliance, computing)
        self.write, self.value = guard.write, guard.value


class _Appliance:
    def __init__(self, appliance: Any, computing: Computing) -> None:
        self.safe_state = appliance.safe_state
        self._read = appliance.read
        self._computing = computing

    def read(self, signal: int) -> int:
        if signal == HANG_SIGNAL:
            self._computing.never_return()
        self._computing.read()
        return int(self._read(signal))
