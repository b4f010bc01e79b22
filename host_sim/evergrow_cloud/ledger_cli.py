"""`evergrow ledger`: prove that what the cloud counts is what the devices told it, and share what it earns."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from evergrow_cloud import audit as audits
from evergrow_cloud import chain, devices, shares, soundness, usage, view
from evergrow_cloud.cli_common import (
    DEFAULT_DATABASE,
    Database,
    DeviceName,
    Json,
    Tenant,
    existing,
    fail,
    print_json,
    print_table,
    sentences,
)

app = typer.Typer(help="Audit what the cloud counts, and share what it earns.", no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Audit what the cloud counts, and share what it earns."""


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
        told = soundness.of_device(store, row.id)
        entries = audits.entries(store, row)
        if export is not None:
            _export(export, entries, found)
        else:
            for entry in entries:
                audits.add(found, entry)
    if as_json:
        damage = {"damaged": told.damaged, "unread": told.unread, "lost": told.lost}
        print_json({"device": row.name, **_summary(found), "device_tells": damage})
    else:
        _print(row.name, found)
        if told.lost or told.unread:
            print(f"  the device tells: {told.lost} records lost, {told.unread} parts of its storage cannot be read")
    if not found.clean:
        raise typer.Exit(1)


@app.command("shares", epilog="Example: evergrow ledger shares tariff.toml --from 2026-11-01 --to 2026-12-01")
def show_shares(
    tariff: Annotated[Path, typer.Argument(help="Prices and percentages, a TOML file.", metavar="TARIFF", dir_okay=False)],
    db: Database = DEFAULT_DATABASE,
    tenant: Tenant = None,
    first: Annotated[datetime | None, typer.Option("--from", help="First day, UTC.", formats=["%Y-%m-%d"])] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="The day after the last, UTC.", formats=["%Y-%m-%d"])] = None,
    as_json: Json = False,
) -> None:
    r"""Show what each publisher's features earned: the records that came in within a period, times the prices of a tariff.

    A record counts in the period in which it came in, whenever the cycle was, so that a period that is over stays as it is.
    Uses under a trial are free. The tariff names a currency and prices each feature:

        currency = "EUR"

        [\[feature]]
        publisher = 2
        feature = 1001
        per_use = "0.10"
        share = "70"
    """
    first_s, end_s = _utc_s(first, 0), _utc_s(end, 1 << 62)
    if first_s >= end_s:
        raise typer.BadParameter("the period ends before it begins.", param_hint="--to")
    with sentences(), existing(db) as store:
        prices = shares.read(tariff)
        found = shares.earnings(usage.ledger(store, tenant, first_s, end_s), prices)
        doubtful = usage.unproven(store, tenant, first_s, end_s)
    rows = [
        {
            "publisher": row.publisher,
            "feature": row.feature,
            "uses": row.uses,
            "paid_uses": row.paid,
            "gross": _money(row.gross),
            "publisher_part": _money(row.publisher_part),
            "maker_part": _money(row.maker_part),
        }
        for row in found
    ]
    if as_json:
        print_json({"currency": prices.currency, "features": rows, "unproven_records": doubtful})
        return
    if rows:
        print_table(tuple(rows[0]), rows)
        print(f"amounts in {prices.currency}")
    else:
        print("no feature was used in that period")
    if any(row.gross is None for row in found):
        print("  features without amounts are not in the tariff")
    if doubtful:
        print(f"  {doubtful} of the records are not proven by their chain: look at them with `evergrow ledger audit DEVICE`")


def _utc_s(day: datetime | None, without: int) -> int:
    return without if day is None else int(day.replace(tzinfo=UTC).timestamp())


def _money(amount: object) -> str | None:
    return None if amount is None else str(amount)


def _export(path: Path, entries: Iterator[audits.Entry], found: audits.Summary) -> None:
    before = chain.START
    try:
        with path.open("w", encoding="ascii") as file:
            for entry in entries:
                audits.add(found, entry)
                file.write(json.dumps(_line(entry, before)) + "\n")
                before = entry.usage.tag or before
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")


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
