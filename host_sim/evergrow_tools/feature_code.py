"""The code of a feature, from source to what is shipped: byte code and source without comments, and what it declares.

In feature.toml, in names of the registry, with ids of its own from 1000 up:

    [code]
    source = "load_sense.py"          # beside feature.toml
    heap = 8192                       # bytes that it may take
    call_ms = 50                      # how long a call may take
    adjusts = false                   # whether it shortens holds of the appliance's programmes
    signals = ["power_w"]             # read(...)
    actuators = []                    # write(...), value(...)
    meters = { load_g = 1010 }        # count(...)
    events = { load = 1011 }          # event(...), alarm(...)
    [code.settings]
    sensitivity = { id = 1, least = 1, most = 10, default = 5 }     # setting(...)

What the code uses and what it declares must be the same: each id in such a call is a constant, of the source itself or imported
from `evergrow_protocol.registry_*`, and becomes its number.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from evergrow_agent import codecheck
from evergrow_protocol import feature_code
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.registry import Registry, Table
from evergrow_tools import mpy
from evergrow_tools.feature_files import FeatureError

NAME_CHARS = 24  # of a setting: names travel with the feature
_REGISTRY = "evergrow_protocol.registry_"
_KEYS = {"source", "heap", "call_ms", "adjusts", "signals", "actuators", "meters", "events", "settings"}
_CALLS = {
    "read": "signals",
    "write": "actuators",
    "value": "actuators",
    "count": "meters",
    "event": "events",
    "alarm": "events",
    "setting": "settings",
}
_ADJUST = "hold_percent"


@dataclass(frozen=True)
class Code:
    """`needs`: the declaration, encoded (feature_code); `byte_code`: a .mpy; `source`: text without what only people read."""

    needs: bytes
    byte_code: bytes
    source: bytes


def compile_code(table: Mapping[str, Any], directory: Path, klass: str, registry: Registry) -> Code:
    """From the table [code]. Raises FeatureError for what is wrong with it or with the source, mpy.MpyError."""
    if unknown := sorted(set(table) - _KEYS):
        raise FeatureError(f"[code] unknown key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    name = table.get("source")
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".py"):
        raise FeatureError("[code] source is the name of a .py file beside feature.toml")
    path = directory / name
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, filename=name)
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise FeatureError(f"{path}: {error}") from None
    if not any(isinstance(node, ast.FunctionDef) and node.name == "start" and len(node.args.args) == 1 for node in tree.body):
        raise FeatureError(f"{path} has no function start(api)")
    declared = _declared(table, klass, registry)
    tree = _Inline(name, tree).run()
    used, adjusts = _used(name, tree)
    for kind, ids in declared.items():
        _compare(name, kind, ids, used[kind])
    if adjusts != bool(table.get("adjusts")):
        raise FeatureError(f"[code] adjusts must be {str(adjusts).lower()}: {name} {'uses' if adjusts else 'has no'} {_ADJUST}")
    source = ast.unparse(_Strip().visit(tree)) + "\n"
    return Code(_needs(table, declared), _byte_code(name, source), source.encode())


def _declared(table: Mapping[str, Any], klass: str, registry: Registry) -> dict[str, dict[str, int]]:
    """{kind: {name: id}}"""
    found: dict[str, dict[str, int]] = {}
    tables: dict[str, Table] = {"signals": registry.signals, "actuators": registry.actuators}
    for kind, names in tables.items():
        listed = table.get(kind, [])
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            raise FeatureError(f"[code] {kind} is a list of names")
        entries = [names.by_name(item) for item in listed]
        for entry in entries:
            if klass not in entry.classes:
                raise FeatureError(f"[code] {kind}: a {klass} has no {entry.name}")
        found[kind] = {entry.name: entry.id for entry in entries}
    for kind in ("meters", "events"):
        own = table.get(kind, {})
        if not isinstance(own, dict) or not all(type(number) is int for number in own.values()):
            raise FeatureError(f"[code] {kind} is a table of names and ids")
        found[kind] = dict(own)
    settings = table.get("settings", {})
    fields = {"id": int, "least": int, "most": int, "default": int}
    if not isinstance(settings, dict) or not all(
        isinstance(row, dict) and {key: type(value) for key, value in row.items()} == fields for row in settings.values()
    ):
        raise FeatureError("[code.settings] each is { id, least, most, default }, whole numbers")
    found["settings"] = {name: row["id"] for name, row in settings.items()}
    return found


def _needs(table: Mapping[str, Any], declared: Mapping[str, Mapping[str, int]]) -> bytes:
    rows = {row["id"]: [row["least"], row["most"], row["default"]] for row in table.get("settings", {}).values()}
    needs: dict[int, Any] = {}
    for key, kind in enumerate(("signals", "actuators", "meters", "events")):
        if declared[kind]:
            needs[key] = sorted(declared[kind].values())
    if rows:
        needs[4] = dict(sorted(rows.items()))
    for key, field in ((5, "heap"), (6, "call_ms")):
        value = table.get(field)
        if type(value) is not int:
            raise FeatureError(f"[code] {field} is missing or not a whole number")
        needs[key] = value
    if table.get("adjusts"):
        needs[7] = 1
    if rows:
        if long := [name for name in declared["settings"] if len(name) > NAME_CHARS]:
            raise FeatureError(f"[code.settings] {long[0]!r} has over {NAME_CHARS} characters")
        needs[8] = {number: name for name, number in sorted(declared["settings"].items(), key=lambda item: item[1])}
    encoded = dumps(needs)
    feature_code.parse(encoded)
    return encoded


def _used(name: str, tree: ast.Module) -> tuple[dict[str, set[int]], bool]:
    """{kind: ids} of the API's calls, and whether it adjusts."""
    used: dict[str, set[int]] = {kind: set() for kind in _CALLS.values()}
    adjusts = False
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        adjusts = adjusts or node.func.attr == _ADJUST
        kind = _CALLS.get(node.func.attr)
        if kind is None or not node.args:
            continue
        first = node.args[0]
        if not isinstance(first, ast.Constant) or type(first.value) is not int:
            where = f"{name}:{node.lineno}: {node.func.attr}(...)"
            raise FeatureError(f"{where} needs a constant, so that what it uses can be checked")
        used[kind].add(first.value)
    return used, adjusts


def _compare(name: str, kind: str, declared: Mapping[str, int], used: set[int]) -> None:
    if extra := sorted(used - set(declared.values())):
        raise FeatureError(f"{name} uses {kind} {extra[0]}, which [code] {kind} does not declare")
    if idle := sorted(label for label, number in declared.items() if number not in used):
        raise FeatureError(f"[code] {kind} declares {idle[0]}, which {name} does not use")


def _byte_code(name: str, source: str) -> bytes:
    try:
        data = mpy.compile_text(source, Path(name).stem)
        codecheck.check_source(source)
        codecheck.check_byte_code(data)
    except (mpy.MpyError, ProtocolError) as error:
        raise FeatureError(f"{name}: {error}") from None
    return data


class _Inline(ast.NodeTransformer):
    """Constants become their values: capital names bound once at the top, and those imported from the registry."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self._tree = tree
        self._name = name
        self._values: dict[str, int] = {}

    def run(self) -> ast.Module:
        body: list[ast.stmt] = []
        for statement in self._tree.body:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(_REGISTRY):
                self._import(statement)
            elif not self._constant(statement):
                body.append(statement)
        self._tree.body = body
        tree: ast.Module = ast.fix_missing_locations(self.visit(self._tree))
        return tree

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._values:
            return node
        if not isinstance(node.ctx, ast.Load):
            raise FeatureError(f"{self._name}:{node.lineno}: {node.id} is a constant, and is bound again")
        return ast.copy_location(ast.Constant(self._values[node.id]), node)

    def _import(self, statement: ast.ImportFrom) -> None:
        module = import_module(statement.module or "")
        for alias in statement.names:
            value = getattr(module, alias.name, None)
            if type(value) is not int:
                raise FeatureError(f"{self._name}:{statement.lineno}: {statement.module} has no id {alias.name}")
            self._values[alias.asname or alias.name] = value

    def _constant(self, statement: ast.stmt) -> bool:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return False
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or not target.id.isupper() or not isinstance(statement.value, ast.Constant):
            return False
        if type(statement.value.value) is not int:
            return False
        self._values[target.id] = statement.value.value
        return True


class _Strip(ast.NodeTransformer):
    """Docstrings and annotations go: nobody reads them on a board."""

    def _body(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = _body

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        stripped: ast.FunctionDef = self._body(node)
        return stripped

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)
