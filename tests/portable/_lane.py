"""Runs the tests of one portable file in one MicroPython process and says how each of them ended."""

import os
import platform
import subprocess
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path

import pytest

from evergrow_tools import mpy

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCES = [ROOT / "protocol", ROOT / "firmware", ROOT / "host_sim", HERE]
RUNNER = HERE / "_runner.py"
BUILD = ROOT / "build" / "mpy"
TEST_BUILD = ROOT / "build" / "mpy-tests"
FILE_LIMIT_S = 120
COROUTINE_LIMIT_S = 60


class MicroPythonFailure(Exception):
    """A test failed inside MicroPython; the text is its output and traceback."""


def run_on_micropython(
    path: Path, names: list[str], heap: str, form: str = "compiled", limit_s: float = FILE_LIMIT_S
) -> dict[str, tuple[str, str]]:
    """Run the tests `names` of one file; returns {name: ("pass" or "fail", what it printed)}.

    `heap` is MicroPython's `heapsize`, "256K"; `form` is "compiled" or "source"; `limit_s` is for the file as a whole.
    A test that kills the interpreter is charged with it, and the tests after it run in a new process.
    """
    launcher = micropython_launcher()
    faults = ""
    if form == "compiled":
        helpers = [file for file in HERE.glob("[a-z]*.py") if file.stem != "conftest" and not file.stem.startswith("test_")]
        tests = [mpy.Module(source.stem, source, f"{source.stem}.mpy") for source in (path, *sorted(helpers))]
        for build in (partial(mpy.build, BUILD), partial(mpy.compile_all, TEST_BUILD, tests, opt=0)):  # Tests keep their asserts.
            try:
                build()
            except mpy.MpyError as exc:  # Only the tests that import what did not compile are to fail.
                faults += f"\n{exc}"
        search = [BUILD, TEST_BUILD]
    else:
        search = [*SOURCES, path.parent]
    search_path = ":".join(str(folder) for folder in search)
    command = [launcher, "-X", f"heapsize={heap}", str(RUNNER), search_path, str(COROUTINE_LIMIT_S), path.stem]
    outcomes: dict[str, tuple[str, str]] = {}
    deadline = time.monotonic() + limit_s
    todo = names
    while todo:
        if time.monotonic() >= deadline:
            outcomes |= {name: ("fail", f"not run: the tests before it took {limit_s:g} s, the limit of a file") for name in todo}
            break
        output, ending = _run([*command, *todo], deadline)
        outcomes |= _outcomes(output, f"{ending} (heap {heap})", todo)
        todo = [name for name in todo if name not in outcomes]
    return {name: (outcome, text + faults if outcome == "fail" else text) for name, (outcome, text) in outcomes.items()}


def micropython_launcher() -> str:
    """The path of MicroPython's unix port; skips the test where it is not installed. In CI it must be, where there is a wheel."""
    launcher = Path(sysconfig.get_path("scripts")) / "micropython"
    if launcher.exists():
        return str(launcher)
    if (sys.platform, platform.machine()) not in (("linux", "x86_64"), ("darwin", "arm64")):
        pytest.skip(f"no MicroPython wheel for {sys.platform} {platform.machine()}")
    missing = f"{launcher} is missing: run `make test`, or pip install 'evergrow[sim]' into this environment"
    if os.environ.get("CI"):
        raise MicroPythonFailure(missing)
    pytest.skip(missing)


def _run(command: list[str], deadline: float) -> tuple[str, str]:
    """What the process printed, and how it ended, in words that follow a test's name."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        output, _ = process.communicate(timeout=max(deadline - time.monotonic(), 0))
        ending = f"ended the interpreter, status {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        ending = "was still running when the file's time was up"
    return output.decode(errors="replace"), ending


def _outcomes(output: str, ending: str, todo: list[str]) -> dict[str, tuple[str, str]]:
    """Read the runner's report. Whatever happened, at least one of `todo` gets an outcome."""
    outcomes: dict[str, tuple[str, str]] = {}
    running, printed = "", ""
    head, *chunks = output.split("\x1e")
    for chunk in chunks:
        line, _, text = chunk.partition("\n")
        word, _, name = line.partition(" ")
        if word == "start":
            running, printed = name, text
        elif word == "pass":
            outcomes[name] = ("pass", printed)
            running = ""
        elif word == "fail":
            outcomes[name] = ("fail", _explain(text, printed))
            running = ""
        elif word == "import":
            printed = text
    if running:
        outcomes[running] = ("fail", f"{running} {ending}\n{printed}")
    elif not outcomes:
        reason = _explain(head + printed, "") or f"importing the tests {ending}"
        outcomes = {name: ("fail", reason) for name in todo}
    return outcomes


def _explain(trace: str, printed: str) -> str:
    """The exception first, as pytest's short summary shows one line; then what the test printed, then the traceback."""
    lines = [line for line in trace.rstrip().splitlines() if RUNNER.name not in line]
    if not lines:
        return ""
    return "\n".join([lines[-1], *printed.splitlines(), *lines])
