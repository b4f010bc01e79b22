"""What a minor version may and may not do to messages."""

from pathlib import Path

import pytest

from evergrow_protocol import message_table
from evergrow_tools import spec_check, spec_compat

RELEASED = """
minor = 0
[kinds."up/a"]
qos = 1
body = "a"
section = "1"
description = "A"
[types.a]
map = [{ key = 0, name = "x", type = "n" }, { key = 1, name = "y", type = "n", optional = true }]
[types.n]
int = [0, 9]
unit = "s"
values = { 0 = "none" }
[types.r]
array = [{ name = "x", type = "n" }]
"""
KIND_B = '[kinds."up/b"]\nqos = 0\nbody = "a"\nsection = "1"\ndescription = "B"\n[types.a]'


def changed(before: str, after: str) -> list[str]:
    assert before in RELEASED
    return spec_compat.breaks(message_table.parse(RELEASED), message_table.parse(RELEASED.replace(before, after, 1)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("minor = 0", "minor = 1"),
        ("[types.a]", KIND_B),
        ("optional = true }]", "optional = true }, { key = 2, name = 'z', type = 'n', optional = true }]"),
        ('0 = "none"', '0 = "none", 1 = "some"'),
        ('[{ name = "x", type = "n" }]', '[{ name = "x", type = "n" }, { name = "y", type = "n", optional = true }]'),
        ('description = "A"', 'description = "Better words"'),
    ],
)
def test_what_is_added_is_allowed(before: str, after: str) -> None:
    """EG-VER-001"""
    assert changed(before, after) == []


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ('[kinds."up/a"]', '[kinds."up/b"]', "kind up/a is gone"),
        ("qos = 1", "qos = 0", "kind up/a has another body"),
        ("[types.r]", "[types.s]", "type r is gone"),
        ('unit = "s"', 'unit = "ms"', "type n is another shape, unit or packing"),
        ("int = [0, 9]", "int = [0, 8]", "type n was 0..9 and is 0..8"),
        ("int = [0, 9]", "int = [0, 10]", "type n was 0..9 and is 0..10"),
        ('0 = "none"', '0 = "all"', "type n: 0 was 'none' and is 'all'"),
        ('key = 0, name = "x"', 'key = 2, name = "x"', "type a: x is gone from its place"),
        ('name = "x", type = "n" },', 'name = "x", type = "r" },', "type a: x was of type n and is of type r"),
        (", optional = true }]", " }]", "type a: y must stay optional"),
        (
            "optional = true }]",
            "optional = true }, { key = 2, name = 'z', type = 'n' }]",
            "type a: z is new, and must be optional",
        ),
        ('[{ name = "x", type = "n" }]', '[{ name = "y", type = "n" }]', "type r: x is gone from its place"),
    ],
)
def test_what_an_older_peer_would_stumble_over_is_told(before: str, after: str, what: str) -> None:
    """EG-VER-001"""
    assert changed(before, after)[0].startswith(what)


def test_the_check_of_the_specification_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("protocol/evergrow_protocol", "firmware", "host_sim", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / spec_check.SPEC).write_text("Protocol version 1.0.\n")
    (tmp_path / spec_check.LISTS).write_text("")
    (tmp_path / spec_check.RELEASED).write_text("{}")
    (tmp_path / spec_check.MESSAGES).write_text(RELEASED)
    spec_check.release(tmp_path, spec_check.read(tmp_path))
    assert spec_check.problems(spec_check.read(tmp_path)) == []
    (tmp_path / spec_check.MESSAGES).write_text(RELEASED.replace("qos = 1", "qos = 0"))
    (found,) = spec_check.problems(spec_check.read(tmp_path))
    assert found.startswith(f"{spec_check.MESSAGES}: kind up/a has another body")
