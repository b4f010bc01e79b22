"""The features of this device: which are in force, what they bring, and the one atomic record that decides it (EG-FEAT-007).

    file `features`    the index, a `checked` file (see `records`)
    file `feature.N`   the body of one version of one feature

A new body is written to a file that no record names; the index, written atomically, is what stages it, puts it on trial, confirms
it or takes it back. A file that no record names is removed at boot. The record of a removed feature stays, without a file,
as long as there is room.
"""

from hashlib import sha256

from evergrow_agent import checked, heap, records
from evergrow_agent.records import CONFIRMED, KEPT, LEAVING, MAX_OUTCOMES, MAX_RECORDS, REMOVED, REVERTED, STAGED, TRIAL, Outcome
from evergrow_agent.records import Record as Record
from evergrow_protocol.cbor import Decoder, dumps
from evergrow_protocol.errors import BAD_DIGEST, BUSY, OK, REVERT, STALE, STORAGE, TOO_LARGE, ProtocolError
from evergrow_protocol.feature import MAX_BODY, Feature, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Buffer = bytes | bytearray | memoryview

_OUTCOMES_BYTES = 192  # MAX_OUTCOMES without texts; with them it takes more

INDEX = "features"
BODY_PREFIX = "feature."


class Features:
    """Loads the index from `flash`. Never raises for what it finds there: a damaged feature is left out. Files in `keep` are not
    cleaned away, though no record names them.

    `records`: all of them, to be read. `problems`: [(code, publisher, feature, sequence)] of what was left out, for a report; all
    0 but the code is the index itself. `untold`: how many outcomes the cloud does not know yet.
    """

    def __init__(self, flash: "Any", keep: "Sequence[str]" = ()) -> None:
        self.problems: "list[tuple[int, int, int, int]]" = []
        self.records: "list[Record]" = []
        self._floors: "dict[int, int]" = {}
        self.untold = 0
        self._outcomes = bytearray(_OUTCOMES_BYTES)  # encoded: they stay long, are needed seldom, and so take little
        self._flash = flash
        self._readable = self._settled = True
        try:
            self.records, outcomes, self._floors = records.decode(checked.load(flash, INDEX))
            self._remember(outcomes, _encoded(outcomes))
        except OSError:
            # The flash may have a bad day: keep the files, and overwrite nothing.
            self._readable = False
            self.problems.append((STORAGE, 0, 0, 0))
            return
        except ProtocolError as exc:
            self.problems.append((exc.code, 0, 0, 0))
        for record in self.records:
            if record.file:
                self._check(record)
        self.clean(keep)

    # -- what there is

    def active(self) -> "list[tuple[int, int, int]]":
        """[(publisher, feature, sequence)], as birth lists them."""
        return [(r.publisher, r.feature, r.sequence) for r in self.records if r.active]

    def programme(self, programme_id: int) -> "tuple[memoryview, tuple[int, int]] | None":
        """A programme that a feature brings: (its encoding, (publisher, feature)); None if there is none.

        The body is read and verified each time. One that has decayed since boot is taken out of use and counts as none.
        """
        for record in self.records:
            if record.active and record.programme_id == programme_id:
                body = self._check(record)
                if body and body.programme:
                    return body.programme, (record.publisher, record.feature)
        return None

    def unlocks(self) -> "list[tuple[int, int, tuple[int, int]]]":
        """[(actuator id, maximum, (publisher, feature))] of every active unlock."""
        found = []
        for record in self.records:
            if record.active:
                for actuator, maximum in record.unlocks.items():
                    found.append((actuator, maximum, (record.publisher, record.feature)))
        return found

    def find(self, publisher: int, component: "Buffer") -> "Record | None":
        """The record of a publisher's component that is in force, or that of its removal."""
        for record in self.records:
            if record.publisher == publisher and record.component == component and record.state not in (STAGED, KEPT):
                return record
        return None

    def sequence(self, publisher: int, component: "Buffer") -> int:
        """The largest sequence number of a publisher's component that was ever installed or is staged, -1 for none."""
        found = -1
        for record in self.records:
            if record.publisher == publisher and record.component == component:
                found = max(found, record.sequence)
        return found

    def floor(self, publisher: int) -> int:
        """The least sequence number that a publisher's component may have which was never here, or was forgotten."""
        return self._floors.get(publisher, 0)

    def in_state(self, state: int) -> "list[Record]":
        """The records of that state, the longest there first."""
        return [record for record in self.records if record.state == state]

    def of_transfer(self, transfer: int) -> "list[Record]":
        """What a transfer brought and is still there."""
        return [record for record in self.records if record.transfer == transfer and record.state != REMOVED]

    @property
    def outcomes(self) -> "list[Outcome]":
        """What became of the latest transfers, oldest first: a new list each time."""
        decoder = Decoder(self._outcomes)
        return [Outcome(*row) for row in decoder.decode()] if self._outcomes[0] else []

    def outcome(self, transfer: int) -> "Outcome | None":
        """How a transfer ended, if that is remembered and was final."""
        for outcome in self.outcomes:
            if outcome.transfer == transfer and transfer and outcome.code != BUSY:
                return outcome
        return None

    # -- before something is staged

    def staging_file(self, taken: "Sequence[str]" = ()) -> str:
        """A name for a new body: of no file that a record names, nor of one in `taken`. What was left there is removed.

        Raises OSError; ProtocolError STORAGE as long as it is unknown which files are named.
        """
        if not self._readable:
            raise ProtocolError(STORAGE, "the index of features could not be read at boot")
        names = [record.file for record in self.records]
        number = 0
        while BODY_PREFIX + str(number) in names or BODY_PREFIX + str(number) in taken:
            number += 1
        self._flash.remove(BODY_PREFIX + str(number))
        return BODY_PREFIX + str(number)

    def verify(self, record: Record) -> Feature:
        """The body that `record` describes, read from flash, compared with its digest and parsed.

        Raises ProtocolError (BAD_DIGEST, or what is wrong with the body), OSError, MemoryError.
        """
        heap.collect()  # What it brings stays, and it is the largest that is ever read in one piece.
        data = self._flash.read(record.file) if self._flash.size(record.file) == record.size <= MAX_BODY else None
        if data is None or sha256(data).digest() != record.digest:
            raise ProtocolError(BAD_DIGEST, f"{record.file} is not the {record.size} bytes that were signed")
        return parse(data)

    def check_conflicts(self, new: Record, beside: "Sequence[Record]" = ()) -> None:
        """ProtocolError STALE when another component, also one that comes `beside` it, has the feature id or the programme."""
        for record in list(self.records) + list(beside):
            if not record.file or record.same_component(new):
                continue
            if record.publisher == new.publisher and record.feature == new.feature:
                raise ProtocolError(STALE, f"feature {new.feature} is another component of this publisher")
            if new.programme_id and record.programme_id == new.programme_id:
                raise ProtocolError(STALE, f"programme {new.programme_id} is brought by another feature")

    # -- the life of a version; each is one write of the index, and raises OSError

    def stage(self, news: "list[Record]") -> None:
        """Keep versions whose files are there until they are activated; older staged ones of their components are refused."""
        self._place(news, STAGED, self.records)

    def activate(self, news: "Record | list[Record]") -> None:
        """Put versions on trial, in place of those in force, which are kept: this is the moment of EG-FEAT-007.

        They may be staged or not. Raises also ProtocolError, MemoryError: see `verify`; STALE when what they need is not here.
        """
        if isinstance(news, Record):
            news = [news]
        here = [r.component for r in self.records if r.active and r.state != LEAVING] + [r.component for r in news]
        for record in news:
            if [1 for needed in record.needs if needed not in here]:
                raise ProtocolError(STALE, f"what feature {record.publisher}/{record.feature} needs is not here any more")
            record.brings(self.verify(record))
        self._place(news, TRIAL, [record for record in self.records if record not in news])

    def confirm(self, transfer: int) -> None:
        """What that transfer has on trial is confirmed, and what it replaced is given up."""
        trial = [record for record in self.records if record.state == TRIAL and record.transfer == transfer]
        left = [r for r in self.records if r.state != KEPT or not _matches(r, trial)]
        for record in trial:
            record.good = record.bad = 0  # from here on `bad` counts something else, and `good` nothing
        self._commit(left, [Outcome(transfer, OK, CONFIRMED, trial[0].named, "")], [(record, CONFIRMED) for record in trial])
        self._settled = False

    def settle(self) -> None:
        """To be called when nothing is under way: what confirmed ones left is made anew, where it splits no free memory."""
        if not self._settled:
            self._settled = True
            for index, record in enumerate(self.records):
                if record.state == CONFIRMED:
                    self.records[index] = records.renewed(record)
            heap.collect()
            self.records = list(self.records)

    def fail(self, record: Record, text: str) -> None:
        """Keep that a confirmed version was stopped in this boot, and tell it."""
        self._commit(self.records, [Outcome(0, REVERT, REVERTED, record.named, text)])

    def revert(self, transfer: int, text: str, code: int = REVERT) -> None:
        """What that transfer has on trial is given up, and what it replaced is in force again, or nothing is."""
        trial = [record for record in self.records if record.state == TRIAL and record.transfer == transfer]
        back = [(record, CONFIRMED) for record in self.records if record.state == KEPT and _matches(record, trial)]
        left = [record for record in self.records if record not in trial]
        for record in trial:
            if not _matches(record, [row[0] for row in back]):
                left.append(record.gone())
        self._commit(left, [Outcome(transfer, code, REVERTED, trial[0].named, text)], back)

    def refuse(self, transfer: int, code: int, text: str) -> None:
        """Give up what that transfer has staged."""
        staged = [record for record in self.records if record.state == STAGED and record.transfer == transfer]
        left = [record for record in self.records if record not in staged]
        self._commit(left, [Outcome(transfer, code, records.REFUSED, staged[0].named, text)])

    def check_needed(self, removals: "list[Record]") -> None:
        """ProtocolError STALE when a version in force, or one that may come back, needs one of these components."""
        for record in self.records:
            if (record.in_force or record.state == KEPT) and not _matches(record, removals):
                for removal in removals:
                    if removal.component in record.needs:
                        raise ProtocolError(STALE, f"feature {record.publisher}/{record.feature} needs it")

    def leave(self, publisher: int, feature: int) -> bool:
        """A feature is to be removed at the next safe point; until then it stays in force. False: there is none."""
        found = [record for record in self._of(publisher, feature) if record.state in (TRIAL, CONFIRMED)]
        if found:
            self._commit(self.records, changes=[(record, LEAVING) for record in found])
        return bool(self._of(publisher, feature))

    def remove(self, publisher: int, feature: int) -> bool:
        """Take a feature out, with all its versions. Its sequence number is kept, so that an older version cannot come in its
        place. False: there is no such feature."""
        found = self._of(publisher, feature)
        if found:
            gone = found[0].gone()
            gone.sequence = max([record.sequence for record in found])
            self.uninstall([gone])
        return bool(found)

    def uninstall(self, removals: "list[Record]") -> None:
        """Take components out; of each nothing stays but the sequence number of its removal."""
        gone = [record.gone() for record in removals]
        outcomes = [Outcome(removals[0].transfer, OK, REMOVED, gone[0].named, "")]
        left = []
        for record in self.records:
            if not _matches(record, gone):
                left.append(record)
            elif record.file and record.transfer and record.state not in (KEPT, CONFIRMED) and not self.outcome(record.transfer):
                outcomes.append(Outcome(record.transfer, REVERT, REVERTED, record.named, "removed"))
        self._commit(left + gone, outcomes)
        for record in removals:
            record.state = REMOVED

    def save(self) -> None:
        """Write what was counted in the records."""
        self._commit(self.records)

    def tell(self, outcome: Outcome) -> None:
        """The cloud was told of it."""
        self._mark(outcome, True)
        self._commit(self.records)

    def repeat(self, outcome: Outcome) -> None:
        """The cloud is to be told of it once more."""
        self._mark(outcome, False)

    def clean(self, keep: "Sequence[str]" = ()) -> None:
        """Remove the bodies that neither a record nor `keep` names. A file that cannot be removed costs room, nothing else."""
        if not self._readable:
            return
        names = [record.file for record in self.records]
        try:
            for name in self._flash.names():
                if name.startswith(BODY_PREFIX) and name not in names and name not in keep:
                    self._flash.remove(name)
        except OSError:
            pass

    # -- how

    def _of(self, publisher: int, feature: int) -> "list[Record]":
        return [r for r in self.records if r.file and r.publisher == publisher and r.feature == feature]

    def _place(self, news: "list[Record]", state: int, others: "list[Record]") -> None:
        left = []
        changes = [(record, state) for record in news]
        outcomes = []
        for record in others:
            replaced = _matches(record, news)
            if replaced and record.state in (STAGED, TRIAL if state == TRIAL else STAGED):
                end = records.REFUSED if record.state == STAGED else REVERTED
                text = f"superseded by transfer {news[0].transfer}"
                if record.transfer:
                    outcomes.append(Outcome(record.transfer, STALE, end, record.named, text))
                continue
            if replaced and state == TRIAL:
                if record.state == REMOVED:
                    continue
                changes.append((record, KEPT))
            left.append(record)
        self._commit(left + news, outcomes, changes)

    def _check(self, record: Record) -> "Feature | None":
        """The body of a record, or None: then the record is out of use from here on."""
        try:
            body = self.verify(record)
            record.brings(body)
            return body
        except (OSError, MemoryError, ProtocolError) as exc:
            record.whole = False
            code = exc.code if isinstance(exc, ProtocolError) else STORAGE if isinstance(exc, OSError) else TOO_LARGE
            if record.state in (TRIAL, CONFIRMED, LEAVING):
                self.problems.append((code, record.publisher, record.feature, record.sequence))
        return None

    def _commit(
        self, rows: "list[Record]", outcomes: "Sequence[Outcome]" = (), changes: "Sequence[tuple[Record, int]]" = ()
    ) -> None:
        """Write the index, in which records have changed their state, and then remove the bodies that it no longer names."""
        rows, floors = records.make_room(rows, self._floors)
        if len(rows) > max(MAX_RECORDS, len(self.records)):
            raise ProtocolError(STORAGE, f"{len(rows)} records of features, limit {MAX_RECORDS}")
        before = [(record, record.state) for record, _ in changes]
        for record, state in changes:
            record.state = state
        told = [o for o in self.outcomes if not outcomes or o.transfer not in [new.transfer for new in outcomes if new.transfer]]
        kept = (told + list(outcomes))[-MAX_OUTCOMES:]
        content = records.encode(rows, kept, floors)
        heap.collect()  # What is made from here on stays.
        rows = list(rows)
        remembered = _encoded(kept)
        try:
            self._write(content)
        except OSError:
            for record, state in before:
                record.state = state
            raise
        files = [record.file for record in rows]
        dropped = [record.file for record in self.records if record.file and record.file not in files]
        self.records = rows
        self._remember(kept, remembered)
        if floors != self._floors:
            self._floors = floors
        for file in dropped:
            try:
                self._flash.remove(file)
            except OSError:
                pass  # the next boot removes it

    def _mark(self, outcome: Outcome, told: bool) -> None:
        outcomes = self.outcomes
        row = outcome.row()
        for one in outcomes:
            if one.row() == row:
                one.told = told
                break
        self._remember(outcomes, _encoded(outcomes))

    def _remember(self, outcomes: "list[Outcome]", encoded: bytearray) -> None:
        if len(encoded) > len(self._outcomes):
            self._outcomes = encoded  # as it is: after the index was written nothing may fail for want of memory
        else:
            self._outcomes[: len(encoded)] = encoded
        self.untold = len([1 for outcome in outcomes if not outcome.told])

    def _write(self, content: bytes) -> None:
        try:
            checked.save(self._flash, INDEX, content)
        except OSError:
            if checked.load(self._flash, INDEX) != content:  # else it was replaced before something failed
                raise


def _encoded(outcomes: "list[Outcome]") -> bytearray:
    return bytearray(dumps([outcome.row() for outcome in outcomes]))


def _matches(record: Record, others: "list[Record]") -> bool:
    return any([record.same_component(other) for other in others])
