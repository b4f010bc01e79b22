"""Commands to devices and their answers (SPEC section 8), by way of the database, so that other processes can send some too."""

from dataclasses import dataclass
from typing import Any, cast

from evergrow_cloud import wire, wire_down
from evergrow_cloud.messages import Response
from evergrow_cloud.store import Store

START, STOP, REBIRTH, ACKNOWLEDGE, CONSENT, REMOVE = 1, 2, 3, 4, 5, 6
KEEP_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class DueCommand:
    """A command to be sent now; `message` is the whole payload of dn/cmd."""

    id: int
    tenant: str
    device: str
    message: bytes


def add(store: Store, device_id: int, command: int, args: dict[int, Any], deadline_utc_s: int | None, timeout_s: float) -> int:
    """Queue a command. Returns its id. One that could not be sent within `timeout_s` is never sent.

    Raises WireError for arguments that cannot be encoded.
    """
    with store.transaction():
        number = store.new_id("command")
        now_s = store.utc_s()
        message = wire_down.command(number, command, args, deadline_utc_s)
        store.execute("UPDATE commands SET due = 0 WHERE due = 1 AND expires_s < ?", now_s)
        store.execute("DELETE FROM commands WHERE expires_s < ?", now_s - KEEP_S)
        store.execute(
            "INSERT INTO commands (id, device_id, message, created_s, expires_s) VALUES (?, ?, ?, ?, ?)",
            number,
            device_id,
            message,
            now_s,
            now_s + max(1, int(timeout_s)),
        )
    return number


def fresh_id(store: Store) -> int:
    """An id for a command whose answer nobody waits for."""
    with store.transaction():
        return store.new_id("command")


def due(store: Store, limit: int) -> list[DueCommand]:
    """Commands to be sent now, to devices that are online: for another a broker might keep one until it surprises someone."""
    rows = store.rows(
        "SELECT commands.id, tenant, device, message FROM commands JOIN devices ON devices.id = device_id"
        " WHERE due = 1 AND link = 1 AND expires_s >= ? ORDER BY commands.id LIMIT ?",
        store.utc_s(),
        limit,
    )
    return [DueCommand(*row) for row in rows]


def sent(store: Store, number: int) -> None:
    """The command is with the broker, or nobody waits for it any more."""
    with store.transaction():
        store.execute("UPDATE commands SET due = 0 WHERE id = ?", number)


def answer(store: Store, device_id: int, response: Response, raw: bytes) -> bool:
    """Keep the first answer. False for one that was not asked for, or asked of another device."""
    done = store.execute(
        "UPDATE commands SET due = 0, code = ?, response = ? WHERE id = ? AND device_id = ? AND code IS NULL",
        response.code,
        raw,
        response.id,
        device_id,
    )
    return done.rowcount == 1


def result(store: Store, number: int) -> tuple[int, Any] | None:
    """(code, result) of a command, or None while it is not answered."""
    row = store.row("SELECT response FROM commands WHERE id = ?", number)
    if row is None or row[0] is None:
        return None
    response = cast(Response, wire.decode("rsp", row[0]))
    return response.code, response.result
