"""The same operations, with the same power cuts, on a real file system and on PowerFlash, step by step. Portable.

On MicroPython the real one is LittleFS2 on a chip in RAM that loses power inside a block operation, any of them. Elsewhere it is
a directory, without cuts. `check(seed)` is one sequence; the same seed is the same sequence.
"""

import os

from evergrow_agent.fsflash import FsFlash
from evergrow_sim import lfs
from evergrow_sim.world.flash import PowerFlash, after_cut

POINT = "/truth"
KINDS = (lfs.CUT_BEFORE, lfs.CUT_TORN, lfs.CUT_AFTER, lfs.CUT_NOISE)
SIZES = (0, 1, 8, 40, 40, 40, 120, 300, 511, 512, 513, 700, 2000, 4095, 4096, 4097, 8188, 9000)
NAMES = 6
FULL = (28, 36)  # ENOSPC; ENAMETOOLONG is what LittleFS2 says when the log of a full flash cannot take a new name


class Rand:
    """Knuth's MMIX generator."""

    def __init__(self, seed):
        self._state = seed * 2 + 1
        for _ in range(4):
            self.below(2)

    def below(self, n):
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (self._state >> 33) % n

    def content(self, size):
        block = bytes([self.below(256) for _ in range(16)])
        return (block * (size // 16 + 1))[:size]


class NorChip(lfs.Chip):
    """Flash can only clear bits: LittleFS2 has to erase before it programs. Unless a cut left something, that is."""

    def writeblocks(self, block, buf, offset=0):
        if not self._dead:
            old = bytearray(len(buf))
            self._blocks.read(block, offset, old)
            assert old == b"\xff" * len(old), f"block {block} offset {offset} is programmed and was not erased"
        return lfs.Chip.writeblocks(self, block, buf, offset)


class Littlefs:
    """LittleFS2 through FsFlash; `boot` is a reboot, and the first boot."""

    def __init__(self, block_count):
        self.blocks = lfs.RamBlocks(block_count)
        self.boot()

    def boot(self):
        self.chip = NorChip(self.blocks)
        lfs.mount(self.chip, POINT)
        self.flash = FsFlash(POINT)

    def cut(self, at, how):
        self.chip.cut(self.chip.ops + at if at else 0, how)

    def close(self):
        lfs.unmount(POINT)


def settle(point):
    """Let LittleFS2 finish what a cut interrupted; see test_flash_littlefs.py for why that cannot wait."""
    try:
        os.remove(f"{point}/.")
    except OSError:
        pass


class Directory:
    """A directory through FsFlash: power is never cut."""

    def __init__(self, block_count):
        self._path = f"/tmp/evergrow-truth-{os.urandom(6).hex()}"
        self.boot()

    def boot(self):
        self.flash = FsFlash(self._path)

    def cut(self, at, how):
        pass

    def close(self):
        for name in os.listdir(self._path):
            os.remove(f"{self._path}/{name}")
        os.rmdir(self._path)


def apply(flash, step):
    """Do a step, (operation, name, data or other name); returns the errno of its OSError, 0 for none."""
    operation, name, what = step
    try:
        if operation == "write":
            flash.write(name, what)
        elif operation == "append":
            flash.append(name, what)
        elif operation == "remove":
            flash.remove(name)
        else:
            flash.rename(name, what)
    except OSError as exc:
        return exc.errno or -1
    return 0


def contents(flash):
    return {name: flash.read(name) for name in flash.names()}


def outcomes(files, step):
    """[(word, files)]: the states of the whole flash that the model allows after a cut in this step."""
    operation, name, what = step
    if operation == "rename":
        if name not in files or name == what:
            return [("old", files)]
        done = dict(files)
        done[what] = done.pop(name)
        return [("old", files), ("new", done)]
    found = []
    states = after_cut(operation, files.get(name), what)
    for i, content in enumerate(states):
        state = dict(files)
        if content is None:
            state.pop(name, None)
        else:
            state[name] = content
        found.append(("old" if not i else "new" if i == len(states) - 1 else "empty", state))
    return found


class Run:
    """`seen`: {(operation, outcome): how often}. `free_off`: {real minus modelled free blocks: how often}.

    `disagreed`: how often one was full and the other not. `hidden`: how often a full LittleFS2 did not show a file until the
    next change.
    """

    def __init__(self, real, block_count):
        self.real = real
        self.model = PowerFlash(block_count=block_count)
        self.exact = real.__class__ is Littlefs
        self.seen = {}
        self.free_off = {}
        self.disagreed = 0
        self.hidden = 0
        self.cuts = 0
        self.full = 0

    def step(self, step, cut):
        """`cut`: None, or (block operation, kind) at which the real one loses power, if it gets there."""
        before = dict(self.model.files)
        if cut:
            self.real.cut(*cut)
        try:
            error = apply(self.real.flash, step)
        except lfs.PowerCut:
            self.cuts += 1
            self.real.boot()
            self._follow(step, before)
            self.real.boot()
            assert contents(self.real.flash) == self.model.files, "the second boot shows something else"
            return
        if cut:
            self.real.cut(0, 0)
        expected = apply(self.model, step)
        self._count(step, "error" if error else "done")
        if error != expected:
            # Only about room, since the model guesses how many blocks the directory has: it may be fewer or more.
            lacked = not error or self.real.flash.free() <= 5 * lfs.BLOCK_BYTES
            assert self.exact and (error or expected) in FULL and lacked, (step[:2], error, expected)
            self.disagreed += 1
            self.model.files.clear()
            self.model.files.update(before if error else outcomes(before, step)[-1][1])
            if error == 28 and step[0] == "append" and step[1] not in before:
                self.model.files[step[1]] = b""
        self.full += error in FULL
        real = contents(self.real.flash)
        if self.exact and real != self.model.files and self.full:
            settle(POINT)
            self.hidden += 1
            real = contents(self.real.flash)
        assert real == self.model.files, _difference(real, self.model.files)
        assert sorted(self.real.flash.names()) == self.model.names()
        if self.exact:
            off = (self.real.flash.free() - self.model.free()) // lfs.BLOCK_BYTES
            self.free_off[off] = self.free_off.get(off, 0) + 1

    def _follow(self, step, before):
        """After a cut: the real state is one that the model allows, and PowerFlash itself reaches it by a cut."""
        real = contents(self.real.flash)
        allowed = outcomes(before, step)
        words = [word for word, files in allowed if files == real]
        assert words, _difference(real, before)
        self._count(step, words[0])
        how = {"old": lfs.CUT_BEFORE, "empty": lfs.CUT_TORN, "new": lfs.CUT_AFTER}[words[0]]
        full = len(allowed) > 1 and words[0] == "new" and self.model.free() < 4 * lfs.BLOCK_BYTES
        self.model.cut(self.model.ops + 1, how)
        try:
            apply(self.model, step)
        except lfs.PowerCut:
            pass
        self.model.power_on()
        if full and self.model.files != real:  # The model believed that it was full.
            self.disagreed += 1
            self.model.files.clear()
            self.model.files.update(real)
        assert self.model.files == real, _difference(real, self.model.files)

    def _count(self, step, word):
        key = (step[0], word)
        self.seen[key] = self.seen.get(key, 0) + 1


def check(seed, steps=60, cut_one_in=3):
    """One sequence; returns the Run. AssertionError: the two differ; it names the seed and the step."""
    rand = Rand(seed)
    block_count = 8 + rand.below(3) * 12
    names = (3, NAMES, 40)[rand.below(3)]
    largest = (6, 12, len(SIZES))[rand.below(3)]  # some with small files only, which stand in the log
    real = Littlefs(block_count) if lfs.AVAILABLE else Directory(block_count)
    run = Run(real, block_count if lfs.AVAILABLE else 1 << 20)
    try:
        for number in range(steps):
            name = f"n{rand.below(names)}"
            kind = rand.below(10)
            step = ("write", name, rand.content(SIZES[rand.below(largest)]))
            if 4 <= kind < 8:
                step = ("append", name, rand.content(SIZES[rand.below(largest)]))
            elif kind == 8:
                step = ("remove", name, None)
            elif kind == 9:
                step = ("rename", name, f"n{rand.below(names)}")
            cut = (1 + rand.below(1 + rand.below(24)), KINDS[rand.below(len(KINDS))]) if not rand.below(cut_one_in) else None
            try:
                run.step(step, cut)
            except Exception as exc:
                raise AssertionError(f"flashtruth.check({seed}), step {number} {step[0]} {name} cut {cut}: {exc!r}")
    finally:
        real.close()
    return run


def _difference(real, expected):
    found = []
    for name in sorted(set(real) | set(expected)):
        if real.get(name) != expected.get(name):
            sizes = [-1 if files.get(name) is None else len(files[name]) for files in (real, expected)]
            found.append((name, sizes))
    return f"{found}, sizes really and expected"


def add(total, counts):
    for key, count in counts.items():
        total[key] = total.get(key, 0) + count
