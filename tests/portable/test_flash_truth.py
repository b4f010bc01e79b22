"""The modelled flash against LittleFS2: the same operations, cut at the same places, leave the same."""

from evergrow_sim import lfs
from evergrow_sim.world.flash import after_cut
from flashtruth import KINDS, Littlefs, Rand, add, apply, check, contents

HEAP = "16M"
SEEDS = 20 if lfs.AVAILABLE else 4  # A directory syncs for real.

# Size before, size of the data; before -1: no file. Either side of what stands in the log, and of the first block.
_SIZES = ((-1, 0), (-1, 40), (-1, 600), (0, 40), (40, 40), (500, 40), (512, 1), (600, 40), (4090, 40), (4096, 5000), (9000, 40))


def test_random_sequences_with_cuts_leave_on_both_the_same():
    seen, free_off = {}, {}
    cuts = full = disagreed = hidden = 0
    for seed in range(SEEDS):
        run = check(seed)
        add(seen, run.seen)
        add(free_off, run.free_off)
        cuts += run.cuts
        full += run.full
        disagreed += run.disagreed
        hidden += run.hidden
    print(f"{SEEDS} seeds, {cuts} cuts; full {full} times, of which {disagreed} only here or there; hidden {hidden}")
    for operation, outcome in sorted(seen):
        print(f"{operation} {outcome}: {seen[(operation, outcome)]}")
    print(f"free blocks, real minus model: {sorted(free_off.items())}")
    if lfs.AVAILABLE:
        assert cuts > 5 * SEEDS
        assert disagreed <= full // 4
        for operation in ("write", "append", "remove", "rename"):
            assert seen[(operation, "old")] and seen[(operation, "new")]
        assert free_off[0] > 0.8 * sum(free_off.values())


def test_a_sequence_on_an_old_and_crowded_file_system_leaves_on_both_the_same():
    if lfs.AVAILABLE:
        assert check(107, 600, 8).cuts > 10


def test_each_operation_cut_at_each_block_operation_leaves_what_the_model_says_and_all_of_that():
    """Each outcome that the model has was really seen: it is no laxer than LittleFS2."""
    if not lfs.AVAILABLE:
        return
    total = {}
    points = 0
    real = Littlefs(12)
    blank = bytes(real.blocks.data)
    for operation in ("write", "append", "remove", "rename"):
        for before, size in _SIZES:
            if before < 0 and operation in ("remove", "rename"):
                continue
            old = None if before < 0 else Rand(1).content(before)
            data = "y" if operation == "rename" else None if operation == "remove" else Rand(2).content(size)
            step = (operation, "x", data)
            real.blocks.data[:] = blank
            real.boot()
            real.flash.write("other", b"o" * 100)
            if old is not None:
                real.flash.write("x", old)
            image = bytes(real.blocks.data)
            seen = {}
            points += _cut_everywhere(real, image, step, old, seen)
            add(total, {(operation + (" new" if old is None else ""), word): count for word, count in seen.items()})
            states = 2 if operation in ("remove", "rename") else len(set(after_cut(operation, old, data)))
            assert len(seen) == states, (step[:2], before, size, seen)
    real.close()
    print(f"{points} cut points")
    for operation, word in sorted(total):
        print(f"{operation}, {word}: {total[(operation, word)]}")


def _cut_everywhere(real, image, step, old, seen):
    count = 0
    for how in KINDS:
        at = 1
        while True:
            real.blocks.data[:] = image
            real.boot()
            real.cut(at, how)
            try:
                apply(real.flash, step)
                break
            except lfs.PowerCut:
                count += 1
            real.boot()
            left = contents(real.flash)
            word = _outcome(left, step, old)
            seen[word] = seen.get(word, 0) + 1
            assert left.pop("other") == b"o" * 100
            assert len(left) <= 1
            # What the cut left behind is in nobody's way.
            assert apply(real.flash, ("append", "other", b"o" * 600)) == 0
            real.boot()
            assert real.flash.read("other") == b"o" * 700
            assert _outcome(contents(real.flash), step, old) == word
            at += 1
    return count


def _outcome(files, step, old):
    operation, _, data = step
    if operation == "rename":
        return {(True, False): "old", (False, True): "new"}[("x" in files, files.get("y") == old)]
    states = after_cut(operation, old, data)
    i = states.index(files.get("x"))
    return "old" if not i else "new" if i == len(states) - 1 else "empty"
