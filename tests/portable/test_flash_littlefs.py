"""What LittleFS2 does that one would not expect, on a chip that loses power."""

import os

from evergrow_agent.fsflash import FsFlash
from evergrow_sim import lfs

HEAP = "4M"
POINT = "/chip"
FILES = 40  # of 100 bytes: more than one pair of blocks holds


def test_a_file_that_a_cut_rename_hides_is_there_again_for_the_flash_port():
    """Renaming across two pairs of the directory is two commits. Between them, reading skips one file too many.

    Nothing is lost: the first change completes the rename, even the removal of what is not there. FsFlash sees to it before
    its first look at the directory.
    """
    if not lfs.AVAILABLE:
        return
    blocks = lfs.RamBlocks(32)
    chip = lfs.Chip(blocks)
    lfs.mount(chip, POINT)
    for number in range(FILES):
        with open(f"{POINT}/n{number:02d}", "wb") as file:
            file.write(bytes(100))
    chip.cut(chip.ops + 1, lfs.CUT_AFTER)
    try:
        os.rename(f"{POINT}/n00", f"{POINT}/n21")
        raise AssertionError("the rename was one operation")
    except lfs.PowerCut:
        pass
    lfs.mount(lfs.Chip(blocks), POINT)
    there = sorted(os.listdir(POINT))
    settled = sorted(FsFlash(POINT).names())
    lfs.unmount(POINT)
    assert settled == [f"n{number:02d}" for number in range(1, FILES)]
    assert there == settled[1:]
