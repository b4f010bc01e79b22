"""docs/security.md says which test makes which attack: each is there, and proves the sentences of its row."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COLUMNS = 5  # attack | defence | code | SPEC | test


def rows() -> list[list[str]]:
    lines = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if row[0] != "attack" and not set(row[0]) <= set("-")]


def test_there_are_rows_of_all_columns() -> None:
    assert len(rows()) > 20
    assert [row for row in rows() if len(row) != COLUMNS] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_the_test_of_a_row_is_there_and_names_its_sentences(row: list[str]) -> None:
    ids = re.findall(r"EG-[A-Z]+-\d{3}", row[3])
    file, _, name = row[4].partition("::")
    (path,) = (ROOT / "tests").rglob(file)
    parts = re.split(r"(?m)^(?=(?:async )?def |@pytest)", path.read_text(encoding="utf-8"))
    (body,) = [part for part in parts if re.match(rf"(async )?def {name}\(", part)]
    assert ids and [id for id in ids if id not in body] == []
