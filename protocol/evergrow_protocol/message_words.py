"""What a value on the wire means, in words: names of the registry, units, times. For host programs. Not for boards."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from evergrow_protocol import message_codecs
from evergrow_protocol.message_reader import Node
from evergrow_protocol.message_tree import ARRAY, BYTES, MAP, SIMPLE, TEXT, UINT
from evergrow_protocol.registry import Registry

_BYTES_SHOWN = 16
_NUMBERS_SHOWN = 12


def name(registry: Registry, node: Node) -> str:
    """What a node is called: the field's name, the registry's name of a key, else the number of the key."""
    if node.name or node.key is None:
        return node.name
    number = node.key.number
    table = None
    if node.parent is not None and node.parent.shape == "table":
        table = _KEY_TABLES.get(node.parent.of[0])
    elif node.parent is not None and node.parent.registry:
        table = node.parent.registry
    if table and number in registry.tables[table]:
        return registry.tables[table].by_id(number).name
    return f"key {number}"


_KEY_TABLES = {"signal": "signals"}


def text(registry: Registry, node: Node) -> str:
    """The value for people, "" for what is told by its parts. Never raises."""
    item, type = node.item, node.type
    if item.major in (ARRAY, MAP):
        return ""
    if item.major == TEXT:
        return json.dumps(item.value, ensure_ascii=False)
    if item.major == BYTES:
        return _bytes(type.codec, item.content, _entry_format(registry, node))
    if item.major == SIMPLE:
        return json.dumps(item.value)
    number = item.number
    if type.values:
        return f"{number} {type.values[number]}" if number in type.values else str(number)
    if type.bits:
        named = [said for bit, said in type.bits.items() if number >> bit & 1]
        return f"{number}: {', '.join(named)}" if named else str(number)
    if type.registry and type.shape == "int":
        table = registry.tables[type.registry]
        return f"{number} {table.name(number)}" if number in table else str(number)
    entry = _entry_format(registry, node)
    if entry is not None:
        said = entry(number)
        return said if said.partition(" ")[0] == str(number) else f"{number}: {said}"
    if type.unit == "utc" and item.major == UINT:
        return f"{number}: {datetime.fromtimestamp(number, UTC):%Y-%m-%dT%H:%M:%SZ}" if number < 1 << 37 else str(number)
    return f"{number} {type.unit}" if type.unit else str(number)


def _entry_format(registry: Registry, node: Node) -> Callable[[int], str] | None:
    """How the registry shows values of the meter or signal that the node's key names, or None."""
    if node.key is None or node.parent is None:
        return None
    table = node.parent.registry or (_KEY_TABLES.get(node.parent.of[0]) if node.parent.shape == "table" else None)
    number = node.key.number
    if not table or number not in registry.tables[table]:
        return None
    entry = registry.tables[table].by_id(number)
    return lambda raw: registry.value_text(entry, raw)


def _bytes(codec: str, data: bytes, form: Callable[[int], str] | None) -> str:
    if codec:
        try:
            numbers = message_codecs.UNPACK[codec](data)
        except ValueError as error:
            return f"{data[:_BYTES_SHOWN].hex()}: {error}"
        shown = [form(number) if form and codec == "deltas" else str(number) for number in numbers[:_NUMBERS_SHOWN]]
        rest = f", ... {len(numbers)} in all" if len(numbers) > _NUMBERS_SHOWN else ""
        what = "bits " if codec == "bitmap" else ""
        return f"{what}{', '.join(shown)}{rest}" if shown else "none"
    if len(data) > _BYTES_SHOWN:
        return f"{len(data)} bytes, {data[:_BYTES_SHOWN].hex()}..."
    return f"h'{data.hex()}'"
