"""Runs MicroPython with an image in its ROM: `python rom_host.py IMAGE HEAP CONFIG`. `launch` starts it as a process.

MicroPython's unix port is a module of CPython, so both share one address space: the image is mapped by this process, outside
the heap that HEAP ("160K") bounds, and MicroPython is told where. That is what a board has: code in flash, data in RAM.
"""

import ctypes
import mmap
import sys
from pathlib import Path

import micropython_unix

BOOT = Path(__file__).with_name("rom_boot.py")


def main(image_path: str, heap: str, config_path: str, boot: Path = BOOT) -> None:
    """Run `boot`, which gets the image's address, its size and `config_path`. Ends with SystemExit: the device's exit code."""
    with open(image_path, "rb") as file:
        rom = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    address = ctypes.addressof(ctypes.c_char.from_buffer(rom))
    sys.argv = ["micropython", "-X", f"heapsize={heap}", str(boot), str(address), str(len(rom)), config_path]
    sys.exit(micropython_unix.main())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
