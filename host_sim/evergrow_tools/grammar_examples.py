"""`protocol/examples.md`: a payload of every kind, annotated as `evergrow decode` shows it. Made from the test vectors."""

from typing import Any

from evergrow_protocol import message_reader
from evergrow_protocol.message_table import MessageTable
from evergrow_protocol.registry import Registry
from evergrow_tools import message_view

_HEAD = """\
# Examples

A payload of every kind, byte by byte. Left are the bytes, a map's key before its value, and of arrays and maps the head alone;
right is what they say. `evergrow decode HEX` shows others so.

Generated from the [test vectors](vectors/README.md) by `make generate`: do not edit.
"""


def render(table: MessageTable, registry: Registry, vectors: dict[str, list[dict[str, Any]]]) -> str:
    """The whole file. `vectors`: by kind, its vectors as in the JSON files; each valid one is shown."""
    parts = [_HEAD]
    for kind in table.kinds.values():
        parts.append(f"## {kind.name}\n\n{kind.description}: [section {kind.section}](SPEC.md).\n")
        for vector in vectors[kind.name]:
            if vector["expect"] == "valid":
                reading = message_reader.read(table, kind, bytes.fromhex(vector["hex"]))
                head, *lines = message_view.annotated(registry, reading).plain.splitlines()
                size = head.partition("  ")[2].partition(",")[0]
                name = vector["name"][0].upper() + vector["name"][1:]
                parts.append(f"{name}, {size}:\n\n```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n")
    return "\n".join(parts)
