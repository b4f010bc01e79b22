"""ROMFS images, as the real MicroPython reads them."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from evergrow_sim import romfs

READ = """
import sys, vfs, os
with open(sys.argv[1], "rb") as file:
    vfs.mount(vfs.VfsRom(file.read()), "/rom")
for name in sys.argv[2:]:
    with open("/rom/" + name, "rb") as file:
        print(name, len(file.read()))
print(sorted(os.listdir("/rom")))
"""


def read_on_micropython(tmp_path: Path, image: bytes, *names: str) -> list[str]:
    launcher = Path(sysconfig.get_path("scripts")) / "micropython"
    if not launcher.exists():
        pytest.skip(f"no MicroPython for {sys.platform}")
    (tmp_path / "rom.img").write_bytes(image)
    (tmp_path / "read.py").write_text(READ)
    command = [launcher, tmp_path / "read.py", tmp_path / "rom.img", *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_files_and_folders_are_read_back_by_micropython(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    (folder / "package" / "inner").mkdir(parents=True)
    sizes = {"empty.mpy": 0, "one.mpy": 127, "two.mpy": 128, "package/three.mpy": 20_000, "package/inner/four.mpy": 1}
    for name, size in sizes.items():
        (folder / name).write_bytes(b"x" * size)
    (folder / "notes.txt").write_text("not code")
    lines = read_on_micropython(tmp_path, romfs.image(folder), *sizes)
    assert lines == [*(f"{name} {size}" for name, size in sizes.items()), "['empty.mpy', 'one.mpy', 'package', 'two.mpy']"]


def test_an_image_has_an_even_size_whatever_it_holds(tmp_path: Path) -> None:
    for size in range(120, 135):
        (tmp_path / "a.mpy").write_bytes(b"x" * size)
        assert len(romfs.image(tmp_path)) % 2 == 0
