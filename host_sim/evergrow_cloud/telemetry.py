"""Telemetry: the newest of every device, and no more of it (EG-TELE-002)."""

from typing import cast

from evergrow_cloud import wire
from evergrow_cloud.messages import Telemetry
from evergrow_cloud.store import Store

_PRUNE_EVERY = 64


def add(store: Store, device_id: int, raw: bytes, keep: int) -> None:
    """Store one batch as it came; from time to time drop what is beyond the newest `keep` of this device."""
    done = store.execute("INSERT INTO telemetry (device_id, received_s, raw) VALUES (?, ?, ?)", device_id, store.utc_s(), raw)
    if (done.lastrowid or 0) % _PRUNE_EVERY == 0:
        store.execute(
            "DELETE FROM telemetry WHERE device_id = ? AND id <="
            " (SELECT id FROM telemetry WHERE device_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            device_id,
            device_id,
            keep,
        )


def newest(store: Store, device_id: int, limit: int = 10) -> list[Telemetry]:
    """The last `limit` batches, oldest first."""
    rows = store.rows("SELECT raw FROM telemetry WHERE device_id = ? ORDER BY id DESC LIMIT ?", device_id, limit)
    return [cast(Telemetry, wire.decode("tele", raw)) for (raw,) in reversed(rows)]
