"""The guard: every actuator write, whoever asks, passes the appliance's limits and interlocks.

An interlock is a row `(actuator, low, high, signal, op, value, error)` of the appliance: a value in low..high is forbidden
while `signal op value` holds (op 0 is >=, 1 is <=). A negative `signal` is what actuator `-signal` was last set to: a door
must stay locked from the moment the drum is told to turn, not only once it does. A row with error 0 holds the actuator back
and the programme goes on; any other row makes what happened a fault with that registry error.
"""

from evergrow_agent.control import free
from evergrow_protocol.errors import INVALID_STATE, NOT_AUTHORISED, OUT_OF_RANGE, ProtocolError
from evergrow_protocol.registry_common import ERROR_APPLIANCE_IO, ERROR_INTERLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

GE = 0
LE = 1


class GuardError(ProtocolError):
    """A write was refused. `error` is the registry error of the interlock that refused it, 0 when it only holds back."""

    def __init__(self, code: int, text: str, error: int = 0) -> None:
        super().__init__(code, text)
        self.error = error


class Guard:
    """Stands between everybody and the actuators of `appliance` (a port: see the Board), and starts from its safe state.

    `trips` counts how often an interlock took an actuator back. `over_base` holds the actuators that were driven above the
    limit they have without an unlock, since `begin`, so that it tells which unlocks a cycle used. `free`: the actuators
    that programmes may name; the others are those of the base control (see `control`).
    """

    def __init__(self, appliance: "Any") -> None:
        self.appliance = appliance
        self.trips = 0
        self.over_base: "set[int]" = set()
        self.free = free(appliance)
        self._raised: "dict[int, int]" = {}
        self._values: "dict[int, int]" = dict(appliance.safe_state)
        self._armed: "list[tuple[int, ...]] | None" = None  # interlocks of what the actuators do now
        self.safe()

    def begin(self) -> None:
        """A cycle or a period starts: forget which unlocks were used. What a programme sets it writes anew."""
        limits = self.appliance.limits
        for actuator in list(self.over_base):
            if actuator in self.free or self._values[actuator] <= limits[actuator][1]:
                self.over_base.remove(actuator)

    def limit(self, actuator: int) -> "tuple[int, int]":
        """(min, max) in force for an actuator; code 5 if the appliance has no such actuator."""
        base = self._base(actuator)
        return base[0], self._raised.get(actuator, base[1])

    def clamp(self, actuator: int, value: int) -> int:
        """The value that a write would use; code 5 if the appliance has no such actuator."""
        base = self._base(actuator)
        return min(max(value, base[0]), self._raised.get(actuator, base[1]))

    def unlock(self, actuator: int, maximum: int) -> int:
        """Raise the upper limit of an actuator, to what the hardware can do at most; returns the maximum now in force."""
        absolute = self.appliance.unlockable.get(actuator)
        if absolute is None:
            raise GuardError(OUT_OF_RANGE, f"the limit of actuator {actuator} cannot be raised")
        self._raised[actuator] = max(self.appliance.limits[actuator][1], min(maximum, absolute))
        return self._raised[actuator]

    def relock(self, actuator: int) -> None:
        """Take an unlock back. What the actuator does now is left alone: call it between cycles."""
        self._raised.pop(actuator, None)

    def value(self, actuator: int) -> int:
        """What an actuator was last set to."""
        return self._values[actuator]

    def preset(self, actuator: int, value: int) -> int:
        """A person turns a dial: what that actuator is unless a programme says otherwise. Errors as `write`."""
        if actuator not in self.appliance.dials.values():
            raise GuardError(OUT_OF_RANGE, f"actuator {actuator} has no dial")
        value = self.clamp(actuator, value)
        before = self.appliance.safe_state[actuator]
        self.appliance.safe_state[actuator] = value
        return self.write(actuator, value) if self._values[actuator] == before else value

    def holds(self, signal: int, op: int, value: int) -> bool:
        """Whether `signal op value` holds now; see above for a negative signal."""
        now: int = self.appliance.read(signal) if signal > 0 else self._values[-signal]
        return now >= value if op == GE else now <= value

    def write(self, actuator: int, value: int, granted: "Container[int] | None" = None) -> int:
        """Set an actuator. Returns the value used, clamped to the limit in force. `granted`: what whoever asks may drive, None
        for everything; the safe state is always allowed (EG-TRUST-007).

        GuardError: code 5 for an unknown actuator, 10 for one that is not granted, 11 when an interlock forbids it now. OSError:
        the hardware failed.
        """
        value = self.clamp(actuator, value)
        if granted is not None and actuator not in granted and value != self.appliance.safe_state[actuator]:
            raise GuardError(NOT_AUTHORISED, f"actuator {actuator} is not granted", ERROR_INTERLOCK)
        for row in self.appliance.interlocks:
            if row[0] == actuator and row[1] <= value <= row[2] and self.holds(row[3], row[4], row[5]):
                text = f"actuator {actuator} may not be {value} while signal {row[3]} is {'<=' if row[4] else '>='} {row[5]}"
                raise GuardError(INVALID_STATE, text, row[6])
        self._values[actuator] = value  # before the write: if that fails half-way, enforce() still looks after it
        self._armed = None
        self.appliance.write(actuator, value)
        if value > self.appliance.limits[actuator][1]:
            self.over_base.add(actuator)
        return value

    def enforce(self) -> int:
        """Take back whatever has become unsafe since it was written. To be called every tick.

        Returns the registry error of the first such interlock that is a fault, or 0. Never raises: a sensor or an actuator
        that does not answer puts everything in the safe state and is itself a fault.
        """
        error = last = now = 0
        values = self._values
        appliance = self.appliance
        try:
            if self._armed is None:
                self._arm()
            for actuator, low, high, signal, op, value, row_error in self._armed or ():  # as `holds`; what an agent does most
                if signal != last:
                    now = appliance.read(signal) if signal > 0 else values[-signal]
                    last = signal
                if (now <= value if op else now >= value) and low <= values[actuator] <= high:
                    safe = appliance.safe_state[actuator]
                    if low <= safe <= high:  # being in the safe state is what is forbidden here, say a pump off in a flood
                        safe = high + 1
                    self._force(actuator, safe)
                    self.trips += 1
                    error = error or row_error
        except OSError:
            self.safe()
            return ERROR_APPLIANCE_IO
        return error

    def _arm(self) -> None:
        values = self._values
        self._armed = [row for row in self.appliance.interlocks if row[1] <= values[row[0]] <= row[2]]

    def safe(self, controlled: bool = True) -> bool:
        """Put every actuator in its safe state, or all but the controlled ones; False if one did not answer. Never raises."""
        answered = True
        for actuator, value in self.appliance.safe_state.items():
            if not controlled and actuator not in self.free:
                continue
            try:
                self._force(actuator, value)
            except OSError:
                answered = False
        return answered

    def _base(self, actuator: int) -> "tuple[int, int]":
        base: "tuple[int, int] | None" = self.appliance.limits.get(actuator)
        if base is None:
            raise GuardError(OUT_OF_RANGE, f"this appliance has no actuator {actuator}")
        return base

    def _force(self, actuator: int, value: int) -> None:
        self.appliance.write(actuator, value)
        self._armed = None
        self._values[actuator] = value  # after the write: if that fails, enforce() tries again at the next tick
