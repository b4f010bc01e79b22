"""What the agent does with its flash, as scenarios for `cutpoints`: usage records, boots, cycles, features. Portable."""

from hashlib import sha256

from evergrow_agent.bootcount import bump
from evergrow_agent.cycle import Cycle
from evergrow_agent.features import Features, Record
from evergrow_agent.guard import Guard
from evergrow_agent.ledger import Ledger
from evergrow_agent.runner import IDLE, Runner
from evergrow_agent.timebase import Timebase
from evergrow_protocol import registry_common as common
from evergrow_protocol.cbor import dumps
from evergrow_sim import cutscenario_features, cutscenario_install, cutscenario_rights, cutscenario_trust
from evergrow_sim.cutscenario_config import Configurations
from evergrow_sim.cutscenario_ports import DRUM, PROGRAMME, Appliance, Clock, Random, records
from evergrow_sim.cutscenario_usage import Erased, Usage, UsageBlocks
from evergrow_sim.cutscenario_voice import Sayings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PUBLISHER = 7


class Boot:
    """The boot counter: no number twice, each larger than all before (EG-ENV-001)."""

    def __init__(self) -> None:
        self._used = [0]
        self._wrong = ""

    def prepare(self, flash: "Any") -> None:
        for _ in range(3):
            self.recover(flash)

    def live(self, flash: "Any") -> None:
        for _ in range(3):
            self.recover(flash)

    def recover(self, flash: "Any") -> None:
        number, drawn = bump(flash, Random())
        if drawn or number <= self._used[-1]:
            self._wrong = f"boot number {number} after {self._used[-1]}, drawn: {drawn}"
        self._used.append(number)

    def state(self, flash: "Any") -> "Any":
        return None

    def check(self, flash: "Any") -> "str | None":
        return self._wrong or None


class Cycles:
    """Cycles with their checkpoints: every one that had started is reported, once (EG-USE-003, EG-ENV-003)."""

    def __init__(self) -> None:
        self._started = 0
        self._finished = 0
        self._ledger: "Any" = None

    def prepare(self, flash: "Any") -> None:
        self._boot(flash)

    def live(self, flash: "Any") -> None:
        runner, cycle, clock, appliance = self._boot(flash)
        self._until_idle(runner, cycle, clock, appliance)
        for _ in range(3):
            cycle.start(PROGRAMME, clock.now_ms)
            self._started += 1
            self._until_idle(runner, cycle, clock, appliance)
            self._finished += 1

    def recover(self, flash: "Any") -> None:
        self._boot(flash)

    def state(self, flash: "Any") -> "Any":
        return [(boot, seq, body.get(common.USAGE_OUTCOME, 0)) for boot, seq, _, body in records(self._ledger)]

    def check(self, flash: "Any") -> "str | None":
        found = records(self._ledger)
        ids = [(boot, seq) for boot, seq, _, _ in found]
        outcomes = [body.get(common.USAGE_OUTCOME, 0) for _, _, _, body in found]
        whole = outcomes.count(common.OUTCOME_FINISHED)
        if len(set(ids)) != len(ids):
            return f"an id twice: {ids}"
        if not self._started <= len(ids) <= self._started + 1:
            return f"{len(ids)} records of {self._started} cycles"
        if not self._finished <= whole <= self._finished + 1 or len(ids) - whole > 1:
            return f"{whole} finished records of {self._finished} cycles, outcomes {outcomes}"
        if flash.size("cycle") >= 0:
            return "a checkpoint is left"
        return None

    def _boot(self, flash: "Any") -> "tuple[Runner, Cycle, Clock, Appliance]":
        clock = Clock()
        appliance = Appliance()
        guard = Guard(appliance)
        runner = Runner(guard)
        self._ledger = Ledger(flash)
        self._ledger.load()
        self._ledger.adopt(0)
        cycle = Cycle(runner, guard, self._ledger, flash, Timebase(clock))
        cycle.recover()
        cycle.boot, _ = bump(flash, Random(), self._ledger.newest_boot)
        return runner, cycle, clock, appliance

    def _until_idle(self, runner: Runner, cycle: Cycle, clock: Clock, appliance: Appliance) -> None:
        """One tick at least: after a start, the runner first brings the appliance to rest."""
        while True:
            clock.now_ms += 1000
            appliance.energy_wh += 1
            cycle.tick(clock.now_ms)
            if runner.state == IDLE:
                return


class FeatureChanges:
    """Features: upgraded, installed, removed; each change wholly or not at all (EG-FEAT-007). `others` stay as they are."""

    others = 1

    def __init__(self) -> None:
        self._done = 0

    def prepare(self, flash: "Any") -> None:
        features = Features(flash)
        _install(flash, features, 1001, 1)
        for number in range(self.others):
            _install(flash, features, 1100 + number, 1, 12)

    def live(self, flash: "Any") -> None:
        features = Features(flash)
        _install(flash, features, 1001, 2)
        self._done = 1
        _install(flash, features, 1002, 1)
        self._done = 2
        features.remove(_PUBLISHER, 1001)
        self._done = 3

    def recover(self, flash: "Any") -> None:
        Features(flash)

    def state(self, flash: "Any") -> "Any":
        names: "list[str]" = sorted(flash.names())
        return Features(flash).active(), names

    def check(self, flash: "Any") -> "str | None":
        features = Features(flash)
        if features.problems:
            return f"problems {features.problems}"
        found = {feature: sequence for _, feature, sequence in features.active()}
        for number in range(self.others):
            if found.pop(1100 + number, 0) != 1:
                return f"feature {1100 + number} is gone, which nobody touched"
        stages = ({1001: 1}, {1001: 2}, {1001: 2, 1002: 1}, {1002: 1})
        if found not in stages[self._done : self._done + 2]:
            return f"active {found} after {self._done} changes"
        bodies = [name for name in flash.names() if name != "features"]
        if len(bodies) != len(features.active()):
            return f"bodies {bodies} of {len(features.active())} features"
        return None


class ManyFeatures(FeatureChanges):
    """The same with so many features that LittleFS2 needs more than one pair of blocks for the directory."""

    others = 9


def _install(flash: "Any", features: Features, feature: int, sequence: int, steps: int = 30) -> None:
    """As the installer does it, after its checks; a step is about 20 bytes."""
    step = {0: 5, 1: {DRUM: 45}, 4: 2, 5: 600, 6: 2}
    body = dumps({0: 2, 1: feature, 2: "cut", 3: f"{sequence}.0", 5: [feature, [step] * steps]})
    file = features.staging_file()
    for at in range(0, len(body), 256):
        flash.append(file, body[at : at + 256])
    digest = sha256(body).digest()
    features.activate(Record(_PUBLISHER, str(feature).encode(), feature, sequence, 1, file, len(body), digest))


SCENARIOS = {
    "usage": Usage,
    "usage-blocks": UsageBlocks,
    "erased": Erased,
    "boot": Boot,
    "cycle": Cycles,
    "feature": FeatureChanges,
    "features-many": ManyFeatures,
    "voice": Sayings,
    "config": Configurations,
}
SCENARIOS.update(cutscenario_trust.SCENARIOS)
SCENARIOS.update(cutscenario_rights.SCENARIOS)
SCENARIOS.update(cutscenario_features.SCENARIOS)
SCENARIOS.update(cutscenario_install.SCENARIOS)
