from evergrow_agent.bootcount import bump
from faultyflash import AFTER, MODES, FaultyFlash, PowerCut


class Random:
    def __init__(self, data=b"\x12\x34\x56\x78"):
        self.data = data

    def bytes(self, n):
        return self.data[:n]


def test_every_boot_has_a_larger_number():
    """EG-ENV-001"""
    flash = FaultyFlash()
    assert [bump(flash, Random()) for _ in range(5)] == [(n, False) for n in range(1, 6)]


def test_power_cut_at_any_moment_of_any_boot_repeats_no_number():
    """EG-ENV-001"""
    for mode in MODES:
        for cut_boot in range(6):
            files = {}
            used = []
            for boot in range(8):
                flash = FaultyFlash(files, cut_at=1 if boot == cut_boot else 0, mode=mode)
                try:
                    used.append(bump(flash, Random())[0])
                except PowerCut:
                    assert boot == cut_boot
            assert len(used) == 7
            assert used == sorted(set(used))


def test_a_decayed_slot_repeats_no_number():
    """EG-ENV-001: the slot that decayed may have held the larger one."""
    for boots in range(1, 6):
        for slot in ("boot.0", "boot.1"):
            for damage in (b"", b"\x00" * 8, b"\xff" * 9):
                flash = FaultyFlash()
                for _ in range(boots):
                    last, _ = bump(flash, Random())
                if slot in flash.files:
                    flash.files[slot] = damage
                    for _ in range(3):
                        now, _ = bump(flash, Random())
                        assert now > last
                        last = now


def test_with_both_slots_decayed_the_number_is_drawn_above_all_that_were_counted_and_goes_on_from_there():
    flash = FaultyFlash({"boot.0": b"x", "boot.1": b"y"})
    first, drawn = bump(flash, Random())
    assert drawn and first == 0x92345678
    second, drawn = bump(flash, Random())
    assert second > first and not drawn


def test_without_a_flash_the_number_is_drawn_and_flagged():
    """EG-ENV-001"""
    for mode in MODES:
        flash = FaultyFlash(mode=mode, fail=lambda n: True)
        assert bump(flash, Random()) == (0x92345678, True)
    flash = FaultyFlash()
    flash.fail_reads = ("boot.0", "boot.1")
    assert bump(flash, Random()) == (0x92345678, True)


def test_an_error_in_one_boot_takes_no_later_number_back():
    files = {}
    for boot in range(1, 9):
        flash = FaultyFlash(files, fail=(lambda n: True) if boot == 4 else None, mode=AFTER)
        number, drawn = bump(flash, Random())
        assert drawn == (boot == 4)
        assert number == (boot if boot != 4 else 0x92345678)


def test_a_number_that_is_known_to_be_taken_is_passed():
    flash = FaultyFlash()
    assert bump(flash, Random(), 41) == (42, False)
    assert bump(flash, Random(), 7) == (43, False)


def test_the_count_never_leaves_32_bits():
    flash = FaultyFlash()
    assert bump(flash, Random(), 0xFFFFFFFE) == (0xFFFFFFFF, False)
    number, _ = bump(flash, Random())
    assert 0 < number <= 0xFFFFFFFF
