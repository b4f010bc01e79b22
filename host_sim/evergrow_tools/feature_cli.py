"""`evergrow feature`: build, sign, inspect, verify and push features."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from evergrow_cloud import offers, view
from evergrow_cloud.errors import CloudError
from evergrow_cloud.store import Store
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.registry import RegistryError, load
from evergrow_protocol.suit_envelope import Envelope
from evergrow_protocol.suit_manifest import Manifest
from evergrow_tools import (
    ed25519_keys,
    feature_build,
    feature_files,
    feature_new,
    granted,
    keys,
    signing,
    suit_inspect,
    trust_build,
)
from evergrow_tools.cli import fail
from evergrow_tools.feature_files import Built, FeatureError
from evergrow_tools.keys import KeyFileError

EXPECTED = (FeatureError, KeyFileError, CloudError, ProtocolError, RegistryError)

_POLL_S = 0.1

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Build, sign, inspect and push features. A built feature is NAME.suit with its payloads NAME.suit.1, ... beside it.",
)

File = Annotated[Path, typer.Argument(metavar="FILE.suit", help="A built feature.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command(epilog="Example: evergrow feature new features/quiet-night --kind code --class washer --prefix northwash --id 1004")
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; its name is the feature's.")],
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(feature_new.KINDS)}.")],
    prefix: Annotated[str, typer.Option(help="Your prefix, as in your key.")],
    number: Annotated[int, typer.Option("--id", min=1000, max=65534, help="The feature's id, yours for ever.")],
    klass: Annotated[str, typer.Option("--class", help="Appliance class.")] = "washer",
    vendor: Annotated[str, typer.Option(help="Vendor domain of the appliances.")] = "evergrow.example",
    as_json: Json = False,
) -> None:
    """Begin a feature: a folder that builds as it is, to be filled in."""
    files = [str(file) for file in feature_new.create(folder, kind, klass, prefix, vendor, number)]
    if as_json:
        _print_json({"files": files})
        return
    for file in files:
        typer.echo(file)
    typer.echo(f"Next: evergrow feature test {folder}")


@app.command(epilog="Example: evergrow feature build firmware/features/spin-1400 -o build/spin-1400.suit")
def build(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with a feature.toml.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default: NAME.suit in the current folder.")] = None,
    delta_from: Annotated[
        Path | None,
        typer.Option("--delta-from", metavar="OLD.suit", help="A released version: devices that have it fetch a patch."),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="A manifest that takes the feature out instead; `sequence` must be above the last.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compile a feature's source into an envelope that is not signed yet."""
    older = feature_files.read(delta_from) if delta_from else None
    built = feature_build.removal(directory) if remove else feature_build.build(directory, older=older)
    files = feature_files.write(built, output or Path(built.name + feature_files.SUFFIX))
    described = suit_inspect.describe(built, load())
    if as_json:
        _print_json({"files": [str(file) for file in files], **described})
        return
    for file in files:
        typer.echo(f"{file}  {file.stat().st_size} bytes")
    typer.echo(f"manifest {described['bytes']['manifest']} bytes, sequence {described['sequence']}; not signed yet")
    if older is not None:
        typer.echo(_saving(described))


@app.command("test", epilog="Example: evergrow feature test firmware/features/door-coach --do 'door 0' --do 'door 1' --minutes 2")
def try_it(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with a feature.toml.")],
    runtime: Annotated[str | None, typer.Option(help="micropython or cpython; both, if it is not said.")] = None,
    programme: Annotated[int | None, typer.Option(help="To be run; default: the feature's own, or a short one.")] = None,
    do: Annotated[list[str] | None, typer.Option(help="What a person does: 'door 0', 'set room 22'; 'scene 3', 'wait'.")] = None,
    minutes: Annotated[int, typer.Option(min=1, help="Of the appliance's time after each of these.")] = 10,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of its code, as a cloud sets it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Install the feature in the simulated appliance, use it, and show what came of it, on both interpreters.

    Exit code 1 when it is refused, reverted, fails, or does not do what it is for.
    """
    from evergrow_tools import feature_trial

    runtimes = feature_trial.RUNTIMES if runtime is None else (runtime,)
    if runtime is not None and runtime not in feature_trial.RUNTIMES:
        raise typer.BadParameter(f"one of {', '.join(feature_trial.RUNTIMES)}", param_hint="--runtime")
    say = (lambda text: None) if as_json else typer.echo
    results = feature_trial.run(directory, runtimes, programme, do or [], minutes, say, _settings(settings or []))
    if as_json:
        _print_json([result.as_dict() for result in results])
    else:
        for result in results:
            _print_tree({"on": result.runtime, "result": result.wrong or "ok", **_told(result)})
    if any(result.wrong for result in results):
        raise typer.Exit(1)


def _settings(texts: list[str]) -> dict[str, int]:
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = int(value)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE with a whole number.", param_hint="--set") from None
    return found


def _told(result: Any) -> dict[str, Any]:
    """What people look for in the result of a test."""
    records = [{key: row[key] for key in ("programme", "features", "meters")} for row in result.records]
    told = [f"{row['event']} {row['what']} {'' if row['value'] is None else row['value']}".rstrip() for row in result.events]
    installed = {"state": result.state, "bytes": result.bytes, "install_ms": result.ms}
    return {**installed, "shown": _changes(result.shown), "records": records, "events": told}


def _changes(shown: list[dict[str, Any]]) -> list[str]:
    """A line for each action: what the appliance shows then, but for what it showed before."""
    names = load()
    units = {entry.name: entry for table in (names.signals, names.actuators) for entry in table}
    lines = []
    before: dict[str, Any] = {}
    for row in shown:
        new = [f"{name} {units[name].format(value)}" for name, value in row.items() if name != "do" and before.get(name) != value]
        lines.append(f"{row['do']}: {', '.join(new)}")
        before = row
    return lines


@app.command(epilog="Example: evergrow feature sign build/spin-1400.suit --key keys/maker.key")
def sign(
    path: File,
    key: Annotated[Path, typer.Option("--key", help="The publisher's NAME.key.")],
    also: Annotated[
        Path | None, typer.Option("--also", help="An Ed25519 NAME.key: a second signature, for clouds; devices pass it over.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a signature. Each one spends a leaf of the key, for ever."""
    signer = keys.SigningKey.load(key)
    second = ed25519_keys.load(also) if also else None
    built = _read(path)
    try:
        envelope = signing.sign_envelope(built.envelope, second) if second else built.envelope
        signed = replace(built, envelope=signing.sign_envelope(envelope, signer))
    except ProtocolError as error:
        fail(f"{path} cannot be signed with {key}: {error}", "A key signs components below its own prefix: see feature.toml.")
    feature_files.write(signed, path)
    remaining = signer.remaining()
    if as_json:
        _print_json(
            {"file": str(path), "bytes": len(signed.envelope), "kid": signer.public.kid.hex(), "signatures_left": remaining}
        )
        return
    typer.echo(f"{path}  {len(signed.envelope)} bytes, signed by {signer.public.kid.hex()}; {remaining} signatures left")


@app.command(epilog="Example: evergrow feature inspect build/allergen-care.suit")
def inspect(path: File, as_json: Json = False) -> None:
    """Show what is in a built feature. It verifies nothing: see `verify`."""
    described = suit_inspect.describe(_read(path), load())
    if as_json:
        _print_json(described)
    else:
        _print_tree(described)


@app.command(epilog="Example: evergrow feature verify allergen-care.suit --key northwash.pub --grant northwash.grant")
def verify(
    path: File,
    key: Annotated[
        list[Path],
        typer.Option("--key", help="A trusted NAME.pub, may be given more than once; of Ed25519: must have signed, too."),
    ],
    delta_from: Annotated[
        Path | None, typer.Option("--delta-from", metavar="OLD.suit", help="The older version: prove the patch on it, too.")
    ] = None,
    grant: Annotated[
        Path | None, typer.Option("--grant", metavar="NAME.grant", help="Hold the feature to what the maker has granted, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a feature as a device would: signature, publisher's prefix, digests and body. Exit code 1 if it would be refused."""
    built = feature_files.read(path)
    trusted = [keys.load_public(file) for file in key]
    try:
        verified = signing.verify_envelope(built.envelope, [one for one in trusted if one.alg == keys.ALG_HSS_LMS])
        _check_second(built, trusted)
        signing.check_content(built, verified, feature_files.read(delta_from) if delta_from else None)
        if grant:
            granted.check(built, verified.key, _grant(grant))
    except ProtocolError as error:
        if as_json:
            _print_json({"file": str(path), "ok": False, "code": error.code, "text": error.text})
            raise typer.Exit(1) from None
        fail(f"{path} would be refused with code {error.code}: {error.text}")
    if as_json:
        _print_json({"file": str(path), "ok": True, "publisher": verified.key.publisher, "hash_calls": verified.hash_calls})
        return
    prefix = verified.key.prefix.decode()
    typer.echo(f"{path}: good, by publisher {verified.key.publisher} ({prefix}); {verified.hash_calls} hash calls")


@app.command(epilog="Example: evergrow feature push spin-1400.suit --cloud-db cloud.db --tenant acme --device washer-1 --wait 60")
def push(
    path: File,
    cloud_db: Annotated[Path, typer.Option("--cloud-db", help="The cloud's database; the running cloud sees the offer at once.")],
    device: Annotated[str, typer.Option("--device", help="Device to offer it to.")],
    tenant: Annotated[str, typer.Option("--tenant", help="The device's tenant.")],
    require: Annotated[
        list[Path] | None, typer.Option("--require", help="Take the offer only if this Ed25519 NAME.pub signed it, too.")
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Wait so many seconds for what becomes of it; exit code 1 unless it is confirmed.", min=0)
    ] = 0,
    as_json: Json = False,
) -> None:
    """Offer a feature to a device. The device judges it; `evergrow cloud` tells what became of it."""
    if not cloud_db.exists():
        fail(f"there is no database {cloud_db}.", "Name it with --cloud-db; `evergrow cloud run` makes it.")
    built = _read(path)
    try:
        _check_second(built, [keys.load_public(file) for file in require or ()])
    except ProtocolError as error:
        fail(f"{path} is not offered, code {error.code}: {error.text}")
    with Store(cloud_db) as store:
        transfer = offer(built, store, tenant, device)
        if not as_json:
            typer.echo(f"transfer {transfer}: {path} offered to {tenant}/{device}")
        ended = _await_end(store, transfer, wait, as_json) if wait else None
    if as_json:
        _print_json({"transfer": transfer, "tenant": tenant, "device": device} | (view.transfer(ended) if ended else {}))
    if wait and (ended is None or ended.state != offers.CONFIRMED):
        raise typer.Exit(1)


def _await_end(store: Store, transfer: int, wait_s: float, quiet: bool) -> offers.Transfer | None:
    """What is known of a transfer once it has ended, or after `wait_s`; each of its states is told."""
    give_up_s = time.monotonic() + wait_s
    told = ""
    while True:
        found = offers.get(store, transfer)
        if found is not None and found.state is not None and not quiet:
            text = found.report.text if found.report else None
            line = f"transfer {transfer}: {offers.STATE_NAMES.get(found.state, found.state)}"
            if found.code:
                line += f", code {found.code} ({view.code_name(found.code)})" + (f": {view.clean(text)}" if text else "")
            if line != told:
                typer.echo(line)
            told = line
        if found is None or not found.open or time.monotonic() > give_up_s:
            if found is not None and found.open and not quiet:
                typer.echo(f"not decided within {wait_s:g} s; `evergrow cloud status` tells what comes of it", err=True)
            return found
        time.sleep(_POLL_S)


def _read(path: Path) -> Built:
    """A file that is at least an envelope with a manifest, whoever signed it."""
    built = feature_files.read(path)
    try:
        Manifest(Envelope(built.envelope))
    except ProtocolError as error:
        raise FeatureError(f"{path} is no built feature, or a damaged one: {error}") from None
    return built


def _grant(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        trust_build.payload_of(data)
        return data
    except (OSError, ProtocolError) as error:
        raise FeatureError(f"{path} is no grant of `evergrow key grant`: {error}") from None


def _check_second(built: Built, wanted: list[keys.PublicKey]) -> None:
    """Every Ed25519 key of `wanted` must have signed. Raises ProtocolError."""
    for one in wanted:
        if one.alg == keys.ALG_ED25519:
            signing.verify_second(built.envelope, one)


def offer(built: Built, store: Store, tenant: str, device: str) -> int:
    """Offer a built feature through the cloud's database. -> transfer id. Raises CloudError, ProtocolError."""
    return offers.offer(store, tenant, device, built.envelope, dict(built.payloads))


def _saving(described: dict[str, Any]) -> str:
    lines = [
        f"patch {way['patch_bytes']} bytes instead of {way['bytes']}: saves {100 - 100 * way['patch_bytes'] / way['bytes']:.1f} %"
        for way in described["ways"]
        if "patch_bytes" in way
    ]
    return "\n".join(lines) or "no patch: it would be no smaller than what it replaces"


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _print_tree(value: dict[str, Any], indent: str = "") -> None:
    console = Console(highlight=False)
    for key, item in value.items():
        if item in ({}, []):
            continue
        if isinstance(item, dict):
            console.print(f"{indent}[bold]{key}[/bold]")
            _print_tree(item, indent + "  ")
        elif isinstance(item, list):
            console.print(f"{indent}[bold]{key}[/bold]")
            for part in item:
                if isinstance(part, dict):
                    _print_tree(part, indent + "  ")
                else:
                    console.print(f"{indent}  {part}", markup=False, soft_wrap=True)
        else:
            console.print(f"{indent}{key}: ", end="")
            console.print(item, markup=False, soft_wrap=True)
