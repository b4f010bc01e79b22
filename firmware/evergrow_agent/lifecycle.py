"""The life of a version once its body is on flash: staged, on trial, confirmed or reverted, removed (SPEC section 9).

Nothing here waits: `step` looks at what is due and does it, at a safe point of the appliance where one is needed. A boot during a
trial is counted on flash before anything of the feature is used, so that one that never gets far reverts by itself:

    file `trial`   a `checked` byte: boots since the appliance last ran well for HEALTHY_MS
"""

from evergrow_agent import checked, heap
from evergrow_agent.features import Features
from evergrow_agent.records import LEAVING, STAGED, TRIAL, Record
from evergrow_agent.reports import Reports
from evergrow_protocol.errors import BAD_DIGEST, BUSY, EXPIRED, INVALID_STATE, STALE, ProtocolError
from evergrow_protocol.feature import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FILE = "trial"
MAX_BOOTS = 3
MAX_BAD_CYCLES = 3
HEALTHY_MS = 60_000
MAX_HOURS = 24  # on trial without the cloud: perhaps it is the feature that keeps it away
HOUR_MS = 3_600_000
MIN_HEAP_BYTES = 4096  # with less left, the next connection to the cloud may fail
RETRY_MS = 60_000  # after the flash refused a write


class Lifecycle:
    """`clock`: the appliance's. `is_safe()`: whether no cycle runs and nothing is hazardous. `local_minute()`: minutes since
    local midnight, None while unknown; `quiet`: (from, to) in such minutes when nobody minds a change, None for always.

    `changed()`, to be set, is called when other features are active than before: birth has to be said again.
    """

    def __init__(
        self,
        features: Features,
        reports: Reports,
        flash: "Any",
        clock: "Any",
        is_safe: "Callable[[], bool]",
        local_minute: "Callable[[], int | None]",
        quiet: "tuple[int, int] | None" = None,
    ) -> None:
        self.changed: "Callable[[], None]" = _nothing
        self._features = features
        self._reports = reports
        self._flash = flash
        self._clock = clock
        self._is_safe = is_safe
        self._local_minute = local_minute
        self._quiet = quiet
        self._counted = False  # cycles in records that are not on flash yet
        self._waiting: "list[int]" = []  # transfers whose waiting was reported
        self._failed: "list[tuple[Record, str]]" = []  # confirmed ones, which is not on flash yet
        self._pause_until_ms = 0
        self._started_ms = clock.ticks_ms()
        self._on_trial = False  # the file `trial` is there

    def boot(self) -> None:
        """To be called once, before any feature is used. Never raises."""
        try:
            for record in self._features.in_state(STAGED):
                if not record.whole and record.state == STAGED:
                    self._features.refuse(record.transfer, BUSY, "damaged on flash")
            for record in self._features.in_state(TRIAL):
                if not record.whole and record.state == TRIAL:
                    self._features.revert(record.transfer, "damaged on flash", BAD_DIGEST)
            stored = checked.load(self._flash, FILE)
            self._on_trial = stored is not None
            if not self._features.in_state(TRIAL):
                self._end_count()
                return
            boots = (stored[0] if stored else 0) + 1
            if boots > MAX_BOOTS:
                for record in self._features.in_state(TRIAL):
                    if record.state == TRIAL:
                        self._features.revert(
                            record.transfer, f"{MAX_BOOTS} starts, and none went well for {HEALTHY_MS // 1000} s"
                        )
                self._end_count()
                return
            self._on_trial = True
            checked.save(self._flash, FILE, bytes((boots,)))
        except (OSError, ProtocolError):
            pass  # The flash has a bad day; features are as they are.
        self._begin_trials()

    @property
    def busy(self) -> bool:
        """Whether something waits for its time."""
        for record in self._features.records:
            if record.state in (STAGED, TRIAL, LEAVING):
                return True
        return self._on_trial or bool(self._failed)

    def step(self) -> None:
        """Do what is due. Never raises."""
        now_ms = self._clock.ticks_ms()
        if now_ms < self._pause_until_ms:
            return
        try:
            if self._on_trial and now_ms - self._started_ms >= HEALTHY_MS:
                self._end_count()
            self._count_hours(now_ms)
            if self._counted:
                self._features.save()
                self._counted = False
            while self._failed:
                self._features.fail(*self._failed[0])
                self._failed.pop(0)
            for record in self._features.in_state(TRIAL):
                if record.state == TRIAL:  # not ended together with another one of its transfer
                    self._try(record, now_ms)
            safe = self._is_safe()
            for record in self._features.in_state(LEAVING) if safe else ():
                if record.state == LEAVING and self._features.remove(record.publisher, record.feature):
                    self.changed()
            for record in self._features.in_state(STAGED):
                if record.state == STAGED:
                    self._activate_staged(record.transfer, safe)
        except (OSError, ProtocolError):
            self._pause_until_ms = now_ms + RETRY_MS

    # -- what others tell

    def place(self, news: "list[Record]") -> int:
        """Activate versions that are whole on flash if that may be now, else stage them; the state that they have then.

        Raises OSError, ProtocolError, MemoryError.
        """
        if self._is_safe() and self._may(news):
            self._activate(news)
        else:
            self._features.stage(news)
            known = self._waiting  # perhaps of some that were given up
            self._waiting = [r.transfer for r in self._features.in_state(STAGED) if r.transfer in known] + [news[0].transfer]
        return news[0].state

    def cancel(self, transfer: int) -> bool:
        """Give up what that transfer has staged. False: nothing. OSError."""
        if any([record.transfer == transfer for record in self._features.in_state(STAGED)]):
            self._features.refuse(transfer, EXPIRED, "cancelled")
            return True
        return False

    def consent(self, publisher: int, feature: int, agreed: bool) -> bool:
        """A person has agreed to a staged feature, or declined. False: it does not wait for that. OSError."""
        for record in self._features.in_state(STAGED):
            if record.publisher == publisher and record.feature == feature and record.consent:
                if agreed:
                    record.good = 1
                    self._features.save()
                else:
                    self._features.refuse(record.transfer, INVALID_STATE, "declined by a person")
                return True
        return False

    def remove(self, publisher: int, feature: int) -> bool:
        """Remove a feature, now if that is safe, else durably at the next safe point. False: there is none.

        OSError; ProtocolError STALE while another one needs it.
        """
        self._features.check_needed([r for r in self._features.records if (r.publisher, r.feature) == (publisher, feature)])
        if not self._is_safe():
            return self._features.leave(publisher, feature)
        found = self._features.remove(publisher, feature)
        if found:
            self.changed()
        return found

    def on_birth(self) -> None:
        """Birth is being made: it lists what is active now."""
        for record in self._features.in_state(TRIAL):
            record.announced = True

    def on_welcome(self) -> None:
        """The cloud has answered the last birth: it was reached by an appliance that runs what that birth listed."""
        for record in self._features.in_state(TRIAL):
            record.reached = record.announced
            if record.reached and record.hours:
                record.hours = 0
                self._counted = True

    def on_cycle(self, used: "list[tuple[int, int]]", fault: bool) -> None:
        """A cycle has ended that used these features."""
        for record in self._features.in_state(TRIAL):
            if (record.publisher, record.feature) in used:
                record.good += not fault
                record.bad += fault
                self._counted = True
                if record.bad >= MAX_BAD_CYCLES:
                    record.broken = f"{record.bad} cycles with it ended in a fault"

    def fail(self, publisher: int, feature: int, why: str) -> bool:
        """A feature has misbehaved beyond what is allowed: on trial it is reverted at the next safe point, else it is out of use
        until the next boot, or for good (EG-CODE-009). True: it was in use until now."""
        for record in self._features.records:
            if record.active and record.publisher == publisher and record.feature == feature:
                if record.state == TRIAL:
                    record.broken = record.broken or why
                else:
                    record.whole = False
                    record.bad += 1
                    self._failed.append((record, why))
                    return True
        return False

    def runs(self, publisher: int, feature: int, runs: bool) -> None:
        """The code of a feature was started, or stopped: its trial counts from when it began to run."""
        for record in self._features.in_state(TRIAL):
            if record.publisher == publisher and record.feature == feature:
                record.since_ms = self._clock.ticks_ms() if runs else -1

    # -- how

    def _count_hours(self, now_ms: int) -> None:
        """Of trials without the cloud, over all boots; each boot that went well for a while counts as one at least."""
        for record in self._features.in_state(TRIAL):
            if not record.reached and now_ms >= record.hour_ms:
                record.hour_ms = now_ms + HOUR_MS
                record.hours += 1
                self._counted = True
                if record.hours > MAX_HOURS:
                    record.broken = record.broken or f"{MAX_HOURS} hours without the cloud"

    def _try(self, record: Record, now_ms: int) -> None:
        """End a trial, if it is to end now."""
        group = [r for r in self._features.in_state(TRIAL) if r.transfer == record.transfer]
        broken = [r.broken for r in group if r.broken]
        if not broken and all([_passed(r, now_ms) for r in group]):
            free = heap.free()
            if free is None or free >= MIN_HEAP_BYTES:
                self._features.confirm(record.transfer)
                self._end_count_without_trials()
                return
            broken = [f"{free} bytes of heap are left with it, of {MIN_HEAP_BYTES}"]
        if broken and self._is_safe():
            self._features.revert(record.transfer, broken[0])
            self._end_count_without_trials()
            self.changed()

    def _activate_staged(self, transfer: int, safe: bool) -> None:
        news = [record for record in self._features.in_state(STAGED) if record.transfer == transfer]
        try:
            if safe and self._may(news):
                self._activate(news)
                if news[0].state == TRIAL:
                    self._reports.passing(transfer, TRIAL, news[0].named)
            elif transfer not in self._waiting:
                self._waiting.append(transfer)
                self._reports.passing(transfer, STAGED, news[0].named)
        except (ProtocolError, MemoryError) as exc:
            if isinstance(exc, ProtocolError) and exc.code == STALE:
                self._features.refuse(transfer, STALE, exc.text)
            else:
                self._features.refuse(transfer, BUSY, "damaged on flash")

    def _activate(self, news: "list[Record]") -> None:
        agreed = [record.good for record in news]
        self._end_count()  # boots before do not count against it
        for record in news:
            record.good = record.bad = 0
        try:
            if news[0].file:
                self._features.activate(news)
            else:
                self._features.check_needed(news)  # again: something may have come that does
                self._features.uninstall(news)
        except Exception:
            for record, good in zip(news, agreed):
                record.good = good
            raise
        if news[0].transfer in self._waiting:
            self._waiting.remove(news[0].transfer)
        self._begin_trials()
        self.changed()

    def _begin_trials(self) -> None:
        for record in self._features.in_state(TRIAL):
            if not record.hour_ms:
                now_ms = self._clock.ticks_ms()
                record.hour_ms = now_ms + HEALTHY_MS
                if record.kind != CODE:
                    record.since_ms = now_ms

    def _may(self, news: "list[Record]") -> bool:
        """Whether people let it be activated now."""
        for record in news:
            if record.consent and not record.good:
                return False
            if record.quiet and self._quiet:
                minute = self._local_minute()
                start, end = self._quiet
                if minute is None or (minute - start) % 1440 >= (end - start) % 1440:
                    return False
        return True

    def _end_count_without_trials(self) -> None:
        if not self._features.in_state(TRIAL):
            self._end_count()

    def _end_count(self) -> None:
        """Boots are counted from none again. OSError."""
        if self._on_trial:
            self._flash.remove(FILE)
            self._on_trial = False


def _passed(record: Record, now_ms: int) -> bool:
    long_enough = 0 <= record.since_ms <= now_ms - 1000 * record.trial_s
    return record.reached and long_enough and record.good >= record.trial_cycles


def _nothing() -> None:
    pass
