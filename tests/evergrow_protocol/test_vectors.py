"""The test vectors: current, encoded as another encoder would, judged alike by a grammar checker and the cloud."""

import json
from pathlib import Path
from typing import Any

import cbor2
import cbor_diag
import fastjsonschema
import pytest
from cddl_verifier import Validator

from evergrow_cloud import strict, wire
from evergrow_cloud.errors import WireError
from evergrow_protocol import errors as codes
from evergrow_protocol import message_json, message_reader, message_table, message_tree, registry
from evergrow_tools import grammar_asyncapi, grammar_gen, vector_gen, vector_source
from evergrow_tools.vector_source import VectorError

TABLE = message_table.load()
SCHEMAS = {"components": {"schemas": grammar_asyncapi.schemas(TABLE)}}
GRAMMAR = Validator(grammar_gen.FOLDER / "evergrow.cddl")


def of(*expectations: str, prefix: str = "") -> list[Any]:
    return [
        pytest.param(kind, vector, id=f"{kind}: {vector['name']}")
        for kind in TABLE.kinds
        if kind.startswith(prefix)
        for vector in vector_gen.load(kind)
        if vector["expect"] in expectations
    ]


def test_the_vectors_are_current() -> None:
    """Run `python -m evergrow_tools.vector_gen` after a change of their sources or of messages.toml."""
    assert vector_gen.stale() == []


@pytest.mark.parametrize(("kind", "vector"), of("valid", "newer"))
def test_a_valid_vector_is_deterministic_and_in_the_grammar(kind: str, vector: dict[str, Any]) -> None:
    """EG-ENC-001, EG-ENC-003, EG-ENC-006, EG-ENC-007"""
    data = bytes.fromhex(vector["hex"])
    assert strict.dumps(cbor2.loads(data)) == data  # `canonical` of cbor2 is the older order, of RFC 7049
    result = GRAMMAR.validate(data, root_type=TABLE.kinds[kind].rule_name)
    assert result.valid, result.diagnostics
    reading = message_reader.read(TABLE, TABLE.kinds[kind], data)
    assert reading.ok
    assert message_json.to_json(reading) == vector["message"]
    assert message_json.from_json(TABLE, registry.load(), TABLE.kinds[kind], vector["message"]) == data


@pytest.mark.parametrize(("kind", "vector"), of("valid", "newer"))
def test_the_json_of_a_valid_vector_fits_the_schema_of_the_asyncapi_document(kind: str, vector: dict[str, Any]) -> None:
    schema = SCHEMAS | {"$ref": f"#/components/schemas/{TABLE.kinds[kind].rule_name}"}
    fastjsonschema.validate(schema, vector["message"])


@pytest.mark.parametrize(("kind", "vector"), of("invalid"))
def test_an_invalid_vector_is_outside_the_grammar_or_the_encoding(kind: str, vector: dict[str, Any]) -> None:
    """EG-ENC-007"""
    data = bytes.fromhex(vector["hex"])
    try:
        message_tree.parse(data)
        outside = not GRAMMAR.validate(data, root_type=TABLE.kinds[kind].rule_name).valid
    except message_tree.Flaw:
        outside = True
    assert outside != vector.get("beyond_grammar", False)


@pytest.mark.parametrize(("kind", "vector"), of("valid", "newer", prefix="up/"))
def test_the_cloud_reads_what_is_valid(kind: str, vector: dict[str, Any]) -> None:
    """EG-ENC-003, EG-ENC-006, EG-VER-002, EG-VER-003: of newer versions, too."""
    assert wire.decode(kind[3:], bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize(("kind", "vector"), of("invalid", prefix="up/"))
def test_the_cloud_refuses_what_is_invalid_with_its_code(kind: str, vector: dict[str, Any]) -> None:
    """EG-ENC-004, EG-ENC-005, EG-ENC-007, EG-VER-004"""
    with pytest.raises(WireError) as caught:
        wire.decode(kind[3:], bytes.fromhex(vector["hex"]))
    assert caught.value.code == vector["code"], caught.value


@pytest.mark.parametrize(("kind", "vector"), of("newer", prefix="up/"))
def test_the_cloud_reads_what_is_newer_as_if_it_were_not_there(kind: str, vector: dict[str, Any]) -> None:
    """EG-ENC-003, EG-ENC-006, EG-ENV-004"""
    if vector["name"] not in ("a field that is not known", "an extension, and elements behind it"):
        pytest.skip("what a newer version may say differently")
    newer, plain = (wire.decode(kind[3:], bytes.fromhex(one["hex"])) for one in (vector, vector_gen.load(kind)[0]))
    assert _known(newer) == _known(plain)


def _known(message: Any) -> Any:
    """Usage without the bytes as they came, and without meters that no registry has."""
    if isinstance(message, tuple):
        return [{name: getattr(one, name) for name in one.__slots__ if name not in ("raw", "meters")} for one in message]
    return message


@pytest.mark.parametrize(
    ("kind", "diag"),
    [
        ("up/state", "[7, 2, 1795339200, {0: 2}]"),
        ("up/event", "[7, 4, 1795339200, {0: 3, 1: 4}]"),
        ("up/voice", "[7, 1, 1795339200, {0: 3, 3: 1}]"),
        ("dn/busy", "[4, 60]"),
        ("dn/cfg", "[1, {1: [[1, 1, 2, {2: 10}]]}]"),
    ],
)
def test_another_value_of_a_closed_number_is_out_of_range_for_every_reader(kind: str, diag: str) -> None:
    """EG-VER-005: the cloud and the device are held against the same vectors."""
    data = cbor_diag.diag2cbor(diag)
    assert [flaw.code for flaw in message_reader.read(TABLE, TABLE.kinds[kind], data).flaws] == [codes.OUT_OF_RANGE]
    assert (data.hex(), codes.OUT_OF_RANGE) in [(one["hex"], one.get("code")) for one in vector_gen.load(kind)]


@pytest.mark.parametrize("path", sorted((vector_gen.FOLDER / "stories").glob("*.json")), ids=lambda path: path.stem)
def test_the_bytes_of_a_story_are_what_is_said_beside_them(path: Path) -> None:
    for story in json.loads(path.read_text(encoding="utf-8"))["stories"]:
        for step in story["steps"]:
            assert cbor_diag.diag2cbor(step["diag"]).hex() == step["hex"], story["name"]


@pytest.mark.parametrize("kind", TABLE.kinds)
def test_every_kind_has_vectors_of_every_sort_and_cutting_one_short_anywhere_spoils_it(kind: str) -> None:
    """EG-ENC-001"""
    vectors = vector_gen.load(kind)
    assert {vector["expect"] for vector in vectors} >= {"valid", "invalid"}
    data = bytes.fromhex(vectors[0]["hex"])
    for end in range(len(data)):
        with pytest.raises(message_tree.Flaw) as caught:
            message_tree.parse(data[:end])
        assert (caught.value.code, caught.value.rule) == (1, "EG-ENC-001")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("kind = 'up/none'", "up/none"),
        ("kind = 'up/sync'", "no valid vector"),
        ("kind = 'up/sync'\n[[valid]]\nname = 'x'\ndiag = '[1,'", "x: Invalid EDN"),
        (
            "kind = 'up/sync'\n[[valid]]\nname = 'x'\ndiag = '[1,2,3,[4,5]]'\n[[newer]]\nname = 'x'\ndiag = '[]'",
            "two vectors of one name",
        ),
        ("kind = 'up/sync'\n[[valid]]\nname = 'x'\ndiag = '[]'\ncolour = 1", "colour"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "up-sync.toml"
    path.write_text(text)
    with pytest.raises(VectorError, match=what):
        vector_source.read(TABLE, path)
