"""Device keys in the cloud, and `evergrow cloud enrol`."""

import hashlib
import hmac
import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from evergrow_cloud import devicekeys
from evergrow_cloud.cli import app
from evergrow_cloud.errors import EnrolError
from evergrow_cloud.store import Store
from evergrow_protocol.errors import ProtocolError

KEY, OTHER = bytes(range(32)), bytes(32)


def evergrow(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


def subkey(key: bytes) -> bytes:
    return hmac.digest(key, devicekeys.USAGE, hashlib.sha256)


def test_a_device_is_enrolled_before_it_is_seen_and_for_its_tenant_alone(store: Store) -> None:
    """EG-KEY-001"""
    devicekeys.enrol(store, "acme", "washer-1", KEY)
    assert devicekeys.subkeys(store, "acme", "washer-1", devicekeys.USAGE) == [subkey(KEY)]
    assert devicekeys.subkeys(store, "other", "washer-1", devicekeys.USAGE) == []


def test_a_key_is_replaced_only_on_purpose_and_the_old_one_still_proves_old_records(store: Store) -> None:
    devicekeys.enrol(store, "acme", "washer-1", KEY)
    devicekeys.enrol(store, "acme", "washer-1", KEY)
    with pytest.raises(EnrolError, match="already"):
        devicekeys.enrol(store, "acme", "washer-1", OTHER)
    devicekeys.enrol(store, "acme", "washer-1", OTHER, replace=True)
    assert devicekeys.subkeys(store, "acme", "washer-1", devicekeys.USAGE) == [subkey(OTHER), subkey(KEY)]


def test_what_is_no_key_or_no_device_is_refused(store: Store) -> None:
    for size in (0, 16, 33):
        with pytest.raises(EnrolError):
            devicekeys.enrol(store, "acme", "washer-1", bytes(size))
    with pytest.raises(ProtocolError):
        devicekeys.enrol(store, "Acme", "washer-1", KEY)


def test_enrol_makes_a_key_that_only_its_owner_can_read(tmp_path: Path) -> None:
    db, out = tmp_path / "cloud.db", tmp_path / "washer-1.key"
    result = evergrow("enrol", "acme/washer-1", "--out", out, "--db", db, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["device"] == "acme/washer-1"
    key = bytes.fromhex(out.read_text())
    with Store(db) as store:
        assert devicekeys.subkeys(store, "acme", "washer-1", devicekeys.USAGE) == [subkey(key)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (db, out)} == {0o600}
    for args in (("enrol", "acme/washer-1", "--key", out), ("status", "--json"), ("ledger", "--json")):
        shown = evergrow(*args, "--db", db)
        assert shown.exit_code == 0 and key.hex() not in shown.output


def test_enrol_overwrites_nothing_and_leaves_no_key_that_does_not_count(tmp_path: Path) -> None:
    db, out = tmp_path / "cloud.db", tmp_path / "washer-1.key"
    assert evergrow("enrol", "acme/washer-1", "--out", out, "--db", db).exit_code == 0
    before = out.read_text()
    again = evergrow("enrol", "acme/washer-1", "--out", out, "--db", db)
    assert again.exit_code == 1 and "never overwritten" in again.stderr and out.read_text() == before
    taken = evergrow("enrol", "acme/washer-1", "--out", tmp_path / "other.key", "--db", db)
    assert taken.exit_code == 1 and "already" in taken.stderr and not (tmp_path / "other.key").exists()
    assert evergrow("enrol", "acme/washer-1", "--out", tmp_path / "other.key", "--db", db, "--replace").exit_code == 0


def test_enrol_says_what_is_wrong(tmp_path: Path) -> None:
    db, bad = tmp_path / "cloud.db", tmp_path / "bad.key"
    bad.write_text("secret words")
    refused = evergrow("enrol", "acme/washer-1", "--key", bad, "--db", db)
    assert refused.exit_code == 1 and "is no device key" in refused.stderr and "secret" not in refused.output
    assert evergrow("enrol", "acme/washer-1", "--db", db).exit_code == 2
    assert evergrow("enrol", "washer-1", "--out", tmp_path / "x", "--db", db).exit_code == 2
    assert evergrow("enrol", "acme/Washer", "--out", tmp_path / "x", "--db", db).exit_code == 1
