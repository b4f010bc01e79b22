"""`evergrow cloud telemetry`: what was measured at a device."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from evergrow_cloud import devices, telemetry, view
from evergrow_cloud.cli_common import (
    DEFAULT_DATABASE,
    Database,
    DeviceName,
    Json,
    existing,
    print_json,
    print_table,
    registry_id,
    sentences,
)
from evergrow_cloud.telemetry import Sample
from evergrow_protocol import registry

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def show_telemetry(
    device: DeviceName,
    db: Database = DEFAULT_DATABASE,
    signal: Annotated[list[str] | None, typer.Option(help="Only this one, by name or number; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(help="From then on: 30m, 2h or 1d ago, or 2026-11-25T13:00 (UTC).")] = None,
    limit: Annotated[int, typer.Option(help="The newest so many samples.", min=1, max=1_000_000)] = 100,
    as_json: Json = False,
) -> None:
    """Show what was measured at a device, each signal in its unit, oldest first; with --json a series for each signal.

    The cloud keeps the newest batches only. What a device measures, and how often, is part of its configuration.
    """
    names = registry.load()
    wanted = frozenset(registry_id(names.signals, one, "--signal") for one in signal or ())
    with sentences(), existing(db) as store:
        row = devices.find(store, device)
        found = telemetry.samples(store, row.id, limit, _since_s(since, store.utc_s()), wanted)
    ids = sorted({number for sample in found.samples for number in sample.values})
    if as_json:
        print_json({"device": row.name, "lost": found.lost, "signals": [_series(number, found.samples, names) for number in ids]})
        return
    if not found.samples:
        print(f"No telemetry of {row.name} is stored" + (" from then on." if since else "."))
        return
    titles = {number: _title(number, names) for number in ids}
    rows = [
        {"time": _time(sample), **{titles[number]: _text(number, raw, names) for number, raw in sample.values.items()}}
        for sample in found.samples
    ]
    print_table(("time", *titles.values()), rows)
    if found.lost:
        print(f"{found.lost} more samples were lost at the device.")


def _since_s(since: str | None, now_s: int) -> int:
    if since is None:
        return 0
    ago = re.fullmatch(r"(\d{1,9})([smhd])", since)
    if ago:
        return now_s - int(ago[1]) * _SECONDS[ago[2]]
    try:
        then = datetime.fromisoformat(since)
        return int((then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        message = f"{since!r} is neither like 30m, 2h, 1d nor like 2026-11-25T13:00."
        raise typer.BadParameter(message, param_hint="--since") from None


def _series(number: int, samples: list[Sample], names: registry.Registry) -> dict[str, Any]:
    entry = names.signals.by_id(number) if number in names.signals else None
    return {
        "signal": names.signals.name(number),
        "id": number,
        "unit": entry.unit if entry else "",
        "samples": [
            {
                "time": view.iso(sample.utc_s),
                "time_source": sample.time_source,
                "received": view.iso(sample.received_s),
                "value": _value(entry, sample.values[number]),
            }
            for sample in samples
            if number in sample.values
        ],
    }


def _value(entry: registry.Entry | None, raw: int) -> int | float:
    """In the unit; a number that is whole stays one."""
    return raw if entry is None or entry.scale == 1 else float(raw * entry.scale)


def _title(number: int, names: registry.Registry) -> str:
    entry = names.signals.by_id(number) if number in names.signals else None
    if entry is None or entry.unit in ("", "bool") or entry.name.endswith("_" + entry.unit.lower()):
        return names.signals.name(number)
    return f"{entry.name} ({registry.UNIT_TEXT.get(entry.unit, entry.unit)})"


def _text(number: int, raw: int, names: registry.Registry) -> str:
    if number not in names.signals:
        return str(raw)
    entry = names.signals.by_id(number)
    return names.value_text(entry, raw) if entry.unit == "bool" else str(raw * entry.scale)


def _time(sample: Sample) -> str:
    if sample.utc_s is None:
        return f"boot {sample.boot}, came {view.iso(sample.received_s)}"
    return (view.iso(sample.utc_s) or "?") + ("?" if sample.time_source == "doubtful" else "")
