"""What the cloud shows of telemetry: samples with their times, signals by name and in their units."""

import json
from pathlib import Path
from typing import Any

import pytest
from scripted_device import envelope
from typer.testing import CliRunner

from evergrow_cloud import devices, telemetry
from evergrow_cloud.cli import app
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store
from evergrow_protocol.message_codecs import from_deltas, from_steps

NOW_S = 1_795_339_200
TEMP, DRUM, UNKNOWN = 2, 3, 1777


@pytest.fixture
def db(tmp_path: Path, store: Store) -> Path:
    """Of `store`."""
    return tmp_path / "cloud.db"


@pytest.fixture
def say(store: Store) -> Any:
    service = Ingest(store, Limits())

    def take(kind: str, seq: int, body: Any, t: Any = None) -> None:
        service.apply([Incoming(f"eg1/acme/washer-1/up/{kind}", envelope(7, seq, body, t))], store.utc_s())

    return take


def batch(columns: dict[int, list[int]], gaps: list[int] | None = None, lost: int = 0) -> dict[int, Any]:
    packed: dict[int, Any] = {signal: from_deltas(values) for signal, values in columns.items()}
    body: dict[int, Any] = {1: packed} if gaps else {0: 10, 1: packed}
    return body | ({2: from_steps(gaps)} if gaps else {}) | ({3: lost} if lost else {})


def shown(db: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["telemetry", "washer-1", "--db", str(db), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_samples_are_dated_from_their_batch_and_its_boot(store: Store, say: Any) -> None:
    """EG-TELE-004, EG-TIME-003"""
    say("tele", 1, batch({TEMP: [200, 205, 210]}), [60_000])
    say("tele", 2, batch({TEMP: [220, 221]}, gaps=[0, 300], lost=4), NOW_S)
    device = devices.find(store, "washer-1").id
    assert [sample.utc_s for sample in telemetry.samples(store, device).samples] == [None] * 3 + [NOW_S, NOW_S + 300]
    say("sync", 1, [70_000, NOW_S - 100])
    found = telemetry.samples(store, device)
    assert [sample.utc_s for sample in found.samples] == [NOW_S - 110, NOW_S - 100, NOW_S - 90, NOW_S, NOW_S + 300]
    assert [sample.values[TEMP] for sample in found.samples] == [200, 205, 210, 220, 221] and found.lost == 4


def test_the_newest_samples_are_chosen_by_time_signal_and_number(store: Store, say: Any) -> None:
    say("tele", 1, batch({TEMP: [1, 2, 3]}), NOW_S)
    say("tele", 2, batch({DRUM: [4, 5, 6]}), NOW_S + 30)
    device = devices.find(store, "washer-1").id

    def values(*arguments: Any) -> list[int]:
        return [value for sample in telemetry.samples(store, device, *arguments).samples for value in sample.values.values()]

    assert values() == [1, 2, 3, 4, 5, 6]
    assert values(4) == [3, 4, 5, 6]
    assert values(100, NOW_S + 20) == [3, 4, 5, 6]
    assert values(2, 0, frozenset([TEMP])) == [2, 3]


def test_people_read_names_units_and_what_was_lost(db: Path, say: Any) -> None:
    say("tele", 1, batch({TEMP: [200, 205], DRUM: [0, 45]}, lost=3), NOW_S)
    say("tele", 2, batch({5: [1], UNKNOWN: [-7]}), [5000])
    text = shown(db)
    assert "temp (°C)" in text and "drum rpm  " in text and "signal-1777" in text
    assert "2026-11-22T09:20:10Z" in text and "20.5" in text and "yes" in text and "-7" in text
    assert "boot 7, came 2026-11-22T09:20:00Z" in text
    assert "3 more samples were lost" in text


def test_machines_read_a_series_for_each_signal(db: Path, say: Any) -> None:
    say("tele", 1, batch({TEMP: [200, 205], DRUM: [0, 45]}), NOW_S)
    found = json.loads(shown(db, "--json", "--signal", "temp", "--limit", "1"))
    assert found["device"] == "acme/washer-1" and found["lost"] == 0
    (series,) = found["signals"]
    assert (series["signal"], series["id"], series["unit"]) == ("temp", TEMP, "degC")
    assert [(sample["time"], sample["value"]) for sample in series["samples"]] == [("2026-11-22T09:20:10Z", 20.5)]


def test_since_is_a_time_or_how_long_ago(db: Path, say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    say("tele", 1, batch({DRUM: [1, 2, 3]}), NOW_S)
    for since in ("2026-11-22T09:20:20", "2026-11-22T10:20:20+01:00"):
        assert len(json.loads(shown(db, "--json", "--since", since))["signals"][0]["samples"]) == 1
    monkeypatch.setattr("time.time", lambda: NOW_S + 3600.0)
    assert len(json.loads(shown(db, "--json", "--since", "1h"))["signals"][0]["samples"]) == 3
    assert "No telemetry of acme/washer-1 is stored from then on." in shown(db, "--since", "30m")


@pytest.mark.parametrize(
    "options", [["--since", "yesterday"], ["--signal", "colour"], ["--limit", "0"], ["--since", "9999999999d"]]
)
def test_what_cannot_be_asked_is_a_usage_error(db: Path, say: Any, options: list[str]) -> None:
    say("tele", 1, batch({DRUM: [1]}), NOW_S)
    result = CliRunner().invoke(app, ["telemetry", "washer-1", "--db", str(db), *options], catch_exceptions=False)
    assert result.exit_code == 2 and "Traceback" not in result.output


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["telemetry", "washer-1", "--db", str(tmp_path / "none.db")], catch_exceptions=False)
    assert result.exit_code == 1 and "there is no database" in result.output
