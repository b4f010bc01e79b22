"""The scan of byte code against the compiler and the sources: whatever is imported is found."""

import ast
from pathlib import Path

import pytest

from evergrow_agent import codecheck
from evergrow_agent.mpyscan import Scan
from evergrow_protocol.errors import NOT_AUTHORISED, ProtocolError
from evergrow_tools import mpy


def test_every_import_of_every_portable_module_is_found(tmp_path: Path) -> None:
    """EG-CODE-003"""
    modules = mpy.modules()
    assert len(modules) > 50
    sources = {module.name: ast.parse(module.source.read_text()) for module in modules}
    for unit in mpy.compile_all(tmp_path, modules):
        wanted = set()
        for node in ast.walk(sources[unit.module.name]):
            if isinstance(node, ast.ImportFrom):
                wanted.add(node.module or "")
            elif isinstance(node, ast.Import):
                wanted.update(alias.name for alias in node.names)
        wanted = {"" if name in ("micropython", "builtins") else name for name in wanted}
        assert set(Scan(unit.path.read_bytes()).imports) == wanted, unit.module.name


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "def f():\n  def g():\n    class A:\n      def h(self):\n        import sys\n",
        "f = lambda: __import__('os')",
        "from machine import *",
        "def f(x):\n  return x.__class__",
        "def f(x):\n  return getattr(x, 'read')",
        "x = 'exec'",
        "def f(eval=1): pass",
        "import math as os",
        "async def f():\n  import gc\n",
    ],
)
def test_what_leads_out_of_the_api_is_refused_in_both_forms(text: str) -> None:
    """EG-CODE-003"""
    for check in (lambda: codecheck.check_byte_code(mpy.compile_text(text)), lambda: codecheck.check_source(text)):
        with pytest.raises(ProtocolError) as caught:
            check()
        assert caught.value.code == NOT_AUTHORISED


DUNDERS = ("__class__", "__dict__", "__globals__", "__new__", "__self__", "__bases__")


@pytest.mark.parametrize("name", [*codecheck.FORBIDDEN, *DUNDERS])
def test_a_forbidden_name_is_found_however_the_byte_code_says_it(name: str) -> None:
    """EG-CODE-003: a name, or the number of one that the interpreter has anyway."""
    with pytest.raises(ProtocolError) as caught:
        codecheck.check_byte_code(mpy.compile_text(f"def f(x):\n  return x.{name}\n"))
    assert caught.value.code == NOT_AUTHORISED


def test_both_forms_of_a_plain_feature_are_accepted() -> None:
    text = "import math\nLIMIT = 5\ndef start(api):\n  api.every(60, lambda: api.event(1007, math.floor(api.read(3) / LIMIT)))\n"
    codecheck.check_source(text)
    codecheck.check_byte_code(mpy.compile_text(text))
