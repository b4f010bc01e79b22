"""The flash port that loses power, fills up, decays and fails: evergrow_sim.world.flash on its own."""

import os
from hashlib import sha256

from evergrow_agent.fsflash import FsFlash
from evergrow_sim.lfs import CUT_AFTER, CUT_BEFORE, CUT_TORN, PowerCut
from evergrow_sim.world.flash import PowerFlash
from flashtruth import Rand, apply
from support import raises

HEAP = "1M"
HOWS = (CUT_BEFORE, CUT_TORN, CUT_AFTER)


def after_cut(flash, how, operation, *arguments):
    """The files after power failed in that operation."""
    flash.cut(flash.ops + 1, how)
    raises(PowerCut, getattr(flash, operation), *arguments)
    raises(PowerCut, flash.read, "x")
    flash.power_on()
    return flash.files


def test_a_cut_write_leaves_the_old_or_the_new():
    found = [after_cut(PowerFlash({"x": b"old"}), how, "write", "x", b"new")["x"] for how in HOWS]
    assert found == [b"old", b"old", b"new"]


def test_a_cut_append_leaves_the_old_or_the_new_and_an_empty_file_where_there_was_none():
    found = [after_cut(PowerFlash({"x": b"old"}), how, "append", "x", b"new")["x"] for how in HOWS]
    assert found == [b"old", b"old", b"oldnew"]
    found = [after_cut(PowerFlash(), how, "append", "x", b"new").get("x") for how in HOWS]
    assert found == [None, b"", b"new"]


def test_a_torn_append_leaves_a_prefix_where_the_port_allows_it():
    for kept in range(4):
        flash = PowerFlash({"x": b"old"}, prefixes=True)
        flash.cut(1, CUT_TORN, kept)
        raises(PowerCut, flash.append, "x", b"new")
        assert flash.files["x"] == (b"old" + b"new"[:kept])
    # A write is whole even if it begins as the old content did.
    assert after_cut(PowerFlash({"x": b"old"}, prefixes=True), CUT_TORN, "write", "x", b"older still")["x"] == b"old"


def test_a_cut_rename_and_removal_are_done_or_not():
    found = [dict(after_cut(PowerFlash({"x": b"1", "y": b"2"}), how, "rename", "x", "y")) for how in HOWS]
    assert found == [{"x": b"1", "y": b"2"}, {"x": b"1", "y": b"2"}, {"y": b"1"}]
    found = [dict(after_cut(PowerFlash({"x": b"1"}), how, "remove", "x")) for how in HOWS]
    assert found == [{"x": b"1"}, {"x": b"1"}, {}]


def test_without_power_nothing_works_and_what_was_stored_is_there_when_it_is_back():
    flash = PowerFlash()
    flash.write("x", b"1")
    flash.power_off()
    for call in (flash.names, flash.free):
        raises(PowerCut, call)
    for name in ("read", "size", "remove"):
        raises(PowerCut, getattr(flash, name), "x")
    raises(PowerCut, flash.readinto, "x", 0, bytearray(1))
    raises(PowerCut, flash.write, "x", b"2")
    raises(PowerCut, flash.append, "x", b"2")
    raises(PowerCut, flash.rename, "x", "y")
    flash.power_on()
    assert flash.read("x") == b"1" and flash.ops == 1


def test_the_world_is_told_when_power_goes():
    told = []
    flash = PowerFlash()
    flash.on_cut = lambda: told.append(flash.ops)
    flash.cut(2, CUT_AFTER)
    flash.write("x", b"1")
    raises(PowerCut, flash.write, "x", b"2")
    raises(PowerCut, flash.write, "x", b"3")
    assert told == [2]


def test_a_full_flash_refuses_and_keeps_what_it_has():
    flash = PowerFlash(block_count=4)
    flash.write("a", bytes(4000))
    assert flash.free() == 4096
    assert apply(flash, ("write", "b", bytes(4097))) == 28
    assert flash.names() == ["a"]
    flash.write("b", bytes(4096))
    assert flash.free() == 0
    assert apply(flash, ("append", "a", b"x")) == 28  # The last block is copied first.
    assert apply(flash, ("write", "a", bytes(600))) == 28
    assert flash.size("a") == 4000
    flash.write("small", bytes(512))  # stands in the log
    assert apply(flash, ("append", "new", bytes(600))) == 28
    assert flash.size("new") == 0
    flash.remove("b")
    flash.append("a", b"x")


def test_errors_on_demand_have_the_effect_that_was_asked_for():
    for how, left in ((CUT_BEFORE, None), (CUT_TORN, b""), (CUT_AFTER, b"1")):
        flash = PowerFlash()
        flash.fail, flash.fail_how = (lambda number: number == 1), how
        assert apply(flash, ("append", "x", b"1")) == 5
        assert flash.read("x") == left
        flash.append("x", b"2")
        flash.fail_reads = ("x",)
        raises(OSError, flash.read, "x")
        raises(OSError, flash.size, "x")
        assert flash.names() == ["x"]
        flash.fail_reads = ("",)
        raises(OSError, flash.names)
        assert flash.read("x") == (left or b"") + b"2"


def test_bits_decay_and_the_log_is_rolled_back():
    flash = PowerFlash(undo_max=8)
    flash.write("x", b"\x00\x00")
    flash.rot("x", 9)
    assert flash.read("x") == b"\x00\x02"
    flash.write("x", b"1")
    flash.rename("x", "y")
    flash.remove("y")
    assert flash.roll_back(2) == 2
    assert flash.files == {"x": b"1"}
    assert flash.roll_back(99) == 2
    assert flash.files == {}
    for number in range(20):
        flash.write("x", bytes([number]))
    assert flash.roll_back(9999) == 8
    assert flash.read("x") == bytes([11])


def test_what_can_be_undone_is_told_up_to_a_file_that_must_stay():
    times = [5]
    flash = PowerFlash(undo_max=8, stamp=lambda: times[-1])
    flash.write("x", b"1")
    flash.write("boot.0", b"1")
    for at in (7, 9):
        times.append(at)
        flash.write("x", bytes([at]))
    assert flash.undoable("boot.") == [9, 7]
    assert flash.undoable("x") == [] and flash.undoable("y") == [9, 7, 5, 5]


def test_the_rule_of_names_is_that_of_the_real_port():
    path = f"/tmp/evergrow-test-{os.urandom(6).hex()}"
    real, model = FsFlash(path), PowerFlash()
    for name in ("", ".", ".x", "a" * 33, "x.tmp", "A", "a/b", "ä", " "):
        for flash in (real, model):
            raises(ValueError, flash.write, name, b"")
            raises(ValueError, flash.read, name)
            raises(ValueError, flash.rename, "x", name)
            raises(ValueError, flash.remove, name)
    os.rmdir(path)


def test_the_same_operations_are_the_same_flash_on_every_interpreter():
    rand = Rand(1)
    flash = PowerFlash(block_count=20)
    digest = sha256()
    for number in range(300):
        step = (("write", "append", "remove", "rename")[rand.below(4)], f"n{rand.below(9)}", rand.content(rand.below(3000)))
        if step[0] == "rename":
            step = (step[0], step[1], f"n{rand.below(9)}")
        if not rand.below(5):
            flash.cut(flash.ops + 1, HOWS[rand.below(3)])
        try:
            error = apply(flash, step)
        except PowerCut:
            error = -2
            flash.power_on()
        digest.update(f"{number} {error} {flash.names()} {flash.free()} {flash.ops} {flash.wear.erases}".encode())
    assert digest.digest()[:4].hex() == "ce7c386f"
