"""The programme runner: a state machine ticked by the agent, which needs neither link, flash nor features.

    IDLE --start--> RUNNING --last step, stop, fault--> ENDING --drained and cool, or all it could do--> IDLE

Whatever ends a programme, the appliance's own `ending` programme follows and brings it to rest. It also follows a boot that
finds the appliance not at rest (after a power cut: water or heat in the drum). Idle, the runner offers the rest state (say,
an unlocked door) to the guard until the guard agrees.

A continuous programme (see `programme`) runs until it is stopped or another is started in its place, without an ending between.
The base control of the appliance (see `control`) is looked after at every tick, whatever runs.
"""

from evergrow_agent.control import Control
from evergrow_agent.guard import GuardError
from evergrow_agent.programme import Programme
from evergrow_protocol import registry_common as ids
from evergrow_protocol.errors import BUSY, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from typing import Any

    from evergrow_agent.guard import Guard
    from evergrow_agent.programme import Step

_NEVER = -32768  # below whatever is measured
_COUNTERS_MS = 5_000

IDLE = 0
RUNNING = 1
ENDING = 2


class Meter:
    """What a cycle used, from the appliance's `meters`: rows `(usage field, signal, kind)`, kind 0 for the rise of a counter,
    1 for the maximum of a state. A field whose sensor never answered is left out.
    """

    def __init__(self, appliance: "Any") -> None:
        self._appliance = appliance
        self._first = [_NEVER] * len(appliance.meters)
        self._last = self._first[:]
        self._kinds: "list[list[int]]" = [[], []]
        for index in range(len(self._last)):
            self._kinds[appliance.meters[index][2]].append(index)
        self._due_ms = 0

    def start(self, now_ms: int) -> None:
        """Begin a cycle."""
        for index in range(len(self._last)):
            self._first[index] = self._last[index] = _NEVER
        self._due_ms = 0
        self.sample(now_ms)

    def sample(self, now_ms: int) -> None:
        """Look at the states; now and then at the counters, too: they might stop to answer. Who does not keeps its last value."""
        self.look(1)
        if now_ms >= self._due_ms:
            self._due_ms = now_ms + _COUNTERS_MS
            self.look(0)

    def look(self, kind: int) -> None:
        """Look at those of a kind."""
        last = self._last
        appliance = self._appliance
        for index in self._kinds[kind]:
            try:
                value = appliance.read(appliance.meters[index][1])
            except OSError:
                continue
            if value > last[index]:
                if last[index] == _NEVER:
                    self._first[index] = value
                last[index] = value

    def add_to(self, record: "dict[int, Any]") -> None:
        for index in range(len(self._last)):
            field, _, kind = self._appliance.meters[index]
            if self._last[index] != _NEVER:
                record[field] = self._last[index] if kind else self._last[index] - self._first[index]


class Runner:
    """Runs programmes on the appliance behind `guard`. Readable at any time: `state`, `phase` and `error` (registry ids),
    `outcome`, `step` (how many have begun, less 1), `programme_id` (0: none, or recovery), `features` (those that it is due to:
    [[publisher, feature], ...]), `period_ms` (of the continuous programme that runs, 0: none). `hold_percent`: to how much of
    them the holds of the programme are shortened; 100 again at the next start.
    """

    def __init__(self, guard: "Guard") -> None:
        appliance = guard.appliance
        self._guard = guard
        self._control = Control(guard)
        self._meter = Meter(appliance)
        self._ending = Programme(appliance.ending, appliance.signals, appliance.limits)
        self._steps: "Iterator[Step]" = iter(())
        self._step: "Step | None" = None  # None: move on to the next one
        self._now_ms = self._started_ms = self._entered_ms = 0
        self._held_ms = -1  # when `until` first held in this step, -1: not yet
        self._nominal_s = 0
        self._granted: "Container[int] | None" = None  # what the programme that runs may drive
        self._settled = False  # nobody has looked yet whether the appliance is at rest
        self._released = False
        self.state = IDLE
        self.phase = ids.PHASE_IDLE
        self.step = -1
        self.programme_id = 0
        self.features: "Sequence[Sequence[int]]" = ()
        self.outcome = ids.OUTCOME_FINISHED
        self.error = ids.ERROR_NONE
        self.period_ms = 0
        self.hold_percent = 100

    @property
    def at_rest(self) -> bool:
        """Nothing runs, and the appliance has been brought to its rest state."""
        return self.state == IDLE and self._settled and self._released

    @property
    def elapsed_s(self) -> int:
        """Seconds since start; of the last cycle when idle."""
        return (self._now_ms - self._started_ms) // 1000

    @property
    def remaining_s(self) -> int:
        """An estimate, from the programme's nominal duration."""
        return max(0, self._nominal_s - self.elapsed_s) if self.state == RUNNING else 0

    def check_ready(self) -> None:
        """Raises ProtocolError 7 while a programme that is not continuous or the ending runs."""
        if not self._settled or (self.state != IDLE and not self.period_ms):
            raise ProtocolError(BUSY, f"a programme is running or ending (state {self.state})")

    def start(
        self,
        programme: Programme,
        now_ms: int,
        features: "Sequence[Sequence[int]]" = (),
        granted: "Container[int] | None" = None,
    ) -> None:
        """Start a programme; its first step begins at the next tick. `features`: [[publisher, feature], ...] it is due to;
        `granted`: the actuators that it may drive, None for all.

        Code 7 while a programme that is not continuous or the ending runs.
        """
        self.check_ready()
        self._granted = granted
        self._guard.begin()
        self.features = features
        self._nominal_s = programme.nominal_s
        self._begin(RUNNING, programme.id, programme, now_ms)
        self.period_ms = 1000 * programme.period_s

    def stop(self, now_ms: int) -> None:
        """End the programme at once, safely. Idle: try again to come to rest, if the appliance is not."""
        if self.state == RUNNING:
            self.outcome = ids.OUTCOME_STOPPED
            self._end()
        elif self.state == IDLE:
            self._settle(now_ms)

    def tick(self, now_ms: int) -> int:
        """Let the machine look at the appliance and act. Returns the registry id of what happened, or 0.

        A write that an interlock refuses and hardware that does not answer are faults of the programme. Anything else
        that escapes leaves the appliance in its safe state.
        """
        guard = self._guard
        trips = guard.trips
        try:
            self._control.tick(now_ms)
            error = guard.enforce()
            tripped = guard.trips != trips
            if self.state != IDLE:
                self._now_ms = now_ms
                self._meter.sample(now_ms)
                fault = self._fault(error) if error else 0
                event = self._advance()
                if event != ids.EVENT_CYCLE_ENDED:  # which is never hidden: the usage record hangs on it
                    event = fault or event
            else:
                if error:
                    self._released = False
                event = self._settle(now_ms) if not self._settled or (tripped and error) else self._release()
        except BaseException:
            guard.safe()
            raise
        return event or (ids.EVENT_INTERLOCK_FORCED if tripped else 0)

    def record(self, outcome: "int | None" = None) -> "dict[int, Any]":
        """The usage record of the last cycle, or of the running one as it stands, with another `outcome` if given."""
        record: "dict[int, Any]" = {
            ids.USAGE_PROGRAMME: self.programme_id,
            ids.USAGE_OUTCOME: self.outcome if outcome is None else outcome,
            ids.USAGE_DURATION_S: self.elapsed_s,
        }
        if self.features:
            record[ids.USAGE_FEATURES] = self.features
        if self.state != IDLE:
            self._meter.look(0)
        self._meter.add_to(record)
        if self.error:
            record[ids.USAGE_ERROR] = self.error
        return record

    def _begin(self, state: int, programme_id: int, programme: Programme, now_ms: int) -> None:
        self.state = state
        self.programme_id = programme_id
        self.outcome = ids.OUTCOME_FINISHED
        self.error = ids.ERROR_NONE
        self.hold_percent = 100
        self.step = -1
        self._released = False
        self._now_ms = self._started_ms = now_ms
        self._steps = programme.steps()
        self._step = None
        self._meter.start(now_ms)

    def _end(self) -> None:
        self._granted = None  # What follows is the appliance's own.
        self._guard.safe(controlled=self.outcome == ids.OUTCOME_FAULT)
        self.state = ENDING
        self.period_ms = 0
        self.step = -1
        self._steps = self._ending.steps()
        self._step = None

    def _settle(self, now_ms: int) -> int:
        """Come to rest if the appliance is not: nothing left for the ending programme to do."""
        self._settled = True
        for step in self._ending.steps():
            if not self._until_holds(step):
                self._begin(ENDING, 0, self._ending, now_ms)
                return ids.EVENT_RECOVERY_STARTED
        return 0

    def _release(self) -> int:
        guard = self._guard
        rest = guard.appliance.rest_state
        if self._released:
            for actuator, value in rest.items():
                if guard.value(actuator) != value:  # somebody has locked it again, and may have forgotten
                    break
            else:
                return 0
        self._released = False
        try:
            for actuator, value in rest.items():
                guard.write(actuator, value)
        except (GuardError, OSError):
            return 0  # still too hot, too full, turning: ask again at the next tick
        self._released = True
        return ids.EVENT_RELEASED

    def _fault(self, error: int) -> int:
        """The first error of a cycle is the one reported. While ending, the step goes on: it is the best there is."""
        event = 0 if self.error else ids.EVENT_FAULT
        self.error = self.error or error
        self.outcome = ids.OUTCOME_FAULT
        if self.state == RUNNING:
            self._end()
        return event

    def _advance(self) -> int:
        step = self._step
        try:
            if step is None:
                return self._next()
            if self._held_ms < 0 and self._until_holds(step):
                self._held_ms = self._now_ms
            if self._held_ms >= 0 and self._now_ms - self._held_ms >= self._hold_ms(step):
                return self._next()
            if self._now_ms - self._entered_ms >= step.limit_ms:
                return self._overdue(step)
            self._drive(step)
        except (GuardError, OSError) as failed:
            return self._fault(_error_of(failed))
        return 0

    def _hold_ms(self, step: "Step") -> int:
        return step.hold_ms * self.hold_percent // 100 if self.state == RUNNING else step.hold_ms

    def _overdue(self, step: "Step") -> int:
        if self.state == RUNNING:
            return self._fault(step.error or ids.ERROR_STEP_TIMEOUT)
        self._step = None
        return self._fault(step.error) if step.error else 0

    def _next(self) -> int:
        """Enter the next step that has something to do; without one, the programme or the ending is over."""
        for step in self._steps:
            self.step += 1
            if step.hold_ms or not step.until or not self._until_holds(step):
                return self._enter(step)
        if self.state == RUNNING:
            self._end()
            return 0
        self._guard.safe(controlled=False)
        self._meter.look(0)
        self._steps = iter(())
        self._step = None
        self.state = IDLE
        self.phase = ids.PHASE_DONE if self.programme_id else ids.PHASE_IDLE
        return ids.EVENT_CYCLE_ENDED if self.programme_id else 0

    def _enter(self, step: "Step") -> int:
        self._step = step
        self._entered_ms = self._now_ms
        self._held_ms = -1
        phase = step.phase if self.state == RUNNING else ids.PHASE_ENDING
        event = 0 if phase == self.phase else ids.EVENT_PHASE_CHANGED
        self.phase = phase
        driven = step.actuators()
        for actuator, value in self._guard.appliance.safe_state.items():
            if actuator not in driven and actuator in self._guard.free:
                event = self._write(actuator, value) or event
        for actuator, value in step.writes.items():
            event = self._write(actuator, value) or event
        self._drive(step)
        return event

    def _write(self, actuator: int, value: int) -> int:
        """Write on entry. What fails while ending must not keep the other actuators from what they can do."""
        try:
            self._guard.write(actuator, value, self._granted)
        except (GuardError, OSError) as failed:
            if self.state == RUNNING:
                raise
            return self._fault(_error_of(failed))
        return 0

    def _until_holds(self, step: "Step") -> bool:
        for signal, op, value in step.until:
            try:
                if not self._guard.holds(signal, op, value):
                    return False
            except OSError:
                if self.state == RUNNING:
                    raise
                return False  # coming to rest without that sensor: each step takes as long as it may
        return True

    def _drive(self, step: "Step") -> None:
        guard = self._guard
        for actuator, signal, target, band in step.regulators:
            now = guard.appliance.read(signal)
            if now <= target if band < 0 else now >= target:
                self._set(actuator, 0)
            elif now > target - band if band < 0 else now < target - band:
                self._set(actuator, 1)
        for actuator, value, on_s, off_s in step.pulses:
            in_period_s = (self._now_ms - self._entered_ms) // 1000 % (on_s + off_s)
            self._set(actuator, value if in_period_s < on_s else guard.appliance.safe_state[actuator])

    def _set(self, actuator: int, value: int) -> None:
        """Write a change. An interlock that only holds back is no fault: the next tick tries again."""
        guard = self._guard
        now = guard.value(actuator)
        if now == value or now == guard.clamp(actuator, value):
            return
        try:
            guard.write(actuator, value, self._granted)
        except GuardError as refused:
            if refused.error:
                raise


def _error_of(failed: Exception) -> int:
    """The registry error of a write that a guard refused or the hardware failed."""
    return (failed.error or ids.ERROR_INTERLOCK) if isinstance(failed, GuardError) else ids.ERROR_APPLIANCE_IO
