"""What a device's flash still holds of its usage, read by nothing of the agent's: the formats are those its modules document."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

from evergrow_cloud import wire
from evergrow_cloud.errors import WireError
from evergrow_cloud.messages import Usage

_CHECK = 4
_HEAD = 6
_ENVELOPES = b"\x84\x85"
MARK = "use.ack"
"""The file that says how far the cloud has acked."""
UNNUMBERED = 1 << 24
"""As a base: of a flash that is new or erased, whose boots have no numbers yet that the cloud may hear. Above all others."""


def base(files: dict[str, bytes]) -> int:
    """Boot numbers up to this one stand for others, larger by this much (EG-ENV-006)."""
    data = files.get(MARK)
    if data is None:
        return UNNUMBERED
    return int.from_bytes(data[-4:], "big") if _whole(data) else 0


def number(boot: int, base: int) -> int:
    """What a boot is called."""
    return boot + base if boot <= base else boot


def usage(files: dict[str, bytes]) -> dict[tuple[int, int], Usage]:
    """{(boot, seq): record} of the journal, acked or not, and the open merged record; boots as they are called now."""
    found = {}
    shift = base(files)
    for name in sorted(files):
        if name.startswith("use.") and name[4:].isdigit():
            for record in _frames(files[name]):
                record = _numbered(record, shift)
                found[record.header.boot, record.header.seq] = record
    merged = _checked(files.get("use.merged"), 12)
    if merged is not None:
        merged = _numbered(merged, shift)
        key = (merged.header.boot, merged.header.seq)
        if key > max(found, default=(0, 0)):
            found[key] = merged
    return found


def checkpoint(files: dict[str, bytes]) -> Usage | None:
    """The record that a cycle will have if power is lost now, or was."""
    return _checked(files.get("cycle"), 8)


def _numbered(record: Usage, shift: int) -> Usage:
    return replace(record, header=replace(record.header, boot=number(record.header.boot, shift)))


def _whole(data: bytes) -> bool:
    return sha256(data[_CHECK:]).digest()[:_CHECK] == data[:_CHECK]


def _checked(data: bytes | None, head: int) -> Usage | None:
    if data is None or not _whole(data):
        return None
    return _record(data[_CHECK + head :])


def _frames(data: bytes) -> Iterator[Usage]:
    """Frames are `length | check | record`; what is torn or decayed lies between them."""
    at = 0
    while at + _HEAD < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        record = data[at + _HEAD : at + _HEAD + length]
        if len(record) == length and record[:1] in _ENVELOPES and sha256(record).digest()[:_CHECK] == data[at + 2 : at + _HEAD]:
            at += _HEAD + len(record)
            usage = _record(record)
            if usage is not None:
                yield usage
        else:
            at += 1


def _record(data: bytes) -> Usage | None:
    try:
        found = wire.decode("usage", bytes(data))
    except WireError:
        return None
    return found[0] if isinstance(found, tuple) else None
