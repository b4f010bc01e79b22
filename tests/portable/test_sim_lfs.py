"""The simulated flash chip: LittleFS2 on a device that counts, tears and forgets nothing. Only MicroPython has it."""

import os

from evergrow_sim import lfs
from lfskit import POINT, booted
from support import raises


def test_content_outlives_a_boot():
    if not lfs.AVAILABLE:
        return
    blocks = lfs.RamBlocks(16)
    _, flash = booted(blocks)
    flash.write("a", b"x" * 5000)
    _, flash = booted(blocks)
    assert flash.read("a") == b"x" * 5000
    assert flash.names() == ["a"]
    lfs.unmount(POINT)


def test_content_in_a_host_file_outlives_a_boot():
    if not lfs.AVAILABLE:
        return
    path = f"/tmp/evergrow-test-{os.urandom(6).hex()}.flash"
    try:
        blocks = lfs.FileBlocks(path, 16)
        _, flash = booted(blocks)
        flash.write("a", b"x" * 5000)
        lfs.unmount(POINT)
        blocks.close()
        _, flash = booted(lfs.FileBlocks(path, 16))
        assert flash.read("a") == b"x" * 5000
        assert os.stat(path)[6] == 16 * lfs.BLOCK_BYTES
    finally:
        lfs.unmount(POINT)
        os.remove(path)


def test_a_power_cut_at_any_operation_leaves_the_old_or_the_new_content():
    if not lfs.AVAILABLE:
        return
    for how in (lfs.CUT_BEFORE, lfs.CUT_TORN, lfs.CUT_AFTER):
        at = 1
        while True:
            blocks = lfs.RamBlocks(16)
            chip, flash = booted(blocks)
            flash.write("a", b"old" * 300)
            chip.cut(chip.ops + at, how)
            try:
                flash.write("a", b"new" * 400)
                done = True
            except lfs.PowerCut:
                done = False
            _, flash = booted(blocks)
            assert flash.read("a") in (b"old" * 300, b"new" * 400), (how, at)
            if done:
                break
            at += 1
        assert at > 5
    lfs.unmount(POINT)


def test_a_power_cut_during_the_first_format_is_made_good():
    if not lfs.AVAILABLE:
        return
    for how in (lfs.CUT_BEFORE, lfs.CUT_TORN, lfs.CUT_AFTER):
        at = 1
        while True:
            blocks = lfs.RamBlocks(16)
            chip = lfs.Chip(blocks)
            chip.cut(at, how)
            try:
                lfs.mount(chip, POINT)
                done = True
            except lfs.PowerCut:
                done = False
            _, flash = booted(blocks)
            flash.write("a", b"x")
            if done:
                break
            at += 1
        assert at > 3
    lfs.unmount(POINT)


def test_without_power_nothing_can_be_read_or_written():
    chip = lfs.Chip(lfs.RamBlocks(4))
    chip.cut(1, lfs.CUT_BEFORE)
    raises(lfs.PowerCut, chip.ioctl, 6, 0)
    raises(lfs.PowerCut, chip.writeblocks, 0, b"x", 0)
    raises(lfs.PowerCut, chip.readblocks, 0, bytearray(1), 0)
    assert chip.ops == 1


def test_a_damaged_file_system_is_reported_and_not_formatted_away():
    if not lfs.AVAILABLE:
        return
    blocks = lfs.RamBlocks(16)
    _, flash = booted(blocks)
    flash.write("a", b"x")
    lfs.unmount(POINT)
    for block in (0, 1):
        blocks.prog(block, 32, b"\x00" * 64)
    raises(OSError, lfs.mount, lfs.Chip(blocks), POINT)
