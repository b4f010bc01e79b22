"""Rewriting source before it is compiled: smaller, on the same lines, with the same meaning."""

import ast
from pathlib import Path

import pytest

from evergrow_tools import mpy
from evergrow_tools.mpy_source import Program


def rewrite(source: str, closed: bool = False, **others: str) -> str:
    """What becomes of module `m` in a program with `others`."""
    return Program({"m": source, **others}, closed=closed).rewrite("m")


def const(value: object) -> object:
    """MicroPython's, as it acts at run time."""
    return value


def result(source: str) -> dict[str, object]:
    """The names that a rewritten module ends up with."""
    names: dict[str, object] = {"const": const}
    exec(source, names)
    return names


def test_what_is_for_type_checkers_goes() -> None:
    source = 'TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from typing import Any\n\ndef f(a: "Any") -> int:\n    return 1\n'
    assert rewrite(source) == '\n\n\n\ndef f(a: "Any") -> int:\n    return 1\n'


@pytest.mark.parametrize(
    "source",
    [
        "TYPE_CHECKING = True\nif TYPE_CHECKING:\n    x = 1\n",
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    x = 1\nelse:\n    x = 2\n",
        "TYPE_CHECKING = False\nprint(TYPE_CHECKING)\nif TYPE_CHECKING:\n    x = 1\n",
    ],
)
def test_a_use_of_type_checking_that_is_not_the_usual_one_stays(source: str) -> None:
    assert rewrite(source) == source


def test_docstrings_go_and_a_body_that_was_nothing_else_stays_a_body() -> None:
    assert rewrite('"""M."""\nclass E(Exception):\n    """E.\n\n    More.\n    """\ndef f():\n    """F."""\n    return 1\n') == (
        "\nclass E(Exception):\n    pass\n\n\n\ndef f():\n    \n    return 1\n"
    )


def test_a_private_integer_is_made_const() -> None:
    assert rewrite("_LIMIT: int = 1 << 4  # why\n_NEXT = -_LIMIT + 1\n") == "_LIMIT = const(16)  # why\n_NEXT = const(-15)\n"


@pytest.mark.parametrize(
    "source",
    [
        "_X = 1\n_X = 2\n",
        "_X = 1\ndef f():\n    global _X\n    _X = 2\n",
        "_X = 1\ndef f(_X):\n    return _X\n",
        "_X = 1\nf(_X=2)\n",
        "_X = 1\nclass C:\n    _X = 2\n",
        "_X = 1\nprint(globals()['_X'])\n",
        "__version__ = 1\n",
        "_X = True\n",
        "_X = 'text'\n",
        "_X = 1 << -1\n",
        "_X = len('a')\n",
        "if f():\n    _X = 1\n",
    ],
)
def test_a_name_that_is_no_constant_or_may_be_looked_for_stays(source: str) -> None:
    assert rewrite(source) == source


@pytest.mark.parametrize(
    "other", ["from m import _X\n", "import m\nprint(m._X)\n", "import m\ngetattr(m, '_X')\n", "def f():\n    from m import _X\n"]
)
def test_a_private_constant_that_another_module_wants_stays(other: str) -> None:
    assert rewrite("_X = 1\n", other=other) == "_X = 1\n"


def test_an_imported_constant_becomes_its_value_and_the_import_goes() -> None:
    source = "from codes import A, B, Error\n\ndef f():\n    raise Error(A + B)\n"
    assert rewrite(source, codes="A = 1\nB = -A\nclass Error(Exception): ...\n") == (
        "from codes import Error\n\ndef f():\n    raise Error(1 + (-1))\n"
    )


def test_an_attribute_of_an_imported_module_becomes_its_value() -> None:
    package = {"p": "", "p.codes": "A = 1\n", "p.m": "from . import codes\nprint(codes.A)\n"}
    assert Program(package, ["p"]).rewrite("p.m") == "\nprint(1)\n"
    package["p.m"] += "codes.f()\n"
    assert Program(package, ["p"]).rewrite("p.m") == "from . import codes\nprint(1)\ncodes.f()\n"


def test_a_constant_is_followed_through_several_modules() -> None:
    assert rewrite("from a import X\nprint(X)\n", a="from b import Y as X\n", b="Y = 7\n") == "\nprint(7)\n"


def test_a_constant_in_an_f_string_stays_by_name_without_its_import() -> None:
    assert rewrite("from a import X\nprint(f'{X}', X)\n", a="X = 7\n") == "X = 7\nprint(f'{X}', 7)\n"


def test_a_re_export_stays() -> None:
    assert rewrite("from a import X as X\nfrom a import Y as Z\n", a="X = 7\nY = 8\n") == "X = 7\n\n"
    assert rewrite("from a import Y\n", a="Y = 8\n", b="from m import Y\n") == "Y = 8\n"


def test_what_is_bound_again_where_it_is_imported_is_not_replaced() -> None:
    source = "from a import X\ndef f(X):\n    return X\n"
    assert rewrite(source, a="X = 7\n") == source


def test_public_constants_stay_unless_the_program_is_closed() -> None:
    source = "LIMIT = 4\nOTHER = 5\ndef f():\n    return LIMIT\n"
    assert rewrite(source) == source
    assert rewrite(source, closed=True) == "\n\ndef f():\n    return 4\n"


@pytest.mark.parametrize(
    "other",
    [
        "import m\nprint(m.LIMIT)\n",
        "print(getattr(x, 'LIMIT'))\n",
        "def f():\n    from m import LIMIT\n    return LIMIT\n",
        "print(x.LIMIT)\n",
    ],
)
def test_a_public_constant_that_is_looked_for_stays_in_a_closed_program(other: str) -> None:
    assert rewrite("LIMIT = 4\n", closed=True, other=other) == "LIMIT = 4\n"


def test_a_public_constant_in_an_f_string_stays_in_a_closed_program() -> None:
    source = "LIMIT = 4\nprint(f'{LIMIT}')\n"
    assert rewrite(source, closed=True) == source


def test_the_lines_of_an_import_over_several_lines_stay_as_many() -> None:
    source = "from a import (\n    X,\n    f,\n)\nprint(X, f)  # ä\n"
    assert rewrite(source, a="X = 7\ndef f(): ...\n") == "from a import f\n\n\n\nprint(7, f)  # ä\n"


def test_source_that_is_not_python_is_left_to_the_compiler() -> None:
    assert rewrite("def\n") == "def\n"


def test_the_meaning_is_the_same() -> None:
    source = "from a import X\n_Y = X * 2\nLIST = [X, _Y, ~_Y]\ndef f(n=X):\n    '''Doc.'''\n    return {X: n, 'y': _Y}\n"
    names = result(rewrite(source, a="X = 7\n"))
    assert names["LIST"] == [7, 14, -15]
    assert names["f"]() == {7: 7, "y": 14}  # type: ignore[operator]


@pytest.mark.parametrize("closed", [False, True])
def test_every_portable_module_keeps_its_lines_and_names(closed: bool) -> None:
    modules = mpy.modules()
    sources = {module.name: module.source.read_text(encoding="utf-8") for module in modules}
    program = Program(sources, [module.name for module in modules if module.source.name == "__init__.py"], closed)
    for name, source in sources.items():
        text = program.rewrite(name)
        assert not source or text.count("\n") == source.count("\n"), name
        assert defined(text) == defined(source), name


def defined(source: str) -> list[tuple[str, int]]:
    """Every class and function with its line, but what stands under TYPE_CHECKING."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return [
        (node.name, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]


def test_no_docstring_and_no_private_constant_reaches_the_byte_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample_small.py").write_text(
        '"""A docstring."""\n_SECRET_LIMIT = 4\ndef f():\n    """Another."""\n    return _SECRET_LIMIT\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    code = mpy.build(tmp_path / "out", ["sample_small"])[0].path.read_bytes()
    assert b"docstring" not in code
    assert b"_SECRET_LIMIT" not in code
