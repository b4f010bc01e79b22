"""Runs the code of features beside the appliance, and stops what fails (SPEC section 18).

Everything runs in the appliance's own tick, one call after the other: a feature has no task and cannot wait. A call that takes
longer than it declared, or raises, is a failure; after FAILURES_MAX of them within FAILURES_MS the feature is stopped, which
`broken` says, and what it drove goes to its safe state at the next safe point. A call that never returns is ended by the
watchdog, which is counted at the next boot; after STRIKES_MAX of them no code is run any more. Time alone heals nothing: with
code that hangs at the start of each programme nobody could wash again.

    file `strikes`   two `checked` bytes: resets by the watchdog, and the cycles since, fewer than HEALTHY_CYCLES
"""

from evergrow_agent import checked, codeload, heap
from evergrow_agent.featureapi import Api
from evergrow_agent.guard import GuardError
from evergrow_agent.runner import IDLE
from evergrow_protocol.errors import INVALID_STATE, MALFORMED, OUT_OF_RANGE, TOO_LARGE, ProtocolError
from evergrow_protocol.registry_common import EVENT_CYCLE_ENDED, EVENT_PERIOD_ENDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from evergrow_agent.events import Events
    from evergrow_agent.guard import Guard
    from evergrow_agent.home import Home
    from evergrow_agent.runner import Runner
    from evergrow_agent.timebase import Timebase
    from evergrow_protocol.feature_code import Needs

FILE = "strikes"
FAILURES_MAX = 5
FAILURES_MS = 3_600_000
STRIKES_MAX = 3
HEALTHY_CYCLES = 5
FEATURES_MAX = 8
HEARD_MAX = 32  # messages of the home between two ticks; what comes beyond is dropped


class Running:
    """One feature that runs. `failures`: they count until `until_ms`; `last`: the last one;
    `broken`: why it was stopped, "" if it was not.
    """

    def __init__(self, owner: "tuple[int, int]", api: Api, call_ms: int) -> None:
        self.owner = owner
        self.api = api
        self.call_ms = call_ms
        self.failures = 0
        self.until_ms = 0
        self.last = ""
        self.broken = ""


class Runtime:
    """`clock`: real time in ms, or work, by which calls are measured. `watchdog`: may have `bitten`: it caused this boot.

    `features`: those that run, in the order in which they were started. `struck`: the watchdog bit too often, and no code is
    run. May be set: `on_broken(owner, text)`, called when a feature was stopped; `is_safe()`, whether actuators may change hands.
    """

    def __init__(
        self,
        guard: "Guard",
        runner: "Runner",
        events: "Events",
        home: "Home",
        timebase: "Timebase",
        clock: "Any",
        flash: "Any",
        watchdog: "Any",
    ) -> None:
        self.features: "list[Running]" = []
        self.struck = False
        self.on_broken: "Callable[[tuple[int, int], str], None]" = _nothing
        self.is_safe: "Callable[[], bool]" = lambda: runner.state == IDLE
        self._guard = guard
        self._runner = runner
        self._events = events
        self._timebase = timebase
        self._clock = clock
        self._flash = flash
        self._heard: "list[tuple[Any, ...]]" = []
        self._release: "list[int]" = []
        self._settings: "dict[tuple[int, int], dict[int, int]]" = {}
        self._past: "dict[tuple[int, int], dict[int, int]]" = {}  # what those did since the last record that run no more
        bitten = getattr(watchdog, "bitten", False)
        self._strikes = 0
        self._well = 0  # cycles since
        self._home = (home.on_event, home.on_scene)  # whoever listens already goes on to
        home.on_event = self._on_event
        home.on_scene = self._on_scene
        try:
            stored = checked.load(flash, FILE)
            self._strikes, self._well = stored or (0, 0)
            if bitten:
                self._strikes = min(self._strikes + 1, 255)
                self._count(0)
        except OSError:
            self.struck = bitten  # Nobody can count how often: with code that hangs at boot the appliance would never work.
        except ValueError:
            pass
        self.struck = self.struck or self._strikes >= STRIKES_MAX

    def start(self, owner: "tuple[int, int]", needs: "Needs", code: "Any", granted: "Container[int] | None" = None) -> None:
        """Load the code of a feature and call its `start(api)`. One of this owner that runs is stopped first. `granted`: the
        actuators that its publisher may drive, None for all.

        ProtocolError: TOO_LARGE for more heap than declared, or too many features; MALFORMED without `start`; INVALID_STATE while
        `struck`; as `codeload.load`. Anything that the code itself raises; it does not run then.
        """
        self.stop(owner)
        if self.struck:
            raise ProtocolError(INVALID_STATE, f"the watchdog ended {self._strikes} starts: no code is run")
        if len(self.features) >= FEATURES_MAX:
            raise ProtocolError(TOO_LARGE, f"over {FEATURES_MAX} code features")
        before = heap.used()
        api = Api(owner, needs, self._guard, self._runner, self._events, self._timebase.utc_s, granted)
        api._counted = self._past.pop(owner, {})
        api._used = bool(api._counted)
        self._apply_settings(owner, api)
        running = Running(owner, api, needs.call_ms)
        start = codeload.load(f"feature_{owner[0]}_{owner[1]}", code).get("start")
        if start is None:
            raise ProtocolError(MALFORMED, "the code has no function start(api)")
        try:
            start(api)
            taken = heap.used() - before
            if taken > needs.heap_bytes:
                raise ProtocolError(TOO_LARGE, f"takes {taken} bytes of heap, declared {needs.heap_bytes}")
        except BaseException:
            self._hand_back(running)
            raise
        self.features.append(running)

    def stop(self, owner: "tuple[int, int]") -> bool:
        """It is called no more; what it drove goes to its safe state at the next safe point. False: it does not run."""
        for running in self.features:
            if running.owner == owner:
                self.features.remove(running)
                if running.api._used:
                    self._past[owner] = running.api._counted
                self._hand_back(running)
                return True
        return False

    def check(self, settings: "dict[tuple[int, int], dict[int, int]]") -> None:
        """ProtocolError OUT_OF_RANGE for what a feature that runs does not declare, or not with that value."""
        for running in self.features:
            declared = running.api._needs.settings
            for setting, value in settings.get(running.owner, {}).items():
                least, most, _ = declared.get(setting, (1, 0, 0))
                if not least <= value <= most:
                    raise ProtocolError(OUT_OF_RANGE, f"setting {setting} of feature {running.owner[1]} cannot be {value}")

    def configure(self, settings: "dict[tuple[int, int], dict[int, int]]") -> None:
        """What the cloud has set, by owner. A value outside its bounds, or that no feature declares, is left out."""
        self._settings = settings
        for running in self.features:
            self._apply_settings(running.owner, running.api)

    def tick(self, now_ms: int, event: int) -> None:
        """To be called with each tick of the appliance, and what happened in it, or 0. Never raises."""
        if self._strikes and not self.struck and event in (EVENT_CYCLE_ENDED, EVENT_PERIOD_ENDED):
            self._ended_well()
        if self._release and self.is_safe():
            self._let_go()
        heard, self._heard = self._heard, []
        for running in self.features[:]:
            self._run(running, now_ms, event, heard)

    def told(self, record: "dict[int, Any]") -> None:
        """A cycle is over, and this is its record: what it says of meters is counted no more."""
        for running in self.features:
            running.api._used = _untold(running.api._counted, record)  # what had no room is told with the next
        self._past = {owner: counted for owner, counted in self._past.items() if _untold(counted, record)}

    def used(self) -> "list[tuple[tuple[int, int], dict[int, int]]]":
        """(owner, {meter: count}) of the features that did something since the last record."""
        running = [(running.owner, running.api._counted) for running in self.features if running.api._used]
        return running + list(self._past.items())

    def _on_event(self, device: str, event: int, value: "int | None") -> None:
        self._home[0](device, event, value)
        self._hear((device, event, value))

    def _on_scene(self, scene: int) -> None:
        self._home[1](scene)
        self._hear((scene,))

    def _hear(self, message: "tuple[Any, ...]") -> None:
        if len(self._heard) < HEARD_MAX:
            self._heard.append(message)

    def _run(self, running: Running, now_ms: int, event: int, heard: "list[tuple[Any, ...]]") -> None:
        api = running.api
        for wanted, call in api._handlers:
            if event and wanted in (0, event):
                self._call(running, call, event)
        for message in heard:
            handler = api._scene if len(message) == 1 else api._home
            if handler:
                self._call(running, handler, *message)
        for timer in api._timers[:]:
            if timer[0] is None:
                timer[0] = now_ms + timer[1]
            elif now_ms >= timer[0]:
                if timer[2]:
                    timer[0] = max(timer[0] + timer[2], now_ms)
                else:
                    api._timers.remove(timer)
                self._call(running, timer[3])

    def _call(self, running: Running, call: "Callable[..., None]", *args: "Any") -> None:
        if running.broken:
            return
        started_ms = self._clock.ticks_ms()
        text = ""
        try:
            call(*args)
        except BaseException as exc:  # also a SystemExit, which would end the appliance's task
            text = repr(exc)[:80]
        took_ms = self._clock.ticks_ms() - started_ms
        if not text and took_ms > running.call_ms:
            text = f"a call took {took_ms} ms, declared {running.call_ms}"
        if not text:
            return
        if started_ms > running.until_ms:
            running.failures = 0
            running.until_ms = started_ms + FAILURES_MS
        running.failures += 1
        running.last = text
        if running.failures >= FAILURES_MAX:
            running.broken = text
            self.stop(running.owner)
            self.on_broken(running.owner, text)

    def _hand_back(self, running: Running) -> None:
        self._release += [actuator for actuator in running.api._driven if actuator not in self._release]
        for event in running.api._needs.events:
            self._events.alarm(event, False, None, running.owner)  # nobody else would ever clear it

    def _let_go(self) -> None:
        release, self._release = self._release, []
        for actuator in release:
            for running in self.features:
                if actuator in running.api._driven:
                    break
            else:
                try:
                    self._guard.write(actuator, self._guard.appliance.safe_state[actuator])
                except (GuardError, OSError):
                    self._release.append(actuator)

    def _apply_settings(self, owner: "tuple[int, int]", api: Api) -> None:
        for setting, (least, most, default) in api._needs.settings.items():
            value = self._settings.get(owner, {}).get(setting, default)
            api._settings[setting] = value if least <= value <= most else default

    def _ended_well(self) -> None:
        try:
            self._count(self._well + 1)
        except OSError:
            pass  # A cycle that does not count.
        if self._well >= HEALTHY_CYCLES:
            self.forgive()

    def _count(self, well: int) -> None:
        self._well = well
        checked.save(self._flash, FILE, bytes((self._strikes, well)))

    def forgive(self) -> None:
        """Forget what the watchdog did: cycles went well since, or what was at fault is gone."""
        if not self._strikes:
            return
        try:
            self._flash.remove(FILE)
            self._strikes = 0
            self.struck = False
        except OSError:
            pass  # with the next cycle


def _untold(counted: "dict[int, int]", record: "dict[int, Any]") -> bool:
    """Take out what the record says; whether there is more."""
    for meter in list(counted):
        if meter in record:
            del counted[meter]
    return bool(counted)


def _nothing(owner: "tuple[int, int]", text: str) -> None:
    pass
