"""Who is out there: the last birth and state of every device, its boots and their time pairs."""

from dataclasses import dataclass
from typing import Any, cast

from evergrow_cloud import wire
from evergrow_cloud.errors import UnknownDevice
from evergrow_cloud.messages import Birth, State, Sync
from evergrow_cloud.store import Store
from evergrow_protocol import topics

SEEN_STEP_S = 10
"""`last_seen_s` is this coarse, so that a device that only asks for blocks costs no write per request."""

BOOTS_UNHEARD = 16
"""Of so many boots of a device every birth may have been lost, while something else that it said is still on its way."""
MAX_BOOT = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Device:
    """A row of the devices table; `birth` and `state` are decoded, None before the first."""

    id: int
    tenant: str
    device: str
    online: bool
    first_seen_s: int
    last_seen_s: int
    birth: Birth | None
    state: State | None
    rejected: int
    last_rejection: str | None
    conflicts: int

    @property
    def name(self) -> str:
        return f"{self.tenant}/{self.device}"


@dataclass(frozen=True, slots=True)
class TimePair:
    """At `mono_ms` after a boot it was `utc_s` (EG-TIME-003)."""

    mono_ms: int
    utc_s: int

    def utc_at(self, mono_ms: int) -> int:
        return self.utc_s + (mono_ms - self.mono_ms) // 1000


_COLUMNS = "id, tenant, device, link, first_seen_s, last_seen_s, birth, state, rejected, last_rejection, conflicts"


def find(store: Store, name: str, tenant: str | None = None) -> Device:
    """The device called `tenant/device`, or just `device` where that is enough. Raises UnknownDevice."""
    if "/" in name:
        tenant, _, name = name.partition("/")
    where, parameters = "device = ?", [name]
    if tenant is not None:
        where, parameters = "device = ? AND tenant = ?", [name, tenant]
    found = store.rows(f"SELECT {_COLUMNS} FROM devices WHERE {where} LIMIT 2", *parameters)
    if not found:
        raise UnknownDevice(f"no device {name[:64]!r} has been seen")
    if len(found) > 1:
        raise UnknownDevice(f"several tenants have a device {name!r}: say tenant/device")
    return _device(found[0])


def address(store: Store, name: str, tenant: str | None = None) -> tuple[str, str]:
    """(tenant, device) of a name as for `find`; with a tenant also of a device that was never seen. Raises UnknownDevice."""
    if "/" in name:
        tenant, _, name = name.partition("/")
    if tenant is not None:
        return tenant, name
    found = find(store, name)
    return found.tenant, found.device


def every(store: Store, after: int = 0, limit: int = 1000) -> list[Device]:
    """Devices by ascending row id, from the one after `after`: call again with the last one's id for the next page."""
    rows = store.rows(f"SELECT {_COLUMNS} FROM devices WHERE id > ? ORDER BY id LIMIT ?", after, limit)
    return [_device(row) for row in rows]


def ensure(store: Store, tenant: str, device: str) -> int:
    """The row id, of a new row if need be. Raises ProtocolError for a bad tenant or device id."""
    row = store.row("SELECT id FROM devices WHERE tenant = ? AND device = ?", tenant, device)
    if row:
        return int(row[0])
    topics.check_id(tenant)
    topics.check_id(device)
    now_s = store.utc_s()
    insert = "INSERT INTO devices (tenant, device, first_seen_s, last_seen_s) VALUES (?, ?, ?, ?) RETURNING id"
    (number,) = store.execute(insert, tenant, device, now_s, now_s).fetchone()
    return int(number)


def heard(store: Store, device_id: int) -> bool:
    """The device said something just now, so it is online. True if it was thought to be offline."""
    row = store.row("SELECT link, last_seen_s FROM devices WHERE id = ?", device_id)
    assert row is not None
    link, last_seen_s = row
    now_s = store.utc_s()
    if not link or not 0 <= now_s - last_seen_s < SEEN_STEP_S:
        store.execute("UPDATE devices SET last_seen_s = ?, link = 1 WHERE id = ?", now_s, device_id)
    return not link


def reject(store: Store, tenant: str, device: str, count: int, why: str) -> None:
    """`count` messages were refused. A name that never said anything valid gets no row, or garbage could fill the table."""
    store.execute(
        "UPDATE devices SET rejected = rejected + ?, last_rejection = ? WHERE tenant = ? AND device = ?",
        count,
        why,
        tenant,
        device,
    )


def record_birth(store: Store, device_id: int, birth: Birth, raw: bytes, *, retained: bool, now_ms: int) -> bool:
    """Keep the birth if it is the newest of its boot (EG-BIRTH-009). True: another should be asked for, as this one may be late.

    A fresh flash's is not kept: its number is no number of the device yet, and another birth follows (EG-BIRTH-007).
    """
    if not retained:
        store.execute("UPDATE devices SET greeted_ms = ? WHERE id = ?", now_ms, device_id)
    known, new = _birth_of(store, device_id), birth.header
    lower = False
    if known is not None and birth.is_fresh:
        if not known.is_fresh:
            return False
    elif known is not None:
        lower = new.boot < known.header.boot and not birth.boot_is_random
        if (lower and retained) or (new.boot == known.header.boot and new.seq < known.header.seq):
            return False
    store.execute("UPDATE devices SET boot = ?, birth = ? WHERE id = ?", new.boot, raw, device_id)
    return lower


def least_boot(store: Store, device_id: int) -> int:
    """A device whose flash is new or erased must use boot numbers above this: all that are known of it, and some more for what
    is still on its way (EG-BIRTH-006). 0: none is known.
    """
    known = 0
    for table in ("usage", "boots", "events", "voices"):
        row = store.row(f"SELECT max(boot) FROM {table} WHERE device_id = ?", device_id)
        known = max(known, row[0] or 0 if row else 0)
    if not _is_fresh(store, device_id):
        row = store.row("SELECT boot FROM devices WHERE id = ?", device_id)
        known = max(known, row[0] or 0 if row else 0)
    return min(known + BOOTS_UNHEARD, MAX_BOOT) if known else 0


def record_state(store: Store, device_id: int, state: State, raw: bytes) -> bool:
    """Keep the state, unless it is older than what is known; False then. A will (seq 0) says that its whole boot is over."""
    row = store.row("SELECT boot, birth, state_boot, state_seq FROM devices WHERE id = ?", device_id)
    assert row is not None
    boot, birth, state_boot, state_seq = row
    new = state.header
    if boot is not None and new.boot < boot and not _random_boot(birth):
        return False
    if new.boot == state_boot and new.seq and new.seq <= state_seq:
        return False
    seq = max(new.seq, state_seq) if new.boot == state_boot else new.seq
    store.execute(
        "UPDATE devices SET link = ?, state = ?, state_boot = ?, state_seq = ? WHERE id = ?",
        state.link,
        raw,
        new.boot,
        seq,
        device_id,
    )
    return True


def record_sync(store: Store, device_id: int, sync: Sync) -> None:
    """Keep the time pair of the boot: the first one, since records may have been read with it already."""
    store.execute(
        "INSERT INTO boots (device_id, boot, sync_mono_ms, sync_utc_s) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET sync_mono_ms = excluded.sync_mono_ms, sync_utc_s = excluded.sync_utc_s WHERE sync_mono_ms IS NULL",
        device_id,
        sync.header.boot,
        sync.mono_ms,
        sync.utc_s,
    )


def time_pairs(store: Store, device_id: int) -> dict[int, TimePair]:
    """{boot: pair} of the device's boots that have one."""
    rows = store.rows(
        "SELECT boot, sync_mono_ms, sync_utc_s FROM boots WHERE device_id = ? AND sync_mono_ms IS NOT NULL", device_id
    )
    return {boot: TimePair(mono_ms, utc_s) for boot, mono_ms, utc_s in rows}


def ungreeted(store: Store, since_ms: int, after: int, limit: int) -> list[tuple[int, str, str]]:
    """(row id, tenant, device) of devices that are online and whose last live birth is older than `since_ms`."""
    rows = store.rows(
        "SELECT id, tenant, device FROM devices WHERE link = 1 AND greeted_ms < ? AND id > ? ORDER BY id LIMIT ?",
        since_ms,
        after,
        limit,
    )
    return [(number, tenant, device) for number, tenant, device in rows]


def _device(row: tuple[Any, ...]) -> Device:
    number, tenant, device, link, first_seen_s, last_seen_s, birth, state, rejected, last_rejection, conflicts = row
    return Device(
        number,
        tenant,
        device,
        bool(link),
        first_seen_s,
        last_seen_s,
        cast(Birth, wire.decode("birth", birth)) if birth else None,
        cast(State, wire.decode("state", state)) if state else None,
        rejected,
        last_rejection,
        conflicts,
    )


def _birth_of(store: Store, device_id: int) -> Birth | None:
    row = store.row("SELECT birth FROM devices WHERE id = ?", device_id)
    return None if row is None or row[0] is None else cast(Birth, wire.decode("birth", row[0]))


def _is_fresh(store: Store, device_id: int) -> bool:
    """Whether the device has never been born but with a fresh flash."""
    birth = _birth_of(store, device_id)
    return birth is None or birth.is_fresh


def _random_boot(birth: bytes | None) -> bool:
    return birth is not None and cast(Birth, wire.decode("birth", birth)).boot_is_random
