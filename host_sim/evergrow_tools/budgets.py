"""Measures what must stay small and compares it with the limits in `budgets.toml`.

A budget is a table of that file, for example

    [mpy_bytes_mqtt]
    limit = 15000                               # the largest value allowed
    unit = "B"
    measure = "evergrow_tools.budgets:mpy_bytes"    # module:function, returns an int
    of = "evergrow_mqtt"                        # optional: the one argument of the function

so a new budget is a function anywhere in the host code and a table in the file. Limits only go down (`--ratchet`); raising
one is an edit by hand, with its reason in the same commit.
"""

import importlib
import json
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evergrow_tools import mpy
from evergrow_tools.cli import fail

FILE_NAME = "budgets.toml"

_CLASS_TABLE = "evergrow_protocol.registry_"
_COMMON_TABLE = "evergrow_protocol.registry_common"


class BudgetError(Exception):
    """`budgets.toml` cannot be read, or a measurement could not be made. The message names the budget."""


EPILOG = "Examples: evergrow budgets; evergrow budgets --ratchet"
EXPECTED = (BudgetError,)


@dataclass(frozen=True)
class Budget:
    """One limit. `measure` is `module:function`, `of` its argument or None."""

    name: str
    limit: int
    unit: str
    measure: str
    of: str | None


@dataclass(frozen=True)
class Result:
    """One budget and the `value` measured now, in the budget's unit."""

    budget: Budget
    value: int

    @property
    def ok(self) -> bool:
        return self.value <= self.budget.limit


def mpy_bytes(package: str) -> int:
    """Total bytes of a portable package's `.mpy` files, as they ship.

    Of the registry's class tables a board has one: the largest counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        built = {unit.module.name: unit.size for unit in mpy.build(Path(folder), [package], march=None)}
    of_a_class = [built.pop(name) for name in list(built) if name.startswith(_CLASS_TABLE) and name != _COMMON_TABLE]
    return sum(built.values()) + max(of_a_class, default=0)


def native_bytes() -> int:
    """Total bytes of the modules in machine code, for the processor of a board for which they are largest."""
    with tempfile.TemporaryDirectory() as folder:
        boards = [mpy.compile_all(Path(folder, march), mpy.native_modules(march)) for march in mpy.BOARD_MARCHES]
    return max(sum(unit.size for unit in units) for units in boards)


def load(path: Path) -> list[Budget]:
    """The budgets of a file, in its order. Raises BudgetError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise BudgetError(f"{path} cannot be read: {exc.strerror}") from None
    except ValueError as exc:
        raise BudgetError(f"{path} is not valid TOML: {exc}") from None
    return [_budget(path, name, table) for name, table in tables.items()]


def measure(budget: Budget) -> Result:
    """Make the measurement. Raises BudgetError when the function is missing, or fails in a way that its module EXPECTs."""
    module_name, _, function_name = budget.measure.partition(":")
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, function_name)
    except (ImportError, AttributeError) as exc:
        raise BudgetError(f"{budget.name}: there is no {budget.measure} ({exc})") from None
    try:
        value = function() if budget.of is None else function(budget.of)
    except (mpy.MpyError, *getattr(module, "EXPECTED", ())) as exc:
        raise BudgetError(f"{budget.name}: {exc}") from None
    return Result(budget, int(value))


def ratchet(path: Path, results: list[Result]) -> list[str]:
    """Lower each limit in the file to what was measured, where that is less. Returns the names of the budgets changed.

    The file's comments and layout stay; a limit is never raised.
    """
    text = path.read_text(encoding="utf-8")
    changed = []
    for result in results:
        if result.value < result.budget.limit:
            line = rf"(^\[{re.escape(result.budget.name)}\]\n(?:[^\[]*\n)?limit *= *)[0-9_]+"
            text, count = re.subn(line, rf"\g<1>{result.value}", text, count=1, flags=re.MULTILINE)
            if not count:
                raise BudgetError(f"{path}: no line `limit = ...` below [{result.budget.name}]")
            changed.append(result.budget.name)
    path.write_text(text, encoding="utf-8")
    return changed


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    lower: Annotated[bool, typer.Option("--ratchet", help="Lower every limit to what was measured; never raises one.")] = False,
    file: Annotated[Path | None, typer.Option(help="The budgets; default: budgets.toml here or in a folder above.")] = None,
) -> None:
    """Measure sizes and compare them with budgets.toml. Exit code 1 when one is over its limit."""
    path = file or find_file(Path.cwd())
    results = [measure(budget) for budget in load(path)]
    over = [result for result in results if not result.ok]
    if as_json:
        print(json.dumps({"ok": not over, "budgets": [_as_json(result) for result in results]}, indent=2))
    else:
        _print_table(results)
    changed = ratchet(path, results) if lower else []
    if changed and not as_json:
        print(f"lowered in {path.name}: {', '.join(changed)}")
    if over:
        fail(
            "over budget: " + "; ".join(_complaint(result) for result in over) + ".",
            f"Make it smaller, or raise `limit` there in {path.name} and give the reason in the same commit.",
        )


def find_file(start: Path) -> Path:
    """`budgets.toml` in `start` or the nearest folder above it. Raises BudgetError."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise BudgetError(f"there is no {FILE_NAME} in {start} or above it; run this in a checkout, or name one with --file")


def _budget(path: Path, name: str, table: Any) -> Budget:
    if not isinstance(table, dict):
        raise BudgetError(f"{path}: {name} stands outside a table; a budget is a table [name]")
    known = {"limit": int, "unit": str, "measure": str, "of": str}
    unknown = sorted(table.keys() - known.keys())
    if unknown:
        raise BudgetError(f"{path}: [{name}] has unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
    for key, kind in known.items():
        value = table.get(key)
        if (value is None and key != "of") or (value is not None and (not isinstance(value, kind) or isinstance(value, bool))):
            raise BudgetError(f"{path}: [{name}] needs {key} as {kind.__name__}, got {value!r}")
    return Budget(name, table["limit"], table["unit"], table["measure"], table.get("of"))


def _complaint(result: Result) -> str:
    budget = result.budget
    return f"[{budget.name}] is {result.value} {budget.unit}, {result.value - budget.limit} over its limit of {budget.limit}"


def _as_json(result: Result) -> dict[str, Any]:
    budget = result.budget
    return {"name": budget.name, "value": result.value, "limit": budget.limit, "unit": budget.unit, "ok": result.ok}


def _print_table(results: list[Result]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("budget")
    for title in ("now", "limit", "used"):
        table.add_column(title, justify="right")
    table.add_column("")
    for result in results:
        budget = result.budget
        used = f"{100 * result.value / budget.limit:.0f} %" if budget.limit else "-"
        mark = "[green]ok[/]" if result.ok else "[red]over[/]"
        table.add_row(budget.name, f"{result.value} {budget.unit}", f"{budget.limit} {budget.unit}", used, mark)
    Console().print(table)
