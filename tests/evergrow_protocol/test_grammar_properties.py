"""The readers against each other on messages that are valid but for one thing: message table, grammar, cloud and device."""

from functools import cache
from typing import Any

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from evergrow_cloud import strict, wire
from evergrow_cloud.errors import WireError
from evergrow_protocol import message_reader, message_table
from evergrow_protocol.errors import ProtocolError
from evergrow_sim.world import grammar as devices
from evergrow_tools import grammar, vector_gen

TABLE = message_table.load()
CHECK = grammar.checker()
BEYOND = ("seq 0 is for wills", "different lengths", "either dt_s or gaps", "varint", "column", "has no programme")
"""Flaws that a grammar cannot see."""
DEPENDENT = ("dn/cmd", "up/voice")
"""Kinds in which the type of one field depends on another's value: there the grammar is wider than the table."""

VALUES = (
    st.integers(-(2**33), 2**33)
    | st.sampled_from([0, 1, -1, 255, 2**16, 2**32 - 1, 2**32, 2**53])
    | st.binary(max_size=9)
    | st.text(max_size=9)
    | st.booleans()
    | st.none()
    | st.just([])
    | st.just({})
    | st.lists(st.integers(0, 9), max_size=3)
)


@cache
def messages() -> list[tuple[str, bytes]]:
    return [
        (kind, bytes.fromhex(vector["hex"]))
        for kind in TABLE.kinds
        for vector in vector_gen.load(kind)
        if vector["expect"] != "invalid"
    ]


@st.composite
def changed(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid message in which one value is another, is gone, or has company."""
    kind, data = draw(st.sampled_from(messages()))
    root = [cbor2.loads(data)]
    place: tuple[Any, Any] = (root, 0)
    while draw(st.booleans()):
        inner = place[0][place[1]]
        if not isinstance(inner, list | dict) or not inner:
            break
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        place = (inner, draw(st.sampled_from(keys)))
    holder, key = place
    how = draw(st.sampled_from(["change", "remove", "add"]))
    if how == "remove" and holder is not root:
        del holder[key]
    elif how == "add" and isinstance(holder[key], list):
        holder[key].append(draw(VALUES))
    elif how == "add" and isinstance(holder[key], dict):
        holder[key][draw(st.integers(-2, 30))] = draw(VALUES)
    else:
        holder[key] = draw(VALUES)
    return kind, strict.dumps(root[0])


def test_the_kinds_with_dependent_fields_are_those_named_here() -> None:
    bodies = {kind.name: TABLE.types[kind.body] for kind in TABLE.kinds.values()}
    assert tuple(sorted(name for name, body in bodies.items() if any(field.by for field in body.fields))) == DEPENDENT


@given(changed())
@settings(max_examples=300)
def test_the_table_and_the_grammar_judge_alike(message: tuple[str, bytes]) -> None:
    """EG-ENC-007: the grammar is generated from the table, but another program reads it."""
    kind, data = message
    reading = message_reader.read(TABLE, TABLE.kinds[kind], data)
    refusal = CHECK(TABLE.kinds[kind].rule_name, data)
    if reading.ok:
        assert refusal == ""
    elif kind not in DEPENDENT and not all(any(words in flaw.text for words in BEYOND) for flaw in reading.flaws):
        assert refusal, [str(flaw) for flaw in reading.flaws]


@given(changed())
@settings(max_examples=300)
def test_the_cloud_and_the_device_read_what_the_table_allows(message: tuple[str, bytes]) -> None:
    """EG-ENC-003, EG-ENC-006, EG-ENC-007"""
    kind, data = message
    if not message_reader.read(TABLE, TABLE.kinds[kind], data).ok:
        return
    way, _, name = kind.partition("/")
    if way == "up":
        wire.decode(name, data)
    elif way == "dn":
        devices._DN[name](data)


@given(changed())
@settings(max_examples=300)
def test_where_the_cloud_refuses_the_table_knows_its_code(message: tuple[str, bytes]) -> None:
    """EG-ENC-004"""
    kind, data = message
    if not kind.startswith("up/"):
        return
    codes = {flaw.code for flaw in message_reader.read(TABLE, TABLE.kinds[kind], data).flaws}
    try:
        wire.decode(kind[3:], data)
    except (WireError, ProtocolError) as error:
        assert error.code in codes
