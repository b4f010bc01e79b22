"""Messages as JSON with names, both ways: `to_json` of what was read, `from_json` to bytes. For host programs. Not for boards.

Fields go by their names; keys of maps that the table does not know, and ids of the registry's tables, by their numbers (names
of the registry are understood, too); what is beyond the end of a known array is a list at "more". Numbers stay what they are
on the wire. Byte strings are hex, packed columns and bitmaps the numbers in them; where any type may stand, bytes are
{"hex": "..."}.
"""

from typing import Any

from evergrow_protocol import message_codecs
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.message_reader import Node, Reading
from evergrow_protocol.message_table import Field, Kind, MessageTable, Type
from evergrow_protocol.message_tree import ARRAY, BYTES, MAP, MAX_DEPTH
from evergrow_protocol.registry import Registry


class JsonError(Exception):
    """JSON that is no message; the message says where, as body.features[0]."""


def to_json(reading: Reading) -> Any:
    """What a payload without flaws says; `from_json` makes the same bytes of it."""
    if reading.root is None:
        raise ValueError("nothing was read")
    return _out(reading.root)


def from_json(table: MessageTable, registry: Registry, kind: Kind, value: Any) -> bytes:
    """The payload. Raises JsonError for what has no place in the message; whether the values are allowed, the reader tells."""
    writer = _Writer(table, registry)
    if not kind.up:
        item = writer.value(table.types[kind.body], value, "")
    elif kind.bundle and isinstance(value, list):
        item = [writer.envelope(kind, one, f"[{i}]") for i, one in enumerate(value)]
    else:
        item = writer.envelope(kind, value, "")
    try:
        return bytes(dumps(item, depth=MAX_DEPTH))
    except ProtocolError as error:
        raise JsonError(error.text) from None


def _out(node: Node) -> Any:
    type, item = node.type, node.item
    if type.codec:
        return message_codecs.UNPACK[type.codec](item.content)
    match type.shape:
        case "bytes":
            return item.content.hex()
        case "any":
            if item.major == BYTES:
                return {"hex": item.content.hex()}
            if item.major == MAP:
                return {_key(child): _out(child) for child in node.children}
            return [_out(child) for child in node.children] if item.major == ARRAY else item.value
        case "list":
            return [_out(child) for child in node.children]
        case "array":
            named = {child.name: _out(child) for child in node.children if child.name}
            more = [_out(child) for child in node.children if not child.name]
            return named | {"more": more} if more else named
        case "rows":
            width = len(type.fields)
            parts = [(child.name, _out(child)) for child in node.children]
            return [dict(parts[at : at + width]) for at in range(0, len(parts), width)]
        case "map" | "table":
            return {child.name or _key(child): _out(child) for child in node.children}
    return item.value


def _key(node: Node) -> str:
    return str(node.key.number) if node.key is not None else ""


class _Writer:
    def __init__(self, table: MessageTable, registry: Registry) -> None:
        self._table = table
        self._registry = registry

    def envelope(self, kind: Kind, value: Any, where: str) -> list[Any]:
        return self._array(self._table.types["envelope"], value, where, self._table.types[kind.body])

    def value(self, type: Type, value: Any, where: str) -> Any:
        if type.shape == "choice":
            type = self._choose(type, value)
        if type.codec:
            try:
                return message_codecs.PACK[type.codec](_expect(list, value, where))
            except ValueError as error:
                raise JsonError(f"{where}: {error}") from None
        match type.shape:
            case "any":
                return _any(value, where)
            case "bytes":
                return _hex(value, where)
            case "list":
                of = self._table.types[type.of[0]]
                return [self.value(of, one, f"{where}[{i}]") for i, one in enumerate(_expect(list, value, where))]
            case "rows":
                rows = enumerate(_expect(list, value, where))
                return [item for i, row in rows for item in self._array(type, row, f"{where}[{i}]")]
            case "array":
                return self._array(type, value, where)
            case "map":
                return self._map(type, value, where)
            case "table":
                return self._entries(type, value, where)
        if isinstance(value, (list, dict, float)):
            raise JsonError(f"{where}: not a value of type {type.shape}: {value!r}")
        return value

    def _choose(self, type: Type, value: Any) -> Type:
        shape = {dict: "array", list: "list", str: "text"}.get(value.__class__, "int")
        of = [self._table.types[name] for name in type.of]
        return next((one for one in of if one.shape == shape), of[0])

    def _array(self, type: Type, value: Any, where: str, body: Type | None = None) -> list[Any]:
        given = dict(_expect(dict, value, where))
        more = _expect(list, given.pop("more", []), f"{where}.more")
        items: list[Any] = []
        for one in type.fields:
            if one.name in given:
                of = body if body is not None and one.name == "body" else self._type_of(one, value)
                items.append(self.value(of, given.pop(one.name), _at(where, one.name)))
            elif not one.distinct:
                break  # Elements cannot be left out before others: what is given nevertheless has no place.
        _no_rest(given, where)
        return items + [_any(one, f"{where}.more") for one in more]

    def _type_of(self, one: Field, given: dict[str, Any]) -> Type:
        decides = given.get(one.by)
        return self._table.types[one.types[decides] if isinstance(decides, int) and decides in one.types else one.type]

    def _map(self, type: Type, value: Any, where: str) -> dict[int, Any]:
        items: dict[int, Any] = {}
        for name, one in _expect(dict, value, where).items():
            field = type.by_name(name)
            if field is not None:
                items[field.key] = self.value(self._table.types[field.type], one, _at(where, name))
            else:
                key = self._number(name, type.registry, where)
                known = type.by_key(key)
                items[key] = (
                    self.value(self._table.types[known.type], one, _at(where, name)) if known else _any(one, _at(where, name))
                )
        return items

    def _entries(self, type: Type, value: Any, where: str) -> dict[int, Any]:
        keys, values = type.of
        table = self._table.types[keys].registry
        return {
            self._number(name, table, where): self.value(self._table.types[values], one, _at(where, name))
            for name, one in _expect(dict, value, where).items()
        }

    def _number(self, name: str, table: str, where: str) -> int:
        if table and name in self._registry.tables[table]:
            return self._registry.tables[table].by_name(name).id
        return _integer(name, where)


def _any(value: Any, where: str) -> Any:
    if isinstance(value, float):
        raise JsonError(f"{where}: {value} is no integer; the wire has no other numbers")
    if isinstance(value, list):
        return [_any(one, where) for one in value]
    if isinstance(value, dict):
        if set(value) == {"hex"}:
            return _hex(value["hex"], where)
        return {_integer(name, where): _any(one, where) for name, one in value.items()}
    return value


def _integer(name: str, where: str) -> int:
    try:
        return int(name)
    except ValueError:
        raise JsonError(f"{where or 'the message'} has no {name!r}") from None


def _hex(value: Any, where: str) -> bytes:
    try:
        return bytes.fromhex(_expect(str, value, where))
    except ValueError:
        raise JsonError(f"{where}: not hex: {value!r}") from None


def _expect(what: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, what):
        wanted = "a list" if what is list else "an object" if what is dict else "a string"
        raise JsonError(f"{where or 'the message'} is {wanted}, not {value!r:.40}")
    return value


def _no_rest(given: dict[str, Any], where: str) -> None:
    if given:
        raise JsonError(f"{where or 'the message'}: there is no place for {next(iter(given))!r}")


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
