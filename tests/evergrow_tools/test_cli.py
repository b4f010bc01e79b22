"""The `evergrow` command: lazy sub-commands, exit codes, one sentence for an expected failure."""

import subprocess
import sys
import sysconfig
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
import typer

from evergrow_tools import cli

ROOT = Path(__file__).parents[2]


def run_main(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(args))
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def run_python(script: str) -> str:
    """What a fresh interpreter prints that runs `script` from the sources."""
    path = [str(ROOT / room) for room in ("protocol", "firmware", "host_sim")]
    command = [sys.executable, "-c", f"import sys\nsys.path[:0] = {path!r}\n{script}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return done.stdout.decode()


@pytest.fixture
def extra_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Adds a sub-command `sample` whose module has the given body."""

    def add(body: str, extra: str = "cloud") -> None:
        (tmp_path / "sample_command.py").write_text(textwrap.dedent(body))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "sample_command", raising=False)
        monkeypatch.setattr(cli, "COMMANDS", (cli.Command("sample", "sample_command", "A sample.", extra),))

    return add


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_main(capsys, "--help")
    assert code == 0
    for command in cli.available():
        assert f"  {command.name}" in out
        assert command.help in out


def test_help_imports_no_command_and_no_library() -> None:
    script = (
        "import sys\nbefore = set(sys.modules)\nfrom evergrow_tools.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    loaded = run_python(script).splitlines()[-1].split()
    foreign = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign <= {"evergrow_tools", "evergrow_tools.cli", "evergrow_sim", "evergrow_cloud"}


def test_without_arguments_it_shows_the_help_as_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_main(capsys)
    assert code == 2
    assert out.startswith("Usage: evergrow")


def test_an_unknown_command_is_a_usage_error_that_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_main(capsys, "budget")
    assert code == 2
    assert err == "evergrow: there is no command 'budget'.\n  Did you mean `evergrow budgets`?\n"


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_main(capsys, "--version")
    assert code == 0
    assert out == f"evergrow {cli.version()}\n"


def test_a_module_with_a_function_main_is_a_single_command(extra_command, capsys: pytest.CaptureFixture[str]) -> None:
    extra_command('def main(count: int = 1) -> None:\n    """Does it."""\n    print("count", count + 1)\n')
    assert run_main(capsys, "sample", "--count", "4") == (0, "count 5\n", "")
    code, out, _ = run_main(capsys, "sample", "--help")
    assert code == 0
    assert "evergrow sample" in out
    assert "Does it." in out


def test_a_module_with_an_app_has_sub_commands(extra_command, capsys: pytest.CaptureFixture[str]) -> None:
    extra_command(
        """
        import typer
        app = typer.Typer()

        @app.command()
        def one() -> None:
            print("first")

        @app.command()
        def two() -> None:
            print("second")
        """
    )
    assert run_main(capsys, "sample", "two") == (0, "second\n", "")
    assert run_main(capsys, "sample", "three")[0] == 2


def test_a_wrong_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(capsys, "budgets", "--nope")[0] == 2


def test_an_expected_failure_is_one_sentence_and_exit_code_1(extra_command, capsys: pytest.CaptureFixture[str]) -> None:
    extra_command('from evergrow_tools.cli import fail\n\ndef main() -> None:\n    fail("the drum is full.", "Empty it.")\n')
    assert run_main(capsys, "sample") == (1, "", "evergrow: the drum is full.\n  Empty it.\n")


def test_an_exception_that_the_module_expects_is_its_sentence(extra_command, capsys: pytest.CaptureFixture[str]) -> None:
    extra_command('EXPECTED = (OSError,)\n\ndef main() -> None:\n    raise OSError("the broker does not answer")\n')
    assert run_main(capsys, "sample") == (1, "", "evergrow: the broker does not answer\n")


def test_a_missing_library_names_the_extra_that_brings_it(extra_command, capsys: pytest.CaptureFixture[str]) -> None:
    extra_command("import no_such_library\n", extra="sim")
    code, _, err = run_main(capsys, "sample")
    assert code == 1
    assert "needs no_such_library" in err
    assert "pip install 'evergrow[sim]'" in err


def test_output_that_is_not_a_terminal_has_no_colour_codes() -> None:
    assert "\x1b" not in run_python("from evergrow_tools.cli import main\nmain(['budgets', '--help'])\n")


def test_a_benchmark_that_cannot_run_here_says_so_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "cbor"])
    assert ended.value.code == 1
    assert "benchmark cbor: MicroPython is not installed" in capsys.readouterr().err


def test_the_help_of_every_command_ends_with_an_example() -> None:
    for command in cli.COMMANDS:
        module = import_module(command.module)
        app = getattr(module, "app", None)
        if app is None:
            assert module.EPILOG.startswith("Example"), command.name
            continue
        for name, sub_command in typer.main.get_command(app).commands.items():
            assert (sub_command.epilog or "").startswith("Example"), f"evergrow {command.name} {name}"
