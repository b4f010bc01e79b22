"""Telemetry: the newest of every device, and no more of it (EG-TELE-002)."""

from dataclasses import dataclass
from typing import cast

from evergrow_cloud import devices, wire
from evergrow_cloud.dating import TimeSource, date
from evergrow_cloud.messages import Telemetry
from evergrow_cloud.store import Store

_PRUNE_EVERY = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured at one moment. `values`: raw, by signal. `utc_s`: None while the time is unknown."""

    boot: int
    utc_s: int | None
    time_source: TimeSource
    received_s: int
    values: dict[int, int]


@dataclass(frozen=True, slots=True)
class Samples:
    """`samples`, oldest first; `lost`: how many more the devices said were lost, in the batches that were looked at."""

    samples: list[Sample]
    lost: int


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


def samples(store: Store, device_id: int, limit: int = 100, since_s: int = 0, signals: frozenset[int] = frozenset()) -> Samples:
    """The newest `limit` samples from `since_s` on, of `signals` (none named: all), dated as well as is known now (EG-TIME-003).

    A sample whose time is unknown counts by the time at which it came.
    """
    pairs = devices.time_pairs(store, device_id)
    found: list[Sample] = []
    lost = 0
    for raw, received_s in store.rows("SELECT raw, received_s FROM telemetry WHERE device_id = ? ORDER BY id DESC", device_id):
        batch = cast(Telemetry, wire.decode("tele", raw))
        start_s, source = date(batch.header, pairs)
        columns = {signal: values for signal, values in batch.columns.items() if not signals or signal in signals}
        taken = [
            Sample(
                batch.header.boot,
                None if start_s is None else start_s + offset_s,
                source,
                received_s,
                {signal: values[i] for signal, values in columns.items()},
            )
            for i, offset_s in enumerate(batch.offsets_s)
            if columns and (received_s if start_s is None else start_s + offset_s) >= since_s
        ]
        if taken:
            lost += batch.lost
        found += reversed(taken)
        if len(found) >= limit:
            break
    return Samples(found[:limit][::-1], lost)
