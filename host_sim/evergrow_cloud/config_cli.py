"""`evergrow cloud config`: what a device is to be configured as, and whether it is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from evergrow_cloud import config_file, configs, devices, feature_settings, view
from evergrow_cloud.cli_common import DEFAULT_DATABASE, Database, DeviceName, Json, existing, fail, print_json, sentences
from evergrow_cloud.settings_cli import set_feature
from evergrow_protocol import registry

app = typer.Typer(
    help="Configure devices: telemetry, keepalive, home, and settings of features.",
    epilog="Example: evergrow cloud config set acme/washer-1 washer.toml",
    no_args_is_help=True,
    add_completion=False,
)
app.command("feature", epilog="Example: evergrow cloud config feature acme/fridge-1 door-coach patience_s=60")(set_feature)


@app.command("set", epilog="Example: evergrow cloud config set acme/washer-1 washer.toml")
def set_config(
    device: DeviceName,
    file: Annotated[Path, typer.Argument(help="TOML: what is desired; see docs/configuration.md.", metavar="FILE")],
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Desire a configuration of a device. The running cloud sends it, until the device says that it is in force."""
    names = registry.load()
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"{file} is not text: a configuration is a TOML file.")
    with sentences(), existing(db) as store:
        tenant, name = devices.address(store, device)
        with store.transaction():
            device_id = devices.ensure(store, tenant, name)
        values = config_file.parse(text, names, feature_settings.of_device(store, devices.find(store, f"{tenant}/{name}")))
        version = configs.put(store, device_id, values)
    if as_json:
        print_json({"device": f"{tenant}/{name}", "version": version})
    else:
        print(f"{tenant}/{name}: configuration {version} is desired")


@app.command(epilog="Example: evergrow cloud config show acme/washer-1 --json")
def show(device: DeviceName, db: Database = DEFAULT_DATABASE, as_json: Json = False) -> None:
    """Show what is desired of a device, and what it made of it."""
    names = registry.load()
    with sentences(), existing(db) as store:
        row = devices.find(store, device)
        found = configs.get(store, row.id)
        known = feature_settings.of_device(store, row)
    if found is None:
        fail(f"nothing is desired of {row.name}.", "`evergrow cloud config set` does that.")
    told: dict[str, Any] = {
        "device": row.name,
        "version": found.version,
        "set": view.iso(found.set_s),
        "in_force": found.in_force,
        "applied_version": found.applied,
        "code": found.code,
        "code_name": None if found.code is None else view.code_name(found.code),
        "refused_version": found.refused,
        "values": config_file.describe(found.values, names, known),
    }
    if as_json:
        print_json(told)
        return
    for key, value in told.items():
        print(f"{key + ':':18} {'-' if value is None else view.clean(value)}")
