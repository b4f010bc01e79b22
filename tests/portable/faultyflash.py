"""A flash port in memory that loses power, or fails, at an operation of the test's choosing. Portable itself."""

BEFORE = 0  # nothing of the operation happened
TORN = 1  # an append left a prefix; anything else did not happen
AFTER = 2  # it happened, but nobody was told
MODES = (BEFORE, TORN, AFTER)


class PowerCut(BaseException):
    """Not an Exception: nothing that the code under test does may catch it."""


class FaultyFlash:
    """`files` survives: give it to the next FaultyFlash for a reboot. `count`: operations that change something.

    `cut_at`: power goes at that operation, numbered from 1, in `mode`. `fail`: a function of the operation's number; where it
    is true that operation raises OSError, with the effect of `mode`. `fail_reads`: names whose reading raises OSError.
    """

    def __init__(self, files=None, cut_at=0, mode=BEFORE, fail=None, capacity=1 << 20):
        self.files = {} if files is None else files
        self.cut_at = cut_at
        self.mode = mode
        self.fail = fail
        self.fail_reads = ()
        self.capacity = capacity
        self.count = 0
        self.dead = False

    def _change(self, effect, torn=None):
        if self.dead:
            raise PowerCut()
        self.count += 1
        cut = self.count == self.cut_at
        if not cut and not (self.fail and self.fail(self.count)):
            effect()
            return
        if self.mode == AFTER:
            effect()
        elif self.mode == TORN and torn:
            torn()
        if cut:
            self.dead = True
            raise PowerCut()
        raise OSError(5)

    def _look(self, name):
        if self.dead:
            raise PowerCut()
        if name in self.fail_reads:
            raise OSError(5)
        return self.files.get(name)

    def read(self, name):
        data = self._look(name)
        return None if data is None else bytes(data)

    def readinto(self, name, offset, buf):
        data = self._look(name)
        if data is None:
            raise OSError(2)
        part = data[offset : offset + len(buf)]
        buf[: len(part)] = part
        return len(part)

    def size(self, name):
        data = self._look(name)
        return -1 if data is None else len(data)

    def names(self):
        self._look("")
        return list(self.files)

    def free(self):
        return self.capacity - sum([len(data) for data in self.files.values()])

    def write(self, name, data):
        data = bytes(data)
        self._change(lambda: self.files.update({name: data}))

    def append(self, name, data):
        data = bytes(data)
        old = self.files.get(name, b"")
        torn = old + data[: len(data) // 2]
        self._change(lambda: self.files.update({name: old + data}), lambda: self.files.update({name: torn}))

    def remove(self, name):
        self._change(lambda: self.files.pop(name, None))

    def rename(self, old, new):
        self._change(lambda: self.files.update({new: self.files.pop(old)}))
