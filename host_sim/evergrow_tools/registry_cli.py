"""`evergrow registry`: what ids mean, and whether what is made from registry.toml is current."""

import json
from pathlib import Path
from typing import Annotated

import typer

import evergrow_protocol
from evergrow_protocol.registry import Registry, RegistryError, load
from evergrow_tools import registry_docs, registry_gen, registry_released
from evergrow_tools.cli import fail

EXPECTED = (RegistryError,)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="The ids of signals, actuators, programmes, meters, events and errors.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command(epilog="Example: evergrow registry check")
def check(as_json: Json = False) -> None:
    """Hold registry.toml against the released ids, and what is generated against registry.toml. Exit code 1: it differs."""
    registry, root = load(), _root()
    wrong = registry_released.problems(registry, json.loads((root / "protocol" / registry_released.NAME).read_text("utf-8")))
    for path, text in _generated(registry, root).items():
        if not path.is_file() or path.read_text("utf-8") != text:
            wrong.append(f"{path.relative_to(root)} is not current; run `evergrow registry write`")
    total = sum(len(list(table)) for table in registry.tables.values())
    if as_json:
        typer.echo(json.dumps({"version": registry.version, "ids": total, "problems": wrong}, indent=2))
    elif wrong:
        typer.echo("\n".join(wrong))
    else:
        typer.echo(f"registry: version {registry.version}, {total} ids of {len(list(registry.classes))} classes")
    if wrong:
        raise typer.Exit(1)


@app.command(epilog="Example: evergrow registry write")
def write() -> None:
    """Generate the tables of boards and docs/registry.md."""
    root = _root()
    for path, text in _generated(load(), root).items():
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")
            typer.echo(f"written: {path.relative_to(root)}")


@app.command(epilog="Example: evergrow registry release")
def release() -> None:
    """Record all present ids as released: from then on they are never redefined. Part of a release."""
    registry = load()
    path = _root() / "protocol" / registry_released.NAME
    wrong = registry_released.problems(registry, json.loads(path.read_text("utf-8"))) if path.is_file() else []
    if wrong:
        fail(wrong[0])
    path.write_text(registry_released.dump(registry_released.record(registry)), encoding="utf-8")
    typer.echo(f"released: version {registry.version}")


def _generated(registry: Registry, root: Path) -> dict[Path, str]:
    folder = Path(evergrow_protocol.__file__).resolve().parent
    files = {folder / name: text for name, text in registry_gen.render(registry).items()}
    return files | {root / "docs" / "registry.md": registry_docs.render(registry)}


def _root() -> Path:
    root = Path(evergrow_protocol.__file__).resolve().parents[2]
    if not (root / "protocol" / "SPEC.md").is_file():
        fail("this needs the sources: run it in a checkout.", code=2)
    return root
