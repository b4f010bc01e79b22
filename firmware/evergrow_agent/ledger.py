"""The usage ledger: every record durable before it is announced, kept until the cloud has acked it, counted once.

Records stand in the journal in the order of their (boot, seq). So one pair, the mark, says what is acked: all up to it. Later
records that were acked out of order are remembered in RAM only; forgetting them costs a repetition, which the cloud acks again.
In that order they are chained, too (`chain`). The tag of the newest is kept beside the mark, since the next record needs it when
all before it are freed.

What finds no room is merged into one open record, which is not announced (EG-USE-006, `merged`). It joins the journal when there
is room. Its id is that of the last cycle in it, so that what is left of that cycle's checkpoint is known to be told, however the
two came to the flash. It is the newest records that are merged and not the oldest, since those may have been announced: whatever
the cloud has of them already would be counted again.

A flash without a mark is new or erased. Then records are kept and not announced, until the cloud has said which boot numbers it
knows and `adopt` has brought them above (`renumber`).

    file `use.ack`      mark: boot (4), seq (4) | newest record: boot (4), seq (4), tag (8) | base (4), as a checked file
    file `use.merged`   boot (4) and start_ms (8) of the cycle merged last | envelope, as a checked file
"""

from evergrow_agent import chain, checked, devicekey, merged, renumber
from evergrow_agent.journal import HEAD, RECORD_MAX, Journal
from evergrow_protocol import messages
from evergrow_protocol.cbor import Encoder
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.registry_common import USAGE_ENERGY_WH, USAGE_MERGED, USAGE_WATER_ML

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Buffer = bytes | bytearray | memoryview

WINDOW = 16  # records announced and not yet acked, at most

_BOOT_MAX = 4  # bytes that a record grows by when its boot number does
_MARK = "use.ack"
_MERGED = "use.merged"
_METERS = (USAGE_ENERGY_WH, USAGE_WATER_ML)


class _Sent:
    """A record in the window: where its frame starts, and what became of it."""

    def __init__(self, boot: int, seq: int, segment: "Any", offset: int) -> None:
        self.boot = boot
        self.seq = seq
        self.segment = segment
        self.offset = offset
        self.acked = False
        self.lost = False


class Ledger:
    """Usage records on `flash`. Call `load` once before anything else; no method raises for what the flash does.

    `meters`: the usage fields that add up. `last`: (boot, seq) of the newest record, (0, 0) if there never was one. `lost`:
    records that decayed after `load`, and whatever else was there and is no record any more. `fresh`: the flash is new or
    erased, and nothing is announced before `adopt`. `refused`: it did not take that. `feed`: called while that takes long, may
    be set.
    """

    def __init__(self, flash: "Any", journal: "Journal | None" = None, meters: "tuple[int, ...]" = _METERS) -> None:
        self.last = (0, 0)
        self.lost = 0
        self.fresh = self.refused = False
        self.feed: "Callable[[], None]" = _nothing
        self.journal = journal or Journal(flash)
        self._flash = flash
        self._meters = meters
        self._mark = self._saved_mark = (0, 0)
        self._mark_saved = True  # False: what is on flash is older than what segments still there can tell.
        self._hold_mark = False
        self._base = 0  # boot numbers up to this one stand for others: see `renumber`
        self._lowest = 0  # boot of the first record that was found, 0 for none
        self._reserved = False
        self._loaded = False
        self._encoder = Encoder(bytearray(RECORD_MAX - chain.ROOM - _BOOT_MAX))
        self._key: "bytes | None" = None
        self._tag = chain.START  # of the newest record that has one
        # The open merged record: (boot, seq, t), its body, and the cycle last merged into it.
        self._merged: "tuple[int, int, Any] | None" = None
        self._totals: "dict[int, Any]" = {}
        self._merged_cycle = (0, 0)
        self._merged_saved = True
        self._doubt: "dict[int, Any] | None" = None  # the first that was merged, and perhaps is on the flash too
        self._doubt_id = self._doubt_cycle = (0, 0)
        # What is announced, and where reading goes on: the frames from `_offset` of segment `_number`.
        self._window: "list[_Sent]" = []
        self._resend = 0
        self._number = 0
        self._offset = 0

    @property
    def pending(self) -> int:
        """Records in the journal that are not acked."""
        return sum([segment.pending for segment in self.journal.segments])

    @property
    def announced(self) -> int:
        """Records that were announced and are not acked."""
        return len([sent for sent in self._window if not sent.acked])

    @property
    def merged_cycles(self) -> int:
        """Cycles in the open merged record."""
        return int(self._totals.get(USAGE_MERGED, 0)) if self._merged else 0

    @property
    def newest_boot(self) -> int:
        """The largest boot number in a record that is or was here: the next boot must be later (EG-ENV-001)."""
        return max(self.last[0], self._merged[0] if self._merged else 0, self._base)

    @property
    def settled(self) -> bool:
        """Whether there is nothing that `settle` or another `load` could do."""
        return not self._merged and not self.journal.broken and self._mark_saved

    @property
    def healthy(self) -> bool:
        """False: the flash fails, and what happens now may not survive a power cut."""
        return self._merged_saved and not self.journal.broken and not self.refused

    @property
    def damage(self) -> "tuple[int, int, int]":
        """(bad places in the journal, segments that could not be read, records lost) of this boot (EG-USE-011)."""
        return self.journal.damaged, self.journal.unread, self.lost

    def load(self) -> None:
        """Find out what is on the flash; segments in which all is acked are removed.

        If the flash cannot be read, nothing on it is overwritten, and `begin` tries again.
        """
        self._window = []
        self._resend = self._number = self._offset = 0
        last, tag = self.last, self._tag
        try:
            self._key = devicekey.subkey(self._flash, devicekey.USAGE)
            newest, newest_tag = self._load_mark()
            self.last, self._tag = self._mark, newest_tag
            self._lowest = 0
            self.journal.load(self._visit)
            for segment in self.journal.segments[-1:]:  # In each record it would take longer than all the rest.
                for record in self.journal.records(segment):
                    self._tag = chain.split(record)[1] or self._tag
            if 0 < self._lowest <= self._base:
                self._tag = renumber.rewrite(self.journal, self._base, self._key, self.feed)
            if self._doubt is not None and self.journal.unread:
                raise OSError  # What is in doubt may be just there.
            if newest >= self.last:
                self.last, self._tag = newest, newest_tag
            if last > self.last:
                self.last, self._tag = last, tag
            self._hold_mark = self.journal.unread > 0
            if not self._loaded:
                self._load_merged()
                self._loaded = True
        except (OSError, MemoryError):
            self.journal.failures += 1
            self.journal.broken = True
            self.journal.segments = []
            self.last, self._tag = last, tag
        if not self.journal.broken:
            self._clear_doubt()

    def lowest(self, boot: int) -> int:
        """The lowest boot number here, of records and of this boot."""
        return min(self._lowest or boot, self._merged[0] if self._merged else boot, boot)

    def number(self, boot: int) -> int:
        """The number that a boot has now, which something on flash names."""
        return renumber.above(boot, self._base)

    def adopt(self, base: int) -> bool:
        """Announce from now on, and call every boot b up to now b + `base`, which is 0 or not below this boot. True: durable.

        Whatever power does, all are called so or none. When the flash then refuses to go on, `mend` does.
        """
        if self.journal.broken or not self.fresh:
            return not self.fresh
        last, tag = self.last, self._tag
        if base:
            self.last, self._tag = (0, 0), chain.START
        self._base = base
        self._save_mark()
        self.last = (self.number(last[0]), last[1])
        self._tag = tag
        self.refused = not self._mark_saved
        if self.refused:
            self._base = 0
            self.last = last
            self._mark_saved = True
            return False
        self.fresh = False
        if base:
            if self._merged:
                boot, seq, t = self._merged
                self._merged = (self.number(boot), seq, t)
                self._merged_cycle = (self.number(self._merged_cycle[0]), self._merged_cycle[1])
            self.load()
        return True

    def encode(self, boot: int, seq: int, t: "int | list[int]", body: "dict[int, Any]") -> memoryview:
        """The envelope of a usage record, without tag; valid until the ledger's next call. CborError: longer than RECORD_MAX."""
        return messages.encode(self._encoder, boot, seq, t, body)

    def begin(self, boot: int) -> int:
        """A cycle starts: returns the seq that its record will have in this boot (EG-ENV-002). No merging ends meanwhile."""
        self._reserved = False
        self.mend()
        self._reserved = True
        return self.last[1] + 1 if self.last[0] == boot else 1

    def append(self, boot: int, seq: int, t: "int | list[int]", body: "dict[int, Any]", start_ms: int) -> bool:
        """Take the record of a cycle, once: an id that is not after `last`, or the cycle merged last, changes nothing.

        `start_ms` tells the cycles of a boot apart. True: durable. False: held in RAM, and durable as soon as the flash can.
        """
        begun, self._reserved = self._reserved, False
        knew = not self.journal.broken
        late = (boot, seq) <= self.last
        # A cycle of this boot is new all the same: the flash could not be read at boot, and holds records of a boot whose number
        # was drawn. Their order leaves no id for it, so that it is summed up.
        if late and not (begun and boot < self.last[0]):
            return True
        if self._merged and (boot, start_ms) == self._merged_cycle:
            return self._merged_saved
        if not self._merged and not late and self._store(boot, seq, t, body):
            return True
        if not self._merged:
            if self.journal.broken and (knew or not begun):  # A cycle of this boot that was never tried is not there.
                self._doubt = dict(body)
                self._doubt_id = (boot, seq)
                self._doubt_cycle = (boot, start_ms)
            self._totals = {}
        self._merged = (self.last[0], self.last[1] + 1, t) if late else (boot, seq, t)
        merged.add(self._totals, body, self._meters)
        self._merged_cycle = (boot, start_ms)
        return self._save_merged()

    def mend(self) -> None:
        """Try again what the flash refused: to load it, to free what is acked, and to settle."""
        if self.journal.broken:
            self.load()
        if not self._mark_saved:
            self._free()
        self.settle()

    def settle(self) -> bool:
        """Close the open merged record and append it, if there is one, no cycle runs and there is room. True: none is open."""
        if not self._merged:
            return True
        if self._reserved:
            return False
        boot, seq, t = self._merged
        if not self._store(boot, seq, t, self._totals):
            if not self._merged_saved:
                self._save_merged()
            return False
        self._merged = None
        self._merged_saved = True
        self._drop_merged()
        return True

    def rewind(self) -> None:
        """Announce again what was announced and not acked, before anything new."""
        self._resend = 0

    def next_into(self, buf: memoryview) -> int:
        """Copy the next envelope to announce into `buf`; returns its length. 0: none now, or it is longer than `buf`."""
        if self.fresh:
            return 0
        try:
            while self._resend < len(self._window):
                sent = self._window[self._resend]
                if not sent.acked:
                    found = self.journal.find(sent.segment.number, sent.offset)
                    if found and renumber.record_id(found[2]) == (sent.boot, sent.seq):
                        size = _copy(found[2], buf)
                        if size:
                            self._resend += 1
                        return size
                    sent.acked = sent.lost = True
                    self.lost += 1
                    self._hold_mark = True  # Perhaps the next boot can read it.
                self._resend += 1
            if len(self._window) < min(WINDOW, self.pending):
                return self._read_on(buf)
        except OSError:
            self.journal.failures += 1
        return 0

    def ack(self, boot: int, seq: int, bitmap: "Buffer" = b"") -> int:
        """The cloud has every record of `boot` up to `seq`, and those in `bitmap` (EG-ACK-001); returns how many were new.

        Only what was announced since the start can be acked: anything else is ignored (EG-ACK-004).
        """
        count = 0
        for sent in self._window:
            if sent.boot == boot and not sent.acked and _covers(seq, bitmap, sent.seq):
                sent.acked = True
                count += 1
        if self._window and self._window[0].acked:
            self._advance()
        return count

    def _visit(self, record: memoryview) -> bool:
        boot, seq = renumber.record_id(record)
        if not boot:
            self.journal.damaged += 1
            return False
        self._lowest = min(self._lowest or boot, boot)
        found = (self.number(boot), seq)
        if found <= self.last:  # acked, or a repetition
            return False
        self.last = found
        return True

    def _load_mark(self) -> "tuple[tuple[int, int], bytes]":
        """Sets the mark; returns the id of the newest record when it was saved, and the tag."""
        content = checked.load(self._flash, _MARK)
        self.fresh = content is None
        numbers = [0, 0, 0, 0]
        tag = chain.START
        if content and len(content) == 28:
            numbers = [int.from_bytes(content[at : at + 4], "big") for at in (0, 4, 8, 12)]
            tag = content[16:24]
            self._base = int.from_bytes(content[24:], "big")
        self._mark = self._saved_mark = (numbers[0], numbers[1])
        return (numbers[2], numbers[3]), tag

    def _save_mark(self) -> None:
        """The mark, unless it is held back, and what the next record is chained to."""
        mark = self._saved_mark if self._hold_mark else self._mark
        numbers = b"".join([number.to_bytes(4, "big") for number in mark + self.last])
        self._mark_saved = False
        try:
            checked.save(self._flash, _MARK, numbers + self._tag + self._base.to_bytes(4, "big"))
            self._saved_mark = mark
            self._mark_saved = True
        except OSError:
            self.journal.failures += 1

    def _advance(self) -> None:
        """Free the acked records at the front of the window."""
        freed = 0
        while freed < len(self._window) and self._window[freed].acked:
            sent = self._window[freed]
            if not sent.lost:
                sent.segment.pending -= 1
            self._mark = (sent.boot, sent.seq)
            freed += 1
        del self._window[:freed]
        self._resend = max(0, self._resend - freed)
        self._free()

    def _free(self) -> None:
        """Remove the segments in which all is acked."""
        # The mark first: power may be cut between the two, and without it records would be announced again and, which is worse,
        # nobody would know the tag that the next one is chained to.
        self._save_mark()
        if self._mark_saved:
            for segment in [segment for segment in self.journal.segments if not segment.pending]:
                self.journal.remove(segment)

    def _read_on(self, buf: memoryview) -> int:
        """The first record after those of the window."""
        after = (self._window[-1].boot, self._window[-1].seq) if self._window else self._mark
        while True:
            found = self.journal.find(self._number, self._offset)
            if not found:
                return 0
            segment, offset, record = found
            boot, seq = renumber.record_id(record)
            size = 0
            if (boot, seq) > after and not chain.split(record)[0]:
                segment.pending -= 1
                self.journal.damaged += 1
            elif (boot, seq) > after:
                size = _copy(record, buf)
                if not size:
                    return 0
                self._window.append(_Sent(boot, seq, segment, offset))
                self._resend = len(self._window)
            self._number, self._offset = segment.number, offset + HEAD + len(record)
            if size:
                return size

    def _store(self, boot: int, seq: int, t: "int | list[int]", body: "dict[int, Any]") -> bool:
        try:
            record: "bytes | memoryview" = self.encode(boot, seq, t, body)
        except ProtocolError:
            return False  # Longer than any record: its sums are kept.
        if self._key:
            record = chain.seal(self._key, self._tag, record)
        if not self.journal.has_room(len(record)):
            return False
        if not self.journal.append(record):
            return False
        self.last = (boot, seq)
        self._tag = chain.split(record)[1] or self._tag
        return True

    def _clear_doubt(self) -> None:
        """After a load: was the record that the flash would say nothing about stored? Then it must not be merged as well."""
        doubt, self._doubt = self._doubt, None
        if not self._merged:
            return
        stored = doubt is not None and self._doubt_id <= self.last
        if doubt is not None and stored:
            merged.add(self._totals, doubt, self._meters, -1)
        if not self.merged_cycles:
            self._merged = None
            self._merged_saved = True
            return
        behind = self._merged[:2] <= self.last
        if behind:
            self._merged = (self.last[0], self.last[1] + 1, self._merged[2])
        if stored or behind:
            self._save_merged()

    def _save_merged(self) -> bool:
        assert self._merged
        boot, seq, t = self._merged
        cycle_boot, start_ms = self._merged_cycle
        self._merged_saved = False
        if not self.journal.broken:
            head = cycle_boot.to_bytes(4, "big") + start_ms.to_bytes(8, "big")
            try:
                checked.save(self._flash, _MERGED, head + bytes(self.encode(boot, seq, t, self._totals)))
                self._merged_saved = True
            except OSError:
                self.journal.failures += 1
        return self._merged_saved

    def _drop_merged(self) -> None:
        try:
            self._flash.remove(_MERGED)
        except OSError:
            self.journal.failures += 1  # The next load knows by its id that it is in the journal.

    def _load_merged(self) -> None:
        content = checked.load(self._flash, _MERGED)
        if not content:
            self.lost += content is not None
            return
        try:
            boot, seq, t, body = messages.decode_envelope(memoryview(content)[12:])
        except ProtocolError:
            return
        boot = self.number(boot)
        cycle = (self.number(int.from_bytes(content[:4], "big")), int.from_bytes(content[4:12], "big"))
        if (boot, seq) <= self.last:
            self._drop_merged()  # It joined the journal just before power was lost.
        elif self._merged:  # The flash could not be read at first, and cycles have ended since.
            merged.add(self._totals, body, self._meters)
            if self._doubt is not None and cycle == self._doubt_cycle:  # It lost power when it had just been merged.
                merged.add(self._totals, self._doubt, self._meters, -1)
                self._doubt = None
        else:
            self._merged = (boot, seq, t)
            self._totals = body
            self._merged_cycle = cycle


def _covers(seq: int, bitmap: "Buffer", one: int) -> bool:
    bit = one - seq - 1
    return bit < 0 or (bit >> 3 < len(bitmap) and bool(bitmap[bit >> 3] >> (bit & 7) & 1))


def _nothing() -> None:
    pass


def _copy(record: memoryview, buf: memoryview) -> int:
    size = len(record)
    if size > len(buf):
        return 0
    buf[:size] = record
    return size
