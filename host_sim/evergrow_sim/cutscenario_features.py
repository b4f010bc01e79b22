"""The life of a feature and its transfer as scenarios for `cutpoints` (SPEC section 9). Portable."""

from hashlib import sha256

from evergrow_agent.features import Features, Record
from evergrow_agent.lifecycle import Lifecycle
from evergrow_agent.progress import Progress
from evergrow_agent.records import CONFIRMED, MAX_FAILED_BOOTS, REVERTED, STAGED, TRIAL
from evergrow_agent.reports import Reports
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import REVERT
from evergrow_sim.cutscenario_offer import BLOCK_BYTES, CLASS, DRUM, PUBLISHER, VENDOR, Clock, Cloud, boot, deaf, found, signer
from evergrow_sim.publisher import feature_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        wrong = self._look(Features(flash), flash)
        if wrong:
            return wrong
        features, lifecycle = self._boot(flash)
        lifecycle.step()
        lifecycle.consent(PUBLISHER, FEATURE, True)
        lifecycle.step()
        confirm(lifecycle)
        wrong = self._look(features, flash)
        if wrong:
            return f"{wrong}, when all is at rest"
        if features.in_state(STAGED) or features.in_state(TRIAL) or flash.size("trial") >= 0:
            return f"it does not come to rest: {[record.row() for record in features.records]}, {flash.names()}"
        return None

    def _look(self, features: Features, flash: "Any") -> "str | None":
        found = {feature: sequence for _, feature, sequence in features.active()}
        if features.problems:
            return f"problems {features.problems}"
        if found.pop(OTHER, 0) != 1:
            return "the feature that nobody touched is gone"
        if found.get(FEATURE, 0) not in self._allowed:
            return f"version {found} is in force, not one of {self._allowed}"
        bodies = sorted([name for name in flash.names() if name.startswith("feature.")])
        if bodies != sorted([record.file for record in features.records if record.file]):
            return f"bodies {bodies} of {[record.row() for record in features.records]}"
        return None

    def _boot(self, flash: "Any") -> "tuple[Features, Lifecycle]":
        features = Features(flash)
        lifecycle = Lifecycle(features, Reports(features, deaf), flash, Clock(), lambda: self._safe, lambda: None)
        lifecycle.boot()
        return features, lifecycle


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


class Transfer:
    """An upgrade of several erase blocks, from the offer to the report; after a cut it goes on where it was (EG-FEAT-016)."""

    def __init__(self) -> None:
        body = body_of(2, 2, {80: b"r" * 2000, 81: b"s" * 2000, 82: b"t" * 900})
        component = (b"acme", b"cut")
        envelope = signer().envelope(feature_manifest(body, component, VENDOR, CLASS, 2))
        self._cloud = Cloud(2, [envelope, body], CONFIRMED)
        self._component = dumps(component)

    def prepare(self, flash: "Any") -> None:
        features = Features(flash)
        features.activate(write(flash, features, 1, component=self._component))
        features.confirm(1)

    def live(self, flash: "Any") -> None:
        self._cloud.offer(flash)

    def recover(self, flash: "Any") -> None:
        boot(flash)

    def state(self, flash: "Any") -> "Any":
        return found(flash).active(), sorted(flash.names())

    def check(self, flash: "Any") -> "str | None":
        progress = Progress(flash)
        features = Features(flash, progress.files)
        if features.problems or features.active() not in ([(PUBLISHER, FEATURE, 1)], [(PUBLISHER, FEATURE, 2)]):
            return f"active {features.active()}, problems {features.problems}"
        pulled = features.active()[0][2] == 2  # then its envelope alone is asked for, to see whether it is whole
        stored = 0 if pulled else max([0] + [flash.size(name) for name in progress.files])
        cloud = self._cloud
        cloud.offer(flash)
        if stored and [1 for payload, block in cloud.asked if not payload or block < stored // BLOCK_BYTES]:
            return f"{stored} bytes were there, and {cloud.asked} was asked for"
        # Cut twice on trial and started twice more, it has started four times without a minute of good work: a crash loop.
        expected = 1 if cloud.heard(REVERT, REVERTED) else 2
        if Features(flash).active() != [(PUBLISHER, FEATURE, expected)]:
            return f"offered again it ends with {Features(flash).active()}: {cloud.said}"
        names = sorted(flash.names())
        if len(names) != 2:
            return f"files are left: {names}"
        return None


def _boot(flash: "Any") -> "tuple[Features, Lifecycle]":
    """At a safe point, and without a link."""
    features = Features(flash)
    lifecycle = Lifecycle(features, Reports(features, deaf), flash, Clock(), lambda: True, lambda: None)
    lifecycle.boot()
    return features, lifecycle


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


SCENARIOS = {"life": Life, "failing": Failing, "transfer": Transfer}
