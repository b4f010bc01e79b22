"""The life of a feature that is on flash, as scenarios for `cutpoints` (SPEC section 9). Portable."""

from hashlib import sha256

from evergrow_agent.features import Features, Record
from evergrow_agent.lifecycle import Lifecycle
from evergrow_agent.records import MAX_FAILED_BOOTS, STAGED, TRIAL
from evergrow_agent.reports import Reports
from evergrow_protocol.cbor import dumps
from evergrow_sim.cutscenario_offer import PUBLISHER, deaf
from evergrow_sim.cutscenario_ports import DRUM, Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FEATURE = 1001
OTHER = 1100


class Life:
    """On trial and confirmed, on trial and reverted, staged until consent, removed: each wholly or not at all (EG-FEAT-007).

    What nobody touches stays."""

    def __init__(self) -> None:
        self._allowed: "tuple[int, ...]" = (1,)  # versions of the feature that may be in force now, 0 for none
        self._safe = True

    def prepare(self, flash: "Any") -> None:
        for feature in (OTHER, FEATURE):
            features, lifecycle = self._boot(flash)
            lifecycle.place([write(flash, features, 1, feature)])
            confirm(lifecycle)

    def live(self, flash: "Any") -> None:
        features, lifecycle = self._boot(flash)
        self._allowed = (1, 2)
        lifecycle.place([write(flash, features, 2)])
        confirm(lifecycle)
        self._allowed = (2, 3)
        lifecycle.place([write(flash, features, 3)])
        lifecycle.fail(PUBLISHER, FEATURE, "its code raised")
        lifecycle.step()
        self._allowed = (2, 4)
        lifecycle.place([write(flash, features, 4, more={9: 1})])
        lifecycle.consent(PUBLISHER, FEATURE, True)
        lifecycle.step()
        confirm(lifecycle)
        self._allowed = (4, 0)
        self._safe = False
        lifecycle.remove(PUBLISHER, FEATURE)
        self._safe = True
        lifecycle.step()
        self._allowed = (0,)

    def recover(self, flash: "Any") -> None:
        self._boot(flash)

    def state(self, flash: "Any") -> "Any":
        features = Features(flash)
        return sorted(features.active()), sorted(flash.names()), [record.row() for record in features.records]

    def check(self, flash: "Any") -> "str | None":
        wrong = look(flash, Features(flash), self._allowed)
        if wrong:
            return wrong
        features, lifecycle = self._boot(flash)
        lifecycle.step()
        lifecycle.consent(PUBLISHER, FEATURE, True)
        lifecycle.step()
        confirm(lifecycle)
        wrong = look(flash, features, self._allowed)
        if wrong:
            return f"{wrong}, when all is at rest"
        if features.in_state(STAGED) or features.in_state(TRIAL) or flash.size("trial") >= 0:
            return f"it does not come to rest: {[record.row() for record in features.records]}, {flash.names()}"
        return None

    def _boot(self, flash: "Any") -> "tuple[Features, Lifecycle]":
        return _boot(flash, lambda: self._safe)


class Failing:
    """Confirmed code is stopped in one boot after the other, until it is out of use; a newer version is in use (EG-CODE-009)."""

    def __init__(self) -> None:
        self._boots = 0  # in which it was stopped, as far as that must be on flash
        self._newer = False

    def prepare(self, flash: "Any") -> None:
        features, lifecycle = _boot(flash)
        lifecycle.place([write(flash, features, 1)])
        confirm(lifecycle)

    def live(self, flash: "Any") -> None:
        for boots in range(1, MAX_FAILED_BOOTS + 1):
            self._fail(flash)
            self._boots = boots
        features, lifecycle = _boot(flash)
        self._newer = True
        lifecycle.place([write(flash, features, 2)])
        confirm(lifecycle)

    def recover(self, flash: "Any") -> None:
        _boot(flash)

    def state(self, flash: "Any") -> "Any":
        features = Features(flash)
        told = [outcome.row() for outcome in features.outcomes]
        return features.active(), sorted(flash.names()), [record.row() for record in features.records], told

    def check(self, flash: "Any") -> "str | None":
        features = Features(flash)
        record = next(iter([record for record in features.records if record.in_force]))
        if features.problems:
            return f"problems {features.problems}"
        if record.sequence == 2:
            return None if self._newer and record.active and not record.bad else f"{record.row()} of the newer version"
        if not self._boots <= record.bad <= self._boots + 1:
            return f"{record.bad} failures are on flash after {self._boots}"
        if record.active != (record.bad < MAX_FAILED_BOOTS):
            return f"active is {record.active} after {record.bad} failures"
        told = [outcome.text for outcome in features.outcomes if not outcome.transfer]
        if len(told) != record.bad:
            return f"{told} is told of {record.bad} failures"
        while Features(flash).active():
            self._fail(flash)
        return None if Features(flash).records[0].bad == MAX_FAILED_BOOTS else "it ended with another count"

    def _fail(self, flash: "Any") -> None:
        _, lifecycle = _boot(flash)
        lifecycle.fail(PUBLISHER, FEATURE, "its code raised")
        lifecycle.step()


def _boot(flash: "Any", is_safe: "Callable[[], bool]" = lambda: True) -> "tuple[Features, Lifecycle]":
    """Without a link."""
    features = Features(flash)
    lifecycle = Lifecycle(features, Reports(features, deaf), flash, Clock(), is_safe, lambda: None)
    lifecycle.boot()
    return features, lifecycle


def look(flash: "Any", features: Features, allowed: "Sequence[int]", pulled: "Sequence[str]" = ()) -> "str | None":
    """What is wrong. `allowed`: versions of FEATURE that may be in force, 0 for none; OTHER is. `pulled`: files of a transfer."""
    found = {feature: sequence for _, feature, sequence in features.active()}
    if features.problems:
        return f"problems {features.problems}"
    if found.pop(OTHER, 0) != 1:
        return "the feature that nobody touched is gone"
    if found.get(FEATURE, 0) not in allowed:
        return f"version {found} is in force, not one of {allowed}"
    bodies = sorted([name for name in flash.names() if name.startswith("feature.") and name not in pulled])
    if bodies != sorted([record.file for record in features.records if record.file]):
        return f"bodies {bodies} of {[record.row() for record in features.records]}"
    return None


def confirm(lifecycle: Lifecycle) -> None:
    """The cloud is reached with what is active."""
    lifecycle.on_birth()
    lifecycle.on_welcome()
    lifecycle.step()


def body_of(sequence: int, steps: int, more: "dict[int, Any] | None" = None, feature: int = FEATURE) -> bytes:
    step = {0: 5, 1: {DRUM: 45}, 4: 2, 5: 600, 6: 2}
    body: "dict[int, Any]" = {0: 2, 1: feature, 2: "cut", 3: f"{sequence}.0", 5: [feature, [step] * steps]}
    body.update(more or {})
    return dumps(body)


def write(
    flash: "Any",
    features: Features,
    sequence: int,
    feature: int = FEATURE,
    more: "dict[int, Any] | None" = None,
    component: bytes = b"",
) -> Record:
    """A body on flash, written in pieces as the installer does, and the record that describes it."""
    body = body_of(sequence, 30, more, feature)
    file = features.staging_file()
    for at in range(0, len(body), 256):
        flash.append(file, body[at : at + 256])
    named = component or str(feature).encode()
    record = Record(PUBLISHER, named, feature, sequence, 2, file, len(body), sha256(body).digest(), STAGED, sequence)
    record.brings(features.verify(record))
    return record


SCENARIOS = {"life": Life, "failing": Failing}
