"""The life of a feature and its transfer as scenarios for `cutpoints` (SPEC section 9). Portable."""

import asyncio
from hashlib import sha256

from evergrow_agent.features import Features, Record
from evergrow_agent.lifecycle import Lifecycle
from evergrow_agent.progress import Progress
from evergrow_agent.records import MAX_FAILED_BOOTS, STAGED, TRIAL
from evergrow_agent.reports import Reports
from evergrow_agent.updates import Updates
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import REVERT
from evergrow_sim.publisher import Signer, feature_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PUBLISHER = 7
_FEATURE = 1001
_OTHER = 1100
_DRUM = 4
_VENDOR, _CLASS = b"vendor-id-16byte", b"class-id--16byte"
_BLOCK_BYTES = 256

_signers: "dict[str, Signer]" = {}


class _Clock:
    """Time passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ms = 0

    def ticks_ms(self) -> int:
        return self.now_ms

    async def sleep_ms(self, ms: int) -> None:
        await asyncio.sleep(0)
        self.now_ms += ms


class _Appliance:
    class_id = 1
    signals = (1,)
    limits = {_DRUM: (0, 1000)}
    unlockable = {_DRUM: 1400}


class Life:
    """On trial and confirmed, on trial and reverted, staged until consent, removed: each wholly or not at all (EG-FEAT-007).

    What nobody touches stays."""

    def __init__(self) -> None:
        self._allowed: "tuple[int, ...]" = (1,)  # versions of the feature that may be in force now, 0 for none
        self._safe = True

    def prepare(self, flash: "Any") -> None:
        for feature in (_OTHER, _FEATURE):
            features, lifecycle = self._boot(flash)
            lifecycle.place([_write(flash, features, 1, feature)])
            _confirm(lifecycle)

    def live(self, flash: "Any") -> None:
        features, lifecycle = self._boot(flash)
        self._allowed = (1, 2)
        lifecycle.place([_write(flash, features, 2)])
        _confirm(lifecycle)
        self._allowed = (2, 3)
        lifecycle.place([_write(flash, features, 3)])
        lifecycle.fail(_PUBLISHER, _FEATURE, "its code raised")
        lifecycle.step()
        self._allowed = (2, 4)
        lifecycle.place([_write(flash, features, 4, more={9: 1})])
        lifecycle.consent(_PUBLISHER, _FEATURE, True)
        lifecycle.step()
        _confirm(lifecycle)
        self._allowed = (4, 0)
        self._safe = False
        lifecycle.remove(_PUBLISHER, _FEATURE)
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
        lifecycle.consent(_PUBLISHER, _FEATURE, True)
        lifecycle.step()
        _confirm(lifecycle)
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
        if found.pop(_OTHER, 0) != 1:
            return "the feature that nobody touched is gone"
        if found.get(_FEATURE, 0) not in self._allowed:
            return f"version {found} is in force, not one of {self._allowed}"
        bodies = sorted([name for name in flash.names() if name.startswith("feature.")])
        if bodies != sorted([record.file for record in features.records if record.file]):
            return f"bodies {bodies} of {[record.row() for record in features.records]}"
        return None

    def _boot(self, flash: "Any") -> "tuple[Features, Lifecycle]":
        features = Features(flash)
        lifecycle = Lifecycle(features, Reports(features, _deaf), flash, _Clock(), lambda: self._safe, lambda: None)
        lifecycle.boot()
        return features, lifecycle


class Failing:
    """Confirmed code is stopped in one boot after the other, until it is out of use; a newer version is in use (EG-CODE-009)."""

    def __init__(self) -> None:
        self._boots = 0  # in which it was stopped, as far as that must be on flash
        self._newer = False

    def prepare(self, flash: "Any") -> None:
        features, lifecycle = _boot(flash)
        lifecycle.place([_write(flash, features, 1)])
        _confirm(lifecycle)

    def live(self, flash: "Any") -> None:
        for boots in range(1, MAX_FAILED_BOOTS + 1):
            self._fail(flash)
            self._boots = boots
        features, lifecycle = _boot(flash)
        self._newer = True
        lifecycle.place([_write(flash, features, 2)])
        _confirm(lifecycle)

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
        lifecycle.fail(_PUBLISHER, _FEATURE, "its code raised")
        lifecycle.step()


class Transfer:
    """An upgrade of several erase blocks, from the offer to the report; after a cut it goes on where it was (EG-FEAT-016)."""

    def __init__(self) -> None:
        self._asked: "list[tuple[int, int]]" = []  # (payload, block)
        body = _body(2, 2, {80: b"r" * 2000, 81: b"s" * 2000, 82: b"t" * 900})
        component = (b"acme", b"cut")
        if "acme" not in _signers:  # 32,000 hashes: once per process
            _signers["acme"] = Signer("acme", b"acme", _PUBLISHER)
        envelope = _signers["acme"].envelope(feature_manifest(body, component, _VENDOR, _CLASS, 2))
        self._payloads = (envelope, body)
        self._component = dumps(component)

    def prepare(self, flash: "Any") -> None:
        features = Features(flash)
        features.activate(_write(flash, features, 1, component=self._component))
        features.confirm(1)

    def live(self, flash: "Any") -> None:
        self._run(flash)

    def recover(self, flash: "Any") -> None:
        self._boot(flash, _Clock(), _no_link, _deaf)

    def state(self, flash: "Any") -> "Any":
        return Features(flash, Progress(flash).files).active(), sorted(flash.names())

    def check(self, flash: "Any") -> "str | None":
        progress = Progress(flash)
        features = Features(flash, progress.files)
        if features.problems or features.active() not in ([(_PUBLISHER, _FEATURE, 1)], [(_PUBLISHER, _FEATURE, 2)]):
            return f"active {features.active()}, problems {features.problems}"
        pulled = features.active()[0][2] == 2  # then its envelope alone is asked for, to see whether it is whole
        stored = 0 if pulled else max([0] + [flash.size(name) for name in progress.files])
        self._asked = []
        self._run(flash)
        if stored and [1 for payload, block in self._asked if not payload or block < stored // _BLOCK_BYTES]:
            return f"{stored} bytes were there, and {self._asked} was asked for"
        # Cut twice on trial and started twice more, it has started four times without a minute of good work: a crash loop.
        looped = [1 for fields in self._said if fields[0] == 2 and fields[1:3] == [REVERT, 5]]
        if Features(flash).active() != [(_PUBLISHER, _FEATURE, 1 if looped else 2)]:
            return f"offered again it ends with {Features(flash).active()}: {self._said}"
        names = sorted(flash.names())
        if len(names) != 2:
            return f"files are left: {names}"
        return None

    def _boot(self, flash: "Any", clock: _Clock, get: "Any", report: "Any") -> Updates:
        return Updates(
            flash,
            clock,
            clock,
            _Appliance(),
            [_signers["acme"].key],
            (_VENDOR, _CLASS),
            get,
            report,
            lambda: True,
            lambda: None,
            lambda: None,
            None,
            _BLOCK_BYTES,
            0,
            1024,
        )

    def _run(self, flash: "Any") -> None:
        asyncio.new_event_loop()
        asyncio.run(self._offer(flash))

    async def _offer(self, flash: "Any") -> None:
        """One boot with a link: the device is offered the transfer until it says that it is confirmed."""
        clock = _Clock()

        async def get(transfer: int, payload: int, block_bytes: int, first: int, wanted: bytes) -> None:
            data = self._payloads[payload]
            for i in range(8 * len(wanted)):
                if wanted[i >> 3] >> (i & 7) & 1:
                    self._asked.append((payload, first + i))
                    at = (first + i) * block_bytes
                    updates.installer.on_block(transfer, payload, first + i, memoryview(data)[at : at + block_bytes])

        reported: "list[int]" = []
        self._said: "list[Any]" = []

        async def report(fields: "dict[int, Any]") -> None:
            if fields[0] == 2:
                reported.append(fields[2])
            self._said.append([fields[key] for key in range(3)])

        updates = self._boot(flash, clock, get, report)

        def welcomed() -> None:
            updates.lifecycle.on_birth()
            updates.lifecycle.on_welcome()

        updates.lifecycle.changed = welcomed
        welcomed()
        updates.installer.on_offer(2, len(self._payloads[0]))
        running = asyncio.create_task(updates.installer.run())
        for _ in range(5000):
            if running.done() or (4 in reported and not [1 for outcome in updates.features.outcomes if not outcome.told]):
                break
            await asyncio.sleep(0)
        if running.done():
            await running  # power was cut
        running.cancel()
        while not running.done():
            await asyncio.sleep(0)


async def _no_link(transfer: int, payload: int, block_bytes: int, first: int, wanted: bytes) -> bool:
    return False


async def _deaf(fields: "dict[int, Any]") -> bool:
    return False


def _boot(flash: "Any") -> "tuple[Features, Lifecycle]":
    """At a safe point, and without a link."""
    features = Features(flash)
    lifecycle = Lifecycle(features, Reports(features, _deaf), flash, _Clock(), lambda: True, lambda: None)
    lifecycle.boot()
    return features, lifecycle


def _confirm(lifecycle: Lifecycle) -> None:
    """The cloud is reached with what is active."""
    lifecycle.on_birth()
    lifecycle.on_welcome()
    lifecycle.step()


def _body(sequence: int, steps: int, more: "dict[int, Any] | None" = None, feature: int = _FEATURE) -> bytes:
    step = {0: 5, 1: {_DRUM: 45}, 4: 2, 5: 600, 6: 2}
    body: "dict[int, Any]" = {0: 2, 1: feature, 2: "cut", 3: f"{sequence}.0", 5: [feature, [step] * steps]}
    body.update(more or {})
    return dumps(body)


def _write(
    flash: "Any",
    features: Features,
    sequence: int,
    feature: int = _FEATURE,
    more: "dict[int, Any] | None" = None,
    component: bytes = b"",
) -> Record:
    """A body on flash, written in pieces as the installer does, and the record that describes it."""
    body = _body(sequence, 30, more, feature)
    file = features.staging_file()
    for at in range(0, len(body), 256):
        flash.append(file, body[at : at + 256])
    named = component or str(feature).encode()
    record = Record(_PUBLISHER, named, feature, sequence, 2, file, len(body), sha256(body).digest(), STAGED, sequence)
    record.brings(features.verify(record))
    return record


SCENARIOS = {"life": Life, "failing": Failing, "transfer": Transfer}
