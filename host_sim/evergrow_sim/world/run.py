"""One run: a seed, a level of faults, and whether everything that must be so was so.

    result = run(7, "heavy")
    result.digest       of all that happened: the same on every machine and interpreter
    result.violations   what was not as it must be, see `invariants`

A run has three parts. People, the cloud and faults do what the seed says; then the faults are over, and every device has a stated
time to come to rest and to tell all; then each must do what an appliance can do without us (`base`), and answer a command.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

from evergrow_protocol.traffic import Message
from evergrow_sim.world import base, faults, scenario
from evergrow_sim.world.breaking import Breaker
from evergrow_sim.world.broker_packets import Publish
from evergrow_sim.world.faults import Fault
from evergrow_sim.world.house import House
from evergrow_sim.world.invariants import Violation, Watch
from evergrow_sim.world.loop import WorldError
from evergrow_sim.world.trace import Event, Sink
from evergrow_sim.world.world import World

REBIRTH = 3

_STEP_MS = 5_000
_PROBE_MS = 240_000

Bug = Callable[[], AbstractContextManager[object]]


@dataclass
class Result:
    """What became of a run. `faults`: all that were planned; `chosen`: numbers of those that happened. `last`: last events."""

    seed: int
    level: str
    digest: str
    violations: list[Violation]
    faults: list[Fault]
    chosen: list[int]
    last: list[Event]
    stats: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.violations


def run(
    seed: int,
    level: str = "light",
    chosen: Sequence[int] | None = None,
    plant_bugs: Iterable[Bug] = (),
    sink: Sink | None = None,
    hours: float = 0,
    record: Callable[[Message], None] | None = None,
) -> Result:
    """Run a seed. `chosen`: numbers of the faults that shall happen, None for all. `hours`: see `scenario.make`.

    `plant_bugs`: context managers that break something on purpose. `sink` is called with each event,
    `record` with each message that the broker let in. ValueError for a level or a fault number that does not exist.
    """
    plan = scenario.make(seed, hours)
    planned = faults.plan(seed, level, plan)
    picked = faults.select(planned, chosen)
    watch = Watch()
    with ExitStack() as stack:
        for bug in plant_bugs:
            stack.enter_context(bug())
        world = stack.enter_context(World(seed, sink=sink))
        stack.enter_context(_logged(world, watch))
        house = House(world, plan, watch.report)
        if record is not None:
            house.tap.on_publish = _recorded(world, record)
        breaker = Breaker(house, picked)
        watch.attend(house, breaker)
        try:
            _live(house, breaker, watch)
        except WorldError:
            raise
        except Exception as error:
            watch.report("crash", "world", f"{type(error).__name__}: {error}")
        numbers = list(range(len(planned))) if chosen is None else list(chosen)
        stats = _stats(house)
        world.trace.sink = None  # what is torn down now did not happen
        return Result(seed, level, world.trace.digest(), watch.violations, planned, numbers, world.trace.last(), stats)


def _live(house: House, breaker: Breaker, watch: Watch) -> None:
    world = house.world
    house.open()
    breaker.start()
    world.run(until_ms=house.scenario.span_ms)
    breaker.stop()
    world.note("world", "faults are over")
    _settle(house, watch)
    watch.check_reachable()
    world.note("world", "base")
    watch.check_base([base.works(world, resident) for resident in house.residents.values()])
    _settle(house, watch)
    world.note("world", "probing")
    numbers = {name: house.command(resident, REBIRTH, {}) for name, resident in house.residents.items()}
    end_ms = world.loop.now_ms + _PROBE_MS
    while world.loop.now_ms < end_ms and not all(_answered_and_well(house, watch, *probe) for probe in numbers.items()):
        world.run(until_ms=world.loop.now_ms + _STEP_MS)
    watch.finish({name: (number, house.cloud.answer(number)) for name, number in numbers.items()})


def _settle(house: House, watch: Watch) -> None:
    """Until all is well, or time is up."""
    world = house.world
    end_ms = world.loop.now_ms + 1000 * watch.bound_s()
    while world.loop.now_ms < end_ms and any(watch.well(resident) for resident in house.residents.values()):
        world.run(until_ms=world.loop.now_ms + _STEP_MS)


def _recorded(world: World, record: Callable[[Message], None]) -> Callable[[Publish], None]:
    """`time_s` of what is recorded are virtual seconds since the run began."""

    def publish(one: Publish) -> None:
        record(Message(one.topic, bytes(one.payload), world.loop.now_ms / 1000, one.qos, bool(one.retain)))

    return publish


def _answered_and_well(house: House, watch: Watch, name: str, number: int) -> bool:
    """Whether all is well after the rebirth, too: what a broker lost of the outcome of an offer, or a configuration that the
    flash had no room for, is told again then."""
    resident = house.residents[name]
    answered = house.cloud.answer(number) is not None and not watch.well(resident)
    return answered and not watch.undesired(resident) and not watch.unheard(resident)


def _stats(house: House) -> dict[str, int]:
    residents = house.residents.values()
    return {
        "virtual_s": house.world.loop.now_ms // 1000,
        "events": house.world.loop.events,
        "devices": len(residents),
        "boots": sum(resident.device.boots for resident in residents),
        "cycles": sum(len(resident.log.cycles) for resident in residents),
        "records": sum(len(house.told(resident)) for resident in residents),
        "flash_operations": sum(resident.device.flash.ops for resident in residents),
    }


class _Logged(logging.Handler):
    """What the cloud logs goes into the trace; an exception that it did not expect is a violation."""

    def __init__(self, world: World, watch: Watch) -> None:
        super().__init__(logging.WARNING)
        self._world = world
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._world.note("cloud", "logs", record.getMessage())
        if record.exc_info:
            self._watch.report("crash", "cloud", f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def _logged(world: World, watch: Watch) -> Iterator[None]:
    logger = logging.getLogger("evergrow.cloud")
    handler = _Logged(world, watch)
    before = logger.propagate
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
