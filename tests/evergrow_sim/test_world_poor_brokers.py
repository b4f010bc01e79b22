"""Brokers that lack what good ones have: whole runs, with faults and all that must hold, see `invariants`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from evergrow_sim.world import breaking, scenario
from evergrow_sim.world.broker_settings import Switches
from evergrow_sim.world.house import House
from evergrow_sim.world.run import run

SEEDS = range(40, 44)
POOR: dict[str, dict[str, Any]] = {
    "wills": {"no_will": True},
    "retained messages": {"no_retained": True},
    "retained messages, and does not say so": {"no_retained": True, "announce": False},
    "sessions": {"no_sessions": True},
    "all of them, and does not say so": {"no_will": True, "no_retained": True, "no_sessions": True, "announce": False},
    "MQTT 5": {"versions": (4,)},
    "everything but MQTT 3.1.1": {"versions": (4,), "no_will": True, "no_retained": True, "no_sessions": True, "announce": False},
}


@contextmanager
def brokers_with(monkeypatch: pytest.MonkeyPatch, **poor: Any) -> Iterator[None]:
    """Every broker has these switches, whatever else a fault does to it; who would speak another version than it speaks 3.1.1."""
    opened: Callable[[House], None] = House.open
    made = scenario.make

    def open_poor(house: House) -> None:
        house.broker.switches = Switches(**poor)
        house.tap.no_retained = bool(poor.get("no_retained")) and bool(poor.get("announce", True))
        opened(house)

    def make_old(seed: int, hours: float = 0) -> scenario.Scenario:
        found = made(seed, hours)
        return replace(found, devices=tuple(replace(spec, version=4) for spec in found.devices), cloud_version=4)

    with monkeypatch.context() as patched:
        patched.setattr(House, "open", open_poor)
        patched.setattr(breaking, "Switches", partial(Switches, **poor))
        if "versions" in poor:
            patched.setattr(scenario, "make", make_old)
        yield


@pytest.mark.parametrize("lacking", POOR)
def test_everything_holds_with_a_broker_that_lacks(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """EG-BRK-001, EG-TOP-004"""
    cycles = 0
    for seed in SEEDS:
        with brokers_with(monkeypatch, **POOR[lacking]):
            result = run(seed, "light")
        assert result.ok, (seed, result.violations)
        cycles += result.stats["records"]
    assert cycles > 0
