"""A feature is named in one way, and what is no such name is told in one sentence, whichever command it is."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from evergrow_cloud import cli, devices, entitle_cli, feature_id
from evergrow_cloud.errors import CloudError
from evergrow_cloud.store import Store
from evergrow_tools import key_cli

ENTITLE = typer.Typer()
ENTITLE.command()(entitle_cli.main)

COMMANDS = [
    (cli.app, ["command", "w1", "consent", "{}"]),
    (cli.app, ["command", "w1", "remove", "{}"]),
    (cli.app, ["config", "feature", "w1", "{}"]),
    (ENTITLE, ["w1", "{}"]),
    (key_cli.app, ["revoke", "--root", "none.key", "--feature", "{}:0-6"]),
]


def test_numbers_stand_beside_each_other() -> None:
    assert feature_id.parse("2/1001") == feature_id.parse("2:1001") == (2, 1001)
    assert feature_id.parse("0/65535") == (0, 65535)


WRONG = ["", "2", "2/", "/1001", "2/0", "2/65536", "65536/1", "-2/5", "2/1001/6", "2/٣", "2 /3", "2/1001\n"]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_feature_is_refused(text: str) -> None:
    with pytest.raises(CloudError, match="is not PUBLISHER/FEATURE"):
        feature_id.parse(text)


@pytest.mark.parametrize(("app", "words"), COMMANDS, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_every_command_says_so(app: typer.Typer, words: list[str], tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    with Store(db) as store, store.transaction():
        devices.ensure(store, "acme", "w1")
    where = [] if app is key_cli.app else ["--db", str(db)]
    result = CliRunner().invoke(app, [*(word.format("2/99999") for word in words), *where], catch_exceptions=False)
    assert result.exit_code in (1, 2)
    said = " ".join(result.output.replace("│", " ").split())
    assert "'2/99999' is not PUBLISHER/FEATURE, two numbers to 65535, for example 2/1001" in said


def test_a_span_of_sequence_numbers_is_said_the_right_way_round() -> None:
    for text in ("2/1001", "2/1001:6-0", "2/1001:0-x", ":0-6"):
        result = CliRunner().invoke(key_cli.app, ["revoke", "--root", "none.key", "--feature", text], catch_exceptions=False)
        assert result.exit_code == 2 and "PUBLISHER/FEATURE" in result.output
