"""What the commands on the cloud's database share: their options, how they fail, and how they print."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evergrow_cloud import feature_id, view
from evergrow_cloud.errors import CloudError
from evergrow_cloud.fields import MAX_UINT32
from evergrow_cloud.store import Store
from evergrow_protocol import registry
from evergrow_protocol.errors import ProtocolError

Database = Annotated[Path, typer.Option("--db", envvar="EVERGROW_DB", help="The database, a SQLite file.", dir_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DeviceName = Annotated[str, typer.Argument(help="tenant/device, or device where that is enough.", metavar="DEVICE")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant.")]

DEFAULT_DATABASE = Path("evergrow-cloud.db")


@contextmanager
def existing(db: Path) -> Iterator[Store]:
    if not db.exists():
        fail(f"there is no database {db}.", "Name it with --db; `evergrow cloud run` makes it.")
    with Store(db) as store:
        yield store


@contextmanager
def sentences() -> Iterator[None]:
    """Expected failures end with one sentence and exit code 1, without a stack trace."""
    try:
        yield
    except (CloudError, ProtocolError, sqlite3.OperationalError) as error:
        fail(str(error))


def fail(message: str, hint: str = "") -> NoReturn:
    print(f"evergrow: {view.clean(message)}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    raise typer.Exit(1)


def registry_id(table: registry.Table, name: str, hint: str) -> int:
    """The id of a name, or of a number as it is."""
    if name.isascii() and name.isdecimal():
        if int(name) > MAX_UINT32:
            raise typer.BadParameter(f"{name} is no id: {MAX_UINT32} is the highest.", param_hint=hint)
        return int(name)
    try:
        return table.by_name(name).id
    except registry.RegistryError as error:
        raise typer.BadParameter(f"{error}; or a number.", param_hint=hint) from None


def feature_owner(text: str, hint: str) -> tuple[int, int]:
    """Publisher and number of the feature that an argument names."""
    try:
        return feature_id.parse(text)
    except CloudError as error:
        raise typer.BadParameter(f"{error}.", param_hint=hint) from None


def feature_names(items: list[dict[str, Any]]) -> str:
    """`publisher/feature` of each, with what else there is of it."""
    return ", ".join("/".join(str(part) for part in item.values() if part is not None) for item in items)


def print_json(value: object) -> None:
    """ASCII only, so that a device's text can do nothing to a terminal; bytes as hex."""
    print(json.dumps(value, indent=2, default=lambda item: item.hex() if isinstance(item, bytes) else str(item)))


def print_table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numbers = any(isinstance(row.get(column), int) for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if row.get(column) is None else view.clean(row[column])) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
