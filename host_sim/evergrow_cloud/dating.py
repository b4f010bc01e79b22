"""When a message was made, and how that is known (SPEC section 4). What is stored stays as the device said it (EG-TIME-002)."""

from typing import Literal, NamedTuple

from evergrow_cloud.devices import TimePair
from evergrow_cloud.messages import Header
from evergrow_cloud.store import Store

TimeSource = Literal["device", "sync", "doubtful", "unknown"]
"""device: UTC that the cloud had confirmed. sync: by the boot's time pair. doubtful: a clock that nobody had confirmed."""

_DRAWN_FROM = 1 << 31
"""Boot numbers from here on are drawn at random (EG-ENV-001), or may be: their order says nothing."""


class Bounds(NamedTuple):
    """A time that is not known lies between these, as far as its neighbours tell; None: nothing does."""

    earliest_s: int | None
    latest_s: int | None


def date(header: Header, pairs: dict[int, TimePair]) -> tuple[int | None, TimeSource]:
    """(UTC in seconds or None, how that is known)."""
    if header.utc_s is not None:
        return header.utc_s, "device"
    pair = pairs.get(header.boot)
    if pair is not None and header.mono_ms is not None:
        return pair.utc_at(header.mono_ms), "sync"
    if header.doubtful_utc_s is not None:
        return header.doubtful_utc_s, "doubtful"
    return None, "unknown"


def bounds(store: Store, device_id: int, boot: int, received_s: int) -> Bounds:
    """Of a record whose boot never learnt the time: after what earlier boots told, before it arrived and later boots began."""
    if boot >= _DRAWN_FROM:
        return Bounds(None, received_s)
    select = "SELECT max(t) FROM (SELECT max(utc_s) AS t FROM usage WHERE device_id = ? AND boot < ?"
    pairs = " UNION ALL SELECT max(sync_utc_s) FROM boots WHERE device_id = ? AND boot < ?)"
    before = store.row(select + pairs, device_id, boot, device_id, boot)
    select = "SELECT min(t) FROM (SELECT min(utc_s) AS t FROM usage WHERE device_id = ? AND boot > ? AND boot < ?"
    pairs = " UNION ALL SELECT min(sync_utc_s - sync_mono_ms / 1000) FROM boots WHERE device_id = ? AND boot > ? AND boot < ?)"
    after = store.row(select + pairs, device_id, boot, _DRAWN_FROM, device_id, boot, _DRAWN_FROM)
    earliest_s = before[0] if before else None
    latest_s = min(received_s, after[0]) if after and after[0] is not None else received_s
    return Bounds(earliest_s, latest_s) if earliest_s is None or earliest_s <= latest_s else Bounds(None, received_s)
