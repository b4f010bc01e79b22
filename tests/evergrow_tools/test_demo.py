"""The demo as its users run it: the whole loop, its figures, and its sentence when something fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evergrow_tools.brokers import free_port


def demo(*options: str) -> "subprocess.CompletedProcess[str]":
    code = "from evergrow_tools.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, "demo", *options], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def summary(out: Path) -> dict[str, object]:
    done = demo("--runtime", "cpython", "--json", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == json.loads((out / "summary.json").read_text())
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_what_is_not_granted_or_not_what_was_signed_is_refused_with_its_code(summary: dict[str, object]) -> None:
    """EG-FEAT-003, EG-FEAT-004, EG-TRUST-006"""
    refused = [(row["what"], row["code"]) for row in summary["refused"]]  # type: ignore[attr-defined]
    assert refused == [("no grant", 10), ("beyond its grant", 10), ("tampered", 14)]


def test_one_hardware_is_sold_in_two_tiers_by_an_entitlement_alone(summary: dict[str, object]) -> None:
    """EG-ENT-005, EG-ENT-006"""
    tiers = [(cycle["spin_max_rpm"], len(cycle["features"])) for cycle in summary["cycles"]][1:]  # type: ignore[attr-defined]
    assert [count for _, count in tiers] == [1, 2]
    assert tiers[0][0] < 1100 and tiers[1][0] > 1300


def test_the_good_features_are_installed_with_the_version_they_were_built_with(summary: dict[str, object]) -> None:
    """EG-FEAT-009"""
    assert [(row["id"], row["version"]) for row in summary["installed"]] == [(1001, "1.0.0"), (1002, "1.0.0")]  # type: ignore[attr-defined]


def test_usage_and_telemetry_keep_to_their_sizes_on_real_data(summary: dict[str, object]) -> None:
    """EG-USE-007, EG-TELE-001"""
    assert 30 <= summary["usage_bytes"] <= 43  # type: ignore[operator]
    assert summary["usage_bytes"] < summary["feature_usage_bytes"] <= 54  # type: ignore[operator]
    assert 60 <= summary["batch_bytes"] <= 120  # type: ignore[operator]


def test_the_ledger_adds_up_per_feature_and_publisher(summary: dict[str, object]) -> None:
    """EG-USE-005"""
    cycles = summary["cycles"]
    ledger = summary["ledger"]
    assert ledger["cycles"] == len(cycles) == 3  # type: ignore[index, arg-type]
    assert ledger["energy_wh"] == sum(cycle["energy_wh"] for cycle in cycles)  # type: ignore[index, attr-defined]
    assert [(row["publisher"], row["feature"], row["cycles"]) for row in ledger["features"]] == [(1, 1002, 1), (2, 1001, 2)]  # type: ignore[index]


def test_every_message_of_the_demo_is_in_the_grammar(summary: dict[str, object], out: Path) -> None:
    """EG-ENC-001, EG-ENC-007"""
    recording = out / "traffic.jsonl"
    assert len(recording.read_text().splitlines()) == summary["messages"] > 100  # type: ignore[operator]
    code = "from evergrow_tools.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "validate", str(recording)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_is_said_shown_or_logged(summary: dict[str, object], out: Path) -> None:
    """EG-SEC-002: neither the device key nor a publisher's secret, in bytes or in hex."""
    secrets = [(out / "keys" / "washer-1.device-key").read_text().strip()]
    secrets += [json.loads((out / "keys" / f"{name}.key").read_text())["seed"] for name in ("root", "evergrow", "northwash")]
    said = (out / "traffic.jsonl").read_text() + (out / "summary.json").read_text()
    assert [len(secret) for secret in secrets] == [64] * 4
    assert not any(secret in said for secret in secrets)


def test_a_broker_that_is_not_there_is_said_before_anything_is_made(tmp_path: Path) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    done = demo("--broker", url, "--out", str(tmp_path / "out"), "--runtime", "cpython")
    assert done.returncode == 1
    line = done.stdout.splitlines()[-1]
    assert line.startswith(f"demo: failed: no connection to {url}: Connection refused. Start a broker there")
    assert done.stderr == "" and not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = demo("--out", str(tmp_path), "--runtime", "cpython")
    assert done.returncode == 1
    assert "is not empty" in done.stdout
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_unknown_runtime_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = demo("--runtime", "cobol", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "there is no runtime 'cobol'" in done.stdout + done.stderr
