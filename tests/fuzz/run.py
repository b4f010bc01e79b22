"""Coverage-guided fuzzing with atheris (libFuzzer), of one target or of all, one after the other:

    python tests/fuzz/run.py TARGET|all FOLDER [libFuzzer options]     e.g. -max_total_time=60, -runs=5000 -seed=1

FOLDER/TARGET receives the inputs that reach new code. An input that breaks something is written to FOLDER as TARGET-crash-...; to
keep it: `python tests/fuzz/corpus.py keep TARGET FILE`. Where there is no atheris, hypothesis mutates as long as a day is.
"""

import os
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[2]
sys.path[:0] = [str(SOURCES / folder) for folder in ("tests/fuzz", "protocol", "firmware", "host_sim")]
MAX_INPUT = 4096
WITHOUT_ATHERIS = 20_000  # examples of each test


def fuzz(target: str, folder: Path, options: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["evergrow_protocol", "evergrow_agent"]):
        import targets
    from corpus import load

    inputs = folder / target
    inputs.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate([*targets.seeds(target), *load(target)]):
        (inputs / f"seed-{number}").write_bytes(data)
    arguments = [sys.argv[0], *options, f"-max_len={MAX_INPUT}", f"-artifact_prefix={folder}/{target}-", str(inputs)]
    atheris.Setup(arguments, lambda data: targets.check(target, data))
    atheris.Fuzz()


def fuzz_all(folder: Path, options: list[str]) -> int:
    """-> the exit status."""
    from targets import TARGETS

    try:
        import atheris  # noqa: F401
    except ImportError:
        print("fuzz: atheris has no wheel for this Python here; hypothesis mutates instead", flush=True)
        environment = os.environ | {"FUZZ_EXAMPLES": str(WITHOUT_ATHERIS)}
        command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", str(Path(__file__).parent)]
        return subprocess.run(command, env=environment, check=False).returncode
    for target in TARGETS:
        command = [sys.executable, __file__, target, str(folder), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("Done")), "")
        print(f"fuzz: {target}: {last or 'failed'}", flush=True)
        if done.returncode:
            print(done.stderr[-3000:], *folder.glob(f"{target}-*"), sep="\n")
            return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "all":
        sys.exit(fuzz_all(Path(sys.argv[2]), sys.argv[3:]))
    fuzz(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
