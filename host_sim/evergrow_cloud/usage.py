"""The ledger: every usage record once, however often it arrives (EG-ACK-003), and what may be acked of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from evergrow_cloud import chain, devices, wire
from evergrow_cloud.dating import Bounds, TimeSource, bounds, date
from evergrow_cloud.messages import Usage
from evergrow_cloud.store import Store

ACK_WINDOW = 1024
"""How far beyond the contiguous records an ack reaches, in records: 128 bytes of bitmap."""

_FEATURES_OF_PERIOD = (  # parameters: tenant or None, the same again, first_s, end_s
    "FROM usage_features AS f JOIN usage USING (device_id, boot, seq) JOIN devices ON devices.id = f.device_id"
    " WHERE (? IS NULL OR tenant = ?) AND received_s >= ? AND received_s < ?"
)


@dataclass(frozen=True, slots=True)
class Record:
    """A stored record. `utc_s`: when it was made, as `time_source` says; None while nothing is known but `bounds`."""

    usage: Usage
    utc_s: int | None
    time_source: TimeSource
    received_s: int
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What was used of one feature: the base of a revenue share (EG-USE-005). `finished`: those known to have ended well;
    `trials`: those under a trial, for which nobody is paid (EG-ENT-011).
    """

    publisher: int
    feature: int
    cycles: int
    finished: int
    energy_wh: int
    water_ml: int
    trials: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    devices: int
    cycles: int
    finished: int
    energy_wh: int
    water_ml: int


def record(store: Store, device_id: int, usage: Usage, max_conflicts: int) -> Literal["new", "again", "conflict"]:
    """Store one record, to be acked once the transaction is committed.

    A different record under a taken (boot, seq) never replaces the first: it is kept aside (up to `max_conflicts` of a device)
    and counted. It is acked all the same, or a device with that fault would send it for ever.
    """
    key = (device_id, usage.header.boot, usage.header.seq)
    merged = usage.merged_cycles is not None
    insert = "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    done = store.execute(
        insert,
        *key,
        store.utc_s(),
        usage.header.utc_s,
        usage.header.mono_ms,
        None if merged else usage.programme,
        None if merged else usage.outcome,
        usage.merged_cycles if merged else 1,
        usage.energy_wh or 0,
        usage.water_ml or 0,
        usage.raw,
        usage.tag,
        _chained(store, device_id, usage),
    )
    if done.rowcount:
        for use in uses(usage):
            store.execute("INSERT INTO usage_features VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", *key, *use)
        _chain_next(store, key)
        return "new"
    stored = store.row("SELECT raw FROM usage WHERE device_id = ? AND boot = ? AND seq = ?", *key)
    if stored == (usage.raw,):
        return "again"
    _keep_conflict(store, key, usage.raw, max_conflicts)
    return "conflict"


def uses(usage: Usage) -> list[tuple[int, int, int, int, int, int, int]]:
    """(publisher, feature, cycles, finished, energy_wh, water_ml, trials) of each feature that a record tells of."""
    if usage.merged_cycles is not None:
        return [(use.publisher, use.feature, use.cycles, 0, use.energy_wh, use.water_ml, use.trials) for use in usage.uses]
    used = (1, int(usage.outcome == 0), usage.energy_wh or 0, usage.water_ml or 0)
    return [(*feature, *used, usage.trials >> i & 1) for i, feature in enumerate(usage.features)]


def unchained(store: Store, device_id: int) -> int:
    """How many records do not follow on the one before them, as far as is known now: `audit` says more."""
    row = store.row("SELECT count(*) FROM usage WHERE device_id = ? AND chained = 0", device_id)
    assert row is not None
    return int(row[0])


def acknowledge(store: Store, device_id: int, boot: int) -> tuple[int, bytes]:
    """(seq, bitmap) of dn/ack: what of this boot is stored (EG-ACK-001). To be sent after the commit and not before."""
    store.execute("INSERT INTO boots (device_id, boot) VALUES (?, ?) ON CONFLICT DO NOTHING", device_id, boot)
    row = store.row("SELECT watermark, gap_since_s FROM boots WHERE device_id = ? AND boot = ?", device_id, boot)
    assert row is not None
    known = watermark = int(row[0])
    since_s = row[1]
    while True:
        later = store.rows(
            "SELECT seq FROM usage WHERE device_id = ? AND boot = ? AND seq > ? AND seq <= ? ORDER BY seq",
            device_id,
            boot,
            watermark,
            watermark + ACK_WINDOW,
        )
        start = watermark
        for (seq,) in later:
            if seq != watermark + 1:
                break
            watermark = seq
        if watermark == start:
            break
    if watermark > known:
        store.execute("UPDATE boots SET watermark = ? WHERE device_id = ? AND boot = ?", watermark, device_id, boot)
    if bool(later) == (since_s is None):
        gap = "UPDATE boots SET gap_since_s = ? WHERE device_id = ? AND boot = ?"
        store.execute(gap, store.utc_s() if later else None, device_id, boot)
    return watermark, wire.to_bitmap(seq - watermark - 1 for (seq,) in later)


def records(store: Store, device_id: int, limit: int = 1000) -> Iterator[Record]:
    """The newest `limit` records of a device, in the order of (boot, seq), dated as well as is known now (EG-TIME-006)."""
    pairs = devices.time_pairs(store, device_id)
    newest = store.rows(
        "SELECT raw, received_s FROM usage WHERE device_id = ? ORDER BY boot DESC, seq DESC LIMIT ?", device_id, limit
    )
    for raw, received_s in reversed(newest):
        (usage,) = cast(tuple[Usage], wire.decode("usage", raw))
        utc_s, source = date(usage.header, pairs)
        known = source in ("device", "sync")
        yield Record(usage, utc_s, source, received_s, None if known else bounds(store, device_id, usage.header.boot, received_s))


def ledger(store: Store, tenant: str | None = None, first_s: int = 0, end_s: int = 1 << 62) -> list[Share]:
    """Usage per publisher and feature, of all devices or of one tenant's, of the records that came in from `first_s` to before
    `end_s`, the cloud's time: so that each counts in one period, and a period that is over does not change any more.
    """
    rows = store.rows(
        "SELECT publisher, feature, sum(f.cycles), sum(finished), sum(f.energy_wh), sum(f.water_ml), sum(trials)"
        f" {_FEATURES_OF_PERIOD} GROUP BY publisher, feature ORDER BY publisher, feature",
        tenant,
        tenant,
        first_s,
        end_s,
    )
    return [Share(*row) for row in rows]


def unproven(store: Store, tenant: str | None, first_s: int, end_s: int) -> int:
    """How many records with features came in from `first_s` to before `end_s` whose tag does not prove them (EG-CHAIN-001)."""
    row = store.row(
        f"SELECT count(DISTINCT f.device_id || '/' || f.boot || '/' || f.seq) {_FEATURES_OF_PERIOD} AND chained IS NOT 1",
        tenant,
        tenant,
        first_s,
        end_s,
    )
    assert row is not None
    return int(row[0])


def totals(store: Store, tenant: str | None = None) -> Totals:
    """All cycles, with features or without."""
    row = store.row(
        "SELECT count(DISTINCT device_id), coalesce(sum(cycles), 0), coalesce(sum(outcome = 0), 0), coalesce(sum(energy_wh), 0),"
        " coalesce(sum(water_ml), 0) FROM usage JOIN devices ON devices.id = device_id WHERE ? IS NULL OR tenant = ?",
        tenant,
        tenant,
    )
    assert row is not None
    return Totals(*row)


def _chained(store: Store, device_id: int, usage: Usage) -> int | None:
    """The column `chained` of a record, by what is before it now."""
    keys = chain.keys_of(store, device_id) if usage.tag is not None else []
    if not keys:
        return None
    return int(chain.follows(usage, chain.tag_before(store, device_id, usage.header.boot, usage.header.seq), keys))


def _chain_next(store: Store, key: tuple[int, int, int]) -> None:
    """A record came between two others, or before the first: the one behind it has another before it now."""
    row = store.row(
        "SELECT raw FROM usage WHERE device_id = ? AND (boot, seq) > (?, ?) AND tag IS NOT NULL ORDER BY boot, seq LIMIT 1", *key
    )
    if row:
        (behind,) = cast(tuple[Usage], wire.decode("usage", row[0]))
        update = "UPDATE usage SET chained = ? WHERE device_id = ? AND boot = ? AND seq = ?"
        store.execute(update, _chained(store, key[0], behind), key[0], behind.header.boot, behind.header.seq)


def _keep_conflict(store: Store, key: tuple[int, int, int], raw: bytes, most: int) -> None:
    device_id = key[0]
    known = store.row("SELECT 1 FROM usage_conflicts WHERE device_id = ? AND boot = ? AND seq = ? AND raw = ?", *key, raw)
    if known:
        return
    store.execute("UPDATE devices SET conflicts = conflicts + 1 WHERE id = ?", device_id)
    kept = store.row("SELECT count(*) FROM usage_conflicts WHERE device_id = ?", device_id)
    if kept is not None and kept[0] < most:
        store.execute("INSERT INTO usage_conflicts VALUES (?, ?, ?, ?, ?)", *key, raw, store.utc_s())
