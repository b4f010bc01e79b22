"""A built feature on disk: NAME.suit, the envelope, and NAME.suit.1, ... beside it, the payloads it calls 'evergrow:1', ..."""

import os
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".suit"


class FeatureError(Exception):
    """A feature source or a built feature that cannot be used; the text names file, place and limit."""


@dataclass(frozen=True)
class Built:
    """A feature as it is pushed: the envelope, and payloads by the N of 'evergrow:N'."""

    name: str
    envelope: bytes
    payloads: Mapping[int, bytes]


def examples() -> Path:
    """The folder of the example features: `firmware/features` beside these sources, or where an installation has put it."""
    sources = Path(__file__).parents[2] / "firmware" / "features"
    if sources.is_dir():
        return Path(os.path.relpath(sources))
    return Path(sysconfig.get_path("data"), "share", "evergrow", "features")


def write(built: Built, path: Path) -> list[Path]:
    """Write NAME.suit and its payload files, each at once or not at all; stale payloads go. -> the files. Raises FeatureError."""
    contents = {path: built.envelope} | {_payload_path(path, number): data for number, data in built.payloads.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in _payload_files(path).values():
            if stale not in contents:
                stale.unlink()
        for target, data in contents.items():
            temporary = target.with_name(target.name + ".new")
            temporary.write_bytes(data)
            os.replace(temporary, target)
    except OSError as error:
        raise FeatureError(f"cannot write {error.filename}: {error.strerror}") from None
    return list(contents)


def read(path: Path) -> Built:
    """Read NAME.suit and the payload files beside it. Raises FeatureError."""
    try:
        payloads = {number: file.read_bytes() for number, file in _payload_files(path).items()}
        return Built(path.stem, path.read_bytes(), payloads)
    except OSError as error:
        raise FeatureError(f"cannot read {error.filename}: {error.strerror}") from None


def _payload_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _payload_files(path: Path) -> dict[int, Path]:
    files = {}
    for file in path.parent.glob(f"{path.name}.*"):
        number = file.name[len(path.name) + 1 :]
        if number.isdigit() and number[0] != "0":
            files[int(number)] = file
    return files
