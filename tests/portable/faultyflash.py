"""A `PowerFlash` as the tests of the agent set it up: what goes wrong is given when it is made. Portable itself."""

from evergrow_sim.lfs import CUT_AFTER, CUT_BEFORE, CUT_TORN, PowerCut  # noqa: F401
from evergrow_sim.world.flash import PowerFlash

BEFORE = CUT_BEFORE  # nothing of the operation happened
TORN = CUT_TORN  # an append left a prefix, which LittleFS2 never does but the port allows; anything else did not happen
AFTER = CUT_AFTER  # it happened, but nobody was told
MODES = (BEFORE, TORN, AFTER)


class FaultyFlash(PowerFlash):
    """`files` survives: give it to the next FaultyFlash for a reboot. `count`: operations that change something.

    Power goes at operation `cut_at`, numbered from 1, in `mode`; that is also how an operation fails for which `fail` is true.
    `capacity`: bytes, of which files take just their size.
    """

    def __init__(self, files=None, cut_at=0, mode=BEFORE, fail=None, capacity=1 << 20):
        PowerFlash.__init__(self, files, prefixes=True)
        self.cut(cut_at, mode)
        self.mode = mode
        self.fail = fail
        self._bytes = capacity

    @property
    def count(self):
        return self.ops

    @property
    def mode(self):
        return self.fail_how

    @mode.setter
    def mode(self, mode):
        self.fail_how = mode

    def capacity(self):
        return self._bytes

    def used(self):
        return sum([len(data) for data in self.files.values()])

    def _lacks(self, blocks):
        return False

    def remove(self, name):
        """Counts, even if there is nothing to remove."""
        if name in self.files:
            PowerFlash.remove(self, name)
        else:
            self._change(name, (None, None), False)


def cut_everywhere(live):
    """Power cut at each operation in each mode: `live(mode, cut_at)` is False when there were fewer operations. -> the least."""
    least = 1 << 30
    for mode in MODES:
        cut_at = 1
        while live(mode, cut_at):
            cut_at += 1
        least = min(least, cut_at)
    return least
