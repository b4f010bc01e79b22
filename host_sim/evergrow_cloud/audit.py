"""The audit of a device's usage records: are they all there, are they as the device made them, and in its order? (EG-CHAIN-004)

Everything is computed from the stored bytes; nothing that the ingest thought of them is believed. In the end there is a verdict
for each record:

start      it is the first of the chain                follows    it follows on the one before it
missing    it does not, and seq says that records between the two are not there
restart    it begins a chain anew: a flash was erased, or a board replaced; nothing proves that nothing was there between
elsewhere  it follows on another record: what stands between the two was put there, or it was moved
altered    it follows on nothing that is there: it was altered; or, first of its boot, records were deleted before it
moved      the bytes under this (boot, seq) are those of another record
untagged   it has no tag, though the device had a key before
no key     it cannot be judged: the device is not enrolled

All but the first two, and `no key` where no record can be judged, are breaks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from evergrow_cloud import chain, devices, wire
from evergrow_cloud.messages import Usage
from evergrow_cloud.store import Store

SOUND = ("start", "follows")
_PAGE = 1000
_NEAR = 64  # records before a break among which the one is looked for that it follows on


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the audit. `text`: the verdict in words, "" for a sound one. `missing`: how many before it are not there."""

    boot: int
    seq: int
    received_s: int
    usage: Usage
    verdict: str
    text: str
    missing: int


@dataclass(slots=True)
class Summary:
    """`sound` of the `records` are proven. `missing`: numbers within the boots that are not there. `first`: the first break."""

    records: int = 0
    sound: int = 0
    missing: int = 0
    breaks: int = 0
    enrolled: bool = False
    first: Entry | None = None

    @property
    def clean(self) -> bool:
        """Every record is proven, and none is missing. A device that is not enrolled proves nothing."""
        return not self.breaks and not self.missing and (self.enrolled or not self.records)


def entries(store: Store, device: devices.Device) -> Iterator[Entry]:
    """All records of a device in the order of its ledger, each with its verdict."""
    keys = chain.keys_of(store, device.id)
    before, near = chain.START, [(0, 0, chain.START)]
    last_boot = last_seq = 0
    for boot, seq, received_s, usage in _records(store, device.id):
        expected = last_seq + 1 if boot == last_boot else 1
        verdict, text = _judge(usage, (boot, seq), expected, before, near, keys)
        yield Entry(boot, seq, received_s, usage, verdict, text, max(0, seq - expected))
        if usage.tag is not None:
            before = usage.tag
            near = [*near[-_NEAR:], (boot, seq, before)]
        last_boot, last_seq = boot, seq


def audit(store: Store, device: devices.Device) -> Summary:
    """The whole audit, in one pass and bounded memory."""
    found = Summary(enrolled=bool(chain.keys_of(store, device.id)))
    for entry in entries(store, device):
        add(found, entry)
    return found


def add(summary: Summary, entry: Entry) -> None:
    """Count an entry."""
    summary.records += 1
    summary.sound += entry.verdict in SOUND
    summary.missing += entry.missing
    if is_break(entry):
        summary.breaks += 1
        summary.first = summary.first or entry


def is_break(entry: Entry) -> bool:
    return entry.verdict not in SOUND and entry.verdict != "no key"


def _judge(
    usage: Usage,
    place: tuple[int, int],
    expected: int,
    before: bytes,
    near: list[tuple[int, int, bytes]],
    keys: list[bytes],
) -> tuple[str, str]:
    """(verdict, in words)."""
    if (usage.header.boot, usage.header.seq) != place:
        return "moved", f"holds the bytes of record {usage.header.boot}/{usage.header.seq}"
    if not keys:
        return "no key", ""
    if usage.tag is None:
        if before == chain.START:
            return "no key", ""
        return "untagged", "has no tag, though the device had a key before: it was altered, or the device lost its key"
    if chain.follows(usage, before, keys):
        return ("start" if before == chain.START else "follows"), ""
    if place[1] > expected:
        return "missing", f"does not follow: {_numbers(place[0], expected, place[1] - 1)} before it not there"
    if chain.follows(usage, chain.START, keys):
        return "restart", "begins a chain anew: the flash was erased or the board replaced"
    for boot, seq, tag in reversed(near):
        if chain.follows(usage, tag, keys):
            return "elsewhere", f"follows on {boot}/{seq}: what stands between them was put there, or it was moved"
    if place[1] == 1:
        return "altered", "follows on nothing that is here: it was altered, or records at the end of the boot before were deleted"
    return "altered", "follows on nothing that is here: it was altered"


def _numbers(boot: int, first: int, last: int) -> str:
    return f"record {boot}/{first} is" if first == last else f"records {boot}/{first} to {boot}/{last} are"


def _records(store: Store, device_id: int) -> Iterator[tuple[int, int, int, Usage]]:
    """(boot, seq, received_s, record) in order, a page at a time."""
    after = (0, 0)
    while True:
        rows = store.rows(
            "SELECT boot, seq, received_s, raw FROM usage"
            " WHERE device_id = ? AND (boot, seq) > (?, ?) ORDER BY boot, seq LIMIT ?",
            device_id,
            *after,
            _PAGE,
        )
        if not rows:
            return
        for boot, seq, received_s, raw in rows:
            (usage,) = cast(tuple[Usage], wire.decode("usage", bytes(raw)))
            yield boot, seq, received_s, usage
        after = rows[-1][0], rows[-1][1]
