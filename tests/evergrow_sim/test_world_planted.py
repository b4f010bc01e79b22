"""The world can see: each deliberate defect is caught within a stated number of seeds, in which the code as it is passes."""

import sys
from pathlib import Path

import pytest

from evergrow_sim.world.run import run

sys.path.insert(0, str(Path(__file__).parent))

from planted import BUGS

CAUGHT = {
    # defect: (first seed, seeds, the rule that sees it)
    "cloud_acks_before_it_commits": (8, 6, "usage"),
    "cloud_counts_what_comes_again": (0, 3, "usage"),
    "flash_renames_without_sync": (8, 6, "usage"),
    "boot_number_is_not_durable": (0, 3, "grammar"),
    "topic_alias_outlives_its_connection": (0, 5, "reachable"),
    "client_retries_without_backoff": (0, 3, "storm"),
    "feature_is_activated_before_it_is_verified": (4, 5, "features"),
    "running_cycle_has_no_checkpoint": (0, 6, "usage"),
    "interlocks_of_the_door_are_forgotten": (7, 6, "interlock"),
    "journal_writes_two_records_at_a_time": (0, 3, "usage"),
    "appliance_task_waits_for_the_link": (0, 3, "crash"),
}
"""All with heavy faults. Seeds are chosen so that the test is quick; from any first seed it takes a few times as many."""


def test_at_least_eight_defects_are_planted_and_each_is_looked_for() -> None:
    assert len(BUGS) >= 8
    assert set(BUGS) == set(CAUGHT)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_planted_bug_is_caught(name: str) -> None:
    first, count, rule = CAUGHT[name]
    for seed in range(first, first + count):
        result = run(seed, "heavy", plant_bugs=[BUGS[name]])
        if not result.ok:
            assert rule in {violation.rule for violation in result.violations}
            assert run(seed, "heavy").violations == []
            return
    pytest.fail(f"not seen within {count} seeds")
