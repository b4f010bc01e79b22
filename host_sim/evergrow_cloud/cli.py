"""`evergrow cloud`: run the reference cloud, and ask it questions beside the running one."""

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from evergrow_cloud import commands, devices, failures, link, naming, offers, soundness, usage, view
from evergrow_cloud.cli_common import (
    DEFAULT_DATABASE,
    Database,
    DeviceName,
    Json,
    Tenant,
    existing,
    feature_names,
    feature_owner,
    print_json,
    print_table,
    registry_id,
    sentences,
)
from evergrow_cloud.config_cli import app as config_app
from evergrow_cloud.conversation_cli import scene, show_events, voice
from evergrow_cloud.enrol_cli import enrol
from evergrow_cloud.errors import CommandTimeout
from evergrow_cloud.fields import MAX_UINT32
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_cloud.telemetry_cli import show_telemetry
from evergrow_protocol import errors as codes
from evergrow_protocol import registry

COMMAND_IDS = {
    "start": commands.START,
    "stop": commands.STOP,
    "rebirth": commands.REBIRTH,
    "acknowledge": commands.ACKNOWLEDGE,
    "consent": commands.CONSENT,
    "decline": commands.CONSENT,
    "remove": commands.REMOVE,
}

app = typer.Typer(
    help="Run the reference cloud and ask it questions.", no_args_is_help=True, add_completion=False, rich_markup_mode="rich"
)

_ANSWER_POLL_S = 0.05

app.command(epilog="Example: evergrow cloud enrol acme/washer-1 --out washer-1.key --db cloud.db")(enrol)
app.command("events", epilog="Example: evergrow cloud events acme/fridge-1 --limit 20 --json")(show_events)
app.command(
    "telemetry",
    epilog="Examples: evergrow cloud telemetry acme/washer-1 --since 2h; evergrow cloud telemetry washer-1 --signal temp --json",
)(show_telemetry)
app.command(epilog="Examples: evergrow cloud voice --tenant acme; evergrow cloud voice --forget acme/washer-1")(voice)
app.command(epilog="Example: evergrow cloud scene acme/home-7 night")(scene)
app.add_typer(config_app, name="config")


@app.command(epilog="Example: evergrow cloud run --broker mqtts://cloud@broker.example:8883 --ca ca.pem --db fleet.db")
def run(
    broker: Annotated[
        str, typer.Option(help="mqtt://[user[:password]@]host[:port], or mqtts:// for TLS.", envvar="EVERGROW_BROKER")
    ],
    db: Database = DEFAULT_DATABASE,
    tenant: Tenant = None,
    ca: Annotated[Path | None, typer.Option(help="PEM of the CA of the broker; default: the system's.")] = None,
    cert: Annotated[Path | None, typer.Option(help="PEM of the client certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of its key.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every dropped message.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Log one JSON object a line.")] = False,
) -> None:
    """Serve devices until interrupted: births, usage and acks, commands, features. It logs to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if as_json:
        logging.getLogger().handlers[0].setFormatter(_JsonLines())
    logging.getLogger("evergrow.cloud").setLevel(logging.DEBUG if verbose else logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    paths = [None if path is None else str(path) for path in (ca, cert, key)]
    with sentences():
        link.BrokerUrl.parse(broker)  # before a database is made
        with Store(db) as store, suppress(KeyboardInterrupt):
            link.run(_serve(store, broker, tenant, link.TlsOptions(*paths)))


@app.command(epilog="Examples: evergrow cloud status; evergrow cloud status acme/washer-1 --json")
def status(
    device: Annotated[str | None, typer.Argument(help="One device, with its features on the way.", metavar="[DEVICE]")] = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Show devices: link, last birth, state, features, and what is pending."""
    names = registry.load()
    with sentences(), existing(db) as store:
        rows = _pages(store) if device is None else iter([devices.find(store, device)])
        found = [
            view.device(row, names)
            | {
                "ledger": view.soundness(soundness.of_device(store, row.id)),
                "out_of_use": [view.failure(failure) for failure in failures.of_device(store, row.id)],
                "transfers": _transfers(store, row.id),
            }
            for row in rows
        ]
    if as_json:
        print_json(found if device is None else found[0])
    elif device is None:
        _print_devices(found)
    else:
        _print_device(found[0])


@app.command("usage", epilog="Example: evergrow cloud usage acme/washer-1 --limit 20")
def show_usage(
    device: DeviceName,
    db: Database = DEFAULT_DATABASE,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1, max=1_000_000)] = 100,
    as_json: Json = False,
) -> None:
    """Show the usage records of a device, oldest first."""
    names = registry.load()
    with sentences(), existing(db) as store:
        row = devices.find(store, device)
        known = naming.of_device(store, row.id)
        found = [view.record(record, names, known) for record in usage.records(store, row.id, limit)]
    if as_json:
        print_json(found)
        return
    columns = ("boot", "seq", "time", "programme", "outcome", "cycles", "duration_s", "energy_wh", "water_ml", "features")
    print_table(columns, [{**item, "features": feature_names(item["features"])} for item in found])


@app.command(epilog="Example: evergrow cloud ledger --tenant acme --json")
def ledger(db: Database = DEFAULT_DATABASE, tenant: Tenant = None, as_json: Json = False) -> None:
    """Show what was used of each publisher's features, and of all: the base of a revenue share."""
    with sentences(), existing(db) as store:
        total = usage.totals(store, tenant)
        shares = [view.share(share) for share in usage.ledger(store, tenant)]
    if as_json:
        print_json({"features": shares, "devices": total.devices, "total": _total(total)})
        return
    rows: list[dict[str, Any]] = [*shares, {"publisher": "all", "feature": "", **_total(total)}]
    print_table(("publisher", "feature", "cycles", "finished", "trials", "energy_wh", "water_ml"), rows)


@app.command(epilog="Examples: evergrow cloud command acme/washer-1 start cotton; evergrow cloud command washer-1 stop")
def command(
    device: DeviceName,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(COMMAND_IDS)}.", metavar="COMMAND")],
    argument: Annotated[
        str | None,
        typer.Argument(
            help="For start a programme, for acknowledge an alarm: its name, or its number. For consent, decline and "
            "remove a feature: PUBLISHER/FEATURE, by number."
        ),
    ] = None,
    db: Database = DEFAULT_DATABASE,
    timeout: Annotated[float, typer.Option(help="Seconds to wait, and for the device to obey.", min=1, max=86_400)] = 30,
    deadline: Annotated[bool, typer.Option(help="Let the device refuse a start that comes later than --timeout.")] = True,
    as_json: Json = False,
) -> None:
    """Send a command through the running cloud and wait for the answer. Exit code 1 if the device refuses."""
    number, args = _parse_command(name, argument)
    with sentences(), existing(db) as store:
        row = devices.find(store, device)
        # Without a deadline a message that was held up somewhere could start the appliance hours later.
        deadline_utc_s = store.utc_s() + int(timeout) if deadline and number == commands.START else None
        code, result = _await_answer(store, row, number, args, deadline_utc_s, timeout)
    if as_json:
        print_json({"device": row.name, "command": name, "code": code, "code_name": view.code_name(code), "result": result})
    else:
        print(f"{row.name}: {name}: {view.code_name(code)}" + ("" if result is None else f" {view.clean(result)}"))
    if code == codes.EXPIRED:
        print("  Its clock may be ahead, as that of a fast simulation is: then --no-deadline.", file=sys.stderr)
    if code != codes.OK:
        raise typer.Exit(1)


async def _serve(store: Store, broker: str, tenant: str | None, tls: link.TlsOptions) -> None:
    await Cloud(store, broker, tenant=tenant, tls=tls).run()


def _parse_command(name: str, argument: str | None) -> tuple[int, dict[int, Any]]:
    if name not in COMMAND_IDS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(COMMAND_IDS)}.", param_hint="COMMAND")
    if name in ("consent", "decline", "remove"):
        publisher, feature = feature_owner(argument or "", "ARGUMENT")
        args: dict[int, Any] = {0: publisher, 1: feature}
        return COMMAND_IDS[name], args if name == "remove" else {**args, 2: name == "consent"}
    names = registry.load()
    table = {"start": names.programmes, "acknowledge": names.events}.get(name)
    if table is None:
        if argument is not None:
            raise typer.BadParameter(f"{name} takes none.", param_hint="ARGUMENT")
        return COMMAND_IDS[name], {}
    if argument is None:
        example = "cotton" if name == "start" else "a name of `evergrow cloud events`"
        raise typer.BadParameter(f"{name} needs one, for example {example}.", param_hint="ARGUMENT")
    return COMMAND_IDS[name], {0: registry_id(table, argument, "ARGUMENT")}


def _await_answer(
    store: Store, row: devices.Device, number: int, args: dict[int, Any], deadline_utc_s: int | None, timeout_s: float
) -> tuple[int, Any]:
    id = commands.add(store, row.id, number, args, deadline_utc_s, timeout_s)
    give_up_s = time.monotonic() + timeout_s
    while time.monotonic() < give_up_s:
        answer = commands.result(store, id)
        if answer is not None:
            return answer
        time.sleep(_ANSWER_POLL_S)
    commands.sent(store, id)
    hint = "is `evergrow cloud run` running?" if row.online else "it is offline."
    raise CommandTimeout(f"{row.name} did not answer within {timeout_s:g} s: {hint}")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time_s": round(record.created, 3), "level": record.levelname, "logger": record.name, "text": record.getMessage()}
        return json.dumps(line | ({"trace": self.formatException(record.exc_info)} if record.exc_info else {}))


def _pages(store: Store) -> Iterator[devices.Device]:
    after = 0
    while page := devices.every(store, after):
        yield from page
        after = page[-1].id


def _transfers(store: Store, device_id: int) -> list[dict[str, Any]]:
    return [view.transfer(transfer) for transfer in offers.transfers(store, device_id)]


def _total(total: usage.Totals) -> dict[str, int]:
    return {"cycles": total.cycles, "finished": total.finished, "energy_wh": total.energy_wh, "water_ml": total.water_ml}


def _print_devices(found: list[dict[str, Any]]) -> None:
    rows = []
    for item in found:
        birth, state = item["birth"] or {}, item["state"] or {}
        rows.append(
            {
                "device": item["device"],
                "link": item["link"],
                "class": birth.get("class"),
                "firmware": birth.get("firmware"),
                "interpreter": " ".join(str(part) for part in birth.get("interpreter", [])[:2]),
                "operation": state.get("operation"),
                "features": feature_names(birth.get("features", [])),
                "pending": sum(transfer["open"] for transfer in item["transfers"]),
                "ledger": "sound" if item["ledger"]["sound"] else "look",
                "last_seen": item["last_seen"],
            }
        )
    columns = ("device", "link", "class", "firmware", "interpreter", "operation", "features", "pending", "ledger", "last_seen")
    print_table(columns, rows)


def _print_device(item: dict[str, Any]) -> None:
    lines = {key: value for key, value in item.items() if not isinstance(value, dict | list)}
    for part in ("birth", "state", "ledger"):
        lines |= {f"{part}.{key}": value for key, value in (item[part] or {}).items()}
    lines["birth.features"] = feature_names((item["birth"] or {}).get("features", []))
    for key, value in lines.items():
        shown = ", ".join(str(part) for part in value) if isinstance(value, list) else value
        print(f"{key + ':':24} {'-' if shown in (None, '') else view.clean(shown)}")
    if item["out_of_use"]:
        print()
        print("out of use:")
        print_table(("publisher", "feature", "sequence", "code_name", "text", "told"), item["out_of_use"])
    if item["transfers"]:
        print()
        columns = ("transfer", "state", "code_name", "feature", "bytes", "blocks", "ms", "verify_ms", "text")
        rows = [
            {**transfer, "feature": feature_names([transfer["feature"]] if transfer["feature"] else [])}
            for transfer in item["transfers"]
        ]
        print_table(columns, rows)


@app.command("cancel", epilog="Example: evergrow cloud cancel 17 --db cloud.db")
def cancel_offer(
    transfer: Annotated[
        int, typer.Argument(help="The transfer's number, as `evergrow feature push` told it.", min=0, max=MAX_UINT32)
    ],
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Take an offer back. What it brought stays where it is active already."""
    with sentences(), existing(db) as store:
        found = offers.cancel(store, transfer)
    if as_json:
        print_json({"transfer": transfer, "cancelled": found})
    elif found:
        print(f"transfer {transfer}: cancelled; the device is told")
    else:
        print(f"Transfer {transfer} is not open: there is nothing to cancel.", file=sys.stderr)
    if not found:
        raise typer.Exit(1)
