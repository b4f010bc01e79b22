"""`evergrow cloud` at the command line."""

import asyncio
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted_device import BIRTH, ONLINE, ScriptedDevice, envelope, usage_body
from typer.testing import CliRunner, Result

from evergrow_cloud import devices, offers, usage, wire
from evergrow_cloud.cli import app
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import Mosquitto


def evergrow(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one washer, two of its cycles and one refused feature."""
    path = tmp_path / "cloud.db"
    with Store(path) as store, store.transaction():
        device_id = devices.ensure(store, "acme", "washer-1")
        devices.heard(store, device_id)
        birth = envelope(7, 1, BIRTH | {3: "wm\x1b[2J[red]"})
        devices.record_birth(store, device_id, wire.decode("birth", birth), birth, retained=False, now_ms=0)  # type: ignore[arg-type]
        state = envelope(7, 1, ONLINE | {1: 1, 2: 3, 3: 4})
        devices.record_state(store, device_id, wire.decode("state", state), state)  # type: ignore[arg-type]
        for seq, features in ((1, []), (2, [[1, 1001]])):
            (record,) = wire.decode("usage", envelope(7, seq, usage_body(features=features), 1_795_339_200))  # type: ignore[misc]
            usage.record(store, device_id, record, 3)
        transfer = offers.offer(store, "acme", "washer-1", b"envelope", {})
        refused = envelope(7, 1, {0: transfer, 1: 10, 2: offers.REFUSED, 9: "unknown key"})
        offers.report(store, device_id, wire.decode("feat", refused), refused)  # type: ignore[arg-type]
    return path


def test_status_lists_devices(db: Path) -> None:
    result = evergrow("status", "--db", db)
    assert result.exit_code == 0
    for text in ("acme/washer-1", "online", "washer", "micropython 1.28.0", "running", "1/1001/4"):
        assert text in result.stdout
    (item,) = json.loads(evergrow("status", "--db", db, "--json").stdout)
    assert item["birth"]["interpreter"] == ["micropython", "1.28.0", "unix"]
    assert item["state"]["programme"] == "quick"
    assert item["transfers"][0]["code_name"] == "not authorised"


def test_status_of_one_device_shows_its_transfers(db: Path) -> None:
    result = evergrow("status", "washer-1", "--db", db)
    assert result.exit_code == 0
    assert "refused" in result.stdout and "unknown key" in result.stdout
    assert " ".join(result.stdout.split()).count("ledger.sound: True") == 1 and "ledger.missing_since:" in result.stdout


def test_status_says_that_rights_are_damaged_on_a_device(tmp_path: Path) -> None:
    """EG-BIRTH-008"""
    db = tmp_path / "cloud.db"
    for flags, shown in ((0, "False"), (8, "True")):
        birth = envelope(7 + flags, 1, BIRTH | {9: flags})
        with Store(db) as store, store.transaction():
            device_id = devices.ensure(store, "acme", "washer-1")
            devices.record_birth(store, device_id, wire.decode("birth", birth), birth, retained=False, now_ms=0)  # type: ignore[arg-type]
        lines = evergrow("status", "washer-1", "--db", db).stdout.splitlines()
        assert [line.split() for line in lines if line.startswith("birth.rights_damaged")] == [["birth.rights_damaged:", shown]]


def test_what_a_device_says_cannot_move_the_cursor(db: Path) -> None:
    for args in (("status",), ("status", "washer-1"), ("status", "--json")):
        assert "\x1b" not in evergrow(*args, "--db", db).stdout


def test_usage_lists_records(db: Path) -> None:
    result = evergrow("usage", "acme/washer-1", "--db", db)
    assert result.exit_code == 0
    assert "cotton" in result.stdout and "finished" in result.stdout
    first, second = json.loads(evergrow("usage", "washer-1", "--db", db, "--json").stdout)
    assert (first["seq"], first["time_source"], first["energy_wh"], first["temp_max_c"]) == (1, "device", 941, 60.2)
    assert second["features"] == [{"publisher": 1, "feature": 1001, "name": None}]
    assert bytes.fromhex(first["payload_hex"]) == envelope(7, 1, usage_body(), 1_795_339_200)


def test_ledger_shows_features_and_the_whole(db: Path) -> None:
    result = evergrow("ledger", "--db", db)
    assert result.exit_code == 0 and "1001" in result.stdout and "all" in result.stdout
    found = json.loads(evergrow("ledger", "--db", db, "--json").stdout)
    assert found["total"]["cycles"] == 2
    assert [(share["publisher"], share["feature"], share["cycles"]) for share in found["features"]] == [(1, 1001, 1)]
    assert json.loads(evergrow("ledger", "--db", db, "--tenant", "other", "--json").stdout)["features"] == []


@pytest.mark.parametrize(
    "args",
    [
        ("command", "washer-1", "explode"),
        ("command", "washer-1", "start"),
        ("command", "washer-1", "start", "no-such-programme"),
        ("command", "washer-1", "stop", "cotton"),
        ("run",),
        ("nonsense",),
    ],
)
def test_wrong_calls_exit_with_2(db: Path, args: tuple[str, ...]) -> None:
    rest = () if args == ("nonsense",) else ("--db", db)
    assert evergrow(*args, *rest).exit_code == 2


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("status", "nobody"), "no device 'nobody'"),
        (("usage", "nobody"), "no device 'nobody'"),
        (("command", "washer-1", "stop", "--timeout", "1"), "is `evergrow cloud run` running?"),
        (("run", "--broker", "http://broker"), "a broker URL is"),
    ],
)
def test_failures_are_one_sentence_and_exit_with_1(db: Path, args: tuple[str, ...], sentence: str) -> None:
    result = evergrow(*args, "--db", db)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_an_offer_that_is_open_is_taken_back(db: Path) -> None:
    with Store(db) as store:
        transfer = offers.offer(store, "acme", "washer-1", b"another", {})
    first, unknown = (evergrow("cancel", number, "--db", db, "--json") for number in (transfer, 4711))
    assert (first.exit_code, json.loads(first.stdout)) == (0, {"transfer": transfer, "cancelled": True})
    assert (unknown.exit_code, json.loads(unknown.stdout)) == (1, {"transfer": 4711, "cancelled": False})


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    result = evergrow("status", "--db", tmp_path / "missing.db")
    assert result.exit_code == 1 and "there is no database" in result.stderr
    assert not (tmp_path / "missing.db").exists()


def test_a_locked_or_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE devices (x)")
    connection.close()
    result = evergrow("status", "--db", path)
    assert result.exit_code == 1 and "cannot use" in result.stderr


@pytest.mark.parametrize("name", [[], ["run"], ["enrol"], ["status"], ["usage"], ["ledger"], ["command"]])
def test_help_has_examples(name: list[str]) -> None:
    result = evergrow(*name, "--help")
    assert result.exit_code == 0
    assert not name or "Example" in result.stdout


async def _start(path: Path, *args: str) -> asyncio.subprocess.Process:
    code = "from evergrow_cloud.cli import app; app()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "EVERGROW_DB": str(path)}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, *args, env=env, stdout=asyncio.subprocess.PIPE)


async def _call(path: Path, *args: str) -> tuple[int | None, str]:
    process = await _start(path, *args)
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def test_run_serves_until_it_is_told_to_end(mosquitto: Mosquitto, tmp_path: Path) -> None:
    process = await _start(tmp_path / "cloud.db", "run", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}")
    try:
        async with ScriptedDevice(mosquitto.port) as device:
            await device.say("birth", BIRTH, retain=True)
            await device.say("state", ONLINE, retain=True)
            if await device.hear_first("welcome", "cmd") == "cmd":  # it came up after the birth, and asks for another
                await device.be_born()
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_command_of_another_process_runs_through_the_cloud(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """EG-CMD-003: start carries a deadline."""
    path = tmp_path / "cloud.db"

    with Store(path) as store:
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, ScriptedDevice(mosquitto.port) as device:
            await cloud.connected()
            _, _, utc_s, _ = await device.be_born()
            for code, exit_code in ((0, 0), (11, 1)):
                calling = asyncio.create_task(_call(path, "command", "washer-1", "start", "quick", "--json"))
                number, command, args, deadline = await device.hear("cmd")
                assert (command, args) == (1, {0: 3}) and utc_s < deadline
                await device.say("rsp", [number, code])
                returned, output = await calling
                assert returned == exit_code
                answer: dict[str, Any] = json.loads(output)
                assert answer["code"] == code


async def test_a_start_may_go_without_a_deadline_to_a_device_whose_clock_is_ahead(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """EG-CMD-003: a simulated device at speed refuses every deadline."""
    path = tmp_path / "cloud.db"
    with Store(path) as store:
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, ScriptedDevice(mosquitto.port) as device:
            await cloud.connected()
            await device.be_born()
            calling = asyncio.create_task(_call(path, "command", "washer-1", "start", "3", "--no-deadline"))
            number, command, args = await device.hear("cmd")
            assert (command, args) == (1, {0: 3})
            await device.say("rsp", [number, 12])
            assert (await calling)[0] == 1
