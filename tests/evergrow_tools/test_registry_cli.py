"""`evergrow registry`: ids are append-only, and what is generated from them is current."""

import copy
import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from evergrow_protocol.registry import Registry, load
from evergrow_tools import registry_cli, registry_docs, registry_released

REGISTRY = load()


def released() -> dict[str, Any]:
    return copy.deepcopy(registry_released.record(REGISTRY))


def test_what_is_in_the_tree_is_current() -> None:
    result = CliRunner().invoke(registry_cli.app, ["check", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["problems"] == [] and result.exit_code == 0


def test_record_survives_its_file() -> None:
    assert json.loads(registry_released.dump(released())) == released()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda ids: ids["signals"].update({"99": ["gone", "W", "1", "state"]}), "id 99 .gone. was released and is gone"),
        (lambda ids: ids["signals"]["2"].__setitem__(2, "1"), "signals: id 2 was released as .* give a new id"),
        (lambda ids: ids["signals"]["2"].__setitem__(1, "K"), "signals: id 2 was released as"),
        (lambda ids: ids["errors"]["1"].__setitem__(0, "other"), "errors: id 1 was released as"),
        (lambda ids: ids["usage"].pop("12"), "new ids .usage 12. in version .*: raise `version`"),
    ],
)
def test_ids_are_append_only(change: Any, problem: str) -> None:
    before = released()
    change(before["ids"])
    (found,) = registry_released.problems(REGISTRY, before)
    assert re.search(problem, found), found


def test_version_never_falls_and_new_ids_with_a_new_version_are_fine() -> None:
    before = released()
    before["version"] += 1
    assert "is below" in registry_released.problems(REGISTRY, before)[0]
    before["version"] -= 2
    del before["ids"]["usage"]["12"]
    assert registry_released.problems(REGISTRY, before) == []


def test_reference_page_has_every_id() -> None:
    page = registry_docs.render(REGISTRY)
    for title, table in REGISTRY.tables.items():
        for entry in table:
            assert (f"| {entry.id} | `{entry.name}` |" in page) or (title == "classes" and f"`{entry.name}`" in page)


def test_page_is_empty_of_classes_without_any() -> None:
    assert "## Shared by all classes" in registry_docs.render(Registry({"version": 1}))
