"""The one object that the code of a feature is given: what it declared, and its publisher may (SPEC section 18).

A feature's module has a function `start(api)`, called once when the feature becomes active. What it wants to do later it says
there: `api.every(60, look)`, `api.on(EVENT_CYCLE_ENDED, told)`. It keeps what it has to remember in objects of its own.
"""

from evergrow_agent.runner import RUNNING
from evergrow_protocol.errors import INVALID_STATE, NOT_AUTHORISED, OUT_OF_RANGE, TOO_LARGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from evergrow_agent.events import Events
    from evergrow_agent.guard import Guard
    from evergrow_agent.runner import Runner
    from evergrow_protocol.feature_code import Needs

CALLS_MAX = 8  # timers, and handlers, of one feature
LOG_LINES = 8
_LOG_CHARS = 80
LEAST_HOLD_PERCENT = 50


class Api:
    """For the feature `owner` (publisher, feature). What is not allowed raises ProtocolError; a sensor that fails, OSError.
    `granted`: the actuators that its publisher may drive, None for all."""

    def __init__(
        self,
        owner: "tuple[int, int]",
        needs: "Needs",
        guard: "Guard",
        runner: "Runner",
        events: "Events",
        utc_s: "Callable[[], int | None]",
        granted: "Container[int] | None" = None,
    ) -> None:
        self._owner = owner
        self._needs = needs
        self._guard = guard
        self._runner = runner
        self._events = events
        self._utc_s = utc_s
        self._granted = granted
        self._settings = {setting: row[2] for setting, row in needs.settings.items()}
        self._timers: "list[list[Any]]" = []  # [due in ms, or None before the first look; period in ms, 0 for once; call]
        self._handlers: "list[tuple[int, Callable[[int], None]]]" = []
        self._home: "Callable[[str, int, int | None], None] | None" = None
        self._scene: "Callable[[int], None] | None" = None
        self._counted: "dict[int, int]" = {}  # since the cycle began
        self._driven: "list[int]" = []
        self._used = False
        self._log: "list[str]" = []

    # -- what is

    def read(self, signal: int) -> int:
        """A declared signal now, in the scale of the registry."""
        if signal not in self._needs.signals:
            raise ProtocolError(NOT_AUTHORISED, f"signal {signal} is not declared")
        return int(self._guard.appliance.read(signal))

    def value(self, actuator: int) -> int:
        """What a declared actuator was last set to, by whomever."""
        self._check_actuator(actuator)
        return self._guard.value(actuator)

    @property
    def programme(self) -> int:
        """The programme that runs, 0 for none."""
        return self._runner.programme_id if self._runner.state == RUNNING else 0

    @property
    def phase(self) -> int:
        return self._runner.phase

    @property
    def utc_s(self) -> "int | None":
        """UTC in seconds, None while it is unknown."""
        return self._utc_s()

    def setting(self, number: int) -> int:
        """A declared setting: its default, or what the cloud has set."""
        if number not in self._settings:
            raise ProtocolError(NOT_AUTHORISED, f"setting {number} is not declared")
        return self._settings[number]

    # -- what it does

    def write(self, actuator: int, value: int) -> int:
        """Drive a declared actuator, within limits and interlocks. Returns the value used."""
        self._check_actuator(actuator)
        if actuator not in self._driven:
            self._driven.append(actuator)
        self._used = True
        return self._guard.write(actuator, value, self._granted)

    def hold_percent(self, percent: int) -> None:
        """Shorten the holds of the appliance's own programme that runs, to so much of them; until it ends."""
        if not self._needs.adjusts:
            raise ProtocolError(NOT_AUTHORISED, "adjusting is not declared")
        if not LEAST_HOLD_PERCENT <= percent <= 100:
            raise ProtocolError(OUT_OF_RANGE, f"{percent} % is not within {LEAST_HOLD_PERCENT}..100")
        if self._runner.state != RUNNING or self._runner.features:
            raise ProtocolError(INVALID_STATE, "no programme of the appliance's own runs")
        self._used = True
        self._runner.hold_percent = percent

    def count(self, meter: int, amount: int = 1) -> None:
        """Add to a declared meter, which is told in the usage record of the cycle that runs, or of the next."""
        if meter not in self._needs.meters:
            raise ProtocolError(NOT_AUTHORISED, f"meter {meter} is not declared")
        total = self._counted.get(meter, 0) + amount
        if amount < 0 or total >> 32:
            raise ProtocolError(OUT_OF_RANGE, f"a meter only rises, to 2^32 at most: {amount}")
        self._counted[meter] = total
        self._used = True

    def event(self, event: int, value: "int | None" = None) -> None:
        """Tell the cloud, and the other appliances of the home, that a declared event has happened."""
        self._check_event(event)
        self._events.note(event, value, self._owner)

    def alarm(self, event: int, on: bool, value: "int | None" = None) -> None:
        """Raise a declared event as an alarm, or clear it."""
        self._check_event(event)
        self._events.alarm(event, on, value, self._owner)

    def log(self, text: str) -> None:
        """Remember a line for whoever tests the feature; only the last few are kept."""
        self._log = self._log[1 - LOG_LINES :] + [str(text)[:_LOG_CHARS]]

    # -- when

    def every(self, seconds: int, call: "Callable[[], None]") -> None:
        """Call again and again."""
        self._timer(seconds, seconds, call)

    def after(self, seconds: int, call: "Callable[[], None]") -> None:
        """Call once."""
        self._timer(seconds, 0, call)

    def on(self, event: int, call: "Callable[[int], None]") -> None:
        """`call(event)` when something happens to the appliance: an event of the registry, or 0 for any."""
        if len(self._handlers) >= CALLS_MAX:
            raise ProtocolError(TOO_LARGE, f"over {CALLS_MAX} handlers")
        self._handlers.append((event, call))

    def on_home(self, call: "Callable[[str, int, int | None], None]") -> None:
        """`call(device, event, value)` when another appliance of the home tells of an event."""
        self._home = call

    def on_scene(self, call: "Callable[[int], None]") -> None:
        """`call(scene)` when the home is set to a scene."""
        self._scene = call

    def _timer(self, seconds: int, period_s: int, call: "Callable[[], None]") -> None:
        if seconds < 1:
            raise ProtocolError(OUT_OF_RANGE, f"{seconds} s is less than a second")
        if len(self._timers) >= CALLS_MAX:
            raise ProtocolError(TOO_LARGE, f"over {CALLS_MAX} timers")
        self._timers.append([None, 1000 * seconds, 1000 * period_s, call])

    def _check_actuator(self, actuator: int) -> None:
        if actuator not in self._needs.actuators:
            raise ProtocolError(NOT_AUTHORISED, f"actuator {actuator} is not declared")

    def _check_event(self, event: int) -> None:
        if event not in self._needs.events:
            raise ProtocolError(NOT_AUTHORISED, f"event {event} is not declared")
