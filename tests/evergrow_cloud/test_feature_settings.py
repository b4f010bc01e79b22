"""Settings of code features by their names: what the cloud knows of them, and what it does not let pass."""

import json
import re
from pathlib import Path
from typing import Any

import cbor2
import pytest
from scripted_device import envelope
from typer.testing import CliRunner

from evergrow_cloud import config_file, configs, devices, feature_settings, offers, wire
from evergrow_cloud.cli import app
from evergrow_cloud.errors import CloudError
from evergrow_cloud.feature_settings import Settable, Setting
from evergrow_cloud.store import Store
from evergrow_protocol import registry

NEEDS = {4: {1: [10, 300, 30], 2: [0, 1, 0]}, 5: 4096, 6: 50, 8: {1: "patience_s"}}
BODY = {0: 3, 1: 1020, 2: "door-coach", 3: "1.0.0", 10: NEEDS, 11: b"code"}
PATIENCE = Setting(1, "patience_s", 10, 300, 30)
COACH = Settable(2, 1020, "door-coach", (PATIENCE, Setting(2, "2", 0, 1, 0)))


def known_after(store: Store, body: dict[int, Any], state: int = offers.CONFIRMED, sequence: int = 1) -> list[Settable]:
    with store.transaction():
        device_id = devices.ensure(store, "acme", "fridge-1")
    transfer = offers.offer(store, "acme", "fridge-1", b"envelope", {1: cbor2.dumps(body)})
    raw = envelope(7, sequence, {0: transfer, 1: 0, 2: state, 3: [2, 1020, sequence]})
    with store.transaction():
        offers.report(store, device_id, wire.decode("feat", raw), raw)  # type: ignore[arg-type]
    return feature_settings.of_device(store, devices.find(store, "fridge-1"))


def test_what_a_device_took_can_be_set_by_the_newest_declaration(store: Store) -> None:
    """EG-CODE-007"""
    assert known_after(store, BODY) == [COACH]
    newer = {**BODY, 10: {**NEEDS, 4: {1: [10, 60, 30]}}}
    (known,) = known_after(store, newer, sequence=2)
    assert known.settings == (Setting(1, "patience_s", 10, 60, 30),)


@pytest.mark.parametrize("needs", [None, 7, {}, {4: 7}, {4: {1: 7}}, {4: {1: ["a", 1, 1]}}, {4: {1: [1, 2, 1]}, 8: 7}])
def test_what_is_no_declaration_is_passed_over(store: Store, needs: Any) -> None:
    assert known_after(store, {**BODY, 10: needs}) == []
    assert known_after(store, BODY, offers.REFUSED, 2) == []


def test_values_are_held_to_their_bounds_and_of_what_is_unknown_to_numbers() -> None:
    """EG-CFG-009"""
    assert COACH.check(COACH.setting("patience_s"), 300) == 300
    for number, value in ((1, 301), (1, 9), (2, 2)):
        with pytest.raises(CloudError, match=r"is .* to .*, not"):
            COACH.check(number, value)
    with pytest.raises(CloudError, match="there are patience_s, 2"):
        COACH.setting("patience")
    stranger = feature_settings.find([COACH], "9:1001")
    assert stranger == feature_settings.find([COACH], "9/1001")
    assert stranger.check(stranger.setting("7"), -5) == -5
    for name in ("0", "65536", "patience_s"):
        with pytest.raises(CloudError):
            stranger.setting(name)
    with pytest.raises(CloudError):
        stranger.check(7, 1 << 31)
    for text in ("coach", "2:", "2:0", "65536:1020", "2/٣", "-1/5"):
        with pytest.raises(CloudError, match="door-coach"):
            feature_settings.find([COACH], text)
    with pytest.raises(CloudError, match="several publishers"):
        feature_settings.find([COACH, Settable(3, 1020, "door-coach", ())], "door-coach")


def test_a_file_names_them() -> None:
    """EG-CFG-009"""
    names = registry.load()
    text = '[features.door-coach]\npatience_s = 60\n[features."9/1001"]\n7 = -5\n'
    values = config_file.parse(text, names, [COACH])
    assert values == {4: [[2, 1020, {1: 60}], [9, 1001, {7: -5}]]}
    assert config_file.describe(values, names, [COACH]) == {"features": {"door-coach": {"patience_s": 60}, "9/1001": {"7": -5}}}
    table = "[features.door-coach]\n"
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert config_file.parse(example, names, [COACH])[4] == [[2, 1020, {1: 60}]]
    for bad in (table + "patience_s = 5", table + "patience_s = true", "features = 5", "features.x = 5"):
        with pytest.raises(CloudError):
            config_file.parse(bad, names, [COACH])


def test_the_command_shows_sets_takes_back_and_leaves_the_rest(tmp_path: Path) -> None:
    """EG-CFG-009"""
    db = tmp_path / "cloud.db"
    with Store(db) as store:
        known_after(store, BODY)
        configs.put(store, devices.find(store, "fridge-1").id, {2: 120, 4: [[9, 1001, {7: 1}]]})

    def run(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(
            app, ["config", "feature", "fridge-1", *words, "--db", str(db), "--json"], catch_exceptions=False
        )
        assert done.exit_code == code, done.output
        if code:
            return None
        told = json.loads(done.stdout)
        assert told["device"] == "acme/fridge-1"
        return told["settings"]

    def values() -> Any:
        with Store(db) as store:
            found = configs.get(store, devices.find(store, "fridge-1").id)
            assert found is not None
            return found.values

    shown = run()
    assert [(row["setting"], row["value"], row["most"]) for row in shown] == [("patience_s", 30, 300), ("2", 0, 1)]
    assert run("door-coach", "patience_s=60", "2=1")[0]["value"] == 60
    assert values() == {2: 120, 4: [[2, 1020, {1: 60, 2: 1}], [9, 1001, {7: 1}]]}
    run("2:1020", "patience_s=default")
    assert values() == {2: 120, 4: [[2, 1020, {2: 1}], [9, 1001, {7: 1}]]}
    run("2:1020", "2=default")
    run("9:1001", "7=default")
    assert values() == {2: 120}
    for words in (["door-coach", "patience_s=5"], ["door-coach", "patience_s"], ["door-coach", "patience_s=x"], ["nobody"]):
        run(*words, code=1)
    assert values() == {2: 120}
