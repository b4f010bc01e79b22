"""What a value on the wire means, in words: names of the registry, units, times. For host programs. Not for boards."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from evergrow_protocol import message_codecs
from evergrow_protocol.message_reader import Node
from evergrow_protocol.message_tree import ARRAY, BYTES, MAP, SIMPLE, TEXT, UINT
from evergrow_protocol.registry import Entry, Registry

_BYTES_SHOWN = 16
_NUMBERS_SHOWN = 12


def name(registry: Registry, node: Node) -> str:
    """What a node is called: the field's name, the registry's name of a key, else the number of the key."""
    if node.name or node.key is None:
        return node.name
    entry = _entry(registry, node)
    return entry.name if entry else f"key {node.key.number}"


def text(registry: Registry, node: Node) -> str:
    """The value for people, "" for what is told by its parts. Never raises."""
    item, type, entry = node.item, node.type, _entry(registry, node)
    if item.major in (ARRAY, MAP):
        return ""
    if item.major == TEXT:
        return json.dumps(item.value, ensure_ascii=False)
    if item.major == BYTES:
        return _bytes(type.codec, item.content, lambda raw: registry.value_text(entry, raw) if entry else str(raw))
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
    if entry is not None:
        said = registry.value_text(entry, number)
        return said if said.partition(" ")[0] == str(number) else f"{number}: {said}"
    if type.unit == "utc" and item.major == UINT:
        return f"{number}: {datetime.fromtimestamp(number, UTC):%Y-%m-%dT%H:%M:%SZ}" if number < 1 << 37 else str(number)
    return f"{number} {type.unit}" if type.unit else str(number)


def _entry(registry: Registry, node: Node) -> Entry | None:
    """The meter or signal that the node's key names."""
    if node.key is None or node.parent is None or not node.parent.registry:
        return None
    table = registry.tables[node.parent.registry]
    return table.by_id(node.key.number) if node.key.number in table else None


def _bytes(codec: str, data: bytes, form: Callable[[int], str]) -> str:
    if codec:
        try:
            numbers = message_codecs.UNPACK[codec](data)
        except ValueError as error:
            return f"{data[:_BYTES_SHOWN].hex()}: {error}"
        shown = [form(number) if codec == "deltas" else str(number) for number in numbers[:_NUMBERS_SHOWN]]
        rest = f", ... {len(numbers)} in all" if len(numbers) > _NUMBERS_SHOWN else ""
        what = "bits " if codec == "bitmap" else ""
        return f"{what}{', '.join(shown)}{rest}" if shown else "none"
    if len(data) > _BYTES_SHOWN:
        return f"{len(data)} bytes, {data[:_BYTES_SHOWN].hex()}..."
    return f"h'{data.hex()}'"
