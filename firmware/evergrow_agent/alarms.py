"""Watches what must not be for long: the appliance's `alarms`, rows (event, signal, op, value, after_s), op as in `guard`."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from evergrow_agent.events import Events
    from evergrow_agent.guard import Guard


class Alarms:
    """Raises `event` when `signal op value` has held for `after_s`, and clears it when it no longer holds (EG-EVT-002).

    `rows`: those of the appliance.
    """

    def __init__(self, guard: "Guard", events: "Events") -> None:
        self._guard = guard
        self._events = events
        self.rows = getattr(guard.appliance, "alarms", ())
        self._since_ms = [-1] * len(self.rows)

    def tick(self, now_ms: int) -> None:
        """Look at all of them. A sensor that does not answer neither raises nor clears."""
        for index in range(len(self.rows)):
            event, signal, op, value, after_s = self.rows[index]
            try:
                holds = self._guard.holds(signal, op, value)
                measured = self._guard.appliance.read(signal)
            except OSError:
                continue
            if not holds:
                self._since_ms[index] = -1
                self._events.alarm(event, False, measured)
                continue
            if self._since_ms[index] < 0:
                self._since_ms[index] = now_ms
            if now_ms - self._since_ms[index] >= 1000 * after_s:
                self._events.alarm(event, True, measured)
