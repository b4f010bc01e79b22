"""Valid messages changed in one place, judged by everybody who reads them: the message table, the grammar and the cloud.

Where they differ one of them is wrong, or the specification leaves something open. `ONE_CHANGE_EVERY=1` tries all changes
instead of every seventh.
"""

import copy
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cddl_verifier import Validator

from evergrow_cloud import wire
from evergrow_cloud.errors import WireError
from evergrow_protocol import errors as codes
from evergrow_protocol import message_reader, message_table
from evergrow_tools import grammar_gen, vector_gen

TABLE = message_table.load()
GRAMMAR = Validator(Path(grammar_gen.FOLDER / "evergrow.cddl"))
EVERY = int(os.environ.get("ONE_CHANGE_EVERY", "7"))
LESS_OF = 50
"""Bytes: of a longer message a smaller part of the changes is tried."""
LONG = 500
"""Bytes of a message that may be refused for its length."""
INSTEAD: list[Any] = [
    -1, 0, 1, 2, 3, 7, 255, 65536, 65537, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1,
    -(2**32), -(2**53), -(2**63), -(2**64),
    "", "x", "Ä", "x" * 33, "x" * 65, "x" * 81, "x" * 141, b"", b"\0", b"x" * 7, b"x" * 8, b"\x80", b"x" * 129, b"x" * 513,
    [], [1], [1, 2], [1, 2, 3], [[1, 2]], {}, {0: 1}, {-1: 0}, {1: 5}, True, None,
]  # fmt: skip
BEHIND: list[Any] = [5, "x", b"x" * 8, {}, [], {-1: 1}]
ADDED: list[Any] = [0, "x", b"\x02", [1], {}]
BEYOND_GRAMMAR = {
    ("EG-CFG-006", 5): "of two numbers the larger one",
    ("EG-TELE-003", 5): "columns of one length",
    ("EG-TELE-003", 1): "what varints look like",
    ("EG-TELE-004", 1): "what varints look like",
    ("EG-TELE-004", 5): "the first gap",
    ("EG-USE-006", 1): "no programme goes with features, and features may be none",
}


def places(item: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = enumerate(item) if isinstance(item, list) else item.items() if isinstance(item, dict) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def changed(item: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    whole = copy.deepcopy(item)
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return whole


def changes(message: Any) -> Iterator[Any]:
    """The message with one item replaced, left out, added or repeated."""
    for path in places(message):
        here = message
        for key in path:
            here = here[key]
        for value in INSTEAD:
            if type(value) is not type(here) or value != here:
                yield changed(message, path, value)
        if isinstance(here, list):
            yield from (changed(message, path, here[:i] + here[i + 1 :]) for i in range(len(here)))
            yield from (changed(message, path, [*here, value]) for value in BEHIND)
            yield changed(message, path, here * 20)
        if isinstance(here, dict):
            yield from (changed(message, path, {other: here[other] for other in here if other != key}) for key in here)
            for key in (*range(20), 99, 1000, -1):
                if key not in here:
                    yield from (changed(message, path, {**here, key: value}) for value in ADDED)


def ordered(item: Any) -> Any:
    """With the keys of maps in the order of their encoding, whose length cbor2's canonical form puts first (RFC 7049)."""
    if isinstance(item, dict):
        return {key: ordered(item[key]) for key in sorted(item, key=cbor2.dumps)}
    return [ordered(one) for one in item] if isinstance(item, list) else item


def payloads(kind: str) -> Iterator[bytes]:
    pick = random.Random(kind)
    for vector in vector_gen.load(kind):
        if vector["expect"] == "valid":
            data = bytes.fromhex(vector["hex"])
            every = EVERY * (1 + len(data) // LESS_OF) if EVERY > 1 else 1
            for message in changes(cbor2.loads(data)):
                if pick.random() * every < 1:
                    yield cbor2.dumps(ordered(message))


@pytest.mark.parametrize("kind", TABLE.kinds)
def test_the_grammar_judges_what_was_changed_as_the_table_does(kind: str) -> None:
    """EG-ENC-007, EG-ENC-003, EG-ENC-006"""
    for data in payloads(kind):
        reading = message_reader.read(TABLE, TABLE.kinds[kind], data)
        fits = GRAMMAR.validate(data, root_type=TABLE.kinds[kind].rule_name).valid
        if any((flaw.rule, flaw.code) not in BEYOND_GRAMMAR for flaw in reading.flaws) or reading.ok:
            assert fits == reading.ok, (data.hex(), [str(flaw) for flaw in reading.flaws])


@pytest.mark.parametrize("kind", [kind for kind in TABLE.kinds if kind.startswith("up/")])
def test_the_cloud_judges_what_was_changed_as_the_table_does(kind: str) -> None:
    """EG-ENC-004, EG-ENC-005, EG-ENC-007, EG-ENV-002, EG-ENV-004: with one of the codes that the table finds."""
    for data in payloads(kind):
        reading = message_reader.read(TABLE, TABLE.kinds[kind], data)
        try:
            wire.decode(kind[3:], data)
            code = 0
        except WireError as error:
            code = error.code
            if code == codes.TOO_LARGE and len(data) > LONG and reading.flaws:
                continue  # for its length, before anything in it was looked at
        assert code in ({flaw.code for flaw in reading.flaws} or {0}), (data.hex(), code, [str(flaw) for flaw in reading.flaws])
