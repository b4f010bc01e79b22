"""The harness of the portable tests charges every kind of failure to the right test."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "portable"))

from _lane import run_on_micropython


def run(tmp_path: Path, body: str, *names: str, heap: str = "256K", limit_s: float = 30) -> dict[str, tuple[str, str]]:
    path = tmp_path / "test_sample.py"
    path.write_text(body)
    return run_on_micropython(path, list(names), heap, form="source", limit_s=limit_s)


def test_a_failed_assert_shows_its_line_and_what_was_printed(tmp_path: Path) -> None:
    body = "def test_a():\n    print('seen')\n    assert 1 == 2, 'boo'\ndef test_b():\n    pass\n"
    outcomes = run(tmp_path, body, "test_a", "test_b")
    assert outcomes["test_b"] == ("pass", "")
    outcome, text = outcomes["test_a"]
    assert outcome == "fail"
    assert text.startswith("AssertionError: boo\nseen\n")
    assert "line 3, in test_a" in text


def test_a_coroutine_test_is_awaited(tmp_path: Path) -> None:
    body = "import asyncio\nasync def test_a():\n    await asyncio.sleep(0)\n    raise ValueError('late')\n"
    outcome, text = run(tmp_path, body, "test_a")["test_a"]
    assert (outcome, text.splitlines()[0]) == ("fail", "ValueError: late")


def test_a_task_left_behind_does_not_run_in_the_next_test(tmp_path: Path) -> None:
    body = (
        "import asyncio\nran = []\n"
        "async def turns(n):\n    for _ in range(n):\n        await asyncio.sleep(0)\n"
        "async def later():\n    await turns(20)\n    ran.append(1)\n"
        "async def test_a():\n    asyncio.create_task(later())\n"
        "async def test_b():\n    await turns(100)\n    assert not ran\n"
    )
    assert run(tmp_path, body, "test_a", "test_b")["test_b"] == ("pass", "")


def test_a_test_that_ends_the_interpreter_is_charged_and_the_rest_still_runs(tmp_path: Path) -> None:
    body = (
        "import os\ndef test_a():\n    pass\n"
        "def test_b():\n    os.system('kill -9 $PPID')\n    while True:\n        pass\n"
        "def test_c():\n    pass\n"
    )
    outcomes = run(tmp_path, body, "test_a", "test_b", "test_c")
    assert outcomes["test_a"][0] == outcomes["test_c"][0] == "pass"
    assert outcomes["test_b"] == ("fail", "test_b ended the interpreter, status -9 (heap 256K)\n")


def test_a_test_that_hangs_is_named_and_the_rest_is_reported_as_not_run(tmp_path: Path) -> None:
    body = "def test_a():\n    while True:\n        pass\ndef test_b():\n    pass\n"
    outcomes = run(tmp_path, body, "test_a", "test_b", limit_s=1)
    assert outcomes["test_a"] == ("fail", "test_a was still running when the file's time was up (heap 256K)\n")
    assert outcomes["test_b"] == ("fail", "not run: the tests before it took 1 s, the limit of a file")


def test_a_heap_that_is_too_small_fails_the_test_that_met_it(tmp_path: Path) -> None:
    body = "def test_a():\n    pass\ndef test_b():\n    bytearray(100000)\n"
    outcomes = run(tmp_path, body, "test_a", "test_b", heap="64K")
    assert outcomes["test_a"][0] == "pass"
    assert outcomes["test_b"][1].startswith("MemoryError")


@pytest.mark.parametrize(
    ("body", "reason"), [("import nothing_here\n", "ImportError: no module named 'nothing_here'"), ("def\n", "SyntaxError")]
)
def test_a_file_that_cannot_be_imported_fails_each_of_its_tests_with_the_reason(tmp_path: Path, body: str, reason: str) -> None:
    outcomes = run(tmp_path, body, "test_a", "test_b")
    assert list(outcomes) == ["test_a", "test_b"]
    for outcome, text in outcomes.values():
        assert outcome == "fail"
        assert text.startswith(reason)


def test_no_portable_file_imports_a_test_file() -> None:
    """On MicroPython it would only be there if that file had been run before."""
    files = sorted((Path(__file__).parent / "portable").glob("*.py"))
    wrong = [path.name for path in files if re.search(r"^(from|import) test_", path.read_text(encoding="utf-8"), re.MULTILINE)]
    assert files and wrong == []
