"""`evergrow key`: make publishers' signing keys, see how many signatures they have left, go on after a restored state."""

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from evergrow_cloud.cli_common import feature_owner
from evergrow_cloud.fields import MAX_UINT32
from evergrow_protocol import registry
from evergrow_protocol.errors import ProtocolError
from evergrow_tools import feature_files, feature_needs, keys, trust_build
from evergrow_tools.feature_files import FeatureError
from evergrow_tools.keys import KeyFileError

EXPECTED = (KeyFileError, ProtocolError, FeatureError)
_GRANT_IDS = 64  # of each kind: what `evergrow_protocol.grant`, whose constants are not kept on boards, takes
ROOT_PUBLISHER = 65535  # in the file of a root key; a device takes no number from there

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Make and inspect signing keys: NAME.pub for devices, NAME.key and NAME.state for the publisher alone.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command(epilog="Example: evergrow key new northwash --publisher 2 --out keys")
def new(
    name: Annotated[str, typer.Argument(help="Name of the files.")],
    publisher: Annotated[
        int, typer.Option("--publisher", help="The publisher's number, 1..65535; it stands in usage records.")
    ] = 0,
    root: Annotated[bool, typer.Option("--root", help="A root key, which grants and revokes; it has no number.")] = False,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the publisher's components. Default: NAME.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")] = Path(),
    height: Annotated[int, typer.Option("--height", help="10: 1024 signatures, takes some seconds. 5: 32, for tests.")] = 10,
    ed25519: Annotated[
        bool, typer.Option("--ed25519", help="An Ed25519 key instead, for a second signature (`feature sign --also`).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Generate a key. It can sign 2^height times in all, and keeps count on disk: one key, one machine, no restored states."""
    if root == bool(publisher):
        raise typer.BadParameter("say either --root or --publisher with a number.", param_hint="--publisher")
    if root:
        publisher = ROOT_PUBLISHER
    if ed25519:
        from evergrow_tools import ed25519_keys

        second = ed25519_keys.new_key(out, name, publisher, prefix or name)
        _show(second.public, second.path.with_suffix(".pub"), None, None, as_json)
        return
    key = keys.new_key(out, name, publisher, prefix or name, height)
    _show(key.public, key.path.with_suffix(".pub"), key.remaining(), key.capacity, as_json)


@app.command(
    epilog="Examples: evergrow key grant northwash.pub --root root.key --for warm-rinse.suit; "
    "evergrow key grant northwash.pub --root root.key --signals temp --actuators inlet,drain"
)
def grant(
    publisher: Annotated[Path, typer.Argument(metavar="NAME.pub", help="The publisher's public key, with number and prefix.")],
    root: Annotated[Path, typer.Option("--root", help="The root's NAME.key.")],
    signals: Annotated[str, typer.Option(help="What its features may read: names or ids, such as temp,5-9.")] = "",
    actuators: Annotated[str, typer.Option(help="What its features may drive.")] = "",
    meters: Annotated[str, typer.Option(help="Ids of the usage fields that its code may count in, such as 1000-1009.")] = "",
    prefix: Annotated[str | None, typer.Option(help="First segment of its components; default: that in NAME.pub.")] = None,
    features: Annotated[
        list[Path] | None, typer.Option("--for", metavar="FILE.suit", help="Grant, besides, what this feature of it needs.")
    ] = None,
    flash: Annotated[
        int | None,
        typer.Option(help="Bytes that its features may take; default: twice those --for names, or 16384.", min=0, max=MAX_UINT32),
    ] = None,
    heap: Annotated[
        int | None,
        typer.Option(help="Bytes of heap that its code may take; default: what --for needs, or 0.", min=0, max=MAX_UINT32),
    ] = None,
    sequence: Annotated[
        int | None, typer.Option(help="Larger than that of the grant before; default: the time.", min=1, max=MAX_UINT32)
    ] = None,
    not_after: Annotated[str | None, typer.Option("--not-after", help="UTC date after which it publishes no more.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Default: NAME.grant.")] = None,
    as_json: Json = False,
) -> None:
    """Let a publisher publish, within limits. A newer grant replaces the one before; `evergrow trust push` delivers it."""
    known = registry.load()
    key = keys.load_public(publisher)
    signer = _root(root)
    if prefix is not None:
        key = replace(key, prefix=prefix)
    number = int(time.time()) if sequence is None else sequence
    needs = feature_needs.of(feature_files.read(path) for path in features or [])
    needs.signals |= set(_ids(signals, "--signals", known.signals))
    needs.actuators |= set(_ids(actuators, "--actuators", known.actuators))
    needs.meters |= set(_ids(meters, "--meters", known.usage))
    flash_bytes = (needs.flash_bytes if features else 16_384) if flash is None else flash
    heap_bytes = needs.heap_bytes if heap is None else heap
    ids = [sorted(found) for found in (needs.signals, needs.actuators, needs.meters)]
    signed = trust_build.build_grant(
        signer, key, number, ids[0], ids[1], ids[2], flash_bytes, heap_bytes, (None, _date(not_after))
    )
    told = {
        "publisher": key.publisher,
        "sequence": number,
        "signals": _names(known.signals, ids[0]),
        "actuators": _names(known.actuators, ids[1]),
        "meters": ids[2],
        "flash_bytes": flash_bytes,
        "heap_bytes": heap_bytes,
        "not_after": not_after,
    }
    _write(out or publisher.with_suffix(".grant"), signed, told, as_json)


@app.command(epilog="Example: evergrow key revoke --root root.key --feature 2/1001:0-6 --publisher 9 -o revoked.list")
def revoke(
    root: Annotated[Path, typer.Option("--root", help="The root's NAME.key.")],
    key: Annotated[list[Path] | None, typer.Option("--key", help="NAME.pub of a key that signs nothing any more.")] = None,
    publisher: Annotated[
        list[int] | None, typer.Option("--publisher", help="A publisher, with all its features.", min=1, max=65535)
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="PUBLISHER/FEATURE:FIRST-LAST, sequence numbers of what is out of use.")
    ] = None,
    sequence: Annotated[
        int | None, typer.Option(help="Larger than that of the list before; default: the time.", min=1, max=MAX_UINT32)
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="The list.")] = Path("revoked.list"),
    as_json: Json = False,
) -> None:
    """Make the list of what is revoked. It replaces the list before as a whole: name again what is to stay revoked."""
    rows = [_row(text) for text in feature or []]
    named = [f"{row[0]}/{row[1]}:{row[2]}-{row[3]}" for row in rows]
    kids = [keys.load_public(path).kid for path in key or []]
    number = int(time.time()) if sequence is None else sequence
    signed = trust_build.build_revocations(_root(root), number, kids, publisher or [], rows)
    _write(out, signed, {"sequence": number, "keys": len(kids), "publishers": publisher or [], "features": named}, as_json)


@app.command("show", hidden=True, epilog="Example: evergrow key info keys/northwash.key")
@app.command(epilog="Example: evergrow key info keys/northwash.key")
def info(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="NAME.pub, or NAME.key to see how many signatures are left.")],
    as_json: Json = False,
) -> None:
    """Show the public half of a key, and how many signatures it has left; never the secret."""
    public = keys.load_public(path.with_suffix(".pub"))
    if path.suffix == ".key" and public.alg == keys.ALG_HSS_LMS:
        key = keys.SigningKey.load(path)
        _show(key.public, path, key.remaining(), key.capacity, as_json)
    else:
        _show(public, path, None, None, as_json)


@app.command(epilog="Example: evergrow key resume keys/northwash.key --skip 100")
def resume(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="NAME.key")],
    skip: Annotated[int, typer.Option("--skip", help="How many signatures were made since the copy, at the very most.")],
    as_json: Json = False,
) -> None:
    """Go on signing after the key was copied or restored. What is skipped is lost; too little skipped lets others forge."""
    key = keys.SigningKey.load(path)
    _show(key.public, path, key.resume(skip), key.capacity, as_json)


def _root(path: Path) -> keys.SigningKey:
    """Devices take what a root signed, and nothing of that kind by anybody else."""
    signer = keys.SigningKey.load(path)
    if signer.public.publisher != ROOT_PUBLISHER:
        raise KeyFileError(f"{path} is a publisher's key: only a root (`evergrow key new NAME --root`) grants and revokes")
    return signer


def _ids(text: str, option: str, table: registry.Table) -> list[int]:
    found: list[int] = []
    for part in filter(None, map(str.strip, text.split(","))):
        if part in table:
            found.append(table.by_name(part).id)
            continue
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if match is None:
            raise typer.BadParameter(f"{part!r} is no name of the registry, no id, and no range such as 5-9.", param_hint=option)
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise typer.BadParameter(f"{part} runs backwards: the lower id comes first.", param_hint=option)
        found += range(first, last + 1)
    found = sorted(set(found))
    if len(found) > _GRANT_IDS:
        raise typer.BadParameter(f"{text} are {len(found)} ids; a grant holds {_GRANT_IDS} at most.", param_hint=option)
    return found


def _names(table: registry.Table, ids: list[int]) -> list[str]:
    return [table.name(number) if number in table else str(number) for number in ids]


def _row(text: str) -> tuple[int, int, int, int]:
    owner, _, span = text.rpartition(":")
    match = re.fullmatch(r"([0-9]{1,10})-([0-9]{1,10})", span)
    if match is None or int(match[1]) > int(match[2]):
        raise typer.BadParameter(f"{text!r} is not PUBLISHER/FEATURE:FIRST-LAST, for example 2/1001:0-6.", param_hint="--feature")
    return *feature_owner(owner, "--feature"), int(match[1]), int(match[2])


def _date(text: str | None) -> int | None:
    try:
        date_s = None if text is None else int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
        if date_s is not None and not 0 < date_s <= MAX_UINT32:
            raise ValueError
        return date_s
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date such as 2027-01-31.", param_hint="--not-after") from None


def _write(path: Path, signed: bytes, what: dict[str, Any], as_json: bool) -> None:
    try:
        path.write_bytes(signed)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from None
    if as_json:
        typer.echo(json.dumps({"file": str(path), "bytes": len(signed), **what}))
    else:
        typer.echo(f"{path}  {len(signed)} bytes")
        for name, value in what.items():
            shown = ", ".join(map(str, value)) or "none" if isinstance(value, list) else value
            typer.echo(f"  {name.replace('_', ' '):12} {shown}")


def _show(key: keys.PublicKey, path: Path, left: int | None, capacity: int | None, as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(json.loads(key.to_json()) | {"file": str(path), "signatures_left": left, "capacity": capacity}, indent=2)
        )
        return
    typer.echo(f"{path}")
    typer.echo(f"  kid        {key.kid.hex()}")
    typer.echo(f"  algorithm  {json.loads(key.to_json())['alg']}")
    typer.echo(f"  publisher  {key.publisher}")
    typer.echo(f"  prefix     {key.prefix}")
    typer.echo(f"  public     {key.public.hex()}")
    if left is not None:
        typer.echo(f"  signatures {left} of {capacity} left")
        if 10 * left < (capacity or 0):
            typer.echo("  make the next key now, and have devices trust it before this one is spent")
