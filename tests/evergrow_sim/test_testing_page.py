"""The run that docs/testing.md teaches with: what is printed there is what the command prints."""

import re
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from evergrow_agent.commands import Commands
from evergrow_sim import cli

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def told(line: str) -> str:
    """A line without times, ids and counts: they move with every change of the agent. What the seed alone decides stays."""
    return line if line.startswith(("fault ", "replay: ")) else re.sub(r"[0-9]+", "#", line)


def test_the_planted_bug_is_found_made_small_and_told_as_the_page_says() -> None:
    blocks = re.findall(r"```console\n\$ (evergrow sim replay .*)\n((?:.*\n)+?)```", PAGE.read_text(encoding="utf-8"))
    ((command, printed),) = blocks
    with mock.patch.object(Commands, "_save", lambda _: None):
        result = CliRunner().invoke(cli.app, command.split()[2:], catch_exceptions=False)
    assert result.exit_code == 1
    lines = iter([told(line) for line in result.output.splitlines()])
    for line in printed.splitlines():
        if line.strip() != "...":
            wanted, cut = told(line.removesuffix("...")), line.endswith("...")
            seen = any(found == wanted or (cut and found.startswith(wanted)) for found in lines)
            assert seen, f"{line!r} is not printed, or not in this place"
