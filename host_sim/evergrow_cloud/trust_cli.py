"""`evergrow trust`: deliver grants and revocation lists to the devices of a tenant."""

from pathlib import Path
from typing import Annotated

import typer

from evergrow_cloud import trust, view
from evergrow_cloud.cli_common import DEFAULT_DATABASE, Database, Json, existing, fail, print_json, print_table, sentences
from evergrow_cloud.errors import CloudError
from evergrow_protocol import registry
from evergrow_protocol.errors import ProtocolError

app = typer.Typer(
    help="Deliver grants and revocation lists, made by `evergrow key grant` and `revoke`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

KINDS = {trust.GRANT: "grant", trust.REVOCATIONS: "revocation list"}
Tenant = Annotated[str, typer.Option(help="Whose devices.")]


@app.command(epilog="Example: evergrow trust push northwash.grant --tenant acme --db cloud.db")
def push(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A signed grant or list.")],
    tenant: Tenant,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Offer it to every device of the tenant that is behind, now and after each birth, until the device has it."""
    data = _content(path)
    with sentences(), existing(db) as store:
        try:
            document = trust.read(data)
        except CloudError as error:
            fail(f"{path}: {error}")
        count = trust.put(store, tenant, document)
    if as_json:
        print_json(_described(document) | {"devices": count})
    else:
        print(f"{KINDS[document.content]}, sequence {document.sequence}: offered to {count} devices of {tenant}")


@app.command(epilog="Example: evergrow trust inspect northwash.grant")
def inspect(path: Annotated[Path, typer.Argument(metavar="FILE", help="A signed grant or list.")], as_json: Json = False) -> None:
    """Show what a grant allows, or what a list revokes. Who signed it is not looked at: each device does that."""
    with sentences():
        try:
            shown = view.trusted(_content(path), registry.load())
        except ProtocolError as error:
            fail(f"{path} is neither a grant nor a revocation list: {error.text}")
    if as_json:
        print_json(shown)
        return
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{name:<{width}}  {'-' if text in ('', None) else view.clean(text)}")


@app.command("list", epilog="Example: evergrow trust list --tenant acme")
def show(tenant: Tenant, db: Database = DEFAULT_DATABASE, as_json: Json = False) -> None:
    """Show what the devices of a tenant are to have; `evergrow cloud status DEVICE` shows what one has."""
    with sentences(), existing(db) as store:
        rows = [_described(document) for document in trust.of_tenant(store, tenant)]
    if as_json:
        print_json(rows)
    else:
        print_table(("kind", "publisher", "sequence"), rows)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"cannot read {path}: {error.strerror}")


def _described(document: trust.Document) -> dict[str, object]:
    return {"kind": KINDS[document.content], "publisher": document.publisher or None, "sequence": document.sequence}
