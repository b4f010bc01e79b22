"""Refrigerators and air conditioners that live for days while things go wrong; and defects that must be seen."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

from evergrow_agent.cycle import Cycle
from evergrow_agent.runner import Meter
from evergrow_protocol import registry_refrigerator as ids
from evergrow_sim.appliances.refrigerator import Refrigerator
from evergrow_sim.world.continuous import KINDS, run


@pytest.mark.parametrize("kind", KINDS)
def test_without_faults_the_records_are_what_was_used(kind: str) -> None:
    """EG-USE-002: whole periods and those that a person ends, to two watt-hours each."""
    outcome = run(1, kind, 50, faults=0)
    assert outcome.violations == [] and outcome.records > 3 and outcome.cuts == 0
    assert abs(outcome.told_wh - outcome.used_wh) <= 2 * outcome.records + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 3])
def test_faults_cost_no_more_than_they_may(kind: str, seed: int) -> None:
    """EG-USE-003"""
    outcome = run(seed, kind, 30)
    assert outcome.violations == [] and outcome.cuts > 0


def without_protection() -> AbstractContextManager[Any]:
    """The compressor starts again as soon as it is too warm."""
    rows = tuple(row for row in Refrigerator.interlocks if row[0] != ids.ACTUATOR_COMPRESSOR)
    return mock.patch.object(Refrigerator, "interlocks", rows)


def without_periods() -> AbstractContextManager[Any]:
    """A period goes on until somebody ends it."""
    resume = Cycle._resume

    def other(self: Cycle, programme_id: int, now_ms: int) -> None:
        if programme_id != self._runner.programme_id:
            resume(self, programme_id, now_ms)

    return mock.patch.object(Cycle, "_resume", other)


def counted_from_boot() -> AbstractContextManager[Any]:
    """Each period is told with what those before it used."""
    start = Meter.start

    def once(self: Meter) -> None:
        if not self.__dict__.get("started"):
            self.__dict__["started"] = True
            start(self)

    return mock.patch.object(Meter, "start", once)


PLANTED: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "without protection": (without_protection, "compressor"),
    "without periods": (without_periods, "period"),
    "counted from boot": (counted_from_boot, "usage"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_seen_in_the_first_life(name: str) -> None:
    plant, rule = PLANTED[name]
    with plant():
        outcome = run(0, KINDS[0], 60, faults=0)
    assert rule in [what.split(":")[0] for what in outcome.violations], outcome


def test_a_seed_is_the_same_life_again() -> None:
    assert run(5, KINDS[1], 10) == run(5, KINDS[1], 10) != run(6, KINDS[1], 10)
