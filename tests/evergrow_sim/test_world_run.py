"""Runs: a seed and a commit are the same run everywhere, and a run without faults leaves nothing to explain."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evergrow_sim.world import faults, scenario
from evergrow_sim.world.run import run
from evergrow_sim.world.story import Story

sys.path.insert(0, str(Path(__file__).parent))

import world_machinery

ROOT = Path(__file__).parents[2]
SEED = 16
PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")

RUNS = ((SEED, "heavy"), (17, "heavy"), (3, "light"), (0, "none"))
RECORDED = json.loads((Path(__file__).parent / "world_machinery.json").read_text(encoding="utf-8"))

_SCRIPT = "from evergrow_sim.world.run import run; print(*[run(*one).digest for one in {runs}])"
_STAND_IN = """
from evergrow_protocol.cbor import Tag as CBORTag
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import ProtocolError as CBORDecodeError
CBORTag.tag = property(lambda tag: tag.number)
"""
"""For a Python that has no cbor2: what is said on the wire does not depend on who encodes it."""


@pytest.fixture(scope="module")
def digest() -> str:
    return run(SEED, "heavy").digest


def elsewhere(python: str, hash_seed: str, more_path: tuple[str, ...] = (), runs: Any = RUNS[:1]) -> list[str]:
    """The digests of `runs`."""
    path = os.pathsep.join([*more_path, *(str(ROOT / room) for room in ("protocol", "firmware", "host_sim"))])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([python, "-c", _SCRIPT.format(runs=runs)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def other_pythons() -> list[str]:
    """One of each other version than this, the newest first, with the standard library that the world needs."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [path for name in PYTHONS if (path := shutil.which(name))]
    candidates += [str(path) for name in PYTHONS for path in sorted(versions.glob(f"*/bin/{name}"), reverse=True)]
    script = "import sys, sqlite3; print('%d.%d' % sys.version_info[:2])"
    found = {"{}.{}".format(*sys.version_info[:2]): ""}
    for python in candidates:
        asked = subprocess.run([python, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            found.setdefault(asked.stdout.strip(), python)
    return [python for python in found.values() if python]


def test_a_seed_is_the_same_run_again(digest: str) -> None:
    assert run(SEED, "heavy").digest == digest
    assert run(SEED + 1, "heavy").digest != digest


def test_a_run_does_not_depend_on_the_order_of_hashes(digest: str) -> None:
    assert elsewhere(sys.executable, "4711") == [digest]


def test_a_seed_replays_on_other_versions_of_python(tmp_path: Path) -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("there is no second version of Python on this machine; see the next test")
    (tmp_path / "cbor2.py").write_text(_STAND_IN, encoding="utf-8")
    digests = [run(seed, level).digest for seed, level in RUNS]
    for python in pythons:
        assert elsewhere(python, "1", (str(tmp_path),), RUNS) == digests, python


def test_the_machinery_of_the_world_is_what_another_version_of_python_recorded() -> None:
    """Where there is no second Python. When the machinery is changed on purpose, `world_machinery` says how to record it anew."""
    assert RECORDED["made_by"] == "CPython 3.13.0"
    assert world_machinery.digest() == RECORDED["digest"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_faults_the_ledger_is_the_usage(seed: int) -> None:
    """EG-ACK-003 EG-USE-002"""
    result = run(seed, "none")
    assert result.violations == []
    assert result.stats["cycles"] == result.stats["records"] > 0
    assert result.stats["boots"] == result.stats["devices"]


def test_faults_can_be_left_out_and_the_others_stay() -> None:
    whole = run(SEED, "heavy")
    assert whole.chosen == list(range(len(whole.faults)))
    part = run(SEED, "heavy", [0, 2])
    assert (part.faults, part.chosen) == (whole.faults, [0, 2])
    assert run(SEED, "heavy", []).digest != part.digest != whole.digest


def test_a_fault_that_is_not_there_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="there is no fault 99: this run has"):
        run(SEED, "heavy", [99])
    with pytest.raises(ValueError, match="'grim' is not one of none, light, heavy"):
        run(SEED, "grim")


def test_a_plan_is_readable() -> None:
    plan = faults.plan(SEED, "heavy", scenario.make(SEED))
    assert plan == faults.plan(SEED, "heavy", scenario.make(SEED))
    assert all(fault.kind in str(fault) and fault.target in str(fault) for fault in plan)
    assert [fault.at_ms for fault in plan] == sorted(fault.at_ms for fault in plan)


def test_every_kind_of_fault_happens() -> None:
    kinds = {fault.kind for seed in range(60) for fault in faults.plan(seed, "heavy", scenario.make(seed))}
    assert kinds == {*faults._HEAVY, "cloud busy", "flash erased"}


def test_a_story_tells_of_one_device() -> None:
    story = Story("w1")
    run(1, "heavy", sink=story)
    text = "\n".join(story.lines)
    assert "says birth" in text and "power on 1" in text and "faults are over" in text
    assert not any(" w2 " in line for line in story.lines)


def test_a_long_run_is_no_other_run_than_a_short_one() -> None:
    plan = scenario.make(3, hours=5)
    assert plan.span_ms == 5 * 3_600_000
    assert len(plan.acts) > 30
