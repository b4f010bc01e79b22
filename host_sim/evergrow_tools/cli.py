"""The `evergrow` command: finds the sub-command, loads its module, runs it.

A sub-command is one line of COMMANDS below and one module, which is imported only when the sub-command is invoked; so
`evergrow --help` costs little more than starting Python. The module offers either

- `app`, a `typer.Typer` with sub-commands of its own (`evergrow key new`), or
- `main`, one function with typer annotations, whose docstring is its help (`evergrow budgets --json`), and `EPILOG`, an example.

Exit codes: 0 it worked, 1 what was asked for failed, 2 it was called wrongly. An expected failure is one sentence and, where it
helps, what to do about it; never a stack trace. A module names the exceptions that are expected in `EXPECTED`, a tuple of
exception types, and their text is the sentence; where the tools are not to be imported (simulator, cloud) that is the only way,
elsewhere `fail()` does it too. Colour is rich's and typer's business: on a terminal only.
"""

import sys
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType
    from typing import NoReturn

# Only `sys` and what Python has loaded anyway is imported up here: it is paid for by every call, `--help` first of all.

Command = namedtuple("Command", "name module help extra")
"""One sub-command: its module, one line of help, and the extra of the distribution that brings what it imports. All are str."""

COMMANDS = (
    Command("demo", "evergrow_tools.demo", "A washer, a broker and a cloud: features arrive over the air.", "cloud,sim"),
    Command("sim", "evergrow_sim.cli", "Run simulated appliances.", "sim"),
    Command("cloud", "evergrow_cloud.cli", "Run the reference cloud and ask it questions.", "cloud"),
    Command("ledger", "evergrow_cloud.ledger_cli", "Audit the usage that the cloud counts, and share what it earns.", "cloud"),
    Command("trust", "evergrow_cloud.trust_cli", "Deliver grants and revocation lists.", "cloud"),
    Command("entitle", "evergrow_cloud.entitle_cli", "Let a device use a feature, or no longer.", "cloud"),
    Command("broker", "evergrow_tools.broker_cli", "Run an embedded MQTT broker on this machine.", "sim"),
    Command("feature", "evergrow_tools.feature_cli", "Build, sign, inspect and push features.", "cloud"),
    Command("key", "evergrow_tools.key_cli", "Make and inspect signing keys.", "cloud"),
    Command("decode", "evergrow_tools.decode_cli", "Show what a payload says, byte by byte.", "tools"),
    Command("encode", "evergrow_tools.encode_cli", "Make a payload from JSON or diagnostic notation.", "tools"),
    Command("validate", "evergrow_tools.validate_cli", "Check recorded traffic against the specification.", "tools"),
    Command("tap", "evergrow_tools.tap_cli", "Listen to a broker, decoded.", "cloud"),
    Command("spec", "evergrow_tools.spec_cli", "Check that every sentence of SPEC.md is proven.", "dev"),
    Command("registry", "evergrow_tools.registry_cli", "Check and generate from the registry of ids.", "dev"),
    Command("budgets", "evergrow_tools.budgets", "Measure sizes and compare them with budgets.toml.", "sim"),
    Command("bench", "evergrow_tools.bench", "Measure speed and memory.", "cloud,sim"),
)


def fail(message: str, hint: str = "", code: int = 1) -> "NoReturn":
    """End the command with one sentence on standard error. `hint` says what to do about it."""
    print(f"evergrow: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    raise SystemExit(code)


def main(argv: list[str] | None = None) -> None:
    """Run `evergrow` with `argv` (default: the process's own arguments). Ends with SystemExit."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help", "help"):
        print(help_text())
        raise SystemExit(0 if args else 2)
    if args[0] == "--version":
        print(f"evergrow {version()}")
        raise SystemExit(0)
    name, *rest = args
    command = next((command for command in available() if command.name == name), None)
    if command is None:
        from difflib import get_close_matches

        close = get_close_matches(name, [command.name for command in available()], n=1)
        hint = f"Did you mean `evergrow {close[0]}`?" if close else "`evergrow --help` lists the commands."
        fail(f"there is no command {name!r}.", hint, code=2)
    if argv is None:
        import signal

        signal.signal(signal.SIGTERM, _interrupt)
    run(command, rest)


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """Whoever stops a service with SIGTERM finds everything in as good order as who types Ctrl+C."""
    import signal

    handler = signal.getsignal(signal.SIGINT)  # asyncio's own, while it runs; none where Ctrl+C is ignored in the background
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)


def run(command: Command, args: list[str]) -> "NoReturn":
    """Import the sub-command's module and run it with `args`."""
    from importlib import import_module

    try:
        module = import_module(command.module)
        import typer
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("evergrow_"):
            raise
        hint = f"Run: pip install 'evergrow[{command.extra}]'"
        fail(f"`evergrow {command.name}` needs {exc.name}, which is not installed.", hint)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
        app.command(help=module.main.__doc__, epilog=getattr(module, "EPILOG", None))(module.main)
    try:
        app(args=args, prog_name=f"evergrow {command.name}", obj=compile_portable)
    except getattr(module, "EXPECTED", ()) as exc:
        fail(str(exc) or type(exc).__name__)
    raise SystemExit(0)


def compile_portable(folder: "Path") -> None:
    """Compile the portable packages into `folder`. Handed to the sub-commands, since the simulator imports no tools."""
    from evergrow_tools import mpy

    try:
        mpy.build(folder, closed=True)
    except mpy.MpyError as exc:
        fail(str(exc))


def available() -> list[Command]:
    """The commands whose module is there; a module is looked for, not imported."""
    return [command for command in COMMANDS if _exists(command.module)]


def help_text() -> str:
    """What `evergrow --help` prints."""
    commands = available()
    width = max((len(command.name) for command in commands), default=0)
    lines = [f"  {command.name:<{width}}  {command.help}" for command in commands]
    return "\n".join(
        [
            "Usage: evergrow [--version] COMMAND [ARGS]...",
            "",
            "Appliances that keep growing after they are sold.",
            "",
            "Commands:",
            *lines,
            "",
            "`evergrow COMMAND --help` says more about one of them.",
        ]
    )


def version() -> str:
    """The version of the installed distribution; "unknown" when it runs from sources that are not installed."""
    from importlib import metadata

    try:
        return metadata.version("evergrow")
    except metadata.PackageNotFoundError:
        return "unknown"


def _exists(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
