"""Usage truth: the appliance's own count of its cycles against what the cloud was told, or will be told from the flash.

`CycleLog` watches the physics and never asks the agent what it used. `explain` then says whether a list of usage records tells
the same story: every cycle in exactly one record, every record about cycles that were.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from evergrow_cloud.messages import Usage
from evergrow_protocol.registry_common import OUTCOME_POWER_LOST
from evergrow_sim.lfs import PowerCut
from evergrow_sim.world import stored
from evergrow_sim.world.features import SPIN_1400
from evergrow_sim.world.lives import Lives
from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.plant import Plant
from evergrow_sim.world.safety import WatchedWasher
from evergrow_sim.world.trials import METER, TALLY

CHECKPOINT_MS = 300_000
"""A power cut may cost this much of what a cycle used, and one look of the controller."""
HUNG_MS = 8_000
"""So much more, when the controller hung and the watchdog cut it."""

_MJ_PER_WH = 3_600_000
_DURATION_SLACK_S = 3
SPIN = (1, SPIN_1400)
COUNTER = (2, TALLY)
_FEATURES_FROM = 1000
"""A programme from this number on is that of the feature with the same number."""


@dataclass(slots=True)
class Cycle:
    """A cycle as it was. `ended_ms`: 0 while it runs. `complete`: its controller had power to the end.

    `begun`: False if power failed while it was being started. `losable`: why it may be missing, or be told too small; "" for
    not at all. `meter_failed`: one of its meters did not answer for a while. `hung`: its controller hung when it was cut.
    `over_base`: it drove the drum faster than it may without a feature. `tallied`: phases that the feature TALLY has to tell of
    in its record, None when that is not sure. `barred`: features that must not be used in it (see `trusted`).
    """

    boot: int
    programme: int
    started_ms: int
    ended_ms: int = 0
    energy_wh: int = 0
    water_ml: int = 0
    complete: bool = False
    begun: bool = True
    over_base: bool = False
    tallied: int | None = None
    losable: str = ""
    meter_failed: bool = False
    hung: bool = False
    barred: frozenset[tuple[int, int]] = frozenset()

    def __str__(self) -> str:
        how = "complete" if self.complete else "cut" if self.begun else "cut at its start"
        return (
            f"programme {self.programme} of boot {self.boot} from {self.started_ms // 1000} to {self.ended_ms // 1000} s, {how},"
            f" {self.energy_wh} Wh, {self.water_ml} ml" + (f", losable: {self.losable}" if self.losable else "")
        )


class CycleLog:
    """The cycles of one appliance, oldest first, in `cycles`. Made before its first boot, of a plant that forgets none.

    A boot of which the cloud has not heard may get another number (EG-ENV-006): `ended` is told how.
    """

    def __init__(self, loop: VirtualLoop, plant: Plant, washer: WatchedWasher, tick_ms: int, lives: Lives) -> None:
        self.cycles: list[Cycle] = []
        self.tick_ms = tick_ms
        self._erased = 0  # so many cycles were before the flash was erased last: their boots have their numbers for good
        self._loop = loop
        self._plant = plant
        self._washer = washer
        self._lives = lives
        self._begin, self._end = plant.begin, plant.end
        setattr(plant, "begin", self._begun)  # noqa: B010 - the plant is told by whoever owns it; this listens in
        setattr(plant, "end", self._ended)  # noqa: B010
        plant.watchers.append(self._watched)

    @property
    def running(self) -> Cycle | None:
        return self.cycles[-1] if self.cycles and not self.cycles[-1].ended_ms else None

    def ended(self, base: int = 0) -> list[Cycle]:
        """Those that are over, with boots as `stored.base` says that they are called now."""
        return [cycle for cycle in self._numbered(base) if cycle.ended_ms]

    def erase(self, base: int, untold: Iterable[int]) -> None:
        """The flash is erased now, without power. `untold`: boots of the records on it that the cloud has not got: these may be
        lost, and what was under way.
        """
        self.cycles[:] = self._numbered(base)
        self._erased = len(self.cycles)
        first = min([*untold, *[cycle.boot for cycle in self.cycles[-1:]]], default=0)
        for cycle in self.cycles:
            if cycle.boot >= first:
                cycle.losable = cycle.losable or "its flash was erased"

    def _numbered(self, base: int) -> list[Cycle]:
        since = [replace(one, boot=stored.number(one.boot, base)) for one in self.cycles[self._erased :]]
        return [*self.cycles[: self._erased], *since]

    def excuse(self, why: str, from_ms: int) -> None:
        """Something happened from `from_ms` until now that may cost the records of cycles that were under way, and of the last
        one before, if power ended it.
        """
        for cycle in self.cycles:
            if not cycle.ended_ms or cycle.ended_ms >= from_ms:
                cycle.losable = cycle.losable or why
        before = [cycle for cycle in self.cycles if cycle.ended_ms and cycle.ended_ms < from_ms]
        if before and not before[-1].complete:
            before[-1].losable = before[-1].losable or why

    def used_at(self, cycle: Cycle, at_ms: int) -> tuple[int, int]:
        """(Wh, ml) that a cycle had used at a time, rounded down to the washer's history."""
        history = self._washer.history
        step = WatchedWasher.HISTORY_MS
        first, then = (min(ms // step, len(history) - 1) for ms in (cycle.started_ms, max(at_ms, cycle.started_ms)))
        if then <= first:
            return 0, 0
        # One step later at the start, so that what was used before the cycle does not count.
        start = history[min(first + 1, then)]
        energy_mj, water_ul = history[then]
        return max(0, (energy_mj - start[0]) // _MJ_PER_WH - 1), max(0, (water_ul - start[1]) // 1000 - 1)

    def _begun(self, boot: int, programme: int) -> None:
        self._begin(boot, programme)
        self._washer.over_base = False
        self.cycles.append(Cycle(boot, programme, self._loop.now_ms))

    def _ended(self, complete: bool) -> None:
        truth, cycle = self._plant.running, self.running
        self._end(complete)
        if truth is not None and cycle is not None:
            cycle.ended_ms = self._loop.now_ms
            cycle.energy_wh, cycle.water_ml, cycle.complete = truth.energy_wh, truth.water_ml, complete
            cycle.hung = self._washer.stalled
            cycle.over_base, cycle.tallied = self._washer.over_base, self._lives.tallied

    def _watched(self, agent: object) -> None:
        started: Callable[..., None] = agent.cycle.start  # type: ignore[attr-defined]

        def start(*args: object) -> None:
            known = len(self.cycles)
            try:
                started(*args)
            except PowerCut:
                if len(self.cycles) > known:
                    self.cycles[-1].begun = False
                raise
            finally:
                if len(self._plant.cycles) < len(self.cycles):  # refused
                    self.cycles.pop()

        agent.cycle.start = start  # type: ignore[attr-defined]


def explain(cycles: Sequence[Cycle], records: Sequence[Usage], log: CycleLog) -> str:
    """"" if the records tell of exactly these cycles, else the first thing that they do not tell right.

    Cycles in the order in which they were, records in that of their ids. Records of merged cycles stand for a run of them.
    """
    told = sorted(records, key=lambda record: (record.header.boot, record.header.seq))
    by_boot = sorted(cycles, key=lambda cycle: (cycle.boot, cycle.started_ms))
    by_time = sorted(cycles, key=lambda cycle: cycle.started_ms)  # not the same after a boot whose number was drawn
    wrong = _explain(by_boot, told, log)
    return wrong if by_time == by_boot or not wrong else _explain(by_time, told, log) and wrong


def _explain(order: Sequence[Cycle], told: Sequence[Usage], log: CycleLog) -> str:
    furthest = [0, 0]

    @cache
    def fits(c: int, r: int) -> bool:
        """Whether the records from `r` on tell of the cycles from `c` on."""
        if (r, c) > (furthest[1], furthest[0]):
            furthest[:] = [c, r]
        if c == len(order):
            return r == len(told)
        if r < len(told):
            record = told[r]
            count = record.merged_cycles
            if count is None and not _differs(order[c], record, log) and fits(c + 1, r + 1):
                return True
            for end in range(c + count, len(order) + 1) if count else ():
                some = order[c:end]
                if sum(1 for cycle in some if not _skippable(cycle)) > (count or 0):
                    break
                if _sums(some, record) and fits(end, r + 1):
                    return True
        return _skippable(order[c]) and fits(c + 1, r)

    if fits(0, 0):
        return ""
    c, r = furthest
    if r == len(told):
        return f"nobody will ever hear of {order[c]}" if c < len(order) else "the records do not add up"
    if c == len(order):
        return f"a record of a cycle that never was: {describe(told[r])}"
    why = "" if told[r].merged_cycles else f" ({_differs(order[c], told[r], log)})"
    return f"{order[c]} is told as {describe(told[r])}{why}"


def describe(record: Usage) -> str:
    merged = f" merged from {record.merged_cycles}" if record.merged_cycles else ""
    return (
        f"record {record.header.boot}/{record.header.seq}{merged}: programme {record.programme}, outcome {record.outcome},"
        f" {record.duration_s} s, {record.energy_wh} Wh, {record.water_ml} ml"
    )


def _differs(cycle: Cycle, record: Usage, log: CycleLog) -> str:
    """What a record tells wrongly of a cycle; "" for nothing."""
    if record.header.boot != cycle.boot or record.programme != cycle.programme:
        return "boot and programme"
    if cycle.programme >= _FEATURES_FROM and cycle.programme not in [feature for _, feature in record.features]:
        return "not the feature that brought the programme"
    if any((one[0], one[1]) in cycle.barred for one in record.features):
        return "a feature that was out of use when it began"
    energy_wh, water_ml = record.energy_wh or 0, record.water_ml or 0
    if energy_wh > cycle.energy_wh or water_ml > cycle.water_ml:
        return "too much"
    exact = (energy_wh, water_ml) == (cycle.energy_wh, cycle.water_ml)
    if record.outcome != OUTCOME_POWER_LOST:
        # Power may fail between the record and the moment at which the cycle counts as over.
        if not exact and not cycle.meter_failed:
            return "too little"
        if abs(record.duration_s - (cycle.ended_ms - cycle.started_ms) // 1000) > _DURATION_SLACK_S:
            return "duration"
        return _differs_in_features(cycle, record)
    if cycle.losable:
        return ""
    if cycle.complete:
        return "it did not lose power"
    if cycle.meter_failed:
        return ""
    since_ms = CHECKPOINT_MS + 2 * log.tick_ms + (HUNG_MS if cycle.hung else 0)
    least = log.used_at(cycle, cycle.ended_ms - since_ms)
    return "a checkpoint too old" if energy_wh < least[0] or water_ml < least[1] else ""


def _differs_in_features(cycle: Cycle, record: Usage) -> str:
    """What a whole record tells wrongly of the features that its cycle used (EG-USE-009, EG-CODE-005)."""
    told = [(one[0], one[1]) for one in record.features]
    if (SPIN in told) != cycle.over_base:
        return "the feature that raises the speed"
    if cycle.tallied is not None and (record.meters.get(METER, 0) != cycle.tallied or (COUNTER in told) != bool(cycle.tallied)):
        return f"{cycle.tallied} phases that were counted, told are {record.meters.get(METER, 0)}"
    return ""


def _skippable(cycle: Cycle) -> bool:
    return bool(cycle.losable) or not cycle.begun


def _sums(cycles: Sequence[Cycle], record: Usage) -> bool:
    """Whether a merged record may stand for these cycles: their sums, but for what a power cut may cost."""
    energy_wh = sum(cycle.energy_wh for cycle in cycles)
    water_ml = sum(cycle.water_ml for cycle in cycles)
    told = (record.energy_wh or 0, record.water_ml or 0)
    if all(cycle.complete and not _skippable(cycle) and not cycle.meter_failed for cycle in cycles):
        return told == (energy_wh, water_ml) and _sums_by_feature(cycles, record)
    return told[0] <= energy_wh and told[1] <= water_ml


def _sums_by_feature(cycles: Sequence[Cycle], record: Usage) -> bool:
    """Whether a merged record tells of each feature that brought a programme what its cycles used (EG-USE-009)."""
    told = {use.feature: (use.cycles, use.energy_wh, use.water_ml) for use in record.uses}
    for programme in {cycle.programme for cycle in cycles if cycle.programme >= _FEATURES_FROM}:
        own = [cycle for cycle in cycles if cycle.programme == programme]
        if told.get(programme) != (len(own), sum(one.energy_wh for one in own), sum(one.water_ml for one in own)):
            return False
    return True
