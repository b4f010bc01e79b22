"""Generates `protocol/evergrow.cddl`, `asyncapi.yaml` and `examples.md`: `python -m evergrow_tools.grammar_gen [--check]`.

It needs a checkout. A test holds the generated files against messages.toml and, for the examples, against the test vectors.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from evergrow_protocol import message_table, registry
from evergrow_tools import grammar_asyncapi, grammar_cddl, grammar_examples

EXAMPLE_MAX = 100
"""Bytes of an example. Longer vectors are there for a bound, and tell people nothing."""

FOLDER = Path(__file__).parents[2] / "protocol"


def render() -> dict[str, str]:
    """{file name: text} of every generated file."""
    table, vectors = message_table.load(), _vectors()
    named = {
        kind: [(one["name"], one["message"]) for one in listed if one["expect"] == "valid"] for kind, listed in vectors.items()
    }
    return {
        "evergrow.cddl": grammar_cddl.render(table),
        "asyncapi.yaml": grammar_asyncapi.render(table, named),
        "examples.md": grammar_examples.render(table, registry.load(), vectors),
    }


def stale() -> list[str]:
    """The files that are not what would be generated."""
    return [name for name, text in render().items() if _read(FOLDER / name) != text]


def _vectors() -> dict[str, list[dict[str, Any]]]:
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "vectors").glob("*.json"))]
    return {data["kind"]: [one for one in data["vectors"] if len(one["hex"]) <= 2 * EXAMPLE_MAX] for data in files}


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the grammar and the AsyncAPI document.")
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    check = parser.parse_args().check
    found = stale()
    if not check:
        for name in found:
            (FOLDER / name).write_text(render()[name], encoding="utf-8")
    if found:
        print(f"{'stale' if check else 'written'}: {', '.join(found)}")
    return 1 if check and found else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    raise SystemExit(main())
