"""`evergrow cloud enrol`: give a device the secret that it shares with the cloud."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from evergrow_cloud import devicekeys
from evergrow_cloud.cli_common import DEFAULT_DATABASE, Database, Json, fail, print_json, sentences
from evergrow_cloud.store import Store


def enrol(
    device: Annotated[str, typer.Argument(help="tenant/device; it need not have been seen.", metavar="TENANT/DEVICE")],
    out: Annotated[
        Path | None, typer.Option(help="Make a key, and write it to this new file, to provision the device with.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Take the key in this file: 64 hexadecimal digits.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of the key that the device has: its board is a new one.")
    ] = False,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Keep a device's key: with it its usage can be audited, and what it may use can be granted. The key is never shown."""
    if (out is None) == (key is None):
        raise typer.BadParameter("say either --out, to make a key, or --key, to take one.")
    tenant, slash, name = device.partition("/")
    if not slash:
        raise typer.BadParameter("is tenant/device, for example acme/washer-1.", param_hint="DEVICE")
    secret = _read(key) if key else secrets.token_bytes(devicekeys.SIZE)
    if out:
        _write(out, secret)  # Before it counts: a key that nobody has would have to be replaced.
    try:
        with sentences(), Store(db) as store:
            devicekeys.enrol(store, tenant, name, secret, replace=replace)
    except typer.Exit:
        if out:
            out.unlink()
        raise
    if as_json:
        print_json({"device": device, "file": str(out or key)})
    else:
        print(f"{device} is enrolled; its key is in {out or key}.")


def _read(path: Path) -> bytes:
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not shown: it may be a key all the same
        secret = b""
    if len(secret) != devicekeys.SIZE:
        fail(f"{path} is no device key.", f"It is a text file of {2 * devicekeys.SIZE} hexadecimal digits; --out makes one.")
    return secret


def _write(path: Path, secret: bytes) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secret.hex() + "\n")
    except FileExistsError:
        fail(f"{path} exists, and a key is never overwritten.", "Name another file with --out, or take that key with --key.")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
