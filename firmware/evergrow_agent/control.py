"""Base control: what an appliance regulates at all times, whichever programme runs, or none.

The appliance's `control` holds rows `(actuator, signal, set_point, band, gate, low, high, on_s, off_s)`: the actuator keeps the
signal at the value of the set point, another actuator in the same scale. band < 0 cools: on above set point + |band|, off from
the set point down; band > 0 heats, the other way round. It regulates only while actuator `gate` has a value in low..high, and is
off otherwise; gate 0: always. While the sensor does not answer it is on for on_s and off for off_s, by turns.

Programmes and features set the set points and the gates, within their limits. What a row drives they may not name, so that
none of them can leave food to thaw or a compressor to stutter. Every write passes the guard.
"""

from evergrow_protocol.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from evergrow_agent.guard import Guard


def free(appliance: "Any") -> "list[int]":
    """The actuators that programmes and features may name: all but those that the base control drives."""
    controlled = [row[0] for row in getattr(appliance, "control", ())]
    return [actuator for actuator in appliance.limits if actuator not in controlled]


class Control:
    """Regulates what `guard` controls; does nothing for an appliance without such rows."""

    def __init__(self, guard: "Guard") -> None:
        self._guard = guard
        self._rows = getattr(guard.appliance, "control", ())
        self._failed = [False] * len(self._rows)  # the last write: then the guard's value is not what the hardware does

    def tick(self, now_ms: int) -> None:
        """Look at each signal and switch where it is due. Never raises for what sensors and actuators do."""
        guard = self._guard
        for index in range(len(self._rows)):
            row = self._rows[index]
            now = guard.value(row[0])
            wanted = self._wanted(row, now, now_ms)
            if wanted == now and not self._failed[index]:
                continue
            try:
                guard.write(row[0], wanted)
                self._failed[index] = False
            except ProtocolError:
                pass  # An interlock holds it back: the next tick tries again.
            except OSError:
                self._failed[index] = True

    def _wanted(self, row: "tuple[int, ...]", now: int, now_ms: int) -> int:
        _, signal, set_point, band, gate, low, high, on_s, off_s = row
        guard = self._guard
        if gate and not low <= guard.value(gate) <= high:
            return 0
        target = guard.value(set_point)
        try:
            over = guard.appliance.read(signal) - target
        except OSError:
            return int(on_s > 0 and now_ms // 1000 % (on_s + off_s) < on_s)
        if band > 0:
            over = -over
        else:
            band = -band
        return 0 if over <= 0 else 1 if over > band else now
