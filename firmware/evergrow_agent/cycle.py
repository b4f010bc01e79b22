"""One cycle of the appliance, from its start to a durable usage record; and the one that a power cut ended.

While a cycle runs, a checkpoint says what it used so far: the envelope it would have if power were lost now, and when it
started. After the record is durable the checkpoint goes. Whatever is left of it at boot becomes a record (EG-USE-003), once:
the ledger refuses an id, or a cycle, that it has.

    file `cycle`   start_ms (8) | envelope, as a checked file

A continuous programme has a record for each period, and one when it is stopped or another takes its place. An appliance with a
`base_programme` is never without one: it starts by itself, at boot and when whatever else ran is over; but a continuous one
that a power cut ended goes on in its stead.

Storage never stands in the way: if it fails, the cycle runs, and `failures` counts.
"""

from evergrow_agent import checked, heap
from evergrow_agent.programme import Programme
from evergrow_agent.runner import IDLE
from evergrow_protocol.errors import INVALID_STATE, OUT_OF_RANGE, STORAGE, ProtocolError
from evergrow_protocol.messages import decode_envelope
from evergrow_protocol.registry_common import (
    EVENT_FAULT,
    EVENT_PERIOD_ENDED,
    EVENT_PHASE_CHANGED,
    OUTCOME_FAULT,
    OUTCOME_FINISHED,
    OUTCOME_POWER_LOST,
    OUTCOME_STOPPED,
    USAGE_FEATURES,
    USAGE_OUTCOME,
    USAGE_PROGRAMME,
    USAGE_TRIALS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from typing import Any

    from evergrow_agent.codefeatures import CodeFeatures
    from evergrow_agent.guard import Guard
    from evergrow_agent.ledger import Ledger
    from evergrow_agent.rights import Rights
    from evergrow_agent.runner import Runner
    from evergrow_agent.timebase import Timebase

_FEATURES_MAX = 4  # in one record
_METERS_MAX = 6  # of code features: a record has a bound
_CHECKPOINT_MS = 300_000  # at the latest: a power cut costs no more of what a long phase used
_CHECKPOINT_LONG_MS = 3_600_000  # the same of a continuous programme: 24 writes a day
_BASE_AGAIN_MS = 600_000  # after a fault: records of faults are not to fill the flash
_TIME_MS = 5_000
_MEND_MS = 60_000  # between attempts to store, without a cycle, what the flash had no room for or refused

_FILE = "cycle"


class Cycle:
    """Drives `runner` and reports to `ledger`. `features`: None, or the features port; the base programmes never need it.
    `rights`: None, when all features may be used, or who is asked.

    `boot`: the number of this boot, to be set before the first start. `active`: a cycle, or a period of what runs without end,
    is under way. `code`: the code features, None while there are none.
    `wake()`, to be set, is called when something is started, stopped or mended: there is to be a tick soon, and more to say.
    `on_finished(features used, whether in a fault)`, to be set, is called at the end of each cycle.
    """

    def __init__(
        self, runner: "Runner", guard: "Guard", ledger: "Ledger", flash: "Any", timebase: "Timebase", features: "Any" = None
    ) -> None:
        self.boot = 0
        self.failures = 0
        self.features = features
        self.code: "CodeFeatures | None" = None
        self.on_finished: "Callable[[list[tuple[int, int]], bool], None]" = _ignore
        self.rights: "Rights | None" = None
        self.wake: "Callable[[], None]" = _nothing
        self._runner = runner
        self._guard = guard
        self._ledger = ledger
        self._flash = flash
        self._timebase = timebase
        self._seq = 0
        self._start_ms = 0
        self._saved_ms = 0
        self.active = False
        self._base: int = getattr(guard.appliance, "base_programme", 0)
        self._base_ms = 0  # when it may start
        self._time_ms = 0  # when rights are told the time
        self._before = 0  # the programme that lost power, and may go on in its stead
        self._owners: "list[tuple[int, tuple[int, int]]]" = []  # (actuator, the feature whose unlock is in force)
        self._programme_of: "list[tuple[int, int]]" = []  # the feature whose programme was started last
        self._trials: "list[tuple[int, int]]" = []  # features used under a trial
        self._counted: "list[tuple[int, int]]" = []  # features whose use in this cycle is durable

    def recover(self) -> None:
        """At boot, after `ledger.load`: report the cycle that lost power, if one did."""
        try:
            content = checked.load(self._flash, _FILE)
            if content is None:
                return
            if content:
                boot, seq, t, body = decode_envelope(memoryview(content)[8:])
                boot = self._ledger.number(boot)
                self._before = body.get(USAGE_PROGRAMME) or body.get(USAGE_FEATURES, (0, 0))[1]
                if not self._ledger.append(boot, seq, t, body, int.from_bytes(content[:8], "big")):
                    return
            else:
                self.failures += 1
                self._ledger.lost += 1
            self._flash.remove(_FILE)
        except (OSError, ProtocolError):
            self.failures += 1

    def renumber(self, boot: int) -> None:
        """The boot has another number from now on, and so has the record of the cycle that runs."""
        self.boot = boot
        if self.active:
            self._checkpoint(self._saved_ms)

    @property
    def last_usage(self) -> "tuple[int, int] | None":
        """(boot, seq) of the record of the cycle that runs, or of the last one of this boot; None before the first."""
        return (self.boot, self._seq) if self._seq else None

    def start(
        self, programme_id: int, now_ms: int, accepted: "Callable[[], None] | None" = None, continuous: bool = False
    ) -> None:
        """Start a programme. ProtocolError: 5 not known here, 11 another runs, 7 not ready yet; 10 not granted or revoked, 15 not
        entitled, 13 when a use that is to be counted cannot be; and those of a bad programme.

        A continuous programme that runs is over with that: its record is made first. `accepted()` is called when the new one
        will run, before anything of it is on flash. `continuous`: one that is not is refused, with code 11.
        """
        if self._runner.state != IDLE and not self._runner.period_ms:
            raise ProtocolError(INVALID_STATE, f"programme {self._runner.programme_id} is running")
        appliance = self._guard.appliance
        data = appliance.programmes.get(programme_id)
        owners: "list[tuple[int, int]]" = []
        if data is None:
            found = self.features.programme(programme_id) if self.features else None
            if not found:
                raise ProtocolError(OUT_OF_RANGE, f"no programme {programme_id} on this appliance")
            data, owner = found
            owners.append(owner)
        programme = Programme(data, appliance.signals, self._guard.free)
        if continuous and not programme.period_s:
            raise ProtocolError(INVALID_STATE, f"programme {programme_id} is not continuous")
        self._runner.check_ready()
        granted = self._admit(owners[0], programme, now_ms) if owners else None
        if self.active:
            self._finish(now_ms)
        heap.collect()  # What is made from here on stays until the next start.
        self._counted.clear()
        self._trials.clear()
        try:
            if self.code:
                self.code.sync(False, False)  # who may go on is decided now
        except Exception:  # No memory for it, say: the appliance can do without.
            self.failures += 1
        if owners and self.rights:
            self._note_use(self.rights, owners[0])
        self._apply_unlocks()
        self._programme_of[:] = owners
        self._runner.start(programme, now_ms, self._programme_of, granted)
        self.active = True
        self._start_ms = now_ms
        try:
            if accepted:
                accepted()
        except Exception:
            self.failures += 1
        try:
            self._seq = self._ledger.begin(self.boot)
        except Exception:
            self.failures += 1
        self._checkpoint(now_ms)
        self.wake()

    def tick(self, now_ms: int) -> int:
        """Let the runner tick, and keep what follows from it; returns its event."""
        runner = self._runner
        event = runner.tick(now_ms)
        period_ms = runner.period_ms
        if self.rights and now_ms >= self._time_ms:
            self._time_ms = now_ms + _TIME_MS
            self.rights.tick()
        if self.active:
            if runner.state == IDLE:
                self.active = False
                self._finish(now_ms)
            elif period_ms and now_ms - self._start_ms >= period_ms:
                self._resume(runner.programme_id, now_ms)
                event = event or EVENT_PERIOD_ENDED
            elif (
                self._count_used()
                or (not period_ms and event == EVENT_PHASE_CHANGED)
                or event == EVENT_FAULT
                or self._is_due(now_ms)
            ):
                self._checkpoint(now_ms)
        elif self._base and runner.state == IDLE and now_ms >= self._base_ms:
            self._resume(self._before or self._base, now_ms)
            self._before = 0
        elif not self._ledger.settled and now_ms - self._saved_ms >= _MEND_MS:
            self._saved_ms = now_ms
            self._ledger.mend()
            self.wake()
        return event

    def stop(self, now_ms: int) -> None:
        """A person or the cloud ends what runs, safely. The base programme goes on, or takes over."""
        runner = self._runner
        self.wake()
        if not self._base or not runner.period_ms:
            runner.stop(now_ms)
        elif runner.programme_id != self._base:
            runner.outcome = OUTCOME_STOPPED
            self._resume(self._base, now_ms)

    def expel(self, owner: "tuple[int, int]", now_ms: int) -> None:
        """That feature is revoked: its programme, if it runs without end, ends now and not with its period."""
        if self._runner.period_ms and owner in self._programme_of:
            self.stop(now_ms)

    def _resume(self, programme_id: int, now_ms: int) -> None:
        """Start a programme anew; one that cannot be (its feature is gone, say) gives way to the base programme, or to rest."""
        for number in (programme_id, self._base):
            try:
                self.start(number, now_ms, None, True)
                return
            except (ProtocolError, OSError, MemoryError):
                pass
        self._base_ms = now_ms + _MEND_MS
        self._runner.stop(now_ms)

    def _is_due(self, now_ms: int) -> bool:
        return now_ms - self._saved_ms >= (_CHECKPOINT_LONG_MS if self._runner.period_ms else _CHECKPOINT_MS)

    def _admit(self, owner: "tuple[int, int]", programme: Programme, now_ms: int) -> "Container[int] | None":
        """Whether a feature's programme may run now, what it may drive; and its use is counted before it does (EG-ENT-009)."""
        rights = self.rights
        if rights is None:
            return None
        granted = rights.admit(owner, programme)
        try:
            rights.use(owner, self.boot, now_ms)
        except Exception:
            raise ProtocolError(STORAGE, "the use of a feature cannot be counted")
        return granted

    def count_code(self, now_ms: int) -> None:
        """To be called when code features had their tick: what they have used is counted before the next."""
        if self.active and self._count_used():
            self._checkpoint(now_ms)

    def _count_used(self) -> bool:
        """Count the unlocks and the code features that this tick was the first to use; whether there were any."""
        found = False
        for actuator, owner in self._owners:
            if actuator in self._guard.over_base:
                found |= self._count(owner)
        if self.code and self.code.runtime:
            for running in self.code.runtime.features:
                if running.api._used:
                    found |= self._count(running.owner)
        return found

    def _count(self, owner: "tuple[int, int]") -> bool:
        """Count a use, once in a cycle; whether it was the first."""
        rights = self.rights
        if rights is None or owner in self._counted:
            return False
        try:
            rights.use(owner, self.boot, self._start_ms)
        except (OSError, MemoryError):
            self.failures += 1
        self._note_use(rights, owner)
        return True

    def _note_use(self, rights: "Rights", owner: "tuple[int, int]") -> None:
        self._counted.append(owner)
        if rights.trial(owner):
            self._trials.append(owner)
        rights.save_time()

    def _apply_unlocks(self) -> None:
        """Raise the limits that active features raise, and no other; of several features the one that raises most counts."""
        guard = self._guard
        for actuator in guard.appliance.unlockable:
            guard.relock(actuator)
        self._owners.clear()
        try:
            for actuator, maximum, owner in self.features.unlocks() if self.features else ():
                if self.rights is None or self.rights.admits_unlock(owner, actuator):
                    self._unlock(actuator, maximum, owner)
        except Exception:  # Whatever is wrong with them: the appliance can do without.
            self.failures += 1

    def _unlock(self, actuator: int, maximum: int, owner: "tuple[int, int]") -> None:
        try:
            before = self._guard.limit(actuator)[1]
            if maximum > before and self._guard.unlock(actuator, maximum) > before:
                self._owners[:] = [row for row in self._owners if row[0] != actuator] + [(actuator, owner)]
        except ProtocolError:
            pass  # Not something that this appliance can do.

    def _record(self, outcome: "int | None" = None) -> "dict[int, Any]":
        """The runner's record, with the unlocks and the code features that the cycle really used beside the programme's."""
        record = self._runner.record(outcome)
        if record[USAGE_OUTCOME] == OUTCOME_FINISHED:
            del record[USAGE_OUTCOME]  # What is not said is that.
        used = self._used(record.get(USAGE_FEATURES, ()))
        meters = 0
        for owner, counted in self.code.runtime.used() if self.code and self.code.runtime else ():
            if owner not in used:
                used.append(owner)
            for meter, amount in counted.items():
                if meters < _METERS_MAX:
                    record[meter] = amount
                    meters += 1
        used = used[:_FEATURES_MAX]
        if used:
            record[USAGE_FEATURES] = [number for owner in used for number in owner]
            if used[0][1] == record[USAGE_PROGRAMME]:
                del record[USAGE_PROGRAMME]  # EG-USE-010
        trials = sum([1 << i for i, owner in enumerate(used) if owner in self._trials])
        if trials:
            record[USAGE_TRIALS] = trials
        return record

    def _used(self, owners: "Sequence[tuple[int, int]]") -> "list[tuple[int, int]]":
        """`owners` of the programme, and those of the unlocks that the cycle went beyond the base limit with."""
        used = list(owners)
        for actuator, owner in self._owners:
            if actuator in self._guard.over_base and owner not in used:
                used.append(owner)
        return used

    def _checkpoint(self, now_ms: int) -> None:
        self._saved_ms = now_ms
        try:
            envelope = self._ledger.encode(self.boot, self._seq, self._timebase.t(), self._record(OUTCOME_POWER_LOST))
            checked.save(self._flash, _FILE, self._start_ms.to_bytes(8, "big") + bytes(envelope))
        except Exception:  # Whatever it is, the cycle goes on.
            self.failures += 1

    def _finish(self, now_ms: int) -> None:
        if self._runner.outcome == OUTCOME_FAULT:
            self._base_ms = now_ms + _BASE_AGAIN_MS
        if self.rights:
            self._count_used()
            if self._counted:
                self.rights.save_time()
        try:
            record = self._record()
            used = record.get(USAGE_FEATURES, [])
            pairs = [(used[i], used[i + 1]) for i in range(0, len(used), 2)]
            self.on_finished(pairs, record.get(USAGE_OUTCOME) == OUTCOME_FAULT)
            if self.code and self.code.runtime:
                self.code.runtime.told(record)
            if self._ledger.append(self.boot, self._seq, self._timebase.t(), record, self._start_ms):
                self._flash.remove(_FILE)
        except Exception:
            self.failures += 1


def _nothing() -> None:
    pass


def _ignore(used: "list[tuple[int, int]]", fault: bool) -> None:
    pass
