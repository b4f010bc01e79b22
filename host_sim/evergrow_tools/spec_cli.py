"""`evergrow spec`: is the specification proven, and by what?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from evergrow_tools import spec_check
from evergrow_tools.cli import fail
from evergrow_tools.spec_ids import SpecError

EXPECTED = (SpecError,)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Check protocol/SPEC.md: every testable sentence has an id, and a test that proves it.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command(epilog="Example: evergrow spec check")
def check(as_json: Json = False) -> None:
    """Compare SPEC.md, the tests, ids.toml and released.json. Exit code 1 when something is wrong, one line for each."""
    project = spec_check.read(_root())
    wrong = spec_check.problems(project)
    total, unproven = len(project.spec.sentences), len(project.lists.unproven)
    if as_json:
        typer.echo(json.dumps({"sentences": total, "unproven": unproven, "problems": wrong}, indent=2))
    else:
        for problem in wrong:
            typer.echo(problem)
    if wrong:
        raise typer.Exit(1)
    if not as_json:
        tests = len({(naming.file, naming.test) for naming in project.namings if naming.test})
        typer.echo(f"spec: {total} sentences, {total - unproven} proven by {tests} tests, {unproven} unproven with a reason")


@app.command(epilog="Example: evergrow spec show EG-ACK-003")
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a sentence, as EG-ACK-003.")],
    as_json: Json = False,
) -> None:
    """Show a sentence of SPEC.md and what proves it."""
    project = spec_check.read(_root())
    sentence = project.spec.find(id)
    if sentence is None:
        fail(f"there is no {id} in {spec_check.SPEC}.", project.lists.retired.get(id, ""))
    proofs = [f"{naming.file}:{naming.line} {naming.test}" for naming in project.proofs(id)]
    unproven = project.lists.unproven.get(id)
    if as_json:
        found = {"id": id, "section": sentence.section, "text": sentence.text, "proofs": proofs, "unproven": unproven}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{id}, section {sentence.section}, {spec_check.SPEC}:{sentence.line}\n  {sentence.text}")
    for proof in proofs:
        typer.echo(f"  proven: {proof}")
    if unproven:
        typer.echo(f"  unproven: {unproven}")


@app.command(epilog="Example: evergrow spec release")
def release() -> None:
    """Write released.json: from now on, no sentence of SPEC.md changes or goes without a reason in ids.toml."""
    root = _root()
    project = spec_check.read(root)
    new = spec_check.release(root, project)
    typer.echo(f"{spec_check.RELEASED}: version {project.spec.version}, {len(project.spec.sentences)} sentences, {new} new")


def _root() -> Path:
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / spec_check.SPEC).is_file():
            return folder
    fail(f"there is no {spec_check.SPEC} here or in a folder above.", "Run it in a checkout of the project.")
