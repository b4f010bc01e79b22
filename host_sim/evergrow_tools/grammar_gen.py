"""Generates `protocol/evergrow.cddl` from the message table: `python -m evergrow_tools.grammar_gen [--check]`.

It needs a checkout. A test holds the generated file against messages.toml.
"""

import argparse
from pathlib import Path

from evergrow_protocol import message_table
from evergrow_tools import grammar_cddl

FOLDER = Path(__file__).parents[2] / "protocol"


def render() -> dict[str, str]:
    """{file name: text} of every generated file."""
    return {"evergrow.cddl": grammar_cddl.render(message_table.load())}


def stale() -> list[str]:
    """The files that are not what would be generated."""
    return [name for name, text in render().items() if _read(FOLDER / name) != text]


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the grammar from the message table.")
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
