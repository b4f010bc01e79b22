"""`evergrow validate`: recorded traffic, held against SPEC.md's tables and, by another program, against its grammar."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from evergrow_protocol import message_table, traffic
from evergrow_protocol.message_reader import Reading
from evergrow_protocol.message_tree import Flaw
from evergrow_protocol.traffic import TrafficError
from evergrow_tools import grammar, message_view
from evergrow_tools.cli import fail

EPILOG = "Examples: evergrow validate build/demo/traffic.jsonl; evergrow validate --json night-1.jsonl night-2.jsonl"


def main(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE.jsonl...", help="Recorded by `evergrow tap --record`, the demo or a simulation.")
    ],
    grammar_file: Annotated[Path | None, typer.Option("--grammar", help="The grammar; default: protocol/evergrow.cddl.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with the counts and all that is wrong.")] = False,
) -> None:
    """Check every message of recorded traffic. Exit code 1 when one is not what SPEC.md says, one line for each flaw."""
    check = grammar.checker(grammar_file)
    counts: Counter[str] = Counter()
    wrong: list[dict[str, object]] = []
    for path in files:
        for found in _file(path, check, counts):
            wrong.append(found)
            if not as_json:
                typer.echo(f"{found['where']}: {found['text']}")
    total = sum(counts.values())
    if as_json:
        typer.echo(json.dumps({"messages": total, "kinds": dict(sorted(counts.items())), "flaws": wrong}, indent=2))
    elif not wrong:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        typer.echo(
            f"validate: {total} messages, all as SPEC.md and evergrow.cddl say ({kinds})" if total else "validate: no messages"
        )
    if wrong:
        raise typer.Exit(1)


def problems(reading: Reading, check: Callable[[str, bytes], str]) -> list[Flaw]:
    """The flaws of a reading, and what the grammar's own checker has to add."""
    if reading.flaws:
        return reading.flaws
    refusal = check(reading.kind.rule_name, reading.data)
    return [Flaw(4, "EG-ENC-007", f"evergrow.cddl: {refusal}", 0)] if refusal else []


def _file(path: Path, check: Callable[[str, bytes], str], counts: Counter[str]) -> Iterator[dict[str, object]]:
    table = message_table.load()
    try:
        with path.open(encoding="utf-8") as source:
            for number, line in traffic.lines(source):
                where = f"{path}:{number}"
                try:
                    heard = traffic.hear(table, traffic.from_line(line))
                except TrafficError as error:
                    yield {"where": where, "text": str(error)}
                    continue
                except Flaw as error:
                    yield _found(where, "", error)
                    continue
                counts[heard.reading.kind.name] += 1
                for flaw in problems(heard.reading, check):
                    yield _found(where, f"{heard.reading.kind.name} of {heard.device}: ", flaw)
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        fail(f"{path} is not text: it is to hold one JSON object a line.")


def _found(where: str, of: str, flaw: Flaw) -> dict[str, object]:
    text = of + message_view.flaw_text(flaw)
    return {"where": where, "text": text, "offset": flaw.at, "code": flaw.code, "rule": flaw.rule}
