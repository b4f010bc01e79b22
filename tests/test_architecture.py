"""The rules of the house, held against the code: who may import whom, and what portable code may name."""

import ast
import builtins
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evergrow_tools import mpy

sys.path.insert(0, str(Path(__file__).parent / "portable"))

from _lane import micropython_launcher

ROOT = Path(__file__).parent.parent
ROOMS = ("protocol", "firmware", "host_sim")

# Package: the packages of ours that it may import.
MAY_IMPORT = {
    "evergrow_protocol": set(),
    "evergrow_mqtt": set(),
    "evergrow_conformance": {"evergrow_protocol", "evergrow_mqtt"},
    "evergrow_agent": {"evergrow_protocol", "evergrow_mqtt"},
    "evergrow_sim": {"evergrow_protocol", "evergrow_mqtt", "evergrow_agent", "evergrow_cloud"},
    "evergrow_cloud": {"evergrow_protocol", "evergrow_mqtt", "evergrow_agent"},
    "evergrow_tools": {
        "evergrow_protocol",
        "evergrow_mqtt",
        "evergrow_conformance",
        "evergrow_agent",
        "evergrow_sim",
        "evergrow_cloud",
    },
}

# Modules that MicroPython has on every port we ship to and that CPython has too, under one name and with one meaning.
PORTABLE_MODULES = {
    "array", "asyncio", "binascii", "collections", "errno", "gc", "hashlib", "heapq", "io", "json", "math", "os", "random",
    "re", "select", "socket", "ssl", "struct", "sys", "time",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """`target`: dotted module. `names`: what `from target import ...` takes, with the local name; None for `import target`.

    `probe`: it may fail, or what it brings may be absent, and the code around it copes. `typing_only`: under TYPE_CHECKING.
    """

    target: str
    names: tuple[tuple[str, str], ...] | None
    local: str
    probe: bool
    typing_only: bool
    line: int


class Source:
    """One module of ours, read but never imported."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.tree = ast.parse(path.read_bytes(), filename=str(path))
        self.imports = list(self._imports(self.tree, probe=False, typing_only=False))

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    def at(self, line: int) -> str:
        return f"{self.path.relative_to(ROOT)}:{line}"

    def _imports(self, node: ast.AST, probe: bool, typing_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                yield Import(alias.name, None, local, probe, typing_only, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            names = tuple((alias.name, alias.asname or alias.name) for alias in node.names)
            yield Import(self._absolute(node), names, "", probe, typing_only, node.lineno)
        for child, child_probe, child_typing in _children(node, probe, typing_only):
            yield from self._imports(child, child_probe, child_typing)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        base = parts[: len(parts) - node.level + (self.path.name == "__init__.py")]
        return ".".join([*base, *([node.module] if node.module else [])])


def _children(node: ast.AST, probe: bool, typing_only: bool) -> Iterator[tuple[ast.AST, bool, bool]]:
    """The children of a node, each with whether it is part of a probe and whether it is for type checkers only."""
    if isinstance(node, ast.Try) and any(_catches_absence(handler) for handler in node.handlers):
        probe = True
    if isinstance(node, ast.If) and "hasattr(" in ast.unparse(node.test):
        probe = True
    typed_branch = node.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" else []
    for child in ast.iter_child_nodes(node):
        yield child, probe, typing_only or child in typed_branch


def _catches_absence(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and bool(re.search(r"\b(ImportError|AttributeError)\b", ast.unparse(handler.type)))


def _files(suffix: str) -> dict[str, Path]:
    """Dotted name: file, of everything in our packages with that suffix."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).glob(f"evergrow_*/**/*{suffix}")):
            parts = path.relative_to(ROOT / room).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = {name: Source(name, path) for name, path in _files(".py").items()}
STUBS = _files(".pyi")  # Types for type checkers alone, which cost a board nothing.
PORTABLE = [SOURCES[module.name] for module in mpy.modules()]
FEATURES = [Source(path.stem, path) for path in sorted((ROOT / "firmware" / "features").glob("*/**/*.py"))]


def _our_targets(item: Import) -> Iterator[str]:
    """The modules of ours that an import loads: `from package import module` loads the module, not only the package."""
    if item.target.partition(".")[0] not in MAY_IMPORT:
        return
    inner = [f"{item.target}.{name}" for name, _ in item.names or ()]
    loaded = [name for name in inner if name in SOURCES]
    yield from loaded
    if not loaded or len(loaded) < len(inner):
        yield item.target


def test_every_package_has_its_line_in_the_import_rule() -> None:
    assert {source.package for source in SOURCES.values()} <= MAY_IMPORT.keys()


def test_packages_import_only_what_their_room_may_import() -> None:
    wrong = [
        f"{source.at(item.line)} imports {item.target}"
        for source in SOURCES.values()
        for item in source.imports
        if (package := item.target.partition(".")[0]) in MAY_IMPORT
        if package != source.package and package not in MAY_IMPORT[source.package]
    ]
    assert not wrong


def test_the_import_rule_itself_has_no_cycle() -> None:
    assert _cycle({package: sorted(allowed) for package, allowed in MAY_IMPORT.items()}) is None


def test_modules_have_no_import_cycle() -> None:
    graph = {
        source.name: [target for item in source.imports if not item.typing_only for target in _our_targets(item)]
        for source in SOURCES.values()
    }
    cycle = _cycle(graph)
    assert cycle is None, " -> ".join(cycle or [])


def test_every_import_of_ours_exists() -> None:
    wrong = [
        f"{source.at(item.line)} imports {target}"
        for source in SOURCES.values()
        for item in source.imports
        for target in _our_targets(item)
        if target not in SOURCES and not (item.typing_only and target in STUBS)
    ]
    assert not wrong


def test_portable_packages_cost_nothing_to_import() -> None:
    inits = [source for source in PORTABLE if source.path.name == "__init__.py"]
    full = [source.at(node.lineno) for source in inits for node in source.tree.body if not _is_docstring(node)]
    assert not full, "an __init__.py of a portable package holds a docstring at most"


@pytest.mark.parametrize("source", [*PORTABLE, *FEATURES], ids=lambda source: source.name)
def test_portable_code_imports_only_what_micropython_has(source: Source) -> None:
    portable = {source.name for source in PORTABLE}
    wrong = [
        f"{source.at(item.line)} imports {item.target}"
        for item in source.imports
        if not item.probe and not item.typing_only and item.target not in PORTABLE_MODULES
        if not all(target in portable for target in _our_targets(item)) or item.target.partition(".")[0] not in MAY_IMPORT
    ]
    assert not wrong, "portable code imports PORTABLE_MODULES of this test, probes others inside try/except ImportError"


def test_the_interpreter_has_every_module_and_attribute_that_portable_code_names() -> None:
    uses = [(place, module, name) for source in [*PORTABLE, *FEATURES] for place, module, name in _library_uses(source)]
    missing = _missing_on_micropython({(module, name) for _, module, name in uses})
    wrong = [f"{place} uses {module}.{name}" for place, module, name in uses if (module, name) in missing]
    assert not wrong, "MicroPython does not have these; probe with try/except ImportError, hasattr or getattr"


def test_portable_code_calls_no_method_that_only_cpythons_built_in_types_have() -> None:
    only_here = _methods_only_cpython_has()
    own = {name for source in [*PORTABLE, *FEATURES] for name in _attributes_defined(source)}
    wrong = [
        f"{source.at(node.lineno)} uses .{node.attr}"
        for source in [*PORTABLE, *FEATURES]
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in only_here - own
    ]
    assert not wrong


def test_the_checks_of_portable_code_see_a_deliberate_mistake(tmp_path: Path) -> None:
    path = tmp_path / "mistake.py"
    path.write_text(
        "import asyncio, time\nfrom asyncio import TaskGroup as Group\nfrom time import sleep\n"
        "try:\n    from time import monotonic\nexcept ImportError:\n    monotonic = None\n"
        "def f():\n    sleep(1)\n    return asyncio.Queue(), time.monotonic(), asyncio.Event()\n"
    )
    uses = {(module, name) for _, module, name in _library_uses(Source("mistake", path), where="")}
    assert ("asyncio", "Event") in uses
    assert _missing_on_micropython(uses) == {("asyncio", "Queue"), ("asyncio", "TaskGroup"), ("time", "monotonic")}
    assert {"removeprefix", "casefold"} <= _methods_only_cpython_has()


def test_no_file_names_a_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.~}-])/(?:home|root|work|Users)/\w")
    kinds = {".py", ".toml", ".md", ".ini", ".txt", ".cddl", ".json"}
    roots = [ROOT / name for name in (*ROOMS, "tests", "docs", "requirements", ".ci")]
    files = [path for root in roots for path in sorted(root.rglob("*")) if path.suffix in kinds or path.name == "run"]
    files += [path for path in ROOT.iterdir() if path.is_file() and (path.suffix in kinds or path.name == "Makefile")]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    wrong = [f"{path.relative_to(ROOT)}: {found.group()}" for path, text in texts.items() if (found := pattern.search(text))]
    assert not wrong


def test_a_command_that_crashes_in_a_test_is_no_exit_code() -> None:
    """A CliRunner makes exit code 1 of an exception, and a test that expects a refusal would be content with it."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "invoke"
        if "catch_exceptions=False" not in [ast.unparse(keyword) for keyword in node.keywords]
    ]
    assert not wrong, "CliRunner().invoke(..., catch_exceptions=False)"


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _cycle(graph: dict[str, list[str]]) -> list[str] | None:
    """One cycle of the graph as a list of names that begins and ends with the same one, or None."""
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in graph:
            return None
        path.append(name)
        for target in graph[name]:
            if cycle := visit(target):
                return cycle
        done.add(path.pop())
        return None

    for name in graph:
        if cycle := visit(name):
            return cycle
    return None


def _library_uses(source: Source, where: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Every (place, module, attribute) of the standard library that a module relies on, outside probes."""

    def place(line: int) -> str:
        return source.at(line) if where is None else where

    relied_on = [item for item in source.imports if not item.probe and not item.typing_only and item.target in PORTABLE_MODULES]
    aliases = {item.local: item.target for item in relied_on if item.names is None}
    for item in relied_on:
        for name, _ in item.names or ():
            yield place(item.line), item.target, name

    def attributes(node: ast.AST, probe: bool, typing_only: bool) -> Iterator[tuple[str, str, str]]:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and not probe and not typing_only:
            module = aliases.get(node.value.id)
            if module:
                yield place(node.lineno), module, node.attr
        for child, child_probe, child_typing in _children(node, probe, typing_only):
            yield from attributes(child, child_probe, child_typing)

    yield from attributes(source.tree, False, False)


def _missing_on_micropython(uses: set[tuple[str, str]]) -> set[tuple[str, str]]:
    script = f"for m, n in {sorted(uses)!r}:\n    if not hasattr(__import__(m), n):\n        print(m, n)\n"
    return {(line.split()[0], line.split()[1]) for line in _ask_micropython(script)}


def _methods_only_cpython_has() -> set[str]:
    """Names of attributes of built-in types on CPython that no built-in type has on MicroPython."""
    kinds = ("str", "bytes", "bytearray", "memoryview", "int", "float", "list", "tuple", "dict", "set", "frozenset", "range")
    here = {name for kind in kinds for name in dir(getattr(builtins, kind)) if not name.startswith("_")}
    there = set(_ask_micropython(f"for t in ({', '.join(kinds)}):\n    for n in dir(t):\n        print(n)\n"))
    return here - there


def _ask_micropython(script: str) -> list[str]:
    command = [micropython_launcher(), "-c", script]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _attributes_defined(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
