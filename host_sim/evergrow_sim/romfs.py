"""ROMFS images: compiled modules as they lie in a board's flash, where MicroPython runs them without copying them to RAM.

    image      d2 cd 31 | record length | directory entries
    record     kind | length | payload        kind and length: big endian, 7 bits a byte, the top bit set on all but the last
    directory  length of its name | name | entries       (kind 4)
    file       length of its name | name | a data record (kind 5; the data is kind 2)

The format is MicroPython's (extmod/vfs_rom.c).
"""

from pathlib import Path

_MAGIC = b"\xd2\xcd\x31"
_DATA = 2
_DIRECTORY = 4
_FILE = 5


def image(folder: Path, suffix: str = ".mpy") -> bytes:
    """An image of the files below `folder` whose name ends in `suffix`. Raises OSError."""
    entries = _entries(folder, suffix)
    length = _uint(len(entries))
    if (len(_MAGIC) + len(length) + len(entries)) % 2:
        length = b"\x80" + length  # an image has an even size
    return _MAGIC + length + entries


def _entries(folder: Path, suffix: str) -> bytes:
    out = b""
    for path in sorted(folder.iterdir()):
        name = _uint(len(path.name.encode())) + path.name.encode()
        if path.is_dir():
            out += _record(_DIRECTORY, name + _entries(path, suffix))
        elif path.name.endswith(suffix):
            out += _record(_FILE, name + _record(_DATA, path.read_bytes()))
    return out


def _record(kind: int, payload: bytes) -> bytes:
    return _uint(kind) + _uint(len(payload)) + payload


def _uint(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.insert(0, value & 0x7F | 0x80)
    return bytes(out)
