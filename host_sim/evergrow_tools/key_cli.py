"""`evergrow key`: make publishers' signing keys, see how many signatures they have left, go on after a restored state."""

import json
from pathlib import Path
from typing import Annotated

import typer

from evergrow_tools import keys
from evergrow_tools.keys import KeyFileError

EXPECTED = (KeyFileError,)

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
    publisher: Annotated[int, typer.Option("--publisher", help="The publisher's number, 1..65535; it stands in usage records.")],
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the publisher's components. Default: NAME.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")] = Path(),
    height: Annotated[int, typer.Option("--height", help="10: 1024 signatures, takes some seconds. 5: 32, for tests.")] = 10,
    ed25519: Annotated[
        bool, typer.Option("--ed25519", help="An Ed25519 key instead, for a second signature (`feature sign --also`).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Generate a key. It can sign 2^height times in all, and keeps count on disk: one key, one machine, no restored states."""
    if ed25519:
        from evergrow_tools import ed25519_keys

        second = ed25519_keys.new_key(out, name, publisher, prefix or name)
        _show(second.public, second.path.with_suffix(".pub"), None, None, as_json)
        return
    key = keys.new_key(out, name, publisher, prefix or name, height)
    _show(key.public, key.path.with_suffix(".pub"), key.remaining(), key.capacity, as_json)


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
