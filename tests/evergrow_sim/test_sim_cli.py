"""`evergrow sim` as it is typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from evergrow_sim import cli, cuts


def sim(*args: str) -> Result:
    return CliRunner().invoke(cli.app, args, catch_exceptions=False)


def invoke(*args: str) -> str:
    result = sim("run", *args)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.replace("│", " ").split())


def test_a_bad_device_id_is_refused() -> None:
    """EG-TOP-001"""
    assert "not 'W'" in invoke("--device", "Washer")


def test_a_broker_that_is_no_mqtt_url_is_refused() -> None:
    assert "is not mqtt://host or mqtts://host" in invoke("--device", "w1", "--broker", "http://broker")


def test_tls_without_an_authority_is_refused() -> None:
    assert "mqtts needs --ca" in invoke("--device", "w1", "--broker", "mqtts://broker")


def test_without_compiled_code_the_option_is_named() -> None:
    assert "--code" in invoke("--device", "w1")


def test_broker_options_of_a_url(tmp_path: Path) -> None:
    assert cli.broker_options("mqtt://broker") == {"host": "broker", "port": 1883}
    assert cli.broker_options("mqtt://u%40:p%3A@[::1]:99") == {"host": "::1", "port": 99, "username": "u@", "password": "p:"}
    files = {name: tmp_path / name for name in ("ca", "cert", "key")}
    for path in files.values():
        path.touch()
    tls = {name: str(path) for name, path in files.items()}
    assert cli.broker_options("mqtts://broker", **files) == {"host": "broker", "port": 8883, "tls": tls}
    with pytest.raises(ValueError, match="mqtts"):
        cli.broker_options("mqtt://broker", Path("ca.pem"))


def test_events_as_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    cli._print_json({"event": "booted", "boot": 1})
    assert json.loads(capsys.readouterr().out) == {"event": "booted", "boot": 1}


def test_a_key_file_becomes_a_row_of_the_key_ring(tmp_path: Path) -> None:
    path = tmp_path / "acme.pub"
    key = {"format": 1, "kid": "00ff", "alg": "HSS-LMS", "public": "aa" * 60, "publisher": 7, "prefix": "acme"}
    path.write_text(json.dumps(key))
    assert cli.trusted_key(path) == ["00ff", -46, "aa" * 60, 7, "acme"]
    path.write_text(json.dumps({"alg": "HSS-LMS"}))
    with pytest.raises(ValueError, match="lacks 'kid'"):
        cli.trusted_key(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="not the public half"):
        cli.trusted_key(path)


def test_a_device_key_is_read_and_what_is_none_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "washer-1.key"
    path.write_text("0f" * 32 + "\n")
    assert cli.shared_key(path) == "0f" * 32
    for text in ("0f" * 31, "0f" * 33, "no hexadecimal", ""):
        path.write_text(text)
        with pytest.raises(ValueError, match="is no device key") as caught:
            cli.shared_key(path)
        assert not text or text not in str(caught.value)


def test_manifest_ids_are_those_of_the_publishers_tools() -> None:
    from evergrow_tools import suit_build

    assert cli.manifest_ids("evergrow.example", "washer") == {
        "vendor_id": suit_build.vendor_id("evergrow.example").hex(),
        "class_id": suit_build.class_id("evergrow.example", "washer").hex(),
    }


def test_there_is_no_model_of_everything() -> None:
    result = sim("run", "--device", "t1", "--appliance", "toaster")
    assert result.exit_code == 2 and "refrigerator" in result.output


def test_cuts_of_several_scenarios_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(scenario: str, jobs: int, every: int) -> cuts.Result:
        return cuts.Result(scenario, 10, 40, 7, [{"text": "half"}] if scenario == "delta" else [], 1.0)

    monkeypatch.setattr(cuts, "run", run)
    result = sim("cuts", "install", "uninstall")
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "2 scenarios: 94 cut points")
    assert sim("cuts", "install", "delta").exit_code == 1
    assert "cut points" not in sim("cuts", "install").output
    told = json.loads(sim("cuts", "install", "delta", "--json").output)
    assert told["cut_points"] == 94 and [row["scenario"] for row in told["scenarios"]] == ["install", "delta"]
    assert told["scenarios"][1]["failures"] == [{"text": "half"}]
