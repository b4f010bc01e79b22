"""A code feature from its source to its use, on both interpreters, as a publisher tries it."""

from pathlib import Path

import pytest

from evergrow_tools import feature_files, feature_trial


@pytest.mark.parametrize("runtime", feature_trial.RUNTIMES)
def test_laundry_is_weighed_by_the_water_that_it_holds(runtime: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """EG-CODE-001, EG-CODE-005, EG-SUIT-006: there are 5 kg in the simulated washer, and no scale."""
    if runtime == "micropython":
        pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    monkeypatch.chdir(tmp_path)
    folder = Path(feature_files.__file__).parents[2] / "firmware" / "features" / "load-sense"
    (result,) = feature_trial.run(folder, [runtime], None, [], 1, lambda text: None)
    assert (result.wrong, result.state) == ("", "confirmed")
    (record,) = result.records
    assert record["features"] == [{"publisher": feature_trial.PUBLISHER, "feature": 1003}]
    (load_g,) = record["meters"].values()
    assert 4500 <= load_g <= 5500
    assert [event["value"] for event in result.events if event["event"] == "event-1012"] == [load_g]
