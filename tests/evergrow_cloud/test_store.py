"""The database file: transactions, versions, and other processes."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from evergrow_cloud import devices, schema
from evergrow_cloud.errors import StoreError
from evergrow_cloud.store import Store


def test_commits_are_synced_to_disk(store: Store) -> None:
    """EG-ACK-002: what is acked survives a power cut."""
    assert store.row("PRAGMA synchronous") == (2,)
    assert store.row("PRAGMA journal_mode") == ("wal",)


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        devices.ensure(store, "acme", "washer-1")
        raise ZeroDivisionError
    assert devices.every(store) == []
    with store.transaction():
        devices.ensure(store, "acme", "washer-1")
    assert len(devices.every(store)) == 1


def test_an_inner_transaction_belongs_to_the_outer(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        with store.transaction():
            devices.ensure(store, "acme", "washer-1")
        raise ZeroDivisionError
    assert devices.every(store) == []


def test_a_change_outside_a_transaction_is_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        devices.ensure(store, "acme", "washer-1")


def test_the_database_survives_being_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        with Store(tmp_path / "cloud.db") as store, store.transaction():
            devices.ensure(store, "acme", "washer-1")
    with Store(tmp_path / "cloud.db") as store:
        assert len(devices.every(store)) == 1
        assert store.row("PRAGMA user_version") == (len(schema.MIGRATIONS),)


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="99"):
        Store(path)


def test_an_older_database_is_migrated_with_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cloud.db"
    with Store(path) as store, store.transaction():
        devices.ensure(store, "acme", "washer-1")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE devices ADD COLUMN note TEXT;\nSELECT 1;\n"))
    with Store(path) as store:
        assert store.rows("SELECT device, note FROM devices") == [("washer-1", None)]


def test_a_failing_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cloud.db"
    Store(path).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE devices ADD COLUMN note TEXT;\nNONSENSE;\n"))
        with pytest.raises(StoreError):
            Store(path)
    with Store(path) as store:
        assert store.row("PRAGMA user_version") == (len(schema.MIGRATIONS),)
        with pytest.raises(sqlite3.OperationalError):
            store.rows("SELECT note FROM devices")


ADD = """
import sys
from evergrow_cloud import devices
from evergrow_cloud.store import Store
with Store(sys.argv[1]) as store, store.transaction():
    devices.ensure(store, "acme", sys.argv[2])
"""


def test_processes_that_make_the_database_at_once_make_it_once(tmp_path: Path) -> None:
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ADD, str(tmp_path / "cloud.db")]
    processes = [subprocess.Popen([*command, f"washer-{number}"], env=path) for number in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with Store(tmp_path / "cloud.db") as store:
        assert len(devices.every(store)) == 3


@pytest.mark.parametrize("content", [b"not a database, but long enough to be taken for one" * 100])
def test_another_file_is_not_taken_for_a_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cloud.db"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        Store(path)
    assert path.read_bytes() == content
    with pytest.raises(StoreError):
        Store(tmp_path / "missing" / "cloud.db")


def test_ids_only_grow_and_start_above_those_of_a_lost_database(store: Store, clock: object) -> None:
    """EG-FEAT-001 EG-CMD-001"""
    clock.utc_s = 1000  # type: ignore[attr-defined]
    with store.transaction():
        assert [store.new_id("transfer") for _ in range(3)] == [1000, 1001, 1002]
        clock.utc_s = 10  # type: ignore[attr-defined]
        assert store.new_id("transfer") == 1003
        clock.utc_s = 2000  # type: ignore[attr-defined]
        assert store.new_id("transfer") == 2000
        assert store.new_id("command") == 2000
