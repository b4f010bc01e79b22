"""The features of this device: which are active, what they bring, and the one atomic record that decides it (EG-FEAT-007).

    file `features`    a `checked` CBOR array of records
    record             [publisher, component, feature, sequence, kind, file, size, digest]
    file `feature.N`   the body of one feature

A new body is written to a file that no record names; the index, written atomically, is what makes it the active one. A file that
no record names is removed at boot. The record of a removed feature stays, without a file: its sequence number is still owed.
"""

from hashlib import sha256

from evergrow_agent import checked
from evergrow_protocol.cbor import Decoder, dumps, loads
from evergrow_protocol.errors import BAD_DIGEST, MALFORMED, STALE, STORAGE, TOO_LARGE, ProtocolError
from evergrow_protocol.feature import MAX_BODY, Feature, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

INDEX = "features"
BODY_PREFIX = "feature."
MAX_RECORDS = 24


class Record:
    """One line of the index. `component` is the SUIT component id, encoded; `file` is "" for a feature that was removed.

    What it brings is known once its file has been found to be whole, and it is `active`: `unlocks` {actuator: maximum} and
    `programme_id`, 0 for none.
    """

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
    ) -> None:
        self.publisher = publisher
        self.component = component
        self.feature = feature
        self.sequence = sequence
        self.kind = kind
        self.file = file
        self.size = size
        self.digest = digest
        self.active = False
        self.unlocks: "dict[int, int]" = {}
        self.programme_id = 0

    def brings(self, body: Feature) -> None:
        self.unlocks = body.unlocks
        self.programme_id = programme_id(body)
        self.active = True

    def row(self) -> "list[Any]":
        return [self.publisher, self.component, self.feature, self.sequence, self.kind, self.file, self.size, self.digest]


class Features:
    """Loads what is active from `flash`. Never raises for what it finds there: a damaged feature is left out.

    `problems`: [(code, publisher, feature, sequence)] of what was left out, for a report; all 0 but the code is the index itself.
    """

    def __init__(self, flash: "Any") -> None:
        self.problems: "list[tuple[int, int, int, int]]" = []
        self._flash = flash
        self._records: "list[Record]" = []
        self._readable = True
        try:
            self._records = _decode(checked.load(flash, INDEX))
        except OSError:
            # The flash may have a bad day: keep the files, and overwrite nothing.
            self._readable = False
            self.problems.append((STORAGE, 0, 0, 0))
            return
        except ProtocolError as exc:
            self.problems.append((exc.code, 0, 0, 0))
        for record in self._records:
            if record.file:
                self._check(record)
        self.clean()

    def active(self) -> "list[tuple[int, int, int]]":
        """[(publisher, feature, sequence)], as birth lists them."""
        return [(r.publisher, r.feature, r.sequence) for r in self._records if r.active]

    def programme(self, programme_id: int) -> "tuple[memoryview, tuple[int, int]] | None":
        """A programme that a feature brings: (its encoding, (publisher, feature)); None if there is none.

        The body is read and verified each time. One that has decayed since boot is taken out of use and counts as none.
        """
        for record in self._records:
            if record.active and record.programme_id == programme_id:
                body = self._check(record)
                if body and body.programme:
                    return body.programme, (record.publisher, record.feature)
        return None

    def unlocks(self) -> "list[tuple[int, int, tuple[int, int]]]":
        """[(actuator id, maximum, (publisher, feature))] of every active unlock."""
        found = []
        for record in self._records:
            if record.active:
                for actuator, maximum in record.unlocks.items():
                    found.append((actuator, maximum, (record.publisher, record.feature)))
        return found

    def find(self, publisher: int, component: "Buffer") -> "Record | None":
        """The record of a publisher's component, active or not."""
        for record in self._records:
            if record.publisher == publisher and record.component == component:
                return record
        return None

    def staging_file(self) -> str:
        """A name for a new body: of no file that a record names. What an earlier attempt left there is removed.

        Raises OSError; ProtocolError STORAGE as long as it is unknown which files are named.
        """
        if not self._readable:
            raise ProtocolError(STORAGE, "the index of features could not be read at boot")
        names = [record.file for record in self._records]
        number = 0
        while BODY_PREFIX + str(number) in names:
            number += 1
        self._flash.remove(BODY_PREFIX + str(number))
        return BODY_PREFIX + str(number)

    def verify(self, record: Record) -> Feature:
        """The body that `record` describes, read from flash, compared with its digest and parsed.

        Raises ProtocolError (BAD_DIGEST, or what is wrong with the body), OSError, MemoryError.
        """
        data = self._flash.read(record.file) if self._flash.size(record.file) == record.size <= MAX_BODY else None
        if data is None or sha256(data).digest() != record.digest:
            raise ProtocolError(BAD_DIGEST, f"{record.file} is not the {record.size} bytes that were signed")
        return parse(data)

    def check_conflicts(self, new: Record) -> None:
        """Raises ProtocolError STALE when another component has the same feature id, or brings the same programme."""
        for record in self._records:
            if not record.file or (record.publisher == new.publisher and record.component == new.component):
                continue
            if record.publisher == new.publisher and record.feature == new.feature:
                raise ProtocolError(STALE, f"feature {new.feature} is another component of this publisher")
            if new.programme_id and record.programme_id == new.programme_id:
                raise ProtocolError(STALE, f"programme {new.programme_id} is brought by another feature")

    def activate(self, record: Record) -> None:
        """Make `record` the active version of its component: this is the moment of EG-FEAT-007. Errors as `verify`."""
        record.brings(self.verify(record))
        old = self.find(record.publisher, record.component)
        replaced = old.file if old and old.file != record.file else ""
        self._commit([r for r in self._records if r is not old] + [record], replaced)

    def remove(self, publisher: int, feature: int) -> bool:
        """Take a feature out. Its sequence number is kept, so that an older version cannot come in its place. OSError.

        False: there is no such feature.
        """
        for i, record in enumerate(self._records):
            if record.file and record.publisher == publisher and record.feature == feature:
                gone = Record(publisher, record.component, feature, record.sequence)
                self._commit(self._records[:i] + [gone] + self._records[i + 1 :], record.file)
                return True
        return False

    def clean(self) -> None:
        """Remove the bodies that no record names. A file that cannot be removed costs room, nothing else."""
        if not self._readable:
            return
        keep = [record.file for record in self._records]
        try:
            for name in self._flash.names():
                if name.startswith(BODY_PREFIX) and name not in keep:
                    self._flash.remove(name)
        except OSError:
            pass

    def _check(self, record: Record) -> "Feature | None":
        """The body of a record, or None: then the record is out of use from here on."""
        try:
            body = self.verify(record)
            record.brings(body)
            return body
        except (OSError, MemoryError, ProtocolError) as exc:
            record.active = False
            code = exc.code if isinstance(exc, ProtocolError) else STORAGE if isinstance(exc, OSError) else TOO_LARGE
            self.problems.append((code, record.publisher, record.feature, record.sequence))
        return None

    def _commit(self, records: "list[Record]", replaced: str) -> None:
        """Write the index, and then remove the body that it no longer names, "" for none."""
        if len(records) > MAX_RECORDS:
            raise ProtocolError(STORAGE, f"{len(records)} features, limit {MAX_RECORDS}")
        rows = dumps([record.row() for record in records])
        try:
            checked.save(self._flash, INDEX, rows)
        except OSError:
            if checked.load(self._flash, INDEX) != rows:  # else it was replaced before something failed
                raise
        self._records = records
        if replaced:
            try:
                self._flash.remove(replaced)
            except OSError:
                pass  # the next boot removes it


def programme_id(body: Feature) -> int:
    """The id of the programme that a feature brings, 0 for none. CborError if it has no id."""
    if body.programme is None:
        return 0
    decoder = Decoder(body.programme)
    decoder.read_array_header()
    return decoder.read_int()


def _decode(rows: "bytes | None") -> "list[Record]":
    if rows is None:
        return []
    if not rows:
        raise ProtocolError(BAD_DIGEST, "the index of features is damaged")
    try:
        return [Record(*row[:8]) for row in loads(rows)]
    except TypeError:
        raise ProtocolError(MALFORMED, "the index of features has another shape")
