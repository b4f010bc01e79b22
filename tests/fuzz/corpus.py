"""Inputs that found something, or reach far: one hexadecimal line each in corpus/TARGET.hex, replayed by every test run.

python tests/fuzz/corpus.py keep TARGET FILE...        adds files
python tests/fuzz/corpus.py gather TARGET FOLDER       adds the few of a fuzzer's folder that reach code no other reaches
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
_LONGEST = 400  # bytes of a gathered input; what has a whole signature in it is in `targets.seeds`
_MOST = 40


def load(target: str) -> list[bytes]:
    file = FOLDER / f"{target}.hex"
    return [bytes.fromhex(line) for line in file.read_text().split()] if file.exists() else []


def keep(target: str, found: list[bytes]) -> None:
    lines = {data.hex() for data in [*load(target), *found] if data}
    (FOLDER / f"{target}.hex").write_text("".join(f"{line}\n" for line in sorted(lines, key=lambda line: (len(line), line))))


def gather(target: str, folder: Path) -> list[bytes]:
    """Of the short inputs, the shortest first, those that run a line which none before did."""
    import targets

    reached: set[tuple[str, int]] = set()
    taken: list[bytes] = []
    found = sorted((file.read_bytes() for file in folder.iterdir()), key=lambda data: (len(data), data))
    for data in [*targets.seeds(target), *load(target), *found]:
        new = targets.lines_of(target, data) - reached
        reached |= new
        if new and data in found and 0 < len(data) <= _LONGEST and len(taken) < _MOST:
            taken.append(data)
    return taken


if __name__ == "__main__":
    sources = Path(__file__).parents[2]
    sys.path[:0] = [str(sources / name) for name in ("tests/fuzz", "protocol", "firmware", "host_sim")]
    command, name, *paths = sys.argv[1:]
    keep(name, gather(name, Path(paths[0])) if command == "gather" else [Path(path).read_bytes() for path in paths])
