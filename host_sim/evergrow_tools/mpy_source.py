"""Rewrites Python source so that the compiler makes less of it, and the program does the same.

What only people and type checkers read goes, and constants become their values, also across modules:

    if TYPE_CHECKING: ...                     gone
    docstrings                                gone (the compiler drops their text, but keeps their line numbers)
    _LIMIT = 4                                _LIMIT = const(4): known to the compiler, and no entry in the module's dict
    from evergrow_protocol.errors import STORAGE    gone, and where it said STORAGE it says 13
    from evergrow_mqtt import codec                 gone if nothing else of it is used: codec.QOS1_FLAG is 2

MicroPython has `const` for this, but only for the one module, and CPython would need an import for it. Each line keeps its
number, so a traceback from a board names the line that its author wrote.

A constant is a name that is bound once, at the top of a module, to an integer. A private one (`_NAME`) stays an attribute of its
module where something may look for it: another module, or a string that reads the same. A public one always stays where it is
defined, and where it is imported as what it is (`from .decode import MAP as MAP`), which says that others may take it from there;
unless the program is `closed`: nothing but its own modules will ever be imported beside them. Then it goes like a private one.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass
class _Unit:
    """One module.

    `constants`: names bound once, at the top, and to what; `origins`: what a name imported at the top means, (module, name
    there); `modules`: names that are modules here; `imported`: every (module, name) imported anywhere; `attributes`: every name
    that follows a dot; `reached`: every name by which something in another module could be looked for.
    """

    name: str
    source: str
    tree: ast.Module
    nodes: list[ast.AST]
    constants: dict[str, ast.expr] = field(default_factory=dict)
    origins: dict[str, tuple[str, str]] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    imported: set[tuple[str, str]] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    keywords: set[str] = field(default_factory=set)


class Program:
    """All modules that run together; `sources` maps dotted names to texts. A text that is not Python is left alone.

    `packages`: which of the names are packages. `closed`: no module of others will import these.
    """

    def __init__(self, sources: Mapping[str, str], packages: Iterable[str] = (), closed: bool = False) -> None:
        self._closed = closed
        self._packages = set(packages)
        self._sources = sources
        self._units: dict[str, _Unit] = {}
        for name, source in sources.items():
            try:
                tree = ast.parse(source)
            except SyntaxError:
                continue  # the compiler says so better
            self._units[name] = self._read(name, source, tree)
        self._reached = set().union(*[unit.reached for unit in self._units.values()])
        self._dynamic = set().union(*[self._looked_up(unit) for unit in self._units.values()]) if closed else set()

    def rewrite(self, name: str) -> str:
        """The text of a module as the compiler is to see it, line for line."""
        return self._rewrite(self._units[name]) if name in self._units else self._sources[name]

    # -- reading

    def _read(self, name: str, source: str, tree: ast.Module) -> _Unit:
        unit = _Unit(name, source, tree, list(ast.walk(tree)))
        bound = Counter(_bindings(unit.nodes))
        for node in unit.nodes:
            if isinstance(node, ast.Attribute):
                unit.attributes.add(node.attr)
            elif isinstance(node, ast.ImportFrom):
                origin = self._absolute(unit.name, node)
                unit.imported.update((origin, alias.name) for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                unit.reached.add(node.value)
            elif isinstance(node, ast.keyword) and node.arg:
                unit.keywords.add(node.arg)
        unit.reached |= unit.attributes | {inner for _, inner in unit.imported}
        for statement in tree.body:
            if isinstance(statement, ast.ImportFrom):
                origin = self._absolute(unit.name, statement)
                for alias in statement.names:
                    local = alias.asname or alias.name
                    if bound[local] != 1:
                        continue
                    if f"{origin}.{alias.name}" in self._sources:
                        unit.modules[local] = f"{origin}.{alias.name}"
                    else:
                        unit.origins[local] = (origin, alias.name)
            elif (found := _assignment(statement)) and bound[found[0]] == 1:
                unit.constants[found[0]] = found[1]
        return unit

    def _absolute(self, name: str, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        parts = name.split(".")
        up = statement.level - (name in self._packages)
        base = parts[: len(parts) - up]
        return ".".join([*base, statement.module] if statement.module else base)

    def _value(self, module: str, name: str) -> int | None:
        """The value of a constant of a module, or of one that it imports; None if it is none."""
        unit = self._units.get(module)
        if unit is None:
            return None
        if name in unit.origins:
            return self._value(*unit.origins[name])
        return self._evaluate(unit, unit.constants[name]) if name in unit.constants else None

    def _evaluate(self, unit: _Unit, node: ast.expr) -> int | None:
        """Of integer arithmetic, a literal or another constant; None for all else."""
        if isinstance(node, ast.Constant):
            return node.value if type(node.value) is int else None
        if isinstance(node, ast.Name):
            return self._value(unit.name, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in unit.modules:
            return self._value(unit.modules[node.value.id], node.attr)
        if isinstance(node, ast.UnaryOp):
            operand = self._evaluate(unit, node.operand)
            if operand is not None and isinstance(node.op, ast.USub | ast.Invert):
                return -operand if isinstance(node.op, ast.USub) else ~operand
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._evaluate(unit, node.left), self._evaluate(unit, node.right)
            if left is not None and right is not None:
                try:
                    return _ARITHMETIC[type(node.op)](left, right)
                except (ArithmeticError, ValueError):
                    return None  # it fails at run time, as it should
        return None

    # -- rewriting

    def _rewrite(self, unit: _Unit) -> str:
        text = _Text(unit.source)
        typing_only = _typing_only(unit)
        gone = {inner for node in typing_only for inner in ast.walk(node)}
        removed = {*typing_only, *[node for node in _docstrings(unit) if node not in gone]}
        gone.update(inner for node in removed for inner in ast.walk(node))
        for body in _bodies(unit):
            for statement in body:
                if statement in removed:
                    text.replace(statement, "pass" if statement is body[0] and set(body) <= gone else "")
        own = set()
        for statement in unit.tree.body:
            found = _assignment(statement)
            value = self._value(unit.name, found[0]) if found else None
            if found is None or value is None or unit.constants.get(found[0]) is not found[1]:
                continue
            if self._is_private(unit, found[0]):
                text.replace(statement, f"{found[0]} = const({value!r})")
            elif self._closed and not found[0].startswith("_") and found[0] not in self._dynamic:
                text.replace(statement, "")
                own.add(found[0])
            else:
                continue
            gone.update(ast.walk(statement))
        self._link(unit, text, gone, own)
        return text.result()

    def _is_private(self, unit: _Unit, name: str) -> bool:
        if not name.startswith("_") or name.startswith("__") or name in unit.keywords:
            return False
        return name not in self._reached

    def _looked_up(self, unit: _Unit) -> set[str]:
        """Names of constants that will still be looked for when the program runs, as far as one can know."""
        opaque = _opaque(unit)
        found = {node.value for node in unit.nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for node in unit.nodes:
            if isinstance(node, ast.Attribute):
                linked = isinstance(node.value, ast.Name) and node.value.id in unit.modules and node not in opaque
                if not linked:
                    found.add(node.attr)
            elif isinstance(node, ast.Name) and node in opaque and node.id in unit.constants:
                found.add(node.id)
            elif isinstance(node, ast.ImportFrom) and node not in unit.tree.body:
                found.update(alias.name for alias in node.names)
        return found

    def _link(self, unit: _Unit, text: "_Text", gone: set[ast.AST], own: set[str]) -> None:
        """Put the values of other modules' integers, and of `own`, where they are used, and drop imports without a use."""
        opaque = gone | _opaque(unit)
        uses: Counter[str] = Counter()
        for node in unit.nodes:
            if node in gone:
                continue
            if isinstance(node, ast.Name):
                uses[node.id] += 1
            if node in opaque:
                continue
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and (node.id in unit.origins or node.id in own):
                value = self._value(unit.name, node.id)
                local = node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in unit.modules:
                value = self._evaluate(unit, node)
                local = node.value.id
            else:
                continue
            if value is not None:
                text.replace(node, str(value) if value >= 0 else f"({value})")
                uses[local] -= 1
        for statement in unit.tree.body:
            if isinstance(statement, ast.ImportFrom):
                self._trim(unit, statement, text, uses)

    def _trim(self, unit: _Unit, statement: ast.ImportFrom, text: "_Text", uses: Counter[str]) -> None:
        """Import only what is still needed; a constant that is becomes an assignment."""
        imports, others = [], []
        for alias in statement.names:
            local = alias.asname or alias.name
            value = self._value(unit.name, local)
            if value is not None:
                if uses[local] > 0 or self._is_exported(unit, alias, local):
                    others.append(f"{local} = {value}")
            elif local not in unit.modules or uses[local] > 0:
                imports.append(f"{alias.name} as {alias.asname}" if alias.asname else alias.name)
        if len(imports) == len(statement.names):
            return
        if imports:
            others.insert(0, f"from {'.' * statement.level}{statement.module or ''} import {', '.join(imports)}")
        text.replace(statement, "; ".join(others))

    def _is_exported(self, unit: _Unit, alias: ast.alias, name: str) -> bool:
        """Whether another module may look for an imported name here."""
        if self._closed:
            return name in self._dynamic
        if alias.asname == alias.name:
            return True
        for other in self._units.values():
            if (unit.name, name) in other.imported or (unit.name in other.modules.values() and name in other.attributes):
                return True
        return False


_ARITHMETIC = {
    ast.Add: int.__add__,
    ast.Sub: int.__sub__,
    ast.Mult: int.__mul__,
    ast.FloorDiv: int.__floordiv__,
    ast.Mod: int.__mod__,
    ast.LShift: int.__lshift__,
    ast.RShift: int.__rshift__,
    ast.BitOr: int.__or__,
    ast.BitAnd: int.__and__,
    ast.BitXor: int.__xor__,
}


class _Text:
    """Lines with replacements that leave their number as it is. Columns of `ast` count UTF-8 bytes."""

    def __init__(self, source: str) -> None:
        self._lines = [line.encode() for line in source.splitlines()]
        self._edits: list[tuple[int, int, int, int, bytes]] = []

    def replace(self, node: ast.expr | ast.stmt, new: str) -> None:
        """What took several lines leaves empty ones behind it."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        self._edits.append((node.lineno - 1, node.col_offset, node.end_lineno - 1, node.end_col_offset, new.encode()))

    def result(self) -> str:
        # From the end, so that what is still to be replaced stays where it was.
        for first, start, last, end, new in sorted(self._edits, reverse=True):
            tail = self._lines[last][end:]
            self._lines[first] = self._lines[first][:start] + new
            if last > first:
                # Behind a bracket that closes on a later line comes more of the same statement: it must stay on one line with it.
                self._lines[first : last + 1] = [self._lines[first] + tail, *[b""] * (last - first)]
            else:
                self._lines[first] += tail
        return b"\n".join(self._lines).decode() + "\n"


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    """(name, value) of `name = value` or `name: type = value`."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        return None
    return (target.id, value) if isinstance(target, ast.Name) else None


def _bindings(nodes: list[ast.AST]) -> Iterator[str]:
    """Every name that anything in a module binds, in whatever scope, once for each time."""
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


def _typing_only(unit: _Unit) -> list[ast.stmt]:
    """`TYPE_CHECKING = False` and what stands under `if TYPE_CHECKING:`; nothing if the name is used in any other way."""
    found: list[ast.stmt] = []
    uses = 0
    for node in unit.nodes:
        if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING":
            uses += 1
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
            found.append(node)
        elif isinstance(node, ast.Assign) and (pair := _assignment(node)) and pair[0] == "TYPE_CHECKING":
            if not isinstance(pair[1], ast.Constant) or pair[1].value is not False:
                return []
            found.append(node)
    return found if uses == len(found) else []


def _opaque(unit: _Unit) -> set[ast.AST]:
    """What stands in f-strings: where exactly is not known before Python 3.12."""
    return {inner for node in unit.nodes if isinstance(node, ast.JoinedStr) for inner in ast.walk(node)}


def _docstrings(unit: _Unit) -> Iterator[ast.stmt]:
    """Every statement that is nothing but a string."""
    for node in unit.nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node


def _bodies(unit: _Unit) -> Iterator[list[ast.stmt]]:
    """Every block of statements."""
    for node in unit.nodes:
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body:
                yield body
