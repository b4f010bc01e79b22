"""What happened at appliances (SPEC section 14): the newest events of every device. Which alarms are raised, its state says."""

from dataclasses import dataclass
from typing import cast

from evergrow_cloud import devices, wire
from evergrow_cloud.dating import TimeSource, date
from evergrow_cloud.messages import Event
from evergrow_cloud.store import Store

NOTE, RAISED, CLEARED, ACKNOWLEDGED = range(4)
WHAT_NAMES = {NOTE: "note", RAISED: "raised", CLEARED: "cleared", ACKNOWLEDGED: "acknowledged"}
_PRUNE_EVERY = 64


@dataclass(frozen=True, slots=True)
class Record:
    """A stored event. `utc_s`: when it happened, None while that is unknown."""

    event: Event
    utc_s: int | None
    time_source: TimeSource
    received_s: int


def add(store: Store, device_id: int, event: Event, raw: bytes, keep: int) -> bool:
    """Store an event once, however often it arrives (EG-EVT-006); from time to time drop what is beyond the newest `keep`.

    False: it was there.
    """
    done = store.execute(
        "INSERT INTO events (device_id, boot, seq, received_s, raw) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        device_id,
        event.header.boot,
        event.header.seq,
        store.utc_s(),
        raw,
    )
    if not done.rowcount:
        return False
    if (done.lastrowid or 0) % _PRUNE_EVERY == 0:
        store.execute(
            "DELETE FROM events WHERE device_id = ? AND id <="
            " (SELECT id FROM events WHERE device_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            device_id,
            device_id,
            keep,
        )
    return True


def newest(store: Store, device_id: int, limit: int = 100) -> list[Record]:
    """The last `limit` events of a device, oldest first, dated as well as is known now (EG-TIME-003)."""
    pairs = devices.time_pairs(store, device_id)
    found = []
    for raw, received_s in reversed(
        store.rows("SELECT raw, received_s FROM events WHERE device_id = ? ORDER BY id DESC LIMIT ?", device_id, limit)
    ):
        event = cast(Event, wire.decode("event", raw))
        utc_s, source = date(event.header, pairs)
        found.append(Record(event, utc_s, source, received_s))
    return found
