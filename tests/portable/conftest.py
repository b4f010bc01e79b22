"""Collects the portable tests and runs each of them on CPython and on MicroPython, from the same file.

A test is a plain function `test_*` without arguments, or a coroutine function. It is reported once per interpreter, as
`test_x.py::test_y[cpython]` and `test_x.py::test_y[micropython]`. MicroPython gets one process per file, with a heap of the
file's `HEAP` (default "256K"; a third more than it takes, see `--mpy-heap-percent`), and imports the compiled packages, as a
board does (`--mpy=source` for the sources). Files here that are neither tests nor start with "_" are helpers that tests of both
interpreters may import.
"""

import ast
import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DEFAULT_HEAP = "256K"

# Not part of a package: the test files import `support` from here by its bare name, as they do on MicroPython.
sys.path.insert(0, str(HERE))

from _lane import COROUTINE_LIMIT_S, MicroPythonFailure, run_on_micropython  # noqa: E402


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector:
    return PortableFile.from_parent(parent, path=module_path)


class PortableFile(pytest.File):
    """One test file. It is read, never imported, at collection: a fault in it must not hide the other interpreter's result."""

    def collect(self) -> Iterator[pytest.Item]:
        tree = ast.parse(self.path.read_bytes(), filename=str(self.path))
        self.heap = _heap(tree)
        self.outcomes: dict[str, tuple[str, str]] | None = None
        seen = set()
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            if node.name in seen:
                raise self.CollectError(f"{self.path}:{node.lineno}: {node.name} is defined twice; the first would never run")
            if node.args.args or node.decorator_list:
                raise self.CollectError(f"{self.path}:{node.lineno}: {node.name}: portable tests have no arguments or decorators")
            seen.add(node.name)
            for lane in (CPythonItem, MicroPythonItem):
                yield lane.from_parent(self, name=f"{node.name}[{lane.interpreter}]", function=node.name, lineno=node.lineno - 1)


class PortableItem(pytest.Item):
    interpreter = ""

    def __init__(self, *, function: str, lineno: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function_name = function
        self.lineno = lineno

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.lineno, self.name


class CPythonItem(PortableItem):
    interpreter = "cpython"

    def runtest(self) -> None:
        module = importlib.import_module(self.path.stem)
        result = getattr(module, self.function_name)()
        if result is not None:
            asyncio.run(asyncio.wait_for(result, COROUTINE_LIMIT_S))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        excinfo.traceback = excinfo.traceback.cut(path=self.path)
        return super().repr_failure(excinfo, style="short")


class MicroPythonItem(PortableItem):
    interpreter = "micropython"

    def runtest(self) -> None:
        file = self.getparent(PortableFile)
        assert file is not None
        if file.outcomes is None:
            mine = [item for item in self.session.items if isinstance(item, MicroPythonItem) and item.parent is file]
            names = [item.function_name for item in mine]
            file.outcomes = run_on_micropython(file.path, names, self._heap(file.heap), self.config.getoption("--mpy"))
        outcome, text = file.outcomes[self.function_name]
        if outcome != "pass":
            raise MicroPythonFailure(text)
        if text:
            self.add_report_section("call", "stdout", text)

    def _heap(self, heap: str) -> str:
        return f"{_kib(heap) * self.config.getoption('--mpy-heap-percent') // 100}K"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, MicroPythonFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


def _kib(heap: str) -> int:
    return int(heap[:-1]) * {"K": 1, "M": 1024}[heap[-1]]


def _heap(tree: ast.Module) -> str:
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and any(isinstance(target, ast.Name) and target.id == "HEAP" for target in node.targets)
        ):
            return str(node.value.value)
    return DEFAULT_HEAP
