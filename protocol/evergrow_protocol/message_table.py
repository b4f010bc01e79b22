"""The message table for host programs: every kind of message, field by field (messages.toml). Not for boards.

The grammar (`protocol/evergrow.cddl`) and the tools for people are made from it. What a table says is checked when it is loaded,
so that whoever reads it need not.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

_SHAPES = ("int", "bytes", "text", "bool", "any", "array", "map", "list", "rows", "table", "choice")
_DEFAULT_RULE = "EG-ENC-007"


class TableError(Exception):
    """messages.toml contradicts itself; the message names the type or kind."""


@dataclass(frozen=True)
class Field:
    """Of an array (in order) or a map (with its `key`). `rule`: which id of SPEC.md a violation is one of, or ""."""

    name: str
    type: str
    key: int = -1
    optional: bool = False
    distinct: bool = False
    description: str = ""
    rule: str = ""
    by: str = ""
    types: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Type:
    """`shape` is one of int, bytes, text, bool, any, array, map, list, rows, table, choice.

    `least`, `most`: of the value of an int, the bytes of bytes and text, the elements of a list or table, the rows of rows.
    `fields`: of arrays and maps, and of each row. `one_of`: those of a map of which there is exactly one; or none, where
    there is the field `or_else`. `pattern`: a regular expression for the whole of a text.
    `of`: the type of a list's elements; the two of a table's keys and values; those of a choice. `registry`: which of
    its tables names the numbers; of a map or table, the keys.
    """

    name: str
    shape: str
    least: int = 0
    most: int = 0
    fields: tuple[Field, ...] = ()
    one_of: tuple[str, ...] = ()
    or_else: str = ""
    pattern: str = ""
    of: tuple[str, ...] = ()
    unit: str = ""
    values: Mapping[int, str] = field(default_factory=dict)
    bits: Mapping[int, str] = field(default_factory=dict)
    registry: str = ""
    codec: str = ""
    description: str = ""
    rule: str = ""

    def by_key(self, key: int) -> Field | None:
        return next((one for one in self.fields if one.key == key), None)

    def by_name(self, name: str) -> Field | None:
        return next((one for one in self.fields if one.name == name), None)


@dataclass(frozen=True)
class Kind:
    """A kind of message. `name`: "up/usage". `will`: it may have seq 0."""

    name: str
    body: str
    qos: int
    section: str
    description: str
    retained: bool = False
    will: bool = False
    bundle: bool = False

    @property
    def up(self) -> bool:
        return self.name.startswith("up/")

    @property
    def rule_name(self) -> str:
        """Of its rule in evergrow.cddl: "up-usage"."""
        return self.name.replace("/", "-")


@dataclass(frozen=True)
class MessageTable:
    """All of it. `kinds` and `types` by name, in the order of the file."""

    minor: int
    kinds: Mapping[str, Kind]
    types: Mapping[str, Type]

    def rule(self, of: Type, field: Field | None = None) -> str:
        """The id of SPEC.md that a value violates which does not fit."""
        return (field.rule if field else "") or of.rule or _DEFAULT_RULE


@cache
def load() -> MessageTable:
    """The table that ships with this package."""
    return parse(resources.files("evergrow_protocol").joinpath("messages.toml").read_text(encoding="utf-8"))


def parse(text: str) -> MessageTable:
    """Raises TableError."""
    data = tomllib.loads(text)
    kinds = {name: Kind(name, **row) for name, row in data["kinds"].items()}
    types = {name: _type(name, row) for name, row in data["types"].items()}
    table = MessageTable(data["minor"], kinds, types)
    for kind in kinds.values():
        _known(table, kind.body, kind.name)
    for one in [one for one in types.values() if one.shape == "table"]:
        _known(table, one.of[0], one.name)
        types[one.name] = replace(one, registry=types[one.of[0]].registry)
    for one in types.values():
        for name in (*one.of, *(other for part in one.fields for other in (part.type, *part.types.values()))):
            _known(table, name, one.name)
    return table


def _type(name: str, row: dict[str, Any]) -> Type:
    shapes = [shape for shape in _SHAPES if shape in row]
    if len(shapes) != 1:
        raise TableError(f"type {name}: exactly one of {', '.join(_SHAPES)}, not {len(shapes)}")
    shape, row = shapes[0], dict(row)
    value = row.pop(shape)
    given: dict[str, Any] = {}
    match shape:
        case "int" | "bytes":
            given["least"], given["most"] = value
        case "text":
            given["least"], given["most"] = value if isinstance(value, list) else (0, value)
        case "array" | "map" | "rows":
            given["fields"] = tuple(_field(name, shape, part) for part in value)
        case "list":
            given["of"] = (value,)
        case "table":
            given["of"] = (value["keys"], value["values"])
        case "choice":
            given["of"] = tuple(value)
    if "one_of" in row:
        row["one_of"] = tuple(row["one_of"])
    for numbered in ("values", "bits"):
        if numbered in row:
            row[numbered] = {int(number): text for number, text in row[numbered].items()}
    try:
        return Type(name, shape, **given, **row)
    except TypeError as error:
        raise TableError(f"type {name}: {error}") from None


def _field(of: str, shape: str, row: dict[str, Any]) -> Field:
    if ("key" in row) != (shape == "map"):
        raise TableError(f"type {of}: the fields of a map, and only they, have keys")
    if "types" in row:
        row = row | {"types": {int(number): type for number, type in row["types"].items()}}
    try:
        return Field(**row)
    except TypeError as error:
        raise TableError(f"type {of}: {error}") from None


def _known(table: MessageTable, name: str, where: str) -> None:
    if name not in table.types:
        raise TableError(f"{where}: there is no type {name!r}")
