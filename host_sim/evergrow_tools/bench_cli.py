"""How long `evergrow --help` takes to start, beside `python -c pass` and beside importing what the sub-commands need."""

import statistics
import subprocess
import sys
import time
from typing import Any

ROUNDS = 15

PROGRAMS = {
    "python -c pass": "pass",
    "evergrow --help": "from evergrow_tools.cli import main; main(['--help'])",
    "import typer, rich, aiomqtt": "import typer, rich.console, aiomqtt",
}


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """{program: median ms}; the programs take turns, so that what else the machine does meets all of them."""
    took: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, code in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
            took[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(times), 1) for name, times in took.items()}


def format(result: dict[str, Any]) -> str:
    """A table; the ratio is to `python -c pass`."""
    base = result["python -c pass"]
    return "\n".join(f"{name:<28} {ms:>7.1f} ms  x{ms / base:.2f}" for name, ms in result.items())
