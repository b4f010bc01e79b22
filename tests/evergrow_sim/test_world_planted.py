"""The world can see: each deliberate defect is caught within a stated number of seeds, in which the code as it is passes."""

import sys
from pathlib import Path

import pytest

from evergrow_sim.world.run import run

sys.path.insert(0, str(Path(__file__).parent))

from planted import BUGS

CAUGHT = {
    # defect: (first seed, seeds, the rule that sees it)
    "cloud_acks_before_it_commits": (0, 12, "usage"),
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
