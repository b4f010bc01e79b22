"""`evergrow decode`: what a payload says, byte by byte."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evergrow_protocol import message_reader, message_table, registry, traffic
from evergrow_protocol.message_reader import Reading
from evergrow_protocol.message_table import Kind, MessageTable
from evergrow_protocol.message_tree import Flaw
from evergrow_protocol.traffic import TrafficError
from evergrow_tools import message_view
from evergrow_tools.cli import fail

EPILOG = (
    "Examples: evergrow decode 83071a6b02b3c01a6b02b3c0 --kind dn/welcome; evergrow decode build/demo/traffic.jsonl; "
    "mosquitto_sub -F '%t %x' -t 'eg1/#' | evergrow decode -"
)

_MAX_INPUT_BYTES = 256 << 20


def main(
    source: Annotated[
        str,
        typer.Argument(
            metavar="HEX|FILE|-", help="A payload in hex; a file of such, of `topic hex`, recorded, or raw; - for stdin."
        ),
    ],
    kind: Annotated[
        str | None, typer.Option(help="up/usage, ...; default: by the topic, else the one kind that it can be.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, which `evergrow encode` reads.")] = False,
) -> None:
    """Show payloads annotated: hex beside names, units and meaning. Exit code 1 when one is not what SPEC.md says."""
    table, names = message_table.load(), registry.load()
    console = Console(highlight=False, soft_wrap=True)
    ok = True
    try:
        given = message_reader.find_kind(table, kind) if kind is not None else None
    except Flaw as error:
        fail(f"{error.text}.", code=2)
    for where, topic, payload in _payloads(source):
        try:
            reading = _read(table, given, topic, payload)
        except (Flaw, Ambiguous) as error:
            text = message_view.flaw_text(error) if isinstance(error, Flaw) else f"{error}."
            print(f"evergrow: {where}{text}", file=sys.stderr)
            ok = False
            continue
        if as_json:
            typer.echo(json.dumps(message_view.as_json(reading, topic), ensure_ascii=False))
        else:
            console.print(message_view.annotated(names, reading, topic))
        for flaw in reading.flaws:
            print(f"evergrow: {where}{message_view.flaw_text(flaw)}", file=sys.stderr)
            ok = False
    if not ok:
        raise typer.Exit(1)


class Ambiguous(Exception):
    """A payload whose kind nobody said, and that can be of none or of several; the message names them."""


def guess(table: MessageTable, payload: bytes) -> Reading:
    """The reading as the one kind that a payload can be. Raises Flaw for bytes that are no CBOR, Ambiguous."""
    readings = [message_reader.read(table, kind, payload) for kind in table.kinds.values()]
    if readings[0].root is None:
        raise readings[0].flaws[0]
    fitting = [reading for reading in readings if reading.ok]
    known = [reading for reading in fitting if not _unknown(reading)]
    if len(known or fitting) == 1:
        return (known or fitting)[0]
    found = ", ".join(reading.kind.name for reading in known or fitting)
    raise Ambiguous(
        f"it can be {found}: say which with --kind" if found else "it fits no kind: say which it should be with --kind"
    )


def _read(table: MessageTable, kind: Kind | None, topic: str, payload: bytes) -> Reading:
    if kind is not None:
        return message_reader.read(table, kind, payload)
    if topic:
        return traffic.hear(table, traffic.Message(topic, payload)).reading
    return guess(table, payload)


def _unknown(reading: Reading) -> bool:
    """Whether anything in the message is not known to this version, and may as well be of another kind."""
    nodes = [reading.root] if reading.root is not None else []
    while nodes:
        node = nodes.pop()
        if node.parent is not None and node.parent.shape in ("array", "map") and not node.name:
            return True
        nodes.extend(node.children)
    return False


def _payloads(source: str) -> Iterator[tuple[str, str, bytes]]:
    """(where, topic or "", payload) of each message of the input."""
    if source != "-" and not _is_file(source):
        try:
            yield "", "", traffic.from_hex(source)
        except TrafficError as error:
            fail(f"{source[:60]!r} is neither a file nor hex: {error}.", code=2)
        return
    raw = sys.stdin.buffer.read(_MAX_INPUT_BYTES) if source == "-" else _content(Path(source))
    try:
        listed = list(traffic.lines(raw.decode("ascii").splitlines()))
    except UnicodeDecodeError:
        yield "", "", raw  # a payload as it is
        return
    if not listed:
        fail("there is no message in it: an empty file, or lines of comments.")
    for number, line in listed:
        where = f"line {number}: " if len(listed) > 1 else ""
        try:
            if line.startswith("{"):
                message = traffic.from_line(line)
                yield where, message.topic, message.payload
            else:
                topic, _, payload = line.rpartition(" ")
                yield (
                    where,
                    topic if topic.startswith("eg1/") else "",
                    traffic.from_hex(payload if topic.startswith("eg1/") else line),
                )
        except TrafficError as error:
            fail(
                f"{where}{error}.",
                "Each line is a payload in hex, `topic hex`, or an object as `evergrow tap --record` writes it.",
            )


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # a name that is too long, or that no file can have
        return False


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}.")
