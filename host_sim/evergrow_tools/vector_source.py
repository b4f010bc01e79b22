"""Test vectors as people write them: `protocol/vectors/sources/KIND.toml`, in CBOR's diagnostic notation (RFC 8949 section 8).

    kind = "up/sync"
    [[valid]]     # name, diag, ? rules: what it shows, ? about
    [[newer]]     # the same: what a newer version may send; to be read as if what is not known were not there
    [[invalid]]   # name, diag or hex, code, rule, ? about, ? beyond_grammar: evergrow.cddl cannot tell

In `diag`, ZEROS129 in h'' stands for 129 zero bytes, TEXT129 for 129 letters, EACH3<%: 0> for 1: 0, 2: 0, 3: 0. What every
kind has in common (cut short, a float in it, keys out of order, ...) is derived from the first valid vector.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
import cbor_diag

from evergrow_protocol import errors as codes
from evergrow_protocol.message_table import Kind, MessageTable

VALID = "valid"
NEWER = "newer"
INVALID = "invalid"

_EXT: dict[str, list[Any]] = {"dn/welcome": [{}]}  # what a payload may have besides, before what only a newer version has


class VectorError(Exception):
    """A source that cannot be read; the message names the file and the vector."""


@dataclass(frozen=True)
class Vector:
    """One payload and what is expected of a receiver. `code` and `rule`: of an invalid one. `rules`: what others show."""

    name: str
    expect: str
    data: bytes
    diag: str = ""
    code: int = 0
    rule: str = ""
    rules: tuple[str, ...] = ()
    about: str = ""
    beyond_grammar: bool = False


@dataclass(frozen=True)
class Source:
    """The vectors of one kind."""

    kind: Kind
    vectors: list[Vector] = field(default_factory=list)


def read(table: MessageTable, path: Path) -> Source:
    """Raises VectorError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        source = Source(table.kinds[data["kind"]])
    except (OSError, ValueError, KeyError) as error:
        raise VectorError(f"{path.name}: {error}") from None
    for expect in (VALID, NEWER, INVALID):
        source.vectors.extend(_vector(path.name, expect, row) for row in data.get(expect, []))
    first = next((one for one in source.vectors if one.expect == VALID), None)
    if first is None:
        raise VectorError(f"{path.name}: there is no valid vector")
    source.vectors.extend(derived(source.kind, first.data))
    names = [one.name for one in source.vectors]
    if len(set(names)) != len(names):
        raise VectorError(f"{path.name}: two vectors of one name")
    return source


def _vector(file: str, expect: str, row: dict[str, Any]) -> Vector:
    row = dict(row)
    try:
        diag, hexed = row.pop("diag", ""), row.pop("hex", "")
        data = bytes.fromhex(hexed) if hexed else cbor_diag.diag2cbor(_expanded(diag))
        return Vector(expect=expect, data=data, diag=diag, rules=tuple(row.pop("rules", ())), **row)
    except (ValueError, TypeError) as error:
        raise VectorError(f"{file}: {row.get('name', 'a vector without a name')}: {error}") from None


def _expanded(diag: str) -> str:
    diag = re.sub(r"EACH(\d+)<([^>]*)>", lambda match: _each(int(match[1]), match[2]), diag)
    diag = re.sub(r"ZEROS(\d+)", lambda match: "00" * int(match[1]), diag)
    return re.sub(r"TEXT(\d+)", lambda match: "x" * int(match[1]), diag)


def _each(count: int, what: str) -> str:
    return ", ".join(what.replace("%", str(number)) for number in range(1, count + 1))


def derived(kind: Kind, good: bytes) -> list[Vector]:
    """What is done to every kind alike; `good` is a valid payload. The encoder here is cbor2's, which does as it is told."""
    items = cbor2.loads(good)
    body = items[3] if kind.up else items
    found = [
        _bad("nothing at all", b"", codes.MALFORMED, "EG-ENC-001"),
        _bad("cut short by a byte", good[:-1], codes.MALFORMED, "EG-ENC-001"),
        _bad("a byte behind the end", good + b"\x00", codes.MALFORMED, "EG-ENC-001"),
        _bad("an integer in more bytes than it needs", _longer_head(items), codes.NOT_DETERMINISTIC, "EG-ENC-001"),
        *_longer_heads(items),
        _bad("a length in more bytes than it needs", b"\x98" + _long(good), codes.NOT_DETERMINISTIC, "EG-ENC-001"),
        _bad("an array of indefinite length", b"\x9f" + good[1:] + b"\xff", codes.NOT_DETERMINISTIC, "EG-ENC-002"),
        _bad("a tag", b"\xc1" + good, codes.BAD_TYPE, "EG-ENC-002"),
        _bad("a float", _replaced(items, b"\xf9\x3e\x00"), codes.BAD_TYPE, "EG-ENC-002"),
        _bad("a float of 32 bits", _replaced(items, b"\xfa\x3d\xcc\xcc\xcd"), codes.BAD_TYPE, "EG-ENC-002"),
        _bad("a float of 64 bits", _replaced(items, b"\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), codes.BAD_TYPE, "EG-ENC-002"),
        _bad("a simple value that means nothing", _replaced(items, b"\xf0"), codes.BAD_TYPE, "EG-ENC-002"),
        _bad("a head that CBOR does not have", _replaced(items, b"\x1c"), codes.MALFORMED, "EG-ENC-001"),
        _bad("a break where an item must be", _replaced(items, b"\xff"), codes.MALFORMED, "EG-ENC-001"),
        _bad("true in two bytes", _replaced(items, b"\xf8\x15"), codes.MALFORMED, "EG-ENC-001"),
        _bad("undefined", _replaced(items, b"\xf7"), codes.BAD_TYPE, "EG-ENC-002"),
        _bad("a map where an array must be", b"\xa0", codes.BAD_TYPE, "EG-ENC-007"),
        _bad("text that is not UTF-8", _appended(items, b"\x62\xc3\x28"), codes.MALFORMED, "EG-ENC-001"),
        _bad("text with a letter in more bytes than it needs", _appended(items, b"\x62\xc0\x80"), codes.MALFORMED, "EG-ENC-001"),
        _bad("text with half of a surrogate pair", _appended(items, b"\x63\xed\xa0\x80"), codes.MALFORMED, "EG-ENC-001"),
        _bad("more announced than there is", b"\x9a\xff\xff\xff\xff", codes.MALFORMED, "EG-ENC-001"),
        _bad("arrays in arrays, 100 deep", b"\x81" * 100 + b"\x00", codes.TOO_LARGE, "EG-ENC-005"),
    ]
    if kind.up:
        found += [
            _newer("an extension, and elements behind it", [*items, {5: "new"}, "more", [1]]),
            _bad("an extension that is critical", cbor2.dumps([*items, {-5: "new"}]), codes.UNSUPPORTED, "EG-ENC-003"),
            _bad("an extension that is no map", cbor2.dumps([*items, 5]), codes.BAD_TYPE, "EG-ENV-004"),
            _bad("an envelope without a body", cbor2.dumps(items[:3]), codes.MALFORMED, "EG-ENC-007"),
        ]
        found.append(_newer("eight levels of arrays", [*items, {}, [[[[[[[0]]]]]]]]))
    elif kind.name not in ("dn/ack", "dn/cmd", "dn/offer"):
        found.append(_newer("elements behind the end", [*items, {5: "new"}, "more"]))
        found.append(_newer("eight levels of arrays", [*items, *_EXT.get(kind.name, []), [[[[[[[0]]]]]]]]))
    if isinstance(body, dict):
        found += _of_a_map(items, body)
    return found


def _of_a_map(items: list[Any], body: dict[int, Any]) -> list[Vector]:
    start = cbor2.dumps(items)[: -len(cbor2.dumps(body))]
    pairs = [cbor2.dumps(key) + cbor2.dumps(value) for key, value in body.items()]
    head = bytes([0xA0 | len(pairs)])
    one_more = bytes([0xA0 | len(pairs) + 1])
    return [
        _newer("a field that is not known", [*items[:3], body | {99: [1, {2: b"3"}]}]),
        _bad("a field that is critical", cbor2.dumps([*items[:3], body | {-1: 0}]), codes.UNSUPPORTED, "EG-ENC-003"),
        _bad("a key that is text", start + one_more + b"".join(pairs) + b"\x61\x61\x00", codes.BAD_TYPE, "EG-ENC-003"),
        _bad("keys out of order", start + head + b"".join(pairs[1:] + pairs[:1]), codes.NOT_DETERMINISTIC, "EG-ENC-001")
        if len(pairs) > 1
        else _bad("a field that is text", start + b"\x61\x61", codes.BAD_TYPE, "EG-ENC-007"),
        _bad("a key twice", start + one_more + b"".join([*pairs, pairs[-1]]), codes.NOT_DETERMINISTIC, "EG-ENC-001"),
    ]


def _bad(name: str, data: bytes, code: int, rule: str) -> Vector:
    return Vector(name, INVALID, data, code=code, rule=rule)


def _newer(name: str, value: Any) -> Vector:
    return Vector(name, NEWER, cbor2.dumps(value), rules=("EG-ENC-003", "EG-ENC-006"))


def _replaced(items: list[Any], encoded: bytes) -> bytes:
    return bytes([0x80 | len(items)]) + b"".join(cbor2.dumps(item) for item in items[:-1]) + encoded


def _appended(items: list[Any], encoded: bytes) -> bytes:
    return bytes([0x80 | len(items) + 1]) + b"".join(cbor2.dumps(item) for item in items) + encoded


def _longer_heads(items: list[Any]) -> Iterator[Vector]:
    """The head of the first element in two, three and five bytes, where fewer do."""
    head, rest = cbor2.dumps(items[0]), b"".join(cbor2.dumps(one) for one in items[1:])
    number = items[0] if isinstance(items[0], int) else len(items[0])
    content = b"" if isinstance(items[0], int) else head[-number:]
    least = 0 if number < 24 else 1 if number < 256 else 2 if number < 65536 else 4
    for size in (1, 2, 4):
        if size > least:
            longer = bytes([head[0] & 0xE0 | {1: 24, 2: 25, 4: 26}[size]]) + number.to_bytes(size, "big") + content
            name = f"a head of {1 + size} bytes where fewer do"
            yield _bad(name, bytes([0x80 | len(items)]) + longer + rest, codes.NOT_DETERMINISTIC, "EG-ENC-001")


def _long(good: bytes) -> bytes:
    """An array without its head, behind how many elements it has."""
    return bytes([good[0] & 0x1F]) + good[1:]


def _longer_head(items: list[Any]) -> bytes:
    """The head of the first element, an integer, bytes or text, in nine bytes."""
    first: int | bytes | str = items[0]
    content = b"" if isinstance(first, int) else first.encode() if isinstance(first, str) else first
    argument = first if isinstance(first, int) else len(content)
    head = bytes([cbor2.dumps(first)[0] & 0xE0 | 27]) + argument.to_bytes(8, "big") + content
    return bytes([0x80 | len(items)]) + head + b"".join(cbor2.dumps(one) for one in items[1:])
