"""Writes `protocol/vectors/KIND.json` from their sources: `python -m evergrow_tools.vector_gen [--check]`. It needs a checkout.

The bytes are made by `cbor_diag` and cbor2, not by the code that the vectors are to test.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cbor_diag

from evergrow_protocol import message_json, message_reader, message_table
from evergrow_tools import vector_source
from evergrow_tools.vector_source import INVALID, Source, Vector, VectorError

FOLDER = Path(__file__).parents[2] / "protocol" / "vectors"


def render() -> dict[str, str]:
    """{file name: text}. Raises VectorError, also when a valid vector is not valid by the message table."""
    table = message_table.load()
    files = {}
    for name in table.kinds:
        stem = name.replace("/", "-")
        source = vector_source.read(table, FOLDER / "sources" / f"{stem}.toml")
        files[f"{stem}.json"] = _file(table, source)
    return files


def load(kind: str) -> list[dict[str, Any]]:
    """The vectors of a kind ("up/usage"), as its file has them."""
    vectors: list[dict[str, Any]] = json.loads((FOLDER / f"{kind.replace('/', '-')}.json").read_text(encoding="utf-8"))["vectors"]
    return vectors


def stale() -> list[str]:
    """The files that are not what would be generated, and those that nothing generates."""
    files = render()
    found = [name for name, text in files.items() if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text]
    return found + [path.name for path in FOLDER.glob("*.json") if path.name not in files]


def _file(table: message_table.MessageTable, source: Source) -> str:
    kind = source.kind
    head = {"kind": kind.name, "grammar": kind.rule_name, "section": kind.section, "qos": kind.qos, "retained": kind.retained}
    lines = ["{", *[f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()], '  "vectors": [']
    vectors = [_lines(_fields(table, source, vector)) for vector in source.vectors]
    return "\n".join([*lines, ",\n".join(vectors), "  ]", "}", ""])


def _lines(fields: dict[str, Any]) -> str:
    inner = [f"      {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "    {\n" + ",\n".join(inner) + "\n    }"


def _fields(table: message_table.MessageTable, source: Source, vector: Vector) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": vector.name, "expect": vector.expect, "hex": vector.data.hex()}
    reading = message_reader.read(table, source.kind, vector.data)
    if vector.expect == INVALID:
        found = [(flaw.code, flaw.rule) for flaw in reading.flaws]
        if (vector.code, vector.rule) not in found:
            raise VectorError(
                f"{source.kind.name}: {vector.name}: code {vector.code} by {vector.rule}, but the table finds {found}"
            )
        fields |= {"code": vector.code, "rule": vector.rule}
        if vector.beyond_grammar:
            fields["beyond_grammar"] = True
    else:
        if reading.flaws:
            raise VectorError(f"{source.kind.name}: {vector.name}: {reading.flaws[0]}")
        fields |= {"diag": vector.diag or cbor_diag.cbor2diag(vector.data, pretty=False)}
        fields["message"] = message_json.to_json(reading)
        if vector.rules:
            fields["shows"] = list(vector.rules)
    if vector.about:
        fields["about"] = vector.about
    return fields


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the test vectors from their sources.")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    check = parser.parse_args().check
    try:
        found, files = stale(), render()
    except VectorError as error:
        print(error)
        return 1
    if not check:
        for name in found:
            if name in files:
                (FOLDER / name).write_text(files[name], encoding="utf-8")
            else:
                (FOLDER / name).unlink()
    if found:
        print(f"{'stale' if check else 'written'}: {', '.join(found)}")
    return 1 if check and found else 0


if __name__ == "__main__":
    raise SystemExit(main())
