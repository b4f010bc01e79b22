"""`evergrow encode`: the bytes of a message, from JSON with names or from CBOR's diagnostic notation."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import cbor_diag
import typer

from evergrow_protocol import message_json, message_reader, message_table, registry
from evergrow_protocol.message_json import JsonError
from evergrow_protocol.message_reader import Reading
from evergrow_protocol.message_table import MessageTable
from evergrow_protocol.message_tree import Flaw
from evergrow_tools import message_view
from evergrow_tools.cli import fail

EPILOG = "Examples: evergrow encode --kind dn/cmd '[7, 1, {0: 1001}]'; evergrow decode HEX --json | evergrow encode -"


def main(
    source: Annotated[
        str, typer.Argument(metavar="TEXT|FILE|-", help="Diagnostic notation, or JSON as `evergrow decode --json` prints it.")
    ],
    kind: Annotated[str | None, typer.Option(help="up/usage, dn/cmd, ...; JSON may name it itself.")] = None,
    as_is: Annotated[bool, typer.Option("--as-is", help="Print the bytes even if SPEC.md forbids them, for tests.")] = False,
) -> None:
    """Print the payload in hex. Exit code 1, and no payload, when it is not what SPEC.md says."""
    text = _text(source).strip()
    table = message_table.load()
    try:
        wanted, value = _parsed(text, kind)
        reading = _encoded(table, wanted, text if value is None else value)
    except (Flaw, JsonError) as error:
        fail(error.text if isinstance(error, Flaw) else f"{error}.")
    except RecursionError:
        fail("nested far deeper than a message may be (EG-ENC-005).")
    for flaw in reading.flaws:
        print(f"evergrow: {message_view.flaw_text(flaw)}", file=sys.stderr)
    if reading.ok or as_is:
        typer.echo(reading.data.hex())
    if not reading.ok and not as_is:
        raise typer.Exit(1)


def _parsed(text: str, kind: str | None) -> tuple[str, Any]:
    """(kind, the JSON of the message or None if it is diagnostic notation)."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("kind"), str) and "message" in value:
        kind, value = kind or value["kind"], value["message"]
    if kind is None:
        fail("--kind is missing, and the input names none.", code=2)
    return kind, None if _is_diagnostic(value) else value


def _is_diagnostic(value: Any) -> bool:
    """Not JSON, or JSON in which no message has names: then it is CBOR written down."""
    if isinstance(value, list):
        return not value or not isinstance(value[0], dict)
    return not isinstance(value, dict)


def _encoded(table: MessageTable, name: str, value: Any) -> Reading:
    kind = message_reader.find_kind(table, name)
    if isinstance(value, str):
        try:
            data = cbor_diag.diag2cbor(value)
        except ValueError as error:
            raise JsonError(str(error).partition(" Expected any of")[0].rstrip(".")) from None
    else:
        data = message_json.from_json(table, registry.load(), kind, value)
    return message_reader.read(table, kind, data)


def _text(source: str) -> str:
    if source == "-":
        return sys.stdin.read()
    try:
        path = Path(source)
        return path.read_text(encoding="utf-8") if path.is_file() else source
    except (OSError, UnicodeDecodeError):
        return source
