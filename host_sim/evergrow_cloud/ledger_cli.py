"""`evergrow ledger`: prove that what the cloud counts is what the devices told it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from evergrow_cloud import audit as audits
from evergrow_cloud import chain, devices, view
from evergrow_cloud.cli_common import DEFAULT_DATABASE, Database, DeviceName, Json, Tenant, existing, fail, print_json, sentences

app = typer.Typer(help="Audit what the cloud counts.", no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Audit what the cloud counts."""


@app.command(epilog="Examples: evergrow ledger audit acme/washer-1; evergrow ledger audit washer-1 --export washer-1.jsonl")
def audit(
    device: DeviceName,
    db: Database = DEFAULT_DATABASE,
    tenant: Tenant = None,
    export: Annotated[
        Path | None, typer.Option(help="Write each record with its verdict to this file, one JSON object a line.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the chain of a device's usage records under its key. Exit code 1 at a break; the first one is told.

    A line of the export holds the record as it came and the tag that it must be chained to, so that whoever has the device's
    usage key can verify it with ten lines of their own.
    """
    with sentences(), existing(db) as store:
        row = devices.find(store, device, tenant)
        found = audits.Summary(enrolled=bool(chain.keys_of(store, row.id)))
        entries = audits.entries(store, row)
        if export is not None:
            _export(export, entries, found)
        else:
            for entry in entries:
                audits.add(found, entry)
    if as_json:
        print_json({"device": row.name, **_summary(found)})
    else:
        _print(row.name, found)
    if not found.clean:
        raise typer.Exit(1)


def _export(path: Path, entries: Iterator[audits.Entry], found: audits.Summary) -> None:
    before = chain.START
    try:
        with path.open("w", encoding="ascii") as file:
            for entry in entries:
                audits.add(found, entry)
                file.write(json.dumps(_line(entry, before)) + "\n")
                before = entry.usage.tag or before
    except OSError as error:
        fail(f"cannot write {path}: {error}")


def _line(entry: audits.Entry, before: bytes) -> dict[str, Any]:
    tag = entry.usage.tag
    return {
        "boot": entry.boot,
        "seq": entry.seq,
        "received": view.iso(entry.received_s),
        "verdict": entry.verdict,
        "text": entry.text,
        "missing_before": entry.missing,
        "payload_hex": entry.usage.raw.hex(),
        "tag_hex": None if tag is None else tag.hex(),
        "previous_tag_hex": before.hex(),
    }


def _summary(found: audits.Summary) -> dict[str, Any]:
    first = found.first
    told = None if first is None else {"boot": first.boot, "seq": first.seq, "verdict": first.verdict, "text": first.text}
    return {
        "clean": found.clean,
        "enrolled": found.enrolled,
        "records": found.records,
        "proven": found.sound,
        "missing": found.missing,
        "breaks": found.breaks,
        "first_break": told,
    }


def _print(name: str, found: audits.Summary) -> None:
    print(f"{name}: {found.records} records, {found.sound} of them proven by the chain")
    if not found.enrolled and found.records:
        print(f"  nothing is proven: it is not enrolled. `evergrow cloud enrol {name}` says how.")
    if found.missing:
        print(f"  {found.missing} numbers within its boots are not there: on their way, or lost")
    if found.first is not None:
        first = found.first
        print(f"  {found.breaks} break{'s' if found.breaks > 1 else ''}; the first: record {first.boot}/{first.seq} {first.text}")
    if found.clean:
        print("  the chain is whole")
