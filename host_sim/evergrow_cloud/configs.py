"""The configuration that each device is to have (SPEC section 17): kept here, sent until the device says that it is in force.

A version is never used twice, and is at least the time in seconds, so that it is newer than all that a device may have had before
the database was lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from evergrow_cloud import strict, wire_down
from evergrow_cloud.messages import State
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes

TELEMETRY, KEEPALIVE, HOME, FEATURES = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Desired:
    """`applied`: the version in force on the device as it said last, None if it never did. `code`: what the device made of the
    version that came last, `refused`: its number if that was not OK."""

    version: int
    values: dict[int, Any]
    set_s: int
    applied: int | None
    code: int | None
    refused: int | None

    @property
    def in_force(self) -> bool:
        return self.applied == self.version


@dataclass(frozen=True, slots=True)
class DueConfig:
    """One to be sent now; `message` is the whole payload of dn/cfg."""

    device_id: int
    tenant: str
    device: str
    version: int
    message: bytes


def put(store: Store, device_id: int, values: dict[int, Any]) -> int:
    """Desire this of a device from now on; it is sent as soon as the device is there. Returns its version.

    Raises WireError for values that cannot be encoded.
    """
    with store.transaction():
        version = store.new_id("config")
        store.execute(
            "INSERT INTO configs (device_id, version, message, set_s) VALUES (?, ?, ?, ?) ON CONFLICT (device_id)"
            " DO UPDATE SET version = excluded.version, message = excluded.message, set_s = excluded.set_s, due = 1",
            device_id,
            version,
            wire_down.config(version, values),
            store.utc_s(),
        )
    return version


def change_features(store: Store, device_id: int, change: Callable[[list[Any]], list[Any]]) -> int:
    """Desire other settings of features, and all else as before. `change`: the rows of key 4 -> those that are desired now."""
    with store.transaction():
        desired = get(store, device_id)
        values = {} if desired is None else dict(desired.values)
        rows = change(values.pop(FEATURES, []))
        return put(store, device_id, {**values, FEATURES: rows} if rows else values)


def get(store: Store, device_id: int) -> Desired | None:
    """What is desired of a device, and what became of it; None if nothing is."""
    row = store.row("SELECT version, message, set_s, applied, code, refused FROM configs WHERE device_id = ?", device_id)
    if row is None:
        return None
    version, message, *rest = row
    return Desired(version, cast(list[Any], strict.loads(message))[1], *rest)


def due(store: Store, limit: int) -> list[DueConfig]:
    """Those to be sent now, to devices that are online."""
    rows = store.rows(
        "SELECT device_id, tenant, device, version, message FROM configs JOIN devices ON devices.id = device_id"
        " WHERE due = 1 AND link = 1 ORDER BY device_id LIMIT ?",
        limit,
    )
    return [DueConfig(*row) for row in rows]


def sent(store: Store, device_id: int, version: int) -> None:
    """This version is with the broker. What the device says of it decides whether it is sent again."""
    with store.transaction():
        store.execute("UPDATE configs SET due = 0 WHERE device_id = ? AND version = ?", device_id, version)


def born(store: Store, device_id: int) -> bool:
    """A birth: what is not in force is sent, again if need be (EG-CFG-008). True if something is due."""
    done = store.execute("UPDATE configs SET due = 1 WHERE device_id = ? AND applied IS NOT version", device_id)
    return done.rowcount > 0


def reported(store: Store, device_id: int, state: State) -> bool:
    """A state tells which version is in force. True if another one is due; not one that the device has just refused."""
    report = state.config
    if report is None:
        return False
    store.execute(
        "UPDATE configs SET applied = ?, code = ?, refused = ? WHERE device_id = ?",
        report.version,
        report.code,
        report.refused,
        device_id,
    )
    done = store.execute(
        "UPDATE configs SET due = 1 WHERE device_id = ? AND version IS NOT ? AND version IS NOT ?",
        device_id,
        report.version,
        report.refused if report.code != codes.OK else None,
    )
    store.execute("UPDATE configs SET due = 0 WHERE device_id = ? AND version IS ?", device_id, report.version)
    return done.rowcount > 0
