"""The database file: transactions, versions, and other processes."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from evergrow_cloud import devices, schema, soundness, usage
from evergrow_cloud.errors import StoreError
from evergrow_cloud.store import Store

_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
_BEFORE_GAPS = 11


def _of_version(folder: Path, version: int) -> Path:
    """An empty database as that version of the package made it."""
    path = folder / "old.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        Store(path).close()
    return path


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


@pytest.mark.parametrize("version", range(len(schema.MIGRATIONS)))
def test_a_database_of_every_earlier_version_becomes_what_a_new_one_is(version: int, tmp_path: Path) -> None:
    with Store(tmp_path / "new.db") as new:
        wanted = new.rows(_TABLES)
    path = _of_version(tmp_path, version)
    with Store(path) as store:
        assert store.rows(_TABLES) == wanted
        assert store.rows("PRAGMA foreign_key_check") == []
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
        with store.transaction():
            assert devices.ensure(store, "acme", "washer-1")


def test_gaps_in_usage_of_an_older_database_show_in_the_new_one(tmp_path: Path) -> None:
    """EG-USE-012: also in boots that are over, of which no record comes any more."""
    path = _of_version(tmp_path, _BEFORE_GAPS)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO devices (tenant, device, first_seen_s, last_seen_s) VALUES ('acme', 'washer-1', 1, 1)")
        for boot, watermark, seqs in ((3, 2, (1, 2, 5, 6)), (4, 2, (1, 2))):
            connection.execute("INSERT INTO boots (device_id, boot, watermark) VALUES (1, ?, ?)", (boot, watermark))
            for seq in seqs:
                row = "INSERT INTO usage (device_id, boot, seq, received_s, cycles, energy_wh, water_ml, raw)"
                connection.execute(f"{row} VALUES (1, ?, ?, ?, 1, 10, 20, x'00')", (boot, seq, 100 * boot + seq))
        use = "INSERT INTO usage_features (device_id, boot, seq, publisher, feature, cycles)"
        connection.execute(f"{use} VALUES (1, 3, 5, 2, 1001, 1)")
    connection.close()
    with Store(path) as store:
        found = soundness.of_device(store, 1)
        assert (found.missing, found.gaps, found.since_s) == (2, 1, 305)
        assert [(row.publisher, row.cycles, row.trials) for row in usage.ledger(store)] == [(2, 1, 0)]
        assert usage.totals(store).cycles == 6


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


def test_who_reads_does_not_wait_for_who_writes(store: Store, tmp_path: Path) -> None:
    with store.transaction():
        devices.ensure(store, "acme", "washer-1")
        with Store(tmp_path / "cloud.db") as other:
            assert devices.every(other) == []


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
