"""The lines of the index of features, and how they are encoded.

    index     [[record, ...], [outcome, ...], ? {publisher: floor}]
    record    [publisher, component, feature, sequence, kind, file, size, digest, state, transfer, good cycles, bad cycles, needs,
              hours]
    outcome   [transfer, code, state, [publisher, feature, sequence], text, told]

A component has one record that is in force, and may have one beside it: the version that is staged, or that which was in force
before the one on trial. `needs`: the components, encoded, that it cannot do without. A staged record without a file is a
removal. `hours`: without the cloud, on trial.

`floor`: the highest sequence number of a removed component of that publisher that was forgotten, to have room: no component that
has no record may come with a lower one (EG-FEAT-030).
"""

from evergrow_agent import heap
from evergrow_protocol.cbor import Decoder, dumps, loads
from evergrow_protocol.errors import BAD_DIGEST, MALFORMED, ProtocolError
from evergrow_protocol.feature import Feature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# States of a record. Those that a report knows have its numbers (EG-FEAT-009).
KEPT = 1  # the version before the one on trial
STAGED = 2
TRIAL = 3
CONFIRMED = 4
REVERTED = 5  # of outcomes only
REFUSED = 6  # of outcomes only
REMOVED = 7  # no file: its sequence number is still owed
LEAVING = 8  # in force until the next safe point, then removed

MAX_FAILED_BOOTS = 3  # after so many in which its code was stopped, a confirmed version is out of use for good (EG-CODE-009)
MAX_RECORDS = 24
MAX_OUTCOMES = 8
MAX_FLOORS = 16

_WHOLE = 1
_ENTITLED = 2  # whole, and its use needs an entitlement

_BROUGHT = ("unlocks", "programme_id")
_TRIED = ("consent", "quiet", "trial_s", "trial_cycles")
_IN_FORCE = (TRIAL, CONFIRMED, LEAVING)


class Record:
    """One line of the index. `component` is the SUIT component id, encoded; `file` is "" for a feature that was removed.

    What it brings is known once its file has been found to be `whole`: `unlocks` {actuator: maximum}, `programme_id`, 0 for none;
    `entitlement`: whether its use needs one; `heap_bytes`, `meters` of a code feature; until it is confirmed also `trial_s`,
    `trial_cycles` it asks for, `consent` and `quiet` whether it waits for them. `active`: whole, in force, and not out of use.
    `good`, `bad`: cycles on trial; once it is confirmed, `bad` counts boots in which its code was stopped.
    `since_ms`: when its trial began in this boot, of code when it began to run; -1: it has not. `announced`, `reached`: whether
    birth named it since, and was answered;
    `broken`: why it is to be reverted, "" for not at all.

    What most records never have is an attribute of the class until it is set, so that it takes no memory in each.
    """

    good = 0
    bad = 0
    needs: "Sequence[bytes]" = ()
    hours = 0
    unlocks: "dict[int, int]" = {}
    programme_id = 0
    heap_bytes = 0
    meters: "Sequence[int]" = ()
    trial_s = 0
    trial_cycles = 0
    consent = False
    quiet = False
    since_ms = -1
    hour_ms = 0  # when the next hour counts
    announced = False
    reached = False
    broken = ""

    def __init__(
        self,
        publisher: int,
        component: bytes,
        feature: int,
        sequence: int,
        kind: int = 0,
        file: str = "",
        size: int = 0,
        digest: bytes = b"",
        state: int = CONFIRMED,
        transfer: int = 0,
        good: int = 0,
        bad: int = 0,
        needs: "Sequence[bytes]" = (),
        hours: int = 0,
    ) -> None:
        self.publisher = publisher
        self.component = component
        self.feature = feature
        self.sequence = sequence
        self.kind = kind
        self.file = file
        self.size = size
        self.digest = digest
        self.state = state
        self.transfer = transfer
        self.whole = 0 if file else _WHOLE
        self._differ(("good", "bad", "needs", "hours"), (good, bad, needs or (), hours))

    @property
    def in_force(self) -> bool:
        return self.state in _IN_FORCE

    @property
    def entitlement(self) -> bool:
        return self.whole == _ENTITLED

    @property
    def active(self) -> bool:
        return self.whole > 0 and self.in_force and (self.state == TRIAL or self.bad < MAX_FAILED_BOOTS)

    @property
    def named(self) -> "list[int]":
        """[publisher, feature, sequence], as reports and birth have it."""
        return [self.publisher, self.feature, self.sequence]

    def same_component(self, other: "Record") -> bool:
        return self.publisher == other.publisher and self.component == other.component

    def brings(self, body: Feature) -> None:
        self._differ(_BROUGHT, (body.unlocks, programme_id(body)))
        if self.state != CONFIRMED:
            self._differ(_TRIED, (body.consent, body.quiet, body.trial_s, body.trial_cycles))
        if body.needs is not None:
            from evergrow_protocol import feature_code  # only a device that has code needs it

            needs = feature_code.parse(body.needs)
            self.heap_bytes = needs.heap_bytes
            self.meters = needs.meters
        self.whole = _ENTITLED if body.entitlement else _WHOLE

    def _differ(self, names: "Sequence[str]", values: "Sequence[Any]") -> None:
        for name, value in zip(names, values):
            if value != getattr(self, name):
                setattr(self, name, value)

    def gone(self) -> "Record":
        """What stays of it when it is removed: the sequence number."""
        return Record(self.publisher, self.component, self.feature, self.sequence, state=REMOVED)

    def row(self) -> "list[Any]":
        state = [self.state, self.transfer, self.good, self.bad, self.needs, self.hours]
        return self.named[:1] + [self.component] + self.named[1:] + [self.kind, self.file, self.size, self.digest] + state


class Outcome:
    """How a transfer ended, or a feature: what a report says of it, and whether it was `told`."""

    def __init__(self, transfer: int, code: int, state: int, named: "list[int]", text: str, told: bool = False) -> None:
        self.transfer = transfer
        self.code = code
        self.state = state
        self.named = named
        self.text = text
        self.told = told

    def row(self) -> "list[Any]":
        return [self.transfer, self.code, self.state, self.named, self.text, self.told]


def make_room(records: "list[Record]", floors: "dict[int, int]") -> "tuple[list[Record], dict[int, int]]":
    """Of too many records those of removed components go, the lowest numbers first, since they raise a floor least."""
    records = list(records)
    floors = dict(floors)
    while len(records) > MAX_RECORDS:
        gone = [r for r in records if r.state == REMOVED and (r.publisher in floors or len(floors) < MAX_FLOORS)]
        if not gone:
            break
        least = min(gone, key=_sequence)
        floors[least.publisher] = max(floors.get(least.publisher, 0), least.sequence)
        records.remove(least)
    return records, floors


def _sequence(record: Record) -> int:
    return record.sequence


def encode(records: "list[Record]", outcomes: "list[Outcome]", floors: "dict[int, int]") -> bytes:
    content: "list[Any]" = [[record.row() for record in records], [outcome.row() for outcome in outcomes]]
    return dumps(content + [floors] if floors else content)


def decode(content: "bytes | None") -> "tuple[list[Record], list[Outcome], dict[int, int]]":
    """The inverse; None is an empty index. Raises ProtocolError: BAD_DIGEST for b"", MALFORMED."""
    if content is None:
        return [], [], {}
    if not content:
        raise ProtocolError(BAD_DIGEST, "the index of features is damaged")
    try:
        index = loads(content)
        floors = dict(index[2]) if len(index) > 2 else {}
        return [Record(*row[:14]) for row in index[0]], [Outcome(*row[:6]) for row in index[1]], floors
    except (TypeError, ValueError):
        raise ProtocolError(MALFORMED, "the index of features has another shape")


def renewed(record: Record) -> Record:
    """The same, made anew: what is made during an install lies above all that passed with it, and would stay there."""
    try:
        row = dumps(record.row())
        heap.collect()
        row = loads(row)
        heap.collect()
        new = Record(*row)
        heap.collect()
    except MemoryError:
        return record
    new.whole = record.whole
    if record.unlocks:
        new.unlocks = dict(record.unlocks)
    names = ("programme_id", "heap_bytes", "meters")  # a confirmed one needs no more
    new._differ(names, [getattr(record, name) for name in names])
    return new


def programme_id(body: Feature) -> int:
    """The id of the programme that a feature brings, 0 for none. CborError if it has no id."""
    if body.programme is None:
        return 0
    decoder = Decoder(body.programme)
    decoder.read_array_header()
    return decoder.read_int()
