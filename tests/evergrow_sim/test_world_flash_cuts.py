"""Power cuts at every operation of a real LittleFS2 under the real agent code: nothing lost, nothing twice, old or new."""

import sys
from pathlib import Path

import pytest

from evergrow_sim import cuts

sys.path.insert(0, str(Path(__file__).parents[1] / "portable"))

from _lane import micropython_launcher


@pytest.mark.parametrize("scenario", cuts.SCENARIOS)
def test_a_power_cut_leaves_the_old_or_the_new_and_a_second_boot_changes_nothing(scenario: str) -> None:
    """EG-USE-002, EG-USE-003, EG-ENV-001, EG-ENV-003, EG-ACK-003, EG-FEAT-007, EG-TRUST-008, EG-TRUST-013,
    EG-ENT-009, EG-ENT-010"""
    micropython_launcher()
    result = cuts.run(scenario, jobs=2)
    print(f"{result.cut_points} + {result.recovery_cut_points} cut points, {result.points_per_s:.0f} each second")
    assert result.failures == []
    assert result.operations > 5
    assert result.cut_points >= 4 * result.operations


def test_an_index_that_is_not_replaced_atomically_is_caught(tmp_path: Path) -> None:
    """The check can see: the same scenario with an agent that removes the old index before it writes the new one."""
    micropython_launcher()
    (tmp_path / "careless.py").write_text(
        "from evergrow_agent import checked\n"
        "from evergrow_sim.cutscenarios import SCENARIOS\n"
        "save = checked.save\n"
        "def careless(flash, name, content):\n"
        "    flash.remove(name)\n"
        "    save(flash, name, content)\n"
        "checked.save = careless\n"
    )
    result = cuts.run("feature", kinds=["after"], code=[tmp_path], module="careless")
    assert result.failures
    assert all(failure["kind"] == "after" for failure in result.failures), "without a cut nothing is wrong"


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(cuts.CutsError, match="there are usage"):
        cuts.run("laundry")
