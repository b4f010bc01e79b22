"""Which tests prove which sentences of SPEC.md: a test says so in its docstring or in a comment within it."""

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

from evergrow_tools.spec_ids import ID, SpecError

_Test = ast.FunctionDef | ast.AsyncFunctionDef
_Documented = ast.Module | ast.ClassDef | _Test


@dataclass(frozen=True)
class Naming:
    """`id` is named at `file`:`line`. `test`: the name of the test that proves it, or None when it is only mentioned."""

    id: str
    file: str
    line: int
    test: str | None


def find(root: Path, folders: tuple[str, ...]) -> list[Naming]:
    """Every naming in the Python files below `root`/folder, files in alphabetical order. Raises SpecError."""
    return [
        naming
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
        for naming in in_source(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    ]


def in_source(source: str, file: str) -> list[Naming]:
    """The namings of one file, in comments and docstrings. Only files `test_*.py` prove anything. Raises SpecError."""
    if "EG-" not in source:
        return []
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError) as error:
        raise SpecError(f"{file} is not Python: {error}") from None
    tests = [node for node in ast.walk(tree) if isinstance(node, _Test) and node.name.startswith("test_")]
    if not file.rpartition("/")[2].startswith("test_"):
        tests = []
    docstrings = {node.body[0].lineno for node in ast.walk(tree) if isinstance(node, _Documented) and ast.get_docstring(node)}
    namings = []
    for token in tokens:
        first = token.start[0]
        if token.type == tokenize.COMMENT:
            test = next((test for test in tests if _start(test) <= first <= (test.end_lineno or first)), None)
        elif token.type == tokenize.STRING and first in docstrings:
            test = next((test for test in tests if test.body[0].lineno == first), None)
        else:
            continue
        for line, text in enumerate(token.string.splitlines(), first):
            namings += [Naming(id, file, line, test.name if test else None) for id in ID.findall(text)]
    return namings


def _start(test: _Test) -> int:
    """Of its decorators: a comment in the table of a parametrized test is the test's."""
    return min([test.lineno, *[decorator.lineno for decorator in test.decorator_list]])
