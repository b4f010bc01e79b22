"""The example features from source to use, on both interpreters, as a publisher tries them: what they do physically."""

from pathlib import Path

import pytest

from evergrow_tools import feature_files, feature_trial

FEATURES = Path(feature_files.__file__).parents[2] / "firmware" / "features"


@pytest.fixture(params=feature_trial.RUNTIMES)
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param == "micropython":
        pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    monkeypatch.chdir(tmp_path)
    return str(request.param)


def tried(name: str, runtime: str, actions: list[str], minutes: int = 1, **settings: int) -> feature_trial.Result:
    (result,) = feature_trial.run(FEATURES / name, [runtime], None, actions, minutes, lambda text: None, settings)
    assert (result.wrong, result.state) == ("", "confirmed")
    return result


def told(result: feature_trial.Result) -> list[tuple[str, str]]:
    return [(event["event"], event["what"]) for event in result.events]


def test_laundry_is_weighed_by_the_water_that_it_holds(runtime: str) -> None:
    """EG-CODE-001, EG-CODE-005, EG-SUIT-006: there are 5 kg in the simulated washer, and no scale."""
    result = tried("load-sense", runtime, [])
    (record,) = result.records
    assert record["features"] == [{"publisher": feature_trial.PUBLISHER, "feature": 1003, "name": "load-sense"}]
    load_g = record["meters"]["load_g"]
    assert 4500 <= load_g <= 5500
    assert [event["value"] for event in result.events if event["event"] == "load_weighed"] == [load_g]


def test_a_fridge_that_stands_open_buzzes_before_its_alarm_and_the_opening_is_counted(runtime: str) -> None:
    """EG-CODE-002, EG-CODE-005, EG-CODE-007: door-coach, whose patience is set to 45 s."""
    result = tried("door-coach", runtime, ["door 0", "door 1"], 2, patience_s=45)
    shut, opened, shut_again = result.shown
    assert (shut["buzzer"], opened["buzzer"], shut_again["buzzer"]) == (0, 1, 0)
    assert opened["fridge_temp"] > shut["fridge_temp"] + 20, "warm air comes in through the open door"
    assert told(result)[:2] == [("reminded", "note"), ("door_left_open", "raised")]
    reminded = result.events[0]["value"]
    assert 45 <= reminded < 75
    (record,) = result.records
    assert record["meters"]["openings"] == 1 and 110 <= record["meters"]["open_s"] <= 130
    assert record["features"] == [{"publisher": feature_trial.PUBLISHER, "feature": 1020, "name": "door-coach"}]


def test_a_room_for_sleeping_is_cooled_less_by_and_by_and_as_before_in_the_morning(runtime: str) -> None:
    """EG-CODE-002, EG-HOME-003: sleep-curve, half a degree each half hour, two degrees in all."""
    result = tried("sleep-curve", runtime, ["scene 3", "wait", "wait", "scene 0"], 45)
    assert [row["room_set"] for row in result.shown] == [240, 245, 255, 260, 240]
    asleep, awake = result.shown[3:]
    assert asleep["room_temp"] >= 250 > awake["room_temp"]
    (record,) = result.records
    assert record["meters"]["slept_min"] >= 134
    assert ("curve", "note") in told(result)


def test_with_the_window_open_the_street_is_not_cooled(runtime: str) -> None:
    """EG-CODE-002, EG-EVT-002: open-window; the compressor rests as long as the pause, and then until the window is shut."""
    result = tried("open-window", runtime, ["wait", "window 1", "window 0", "wait"], 25)
    _, cool, opened, _, shut = result.shown
    assert cool["climate_mode"] == 1 and cool["compressor_s"] > 0
    assert (opened["climate_mode"], opened["compressor"], opened["fan"]) == (0, 0, 2)
    assert opened["room_temp"] > cool["room_temp"] + 10
    assert shut["climate_mode"] == 1 and shut["compressor_s"] > opened["compressor_s"] and shut["room_temp"] < 250
    assert told(result)[:2] == [("window_open", "raised"), ("window_open", "cleared")]
    (record,) = result.records
    assert record["meters"]["saved_min"] == 30


def test_on_holiday_the_fridge_is_as_warm_as_is_safe(runtime: str) -> None:
    """EG-USE-020, EG-USE-021: a programme that only moves set points."""
    result = tried("holiday", runtime, ["wait"], 120)
    first, *_, last = result.shown
    assert (last["fridge_set"], last["freezer_set"]) == (80, -160)
    assert first["fridge_temp"] < 60 < last["fridge_temp"] <= 95 and last["freezer_temp"] <= -130
    base, holiday = result.records
    assert (base["programme"], holiday["programme"], holiday["outcome"]) == ("fridge_normal", "holiday", "stopped")
    assert holiday["features"] == [{"publisher": feature_trial.PUBLISHER, "feature": 1010, "name": "holiday"}]


def test_what_has_to_be_paid_for_is_tried_on_trial(runtime: str) -> None:
    """EG-ENT-005: spin-1400, with the cotton programme, which spins as fast as the washer may."""
    (result,) = feature_trial.run(FEATURES / "spin-1400", [runtime], 1, [], 1, lambda text: None)
    (record,) = result.records
    assert record["spin_max_rpm"] == 1400
    assert record["features"] == [{"publisher": feature_trial.PUBLISHER, "feature": 1002, "name": "spin-1400"}]


def test_a_setting_that_it_does_not_take_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """EG-CFG-009"""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(feature_files.FeatureError, match="no setting 'patience'; there are patience_s"):
        feature_trial.run(FEATURES / "door-coach", ["cpython"], None, [], 1, print, {"patience": 45})
    (result,) = feature_trial.run(FEATURES / "door-coach", ["cpython"], None, [], 1, print, {"patience_s": 301})
    assert result.wrong == "the settings are refused, code 5 (out of range)"
