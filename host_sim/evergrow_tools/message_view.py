"""Messages for people: annotated, byte by byte, or on one line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from evergrow_protocol import message_json, message_words
from evergrow_protocol.message_reader import Node, Reading
from evergrow_protocol.message_tree import ARRAY, MAP, Flaw
from evergrow_protocol.registry import Registry

_HEX_BYTES = 24  # of a string on one line
_HEX_WIDTH = 26  # columns for the hex of most items
_INDENT = "  "


@dataclass(frozen=True)
class Line:
    """One item: its bytes (of an array or map, the head alone), how deep it is nested, its name and meaning."""

    offset: int
    hex: str
    depth: int
    name: str
    text: str


def lines(registry: Registry, reading: Reading) -> Iterator[Line]:
    """One for every item of a payload that is CBOR, in the order of its bytes."""
    if reading.root is not None:
        yield from _lines(registry, reading.data, reading.root, 0, reading.root.type.name)


def annotated(registry: Registry, reading: Reading, topic: str = "") -> Text:
    """What `evergrow decode` prints of a payload, its flaws left out; no line end behind the last line."""
    kind = reading.kind
    text = Text()
    text.append(kind.name, "bold cyan")
    text.append(f" {topic}" if topic else "")
    text.append(f"  {len(reading.data)} bytes, SPEC.md section {kind.section}", "dim")
    if reading.root is None:
        text.append(f"\n  {_short(reading.data)}", "red")
    flawed = {flaw.at for flaw in reading.flaws}
    shown = list(lines(registry, reading))
    width = max((len(_INDENT * line.depth + line.name) for line in shown), default=0)
    for line in shown:
        text.append(f"\n  {_INDENT * line.depth + line.hex:<{_HEX_WIDTH}}", "red" if line.offset in flawed else "green")
        name = _INDENT * line.depth + line.name
        text.append(f" {name:<{width}}  {line.text}" if line.text else f" {name}")
    return text


def flaw_text(flaw: Flaw) -> str:
    """A flaw in one sentence: where, what, which code, which sentence of SPEC.md."""
    return f"byte {flaw.at}: {flaw.text} (code {flaw.code}, {flaw.rule})"


def one_line(registry: Registry, reading: Reading) -> str:
    """The values of a message, names before them, on one line."""
    if reading.root is None:
        return _short(reading.data)
    return ", ".join(_leaves(registry, reading.root))


def as_json(reading: Reading, topic: str = "") -> dict[str, Any]:
    """What `--json` prints. `message` is None when the payload has flaws."""
    found: dict[str, Any] = {"kind": reading.kind.name}
    if topic:
        found["topic"] = topic
    found |= {"section": reading.kind.section, "bytes": len(reading.data), "hex": reading.data.hex()}
    found["message"] = message_json.to_json(reading) if reading.ok else None
    found["flaws"] = [{"offset": flaw.at, "code": flaw.code, "rule": flaw.rule, "text": flaw.text} for flaw in reading.flaws]
    return found


def _lines(registry: Registry, data: bytes, node: Node, depth: int, name: str) -> Iterator[Line]:
    item = node.item
    start = node.key.start if node.key else item.start
    end = item.inside if item.major in (ARRAY, MAP) else item.end
    key = data[node.key.start : node.key.end].hex() + " " if node.key else ""
    head = data[item.start : item.inside].hex()
    inside = _short(data[item.inside : end])
    called = message_words.name(registry, node) or name
    yield Line(start, f"{key}{head} {inside}".rstrip(), depth, called, message_words.text(registry, node))
    for number, child in enumerate(node.children):
        yield from _lines(registry, data, child, depth + 1, f"[{number}]")


def _leaves(registry: Registry, node: Node) -> Iterator[str]:
    name = message_words.name(registry, node)
    if node.item.major not in (ARRAY, MAP):
        said = message_words.text(registry, node)
        yield f"{name} {said}" if name else said
    elif node.type.shape == "list":
        parts = [" ".join(message_words.text(registry, one) for one in _ends(child)) for child in node.children]
        yield f"{name} [{', '.join(parts)}]" if name else "; ".join(parts)
    else:
        for child in node.children:
            yield from _leaves(registry, child)


def _ends(node: Node) -> Iterator[Node]:
    if node.item.major in (ARRAY, MAP):
        for child in node.children:
            yield from _ends(child)
    else:
        yield node


def _short(data: bytes) -> str:
    return data.hex() if len(data) <= _HEX_BYTES else f"{data[:_HEX_BYTES].hex()}..."
