"""Whether the code of a feature keeps to what features may do, looked at before it is run (EG-CODE-003).

It may import what ALLOWED says, and has none of the names in FORBIDDEN: with them it would reach what the feature API does not
give. The publisher's build looks at the same. This is a check against mistakes and lazy attacks. It is no sandbox: there is none
on MicroPython, and what a feature may touch is held by the guard and by who is trusted to sign.
"""

from evergrow_agent.mpyscan import Scan
from evergrow_protocol.errors import NOT_AUTHORISED, UNSUPPORTED, ProtocolError

try:
    import ast
except ImportError:  # MicroPython: byte code is what a board gets
    ast = None  # type: ignore[assignment,unused-ignore]

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

ALLOWED = ("math",)
FORBIDDEN = (
    "asyncio",
    "builtins",
    "compile",
    "delattr",
    "dir",
    "eval",
    "exec",
    "execfile",
    "gc",
    "getattr",
    "globals",
    "input",
    "locals",
    "machine",
    "micropython",
    "native",
    "network",
    "open",
    "os",
    "setattr",
    "sys",
    "uctypes",
    "vars",
    "viper",
)
# Those of them that MicroPython's byte code names by number: __dir__, __class__, __getattr__, __new__, builtins, dir, eval, exec,
# getattr, globals, locals, micropython, open, setattr. (__qualname__ and __module__ are in every class statement.)
_FORBIDDEN_NUMBERS = (2, 10, 14, 24, 63, 76, 80, 81, 87, 88, 110, 115, 118, 141)
_HARMLESS = (
    "__bool__",
    "__call__",
    "__delitem__",
    "__enter__",
    "__eq__",
    "__exit__",
    "__getitem__",
    "__hash__",
    "__init__",
    "__int__",
    "__iter__",
    "__len__",
    "__lt__",
    "__name__",
    "__next__",
    "__repr__",
    "__setitem__",
    "__str__",
)


def check_byte_code(data: "Buffer") -> None:
    """Of a `.mpy`. ProtocolError NOT_AUTHORISED, or as `mpyscan.Scan`."""
    scan = Scan(data)
    for name in scan.imports:
        check_import(name)
    for name in scan.names:
        check_name(name)
    for number in scan.known:
        if number in _FORBIDDEN_NUMBERS:
            raise ProtocolError(NOT_AUTHORISED, f"the code uses name {number} of the interpreter, which features may not")


def check_source(text: str) -> None:
    """Of Python source. ProtocolError NOT_AUTHORISED; UNSUPPORTED for what does not parse, or on an interpreter that cannot."""
    if ast is None:
        raise ProtocolError(UNSUPPORTED, "source cannot be looked through here: byte code can")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as exc:
        raise ProtocolError(UNSUPPORTED, f"no Python source: {exc}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                check_import(alias.name)
        elif isinstance(node, ast.ImportFrom):
            check_import("." * node.level + (node.module or ""))
        for name in _names(node):
            check_name(name)


def check_import(name: str) -> None:
    """ProtocolError NOT_AUTHORISED unless features may import this module."""
    if name not in ALLOWED:
        raise ProtocolError(NOT_AUTHORISED, f"the code imports {name!r}; features may import {', '.join(ALLOWED)}")


def check_name(name: str) -> None:
    """ProtocolError NOT_AUTHORISED for a name that leads out of the feature API."""
    if name in FORBIDDEN or (name.startswith("__") and name not in _HARMLESS):
        raise ProtocolError(NOT_AUTHORISED, f"the code uses {name!r}, which features may not")


def _names(node: "ast.AST") -> "list[str]":
    """Every name that a piece of syntax has, as the compiled form would show it."""
    found = []
    for field in ("id", "attr", "name", "arg", "value"):
        text = getattr(node, field, None)
        if isinstance(text, str) and " " not in text:
            found.append(text)
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        found += [alias.asname or alias.name for alias in node.names]
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        found += node.names
    return found
