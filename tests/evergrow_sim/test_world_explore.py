"""`evergrow sim explore` and `replay`: a few hundred seeds hold, and a failure is reported, replayed and made small."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from evergrow_agent import bootcount
from evergrow_sim import cli
from evergrow_sim.world.continuous import SETTLE_S
from evergrow_sim.world.device import WorldDevice
from evergrow_sim.world.explore import command, explore
from evergrow_sim.world.run import run
from evergrow_sim.world.shrink import minimal, shrink

HEAVY, LIGHT = range(0, 260), range(1000, 1120)


@contextmanager
def _same_boot() -> Iterator[None]:
    with mock.patch.object(bootcount, "bump", lambda *_: (1, False)):
        yield


def test_seeds_with_heavy_faults_hold() -> None:
    """EG-ENV-001 EG-ENV-003 EG-ACK-002 EG-ACK-003 EG-USE-003 EG-USE-006 EG-FEAT-011"""
    outcomes = list(explore(HEAVY, "heavy"))
    assert [outcome.report for outcome in outcomes if outcome.violations] == []
    assert {outcome.seed for outcome in outcomes} == set(HEAVY)
    assert sum(outcome.counts["cycles"] for outcome in outcomes) > 3 * len(HEAVY)


def test_seeds_with_light_faults_hold() -> None:
    outcomes = list(explore(LIGHT, "light"))
    assert [outcome.report for outcome in outcomes if outcome.violations] == []


def test_a_result_does_not_depend_on_the_shards() -> None:
    apart = {outcome.seed: outcome.digest for outcome in explore(range(4, 8), "heavy", jobs=2)}
    assert apart == {outcome.seed: outcome.digest for outcome in explore(range(4, 8), "heavy", jobs=1)}


def invoke(*args: str) -> Any:
    return CliRunner().invoke(cli.app, args, catch_exceptions=False)


def test_explore_says_how_many_held() -> None:
    result = invoke("explore", "--seeds", "2", "--from", "20", "--fault-level", "light", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "2 seeds from 20, faults light" in result.output


def test_a_failure_names_the_seed_the_rule_and_the_command_that_replays_it() -> None:
    with _same_boot():
        result = invoke("explore", "--seeds", "3", "--fault-level", "heavy", "--jobs", "1")
    assert result.exit_code == 1
    assert "grammar: w1" in result.output and "last events:" in result.output
    failed = next(line for line in result.output.splitlines() if line.startswith("replay: "))
    assert failed.startswith("replay: evergrow sim replay") and "--fault-level heavy" in failed


def test_replay_shows_the_digest_the_faults_and_a_story() -> None:
    result = invoke("replay", "1", "--fault-level", "heavy", "--story", "w1")
    assert result.exit_code == 0, result.output
    assert f"digest {run(1, 'heavy').digest}" in result.output
    assert "fault 0: " in result.output and "power on 1" in result.output and "nothing was violated" in result.output


def test_a_replay_is_told_to_machines() -> None:
    told = json.loads(invoke("replay", "1", "--fault-level", "heavy", "--story", "w1", "--json").output)
    again = run(1, "heavy")
    assert (told["digest"], told["violations"]) == (again.digest, [])
    assert [row["text"] for row in told["faults"]] == [str(fault) for fault in again.faults]
    assert any("power on 1" in line for line in told["story"])
    with _same_boot():
        failed = invoke("replay", "1", "--fault-level", "heavy", "--json")
    assert failed.exit_code == 1 and json.loads(failed.output)["violations"]


def test_replay_of_a_failure_leaves_out_the_faults_that_do_not_matter() -> None:
    with _same_boot():
        found = next(seed for seed in range(10) if not run(seed, "heavy").ok)
        result = invoke("replay", str(found), "--fault-level", "heavy", "--shrink")
    assert result.exit_code == 1
    shown = [line for line in result.output.splitlines() if line.startswith("fault ")]
    assert 1 <= len(shown) <= 2, result.output
    assert f"replay: {command(found, 'heavy', chosen=[])}"[:-6] in result.output


def test_options_that_make_no_sense_are_refused() -> None:
    assert invoke("replay", "1", "--faults", "x").exit_code == 2
    assert invoke("replay", "1", "--faults", "9999").exit_code == 2
    assert invoke("replay", "1", "--fault-level", "grim").exit_code == 2
    assert invoke("explore", "--seeds", "0").exit_code == 2
    short = invoke("explore", "--appliance", "refrigerator", "--hours", "0.05")
    assert short.exit_code == 2 and "a life has 0.1 hours or more" in short.output


@pytest.mark.parametrize("appliance", ["refrigerator", "air-conditioner"])
def test_a_life_is_as_long_as_is_said_on_as_many_processes_as_are_said(appliance: str) -> None:
    args = ("--appliance", appliance, "--seeds", "2", "--from", "3", "--hours", "0.5", "--fault-level", "none", "--json")
    results = [invoke("explore", *args, "--jobs", jobs) for jobs in "12"]
    reports = [json.loads(result.output) for result in results]
    assert reports[0] == reports[1] and results[0].exit_code == 0
    assert (reports[0]["seeds"], reports[0]["from"], reports[0]["failed"], reports[0]["cuts"]) == (2, 3, [], 0)
    assert 2 * 1800 < reports[0]["virtual_s"] < 2 * 3600 + 2 * SETTLE_S


def test_a_failed_life_is_replayed_by_the_command_that_it_names() -> None:
    with mock.patch.object(WorldDevice, "power_on"):
        result = invoke("explore", "--appliance", "refrigerator", "--seeds", "1", "--hours", "0.5", "--jobs", "1", "--json")
        assert result.exit_code == 1
        (failure,) = json.loads(result.output)["failed"]
        again = invoke(*failure["replay"].split()[2:], "--jobs", "1")
    assert again.exit_code == 1 and f"replay: {failure['replay']}" in again.output


def test_machines_read_what_was_found_in_homes() -> None:
    with _same_boot():
        report = json.loads(invoke("explore", "--seeds", "3", "--fault-level", "heavy", "--jobs", "1", "--json").output)
    assert report["failed"] and all("grammar: w1" in " ".join(one["violations"]) for one in report["failed"][:1])
    assert report["failed"][0]["replay"] == command(report["failed"][0]["seed"], "heavy")
    assert report["cycles"] > 0


def test_what_holds_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(run(1, "none"))


@pytest.mark.parametrize("needed", [(), (0,), (7,), (2, 5), (0, 9), (1, 4, 8), tuple(range(10))])
def test_shrinking_finds_just_what_is_needed(needed: tuple[int, ...]) -> None:
    tried = 0

    def fails(numbers: Any) -> bool:
        nonlocal tried
        tried += 1
        return set(needed) <= set(numbers)

    assert minimal(range(10), fails) == list(needed)
    assert tried <= 60


def test_the_command_that_replays_says_everything() -> None:
    assert command(7, "light") == "evergrow sim replay 7 --fault-level light"
    assert command(7, "heavy", 2.5, [3, 4]) == "evergrow sim replay 7 --fault-level heavy --hours 2.5 --faults 3,4"
    assert command(7, "heavy", chosen=[]) == "evergrow sim replay 7 --fault-level heavy --faults none"
