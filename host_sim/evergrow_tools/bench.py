"""`evergrow bench`: speed and memory, each beside a peer in the same run. Its output is kept in docs/benchmarks.md.

A benchmark is one line of BENCHES and one module with `run() -> dict` and `format(dict) -> str`.
"""

import json
import platform
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from evergrow_tools.brokers import BrokerError
from evergrow_tools.cli import fail, version
from evergrow_tools.mpy import MpyError

BENCHES = {
    "cli": ("evergrow_tools.bench_cli", "Start-up of the command"),
    "cbor": ("evergrow_tools.bench_cbor", "CBOR on MicroPython, beside its C json and a straightforward CBOR"),
    "wire": ("evergrow_tools.bench_wire", "Bytes on the wire, beside JSON, SenML and Sparkplug B"),
    "delta": ("evergrow_tools.bench_delta", "Patches of real edits, beside bsdiff4 and detools with heatshrink"),
    "lms": ("evergrow_tools.bench_lms", "Signature verification on MicroPython, beside Ed25519 and its bare hashing"),
    "cloud": ("evergrow_tools.bench_cloud", "Usage records into the cloud's ledger"),
    "flash": ("evergrow_tools.bench_flash", "Flash wear of a day, on the real LittleFS2"),
    "transfer": ("evergrow_tools.bench_transfer", "A feature over a bad line: bytes, and time beside bare streams"),
    "install": ("evergrow_tools.bench_install_heap", "The heap of MicroPython through an install"),
    "world": ("evergrow_tools.bench_world", "The deterministic world: speed, memory, power cuts"),
    "heap": ("evergrow_tools.bench_heap", "Heap of the agent on MicroPython"),
}

EPILOG = "Examples: evergrow bench; evergrow bench cbor lms --json"
EXPECTED = (BrokerError, MpyError)


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Default: all of {', '.join(BENCHES)}.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write the report to this file as well: docs/benchmarks.md.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Measure speed and memory. Ratios within one run are what counts: absolute times are this machine's."""
    unknown = sorted(set(names or ()) - set(BENCHES))
    if unknown:
        fail(f"there is no benchmark {unknown[0]!r}.", f"There are {', '.join(BENCHES)}.", code=2)
    if write is not None and (write.is_dir() or not write.parent.is_dir()):
        fail(f"{write} cannot be written.", "Name a file in a folder that exists.", code=2)
    results: dict[str, Any] = {}
    sections = []
    for name in names or BENCHES:
        module_name, title = BENCHES[name]
        typer.echo(f"bench: {name} ...", err=True)
        module = import_module(module_name)
        started = time.monotonic()
        try:
            results[name] = module.run()
        except (*EXPECTED, *getattr(module, "EXPECTED", ())) as error:
            fail(f"benchmark {name}: {error}")
        text = module.format(results[name])
        sections.append(f"## {title}\n\n`evergrow bench {name}`, {time.monotonic() - started:.0f} s\n\n```text\n{text}\n```\n")
        if not as_json:
            typer.echo(f"\n{title}\n\n{text}\n")
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    if write is not None:
        write.write_text(_head() + "\n".join(sections))
        typer.echo(f"bench: written to {write}", err=True)


def _head() -> str:
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    machine = f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}"
    return (
        "# Benchmarks\n\n"
        f"Made by `make bench` with evergrow {version()} on {day}: {machine}. Made again, never edited by hand.\n\n"
        "Absolute times are those of the machine that ran it; what carries over are the ratios, the counts and the bytes.\n\n"
    )
