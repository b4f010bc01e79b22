"""Budgets: limits in a file, measured, lowered by the command and never raised by it."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from evergrow_tools import budgets
from evergrow_tools.budgets import BudgetError

ROOT = Path(__file__).parents[2]
SAMPLE = """\
# A comment that stays.
[small]
limit = 1_000  # why it is so
unit = "B"
measure = "sample_measures:small"

[large]
unit = "calls"
limit = 5
measure = "sample_measures:of"
of = "abcdefg"
"""


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sample_measures.py").write_text("def small():\n    return 700\ndef of(text):\n    return len(text)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "budgets.toml"
    path.write_text(SAMPLE)
    return path


def measured(path: Path) -> list[budgets.Result]:
    return [budgets.measure(budget) for budget in budgets.load(path)]


def test_a_measurement_is_a_named_function_with_at_most_one_argument(sample: Path) -> None:
    results = [(result.budget.name, result.value, result.ok) for result in measured(sample)]
    assert results == [("small", 700, True), ("large", 7, False)]


def test_over_budget_is_exit_code_1_and_names_the_number_to_change(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        budgets.main(file=sample)
    assert ended.value.code == 1
    assert "[large] is 7 calls, 2 over its limit of 5" in capsys.readouterr().err


def test_json_carries_every_figure(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        budgets.main(as_json=True, file=sample)
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "budgets": [
            {"name": "small", "value": 700, "limit": 1000, "unit": "B", "ok": True},
            {"name": "large", "value": 7, "limit": 5, "unit": "calls", "ok": False},
        ],
    }


def test_ratchet_lowers_a_limit_keeps_the_comments_and_never_raises(sample: Path) -> None:
    assert budgets.ratchet(sample, measured(sample)) == ["small"]
    assert sample.read_text() == SAMPLE.replace("1_000", "700")
    assert budgets.ratchet(sample, measured(sample)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a", "not valid TOML"),
        ("limit = 5", "limit stands outside a table"),
        ("[a]\nunit = 'B'\nmeasure = 'm:f'", r"\[a\] needs limit as int, got None"),
        ("[a]\nlimit = '5'\nunit = 'B'\nmeasure = 'm:f'", r"\[a\] needs limit as int, got '5'"),
        ("[a]\nlimit = 5\nunit = 'B'\nmeasure = 'm:f'\nlimits = 6", r"\[a\] has unknown keys limits"),
    ],
)
def test_a_budget_file_that_is_wrong_is_refused_with_the_place(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(text)
    with pytest.raises(BudgetError, match=reason):
        budgets.load(path)


@pytest.mark.parametrize("measure", ["nothing_here:f", "sample_measures:nothing"])
def test_a_measurement_that_does_not_exist_fails_the_budget_by_name(sample: Path, measure: str) -> None:
    with pytest.raises(BudgetError, match=f"a: there is no {measure}"):
        budgets.measure(budgets.Budget("a", 1, "B", measure, None))


def test_a_measurement_that_fails_as_its_module_expects_is_told_in_a_sentence(sample: Path) -> None:
    text = "class BenchError(Exception): ...\nEXPECTED = (BenchError,)\ndef slow():\n    raise BenchError('it did not boot')\n"
    (sample.parent / "failing_measures.py").write_text(text)
    with pytest.raises(BudgetError, match="heap: it did not boot"):
        budgets.measure(budgets.Budget("heap", 1, "B", "failing_measures:slow", None))


def test_the_measurements_of_the_project_say_what_may_fail() -> None:
    modules = {budget.measure.partition(":")[0] for budget in budgets.load(ROOT / "budgets.toml")}
    silent = [name for name in modules if not getattr(import_module(name), "EXPECTED", ())]
    assert silent == []


def test_the_file_is_found_from_a_folder_below(sample: Path) -> None:
    below = sample.parent / "x" / "y"
    below.mkdir(parents=True)
    assert budgets.find_file(below) == sample


def test_every_wholly_portable_package_has_a_budget_for_its_byte_code() -> None:
    mine = [budget for budget in budgets.load(ROOT / "budgets.toml") if budget.measure == "evergrow_tools.budgets:mpy_bytes"]
    assert {budget.of for budget in mine} >= {"evergrow_protocol", "evergrow_mqtt", "evergrow_agent"}


def test_mpy_bytes_is_the_sum_of_what_ships() -> None:
    assert 0 < budgets.mpy_bytes("evergrow_protocol") < 200_000
