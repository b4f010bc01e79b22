"""The message table, and that what is made of it is current and says the same as the code."""

import pytest

from evergrow_protocol import errors, message_table, messages, registry, topics
from evergrow_protocol.message_table import TableError
from evergrow_tools import grammar_gen, spec_check, spec_ids

TABLE = message_table.load()


def test_the_grammar_is_current() -> None:
    """Run `python -m evergrow_tools.grammar_gen` after a change of messages.toml."""
    assert grammar_gen.stale() == []


def test_the_kinds_are_those_of_the_topics() -> None:
    kinds = {name: (kind.qos, kind.retained) for name, kind in TABLE.kinds.items()}
    tables = {"up": topics.UP, "dn": topics.DN, "home": topics.HOME}
    assert kinds == {f"{where}/{name}": how for where, table in tables.items() for name, how in table.items()}


def test_the_specification_lists_the_kinds_alike() -> None:
    text = (grammar_gen.FOLDER / "SPEC.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("| up/", "| dn/", "| home/"))]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    listed = {name: (how.startswith("1"), "retained" in how, section) for name, how, _, section in rows}
    assert listed == {name: (kind.qos == 1, kind.retained, kind.section) for name, kind in TABLE.kinds.items()}


def test_the_codes_have_the_names_of_the_specification() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert set(TABLE.types["code"].values) == codes
    assert TABLE.minor == messages.MINOR


def test_the_rules_are_sentences_of_the_specification() -> None:
    known = {one.id for one in spec_ids.read(grammar_gen.FOLDER.parent / spec_check.SPEC).sentences}
    named = {one.rule for type in TABLE.types.values() for one in (type, *type.fields) if one.rule}
    assert named <= known


def test_the_tables_of_the_registry_exist() -> None:
    assert {one.registry for one in TABLE.types.values() if one.registry} <= set(registry.load().tables)


def test_the_usage_record_has_the_meters_of_the_registry() -> None:
    usage = registry.load().usage
    for field in TABLE.types["usage"].fields:
        if field.key in usage:
            assert usage.by_id(field.key).name == field.name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[types.a]\nint = [0, 1]\ntext = 5", "exactly one of"),
        ("[types.a]\nlist = 'b'", "there is no type 'b'"),
        ("[types.a]\narray = [{ name = 'x', type = 'a', key = 1 }]", "have keys"),
        ("[types.a]\nint = [0, 1]\ncolour = 'red'", "type a:"),
        ("[types.a]\nmap = [{ name = 'x', type = 'a', key = 1, colour = 'red' }]", "type a:"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(text: str, what: str) -> None:
    with pytest.raises(TableError, match=what):
        message_table.parse(f"minor = 0\n[kinds]\n{text}")
