"""Scenes of homes (SPEC section 16), by way of the database, so that other processes can set one."""

from dataclasses import dataclass

from evergrow_cloud import wire_down
from evergrow_cloud.store import Store
from evergrow_protocol import topics

KEEP_S = 60
"""A scene that could not be sent within this time is not meant any more."""


@dataclass(frozen=True, slots=True)
class DueScene:
    """To be sent now; `message` is the whole payload."""

    id: int
    topic: str
    message: bytes


def set(store: Store, tenant: str, home: str, scene: int) -> int:
    """Set a scene. Returns its row id. Raises ProtocolError for a bad id, WireError for a scene that is no 32-bit number."""
    topic = topics.home(tenant, home, "scene")
    with store.transaction():
        now_s = store.utc_s()
        store.execute("DELETE FROM scenes WHERE created_s < ?", now_s - KEEP_S)
        message = wire_down.scene(scene, now_s)
        row = store.execute("INSERT INTO scenes (topic, message, created_s) VALUES (?, ?, ?) RETURNING id", topic, message, now_s)
        return int(row.fetchone()[0])


def due(store: Store, limit: int) -> list[DueScene]:
    """Scenes to be sent now."""
    since_s = store.utc_s() - KEEP_S
    rows = store.rows("SELECT id, topic, message FROM scenes WHERE created_s >= ? ORDER BY id LIMIT ?", since_s, limit)
    return [DueScene(*row) for row in rows]


def sent(store: Store, number: int) -> None:
    """The broker has it."""
    with store.transaction():
        store.execute("DELETE FROM scenes WHERE id = ?", number)
