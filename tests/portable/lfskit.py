"""The real LittleFS2 on a simulated chip, which MicroPython alone has (`lfs.AVAILABLE`). Portable."""

from evergrow_agent.fsflash import FsFlash
from evergrow_sim import lfs

POINT = "/chip"


def booted(blocks):
    """Power on: (chip, flash), a new chip on the same blocks, mounted."""
    chip = lfs.Chip(blocks)
    lfs.mount(chip, POINT)
    return chip, FsFlash(POINT)
