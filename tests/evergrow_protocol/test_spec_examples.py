"""The hex in SPEC.md is what it says it is: each annotated example is a payload in the grammar, or CBOR signed for itself."""

import re

import cbor2
import pytest

from evergrow_protocol import message_reader, message_table, message_tree
from evergrow_tools import grammar, grammar_gen

_LINE = re.compile(r"    ( *)((?:[0-9a-f]{2})+(?: (?:[0-9a-f]{2})+)*)(?: *# .*)?")


def examples() -> list[str]:
    """Of every block of lines of hex whose first is annotated: the hex. One with an ellipsis in it is not whole."""
    found, block = [], ""
    for line in [*(grammar_gen.FOLDER / "SPEC.md").read_text().splitlines(), ""]:
        match = _LINE.fullmatch(line)
        if match and (block or "#" in line):
            block += match[2].replace(" ", "")
        elif "..." in line and block:
            block += "#"
        elif block:
            found.append(block)
            block = ""
    return [block for block in found if "#" not in block]


def test_there_are_examples() -> None:
    assert len(examples()) >= 4


@pytest.mark.parametrize("example", examples())
def test_an_example_is_a_payload_in_the_grammar(example: str) -> None:
    """EG-ENC-001, EG-ENC-007"""
    data = bytes.fromhex(example)
    if data[0] >> 5 != message_tree.ARRAY:  # COSE or a manifest, which stand in byte strings: tests of their own build them
        assert cbor2.dumps(cbor2.loads(data), canonical=True) == data
        return
    table, check = message_table.load(), grammar.checker()
    fitting = [kind for kind in table.kinds.values() if message_reader.read(table, kind, data).ok]
    assert fitting
    assert all(check(kind.rule_name, data) == "" for kind in fitting)
