"""The estimate of flash wear against what LittleFS2 really programs and erases."""

from evergrow_agent.fsflash import FsFlash
from evergrow_sim import lfs
from evergrow_sim.world.flash import PowerFlash
from evergrow_sim.world.flashwear import blocks_to_append, data_blocks

HEAP = "4M"
POINT = "/wear"


def boot_counter(flash, number):
    flash.write(f"boot.{number & 1}", b"x" * 12)


def checkpoint(flash, number):
    flash.write("cycle", b"x" * 70)


def feature_index(flash, number):
    flash.write("features", b"x" * 500)


def body(flash, number):
    flash.write("feature.0", b"x" * 1500)


def records(flash, number):
    """Segments of 100 records, removed when they are full."""
    name = f"use.{number // 100:08d}"
    flash.append(name, b"r" * 40)
    if number % 100 == 99:
        flash.remove(name)


def renames(flash, number):
    flash.rename(f"other0{1 + (number & 1)}", f"other0{2 - (number & 1)}")


USES = (boot_counter, checkpoint, feature_index, body, records, renames)
TIMES = 200


def prepared(flash):
    for number in range(1, 8):
        flash.write(f"other0{number}", bytes(30))
    return flash


def test_the_estimate_is_near_the_real_wear_and_erases_are_at_most_twice_as_many():
    if not lfs.AVAILABLE:
        return
    for use in USES:
        chip = lfs.Chip(lfs.RamBlocks(24))
        lfs.mount(chip, POINT)
        real = prepared(FsFlash(POINT))
        model = prepared(PowerFlash(block_count=24))
        real_before = (chip.programmed_bytes, chip.erases)
        before = (model.wear.programmed_bytes, model.wear.erases)
        for number in range(TIMES):
            use(real, number)
            use(model, number)
        real_bytes, real_erases = chip.programmed_bytes - real_before[0], chip.erases - real_before[1]
        model_bytes, model_erases = model.wear.programmed_bytes - before[0], model.wear.erases - before[1]
        print(
            f"{use.__name__}: bytes {real_bytes / TIMES:.0f} real {model_bytes / TIMES:.0f} estimated, "
            f"erases {real_erases / TIMES:.3f} real {model_erases / TIMES:.3f} estimated"
        )
        assert abs(model_bytes - real_bytes) <= real_bytes // 5, (use.__name__, real_bytes, model_bytes)
        # Depending on how its commits are aligned, LittleFS2 compacts a log once or twice.
        assert model_erases <= real_erases * 1.15 + 2 and real_erases <= 2.2 * model_erases + 2, (
            use.__name__,
            real_erases,
            model_erases,
        )
    lfs.unmount(POINT)


def test_the_blocks_of_a_file_are_those_of_littlefs():
    sizes = {0: 0, 512: 0, 513: 1, 4096: 1, 4097: 2, 8188: 2, 8189: 3, 12276: 3, 12277: 4, 16368: 4, 16369: 5}
    for size in sizes:
        assert data_blocks(size) == sizes[size], size
        if lfs.AVAILABLE:
            lfs.mount(lfs.Chip(lfs.RamBlocks(12)), POINT)
            flash = FsFlash(POINT)
            free = flash.free()
            flash.write("x", bytes(size))
            assert free - flash.free() == sizes[size] * lfs.BLOCK_BYTES, size
            lfs.unmount(POINT)


def test_an_append_copies_the_last_block_and_none_before_it():
    cases = ((0, 40, 0), (500, 540, 1), (600, 640, 1), (4096, 4097, 1), (5000, 5040, 1), (4000, 9000, 3), (9000, 9000, 0))
    for before, after, blocks in cases:
        assert blocks_to_append(before, after) == blocks, (before, after)


def test_wear_is_counted_for_each_name():
    flash = PowerFlash()
    for number in range(50):
        records(flash, number)
    boot_counter(flash, 0)
    names = flash.wear.names
    assert sorted(names) == ["boot.0", "use.00000000"]
    assert sum([row[0] for row in names.values()]) == flash.wear.programmed_bytes
    assert sum([row[1] for row in names.values()]) == flash.wear.erases
    assert names["use.00000000"][1] > 30
