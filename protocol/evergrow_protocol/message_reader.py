"""Reads payloads by the message table: every item gets its name and its meaning, every flaw its place and rule. Not for boards.

It is the third reader of the wire format, beside the device's (`messages`) and the cloud's, made for people: it goes on after a
flaw wherever it can, and knows both directions.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from evergrow_protocol import message_codecs, message_tree
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, OUT_OF_RANGE, TOO_LARGE, UNKNOWN_KIND, UNSUPPORTED
from evergrow_protocol.message_table import Field, Kind, MessageTable, Type
from evergrow_protocol.message_tree import ARRAY, BYTES, MAP, NINT, SIMPLE, TEXT, TYPE_NAMES, UINT, Flaw, Item

_ANY = Type("any", "any")
_SHAPE_OF = {UINT: "int", NINT: "int", BYTES: "bytes", TEXT: "text", ARRAY: "array", MAP: "map"}
_WANTED = {
    "int": "an integer",
    "bytes": "a byte string",
    "text": "text",
    "bool": "true or false",
    "array": "an array",
    "map": "a map",
}
_WANTED |= {"list": "an array", "rows": "an array", "table": "a map"}


@dataclass(frozen=True)
class Node:
    """An item and what it is. `name`: of the field, "" in lists and for what the table does not know; `key`: of a pair of a map.

    `type` is the one that applies: of a choice the one chosen. `parent`: the type that it is a part of.
    """

    name: str
    item: Item
    type: Type
    key: Item | None = None
    parent: Type | None = None
    children: "tuple[Node, ...]" = ()


@dataclass
class Reading:
    """One payload. `root` is None when it is no CBOR; `flaws` in the order in which they were found, none in a good one."""

    kind: Kind
    data: bytes
    root: Node | None = None
    flaws: list[Flaw] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.flaws


def find_kind(table: MessageTable, name: str) -> Kind:
    """A kind by "up/usage", or by "usage" alone. Raises Flaw 3."""
    found = [kind for kind in table.kinds.values() if name in (kind.name, kind.name.partition("/")[2])]
    if len(found) != 1:
        names = ", ".join(kind.name for kind in found) or f"no kind {name[:40]!r}; there are {', '.join(table.kinds)}"
        raise Flaw(UNKNOWN_KIND, "EG-TOP-005", f"{name} can be {names}: say which" if found else names, 0)
    return found[0]


def read(table: MessageTable, kind: Kind, data: bytes) -> Reading:
    """Never raises: what is wrong is in `flaws`."""
    reading = Reading(kind, data)
    try:
        item = message_tree.parse(data)
    except Flaw as flaw:
        reading.flaws.append(flaw)
        return reading
    reader = _Reader(table, reading.flaws)
    if not kind.up:
        reading.root = reader.node("", item, table.types[kind.body])
    elif kind.bundle and item.major == ARRAY and item.children and item.children[0].major == ARRAY:
        bundle = Type("bundle", "list", of=("envelope",))
        envelopes = tuple(reader.envelope(kind, one, bundle) for one in item.children)
        reading.root = Node("", item, bundle, children=envelopes)
    else:
        reading.root = reader.envelope(kind, item, None)
    return reading


class _Reader:
    def __init__(self, table: MessageTable, flaws: list[Flaw]) -> None:
        self._table = table
        self._flaws = flaws

    def envelope(self, kind: Kind, item: Item, parent: Type | None) -> Node:
        envelope = self._table.types["envelope"]
        node = self.node("", item, envelope, parent=parent, body=self._table.types[kind.body])
        seq = next((child.item for child in node.children if child.name == "seq"), None)
        if seq is not None and seq.value == 0 and seq.major == UINT and not kind.will:
            self._flaw(OUT_OF_RANGE, "EG-ENV-002", "seq 0 is for wills", seq)
        return node

    def node(
        self,
        name: str,
        item: Item,
        type: Type,
        rule: str = "",
        key: Item | None = None,
        parent: Type | None = None,
        body: Type | None = None,
    ) -> Node:
        rule = rule or self._table.rule(type)
        if type.shape == "choice":
            chosen = next((self._table.types[one] for one in type.of if _fits(self._table.types[one], item)), None)
            if chosen is None:
                self._flaw(BAD_TYPE, rule, f"{_called(name, type)} is {TYPE_NAMES[item.major]}", item)
                return Node(name, item, _ANY, key, parent, self._any(item))
            type = chosen
        if not _fits(type, item):
            self._flaw(BAD_TYPE, rule, f"{_called(name, type)} is {TYPE_NAMES[item.major]}, not {_WANTED[type.shape]}", item)
            return Node(name, item, _ANY, key, parent, self._any(item))
        children: tuple[Node, ...] = ()
        match type.shape:
            case "int" | "bytes" | "text":
                self._bounds(name, item, type, rule)
            case "any":
                children = self._any(item)
            case "array":
                children = self._array(name, item, type, rule, body)
            case "map":
                children = self._map(name, item, type, rule)
            case "list":
                self._count(name, item, type, rule)
                of = self._table.types[type.of[0]]
                children = tuple(self.node("", child, of, parent=type) for child in item.children)
            case "rows":
                children = self._rows(name, item, type, rule)
            case "table":
                self._count(name, item, type, rule)
                children = self._entries(item, type, rule)
        node = Node(name, item, type, key, parent, children)
        if type.codec:
            self._packed(node, rule)
        if type.one_of:
            self._one_of(type, item, children, rule)
        self._agreement(type, item, children)
        return node

    def _one_of(self, type: Type, item: Item, children: tuple[Node, ...], rule: str) -> None:
        """Of some fields there is one, or the one that stands in for them, and that is not empty."""
        count = len([child for child in children if child.name in type.one_of])
        instead = any(type.or_else and child.name == type.or_else and child.children for child in children)
        if count > 1 or not (count or instead):
            said = next((one.rule for one in type.fields if one.name in type.one_of and one.rule), rule)
            rest = f", or at least {type.or_else}" if type.or_else else ""
            self._flaw(MALFORMED, said, f"{type.name} has exactly one of {' and '.join(type.one_of)}{rest}", item)

    def _agreement(self, type: Type, item: Item, children: tuple[Node, ...]) -> None:
        """What two fields say of each other."""
        named = {child.name: child for child in children}
        if type.name == "tele" and "columns" in named:
            columns = (*named["columns"].children, *(child for name, child in named.items() if name == "gaps"))
            if len({message_codecs.samples(child.type, child.item) for child in columns}) > 1:
                self._flaw(OUT_OF_RANGE, "EG-TELE-003", "columns of different lengths", item)
            gaps = named.get("gaps")
            if gaps is not None and gaps.type.codec and not message_codecs.are_gaps(gaps.item.content):
                self._flaw(OUT_OF_RANGE, "EG-TELE-004", "the first gap is not 0, or one is of more than 32 bits", gaps.item)
            for column in named["columns"].children:
                if column.type.codec and not message_codecs.are_samples(column.item.content):
                    self._flaw(OUT_OF_RANGE, "EG-TELE-008", "a sample is not of 32 bits with its sign", column.item)
        if type.name == "signal-set" and len(children) > 1 and named["max_s"].item.number < named["min_s"].item.number:
            self._flaw(OUT_OF_RANGE, "EG-CFG-006", "max_s is less than min_s", item)
        if type.name == "features-settings":
            named_twice = [[part.item.value for part in child.children[:2]] for child in children]
            if any(one in named_twice[:i] for i, one in enumerate(named_twice)):
                self._flaw(MALFORMED, "EG-CFG-009", "a feature is named twice", item)

    def _bounds(self, name: str, item: Item, type: Type, rule: str) -> None:
        if type.shape == "int":
            if not type.least <= item.number <= type.most:
                self._flaw(OUT_OF_RANGE, rule, f"{_called(name, type)} is {item.number}, not {type.least}..{type.most}", item)
            return
        size = item.end - item.inside
        if not type.least <= size <= type.most:
            code = TOO_LARGE if size > type.most > type.least else MALFORMED if type.codec else OUT_OF_RANGE
            code = OUT_OF_RANGE if type.pattern else code
            self._flaw(code, rule, f"{_called(name, type)} has {size} bytes, not {type.least}..{type.most}", item)
        elif type.pattern and not re.fullmatch(type.pattern, str(item.value)):
            self._flaw(OUT_OF_RANGE, rule, f"{_called(name, type)} is {item.value!r}, not made of {type.pattern}", item)

    def _count(self, name: str, item: Item, type: Type, rule: str) -> None:
        count = item.number
        if count < type.least:
            self._flaw(MALFORMED, rule, f"{_called(name, type)} has {count} elements, {type.least} at least", item)
        elif type.most and count > type.most:
            self._flaw(TOO_LARGE, rule, f"{_called(name, type)} has {count} elements, {type.most} at most", item)

    def _array(self, name: str, item: Item, type: Type, rule: str, body: Type | None) -> tuple[Node, ...]:
        nodes: list[Node] = []
        left = list(type.fields)
        for child in item.children:
            while left and left[0].distinct and not _fits(self._table.types[left[0].type], child):
                left.pop(0)
            if not left:
                nodes.append(Node("", child, _ANY, parent=type, children=self._any(child)))
                continue
            one = left.pop(0)
            of = body if body is not None and one.name == "body" else self._type_of(one, nodes)
            nodes.append(self.node(one.name, child, of, one.rule, parent=type))
        if left and not left[0].optional:  # What stands behind an optional element comes with it or not at all.
            self._flaw(MALFORMED, rule, f"{_called(name, type)} ends before {left[0].name}", item)
        return tuple(nodes)

    def _rows(self, name: str, item: Item, type: Type, rule: str) -> tuple[Node, ...]:
        width = len(type.fields)
        if item.number % width:
            missing = type.fields[item.number % width].name
            self._flaw(MALFORMED, rule, f"{_called(name, type)} ends before {missing}", item)
        elif item.number > width * type.most:
            self._flaw(TOO_LARGE, rule, f"{_called(name, type)} has {item.number // width} rows, {type.most} at most", item)
        fields = [type.fields[i % width] for i in range(item.number)]
        return tuple(
            self.node(one.name, child, self._table.types[one.type], one.rule, parent=type)
            for one, child in zip(fields, item.children, strict=True)
        )

    def _type_of(self, one: Field, before: list[Node]) -> Type:
        if one.by:
            decides = next((node.item.value for node in before if node.name == one.by), None)
            if isinstance(decides, int) and decides in one.types:
                return self._table.types[one.types[decides]]
        return self._table.types[one.type]

    def _map(self, name: str, item: Item, type: Type, rule: str) -> tuple[Node, ...]:
        nodes: list[Node] = []
        for key, value in item.pairs:
            number = key.number
            one = type.by_key(number)
            if one is not None:
                of = self._type_of(one, nodes)  # a field that decides has a smaller key, and so comes before
                nodes.append(self.node(one.name, value, of, one.rule or of.rule or type.rule, key, type))
                continue
            if number < 0:
                self._flaw(UNSUPPORTED, "EG-ENC-003", f"unknown critical key {number}", key)
            nodes.append(Node("", value, _ANY, key, type, self._any(value)))
        present = {key.value for key, _ in item.pairs}
        for one in type.fields:
            if not one.optional and one.key not in present:
                self._flaw(MALFORMED, one.rule or rule, f"{_called(name, type)} has no {one.name} (key {one.key})", item)
        return tuple(nodes)

    def _entries(self, item: Item, type: Type, rule: str) -> tuple[Node, ...]:
        keys, values = (self._table.types[name] for name in type.of)
        nodes: list[Node] = []
        for key, value in item.pairs:
            number = key.number
            if number < 0:
                self._flaw(UNSUPPORTED, "EG-ENC-003", f"unknown critical key {number}", key)
            else:
                self._bounds(f"key {number}", key, keys, rule)
            nodes.append(self.node("", value, values, key=key, parent=type))
        return tuple(nodes)

    def _any(self, item: Item) -> tuple[Node, ...]:
        if item.major == MAP:
            return tuple(Node("", value, _ANY, key, children=self._any(value)) for key, value in item.pairs)
        return tuple(Node("", child, _ANY, children=self._any(child)) for child in item.children)

    def _packed(self, node: Node, rule: str) -> None:
        unpack: Callable[[bytes], object] = message_codecs.UNPACK[node.type.codec]
        try:
            unpack(node.item.content)
        except ValueError as error:
            self._flaw(MALFORMED, rule, f"{_called(node.name, node.type)}: {error}", node.item)

    def _flaw(self, code: int, rule: str, text: str, item: Item) -> None:
        self._flaws.append(Flaw(code, rule, text, item.start))


def _fits(type: Type, item: Item) -> bool:
    """Whether the item has the CBOR type of `type`; what is in it is another question."""
    if type.shape in ("any", "choice"):
        return True
    if item.major == SIMPLE:
        return type.shape == "bool" and isinstance(item.value, bool)
    return {"list": "array", "rows": "array", "table": "map"}.get(type.shape, type.shape) == _SHAPE_OF[item.major]


def _called(name: str, type: Type) -> str:
    return name or type.name
