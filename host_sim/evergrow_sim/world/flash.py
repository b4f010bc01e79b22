"""The flash port in memory: what LittleFS2 may do to the agent when power fails, room runs out or bits decay, and no more.

What a cut may leave was learnt from the real one, by cutting every block operation of it (tests/portable/test_flash_truth.py
holds the two together):

    write    the old content, or the new
    append   the old content, or the new; of a file that was not there: no file, an empty one, or the new
    remove   the file, or none
    rename   not done, or done

LittleFS2 never leaves a part of an append, since it copies the last block and then commits the size. The flash port allows
that all the same, for other file systems: with `prefixes` a torn append leaves one.

Not modelled, since it is a defect of LittleFS2: a power cut in a rename, and so in a `write`, across two pairs of a directory of
more than 2 KB of names and small files. Until the next change another file is not to be seen (test_flash_littlefs.py), and if
the flash is full then, that change may take the other file's blocks.

Room is counted in blocks, as LittleFS2 needs them. Wear is an estimate from the layout of its log. Portable, for the tests.
"""

from evergrow_sim.lfs import BLOCK_BYTES, CUT_AFTER, CUT_BEFORE, CUT_TORN, PowerCut
from evergrow_sim.world.flashwear import Wear, blocks_to_append, data_blocks, pair_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Buffer = bytes | bytearray | memoryview
    Content = bytes | None  # of a file; None: there is none

ENOENT = 2
EIO = 5
ENOSPC = 28
NAME_MAX = 32

_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789._-"


def after_cut(operation: str, old: "Content", data: "Content") -> "tuple[Content, ...]":
    """What a file may hold after a power cut in `write`, `append` or `remove`; the first is as before, the last as after it."""
    if operation == "append":
        assert data is not None
        if old is None:
            return (None, b"", data) if data else (None, data)
        return old, old + data
    return old, None if operation == "remove" else data


class PowerFlash:
    """The flash port, of `block_count` blocks. `files` {name: bytes} is the flash itself: it survives, RAM does not.

    `prefixes`: a torn append may leave a part. `undo_max`: how many operations `roll_back` can undo, at most. `stamp()` is noted
    with each of them, see `undoable`.

    `ops` counts the operations that change something, `wear` estimates what they cost. For faults:
    `fail(op) -> bool`: where it is true, operation number `op` raises OSError EIO, with the effect that `fail_how` says.
    `fail_reads`: names that cannot be read; "" stands for the list of names. `on_cut()` is called when power goes at `cut`.
    """

    def __init__(
        self,
        files: "dict[str, bytes] | None" = None,
        block_count: int = 128,
        prefixes: bool = False,
        undo_max: int = 0,
        stamp: "Callable[[], int]" = lambda: 0,
    ) -> None:
        self.files: "dict[str, bytes]" = {} if files is None else files
        self.block_count = block_count
        self.prefixes = prefixes
        self.ops = 0
        self.wear = Wear()
        self.fail: "Callable[[int], bool] | None" = None
        self.fail_how = CUT_BEFORE
        self.fail_reads: "Iterable[str]" = ()
        self.on_cut: "Callable[[], Any] | None" = None
        self._powered = True
        self._cut_at = 0
        self._how = CUT_BEFORE
        self._kept = -1
        self._undo_max = undo_max
        self._stamp = stamp
        self._undo: "list[tuple[int, list[tuple[str, Content]]]]" = []  # (stamp, what was there before), newest last

    # Power and decay

    def cut(self, at: int, how: int, kept: int = -1) -> None:
        """Let power fail at operation `at`, counted like `ops`: CUT_BEFORE, CUT_TORN inside, or CUT_AFTER it; 0 for never.

        `kept`: bytes that a torn append leaves if `prefixes`, half of them when it is -1.
        """
        self._cut_at = at
        self._how = how
        self._kept = kept

    def power_off(self) -> None:
        """From now on everything raises PowerCut."""
        self._powered = False

    def power_on(self) -> None:
        self._powered = True
        self._cut_at = 0

    def rot(self, name: str, bit: int) -> None:
        """Flip a bit of a stored file: what decay does to one of more than flashwear.INLINE_MAX bytes.

        LittleFS2 has no check of such data. Smaller files stand in its log, which has: see `roll_back`.
        """
        data = bytearray(self.files[name])
        data[bit >> 3] ^= 1 << (bit & 7)
        self.files[name] = bytes(data)

    def roll_back(self, operations: int) -> int:
        """Undo the last operations: what decay of LittleFS2's log does, to all files. Returns how many it could."""
        count = 0
        while count < operations and self._undo:
            for name, content in self._undo.pop()[1]:
                self._put(name, content)
            count += 1
        return count

    def erase(self, keep: "tuple[str, ...]" = ()) -> None:
        """Nothing is there any more but files of these names, and nothing can be undone."""
        for name in [name for name in self.files if name not in keep]:
            del self.files[name]
        self._undo = []

    def undoable(self, prefix: str, made: str = "") -> "list[int]":
        """The stamps of the operations that `roll_back` can undo, newest first, up to one that changed a file of such a name, or
        made the file `made`.
        """
        found = []
        for stamp, changes in reversed(self._undo):
            if any(name.startswith(prefix) or (name == made and content is None) for name, content in changes):
                break
            found.append(stamp)
        return found

    # The port

    def read(self, name: str) -> "Content":
        return self._look(_checked(name))

    def readinto(self, name: str, offset: int, buf: "bytearray | memoryview") -> int:
        data = self._look(_checked(name))
        if data is None:
            raise OSError(ENOENT, f"no file {name}")
        part = data[offset : offset + len(buf)]
        buf[: len(part)] = part
        return len(part)

    def size(self, name: str) -> int:
        data = self._look(_checked(name))
        return -1 if data is None else len(data)

    def names(self) -> "list[str]":
        """In the order of LittleFS2, which keeps them sorted."""
        self._look("")
        return sorted(self.files)

    def free(self) -> int:
        self._look("")
        return self.capacity() - self.used()

    def write(self, name: str, data: "Buffer") -> None:
        new = bytes(data)
        full = self._lacks(data_blocks(len(new)))
        self._change(name, after_cut("write", self.files.get(_checked(name)), new), full)
        self.wear.replaced(name, len(new), self.files)

    def append(self, name: str, data: "Buffer") -> None:
        old = self.files.get(_checked(name))
        states = after_cut("append", old, bytes(data))
        if self.prefixes:
            kept = self._kept if self._kept >= 0 else len(data) // 2
            states = (old, (old or b"") + bytes(data)[:kept], states[-1])
        before, after = len(old or b""), len(old or b"") + len(data)
        full = self._lacks(blocks_to_append(before, after))
        if full and old is None:
            self._change(name, (None, b"", b""), False)  # LittleFS2 makes the file when it is opened.
            raise OSError(ENOSPC, "no room")
        self._change(name, states, full)
        self.wear.appended(name, before, after, old is None, self.files)

    def remove(self, name: str) -> None:
        old = self.files.get(_checked(name))
        if old is None:
            self._look(name)  # Nothing changes on the flash.
            return
        self._change(name, after_cut("remove", old, None), False)
        self.wear.removed(name, self.files)

    def rename(self, old: str, new: str) -> None:
        content = self._look(_checked(old))
        _checked(new)
        if content is None:
            raise OSError(ENOENT, f"no file {old}")
        if new == old:
            return
        self._change(new, (self.files.get(new), content), False, old)
        self.wear.renamed(new, len(content), self.files)

    # Inside

    def capacity(self) -> int:
        return self.block_count * BLOCK_BYTES

    def used(self) -> int:
        blocks = pair_blocks(self.files)
        for data in self.files.values():
            blocks += data_blocks(len(data))
        return blocks * BLOCK_BYTES

    def _lacks(self, blocks: int) -> bool:
        """The old blocks stay until the new ones are committed: both have to fit."""
        return blocks > 0 and blocks * BLOCK_BYTES > self.capacity() - self.used()

    def _look(self, name: str) -> "Content":
        if not self._powered:
            raise PowerCut("no power")
        if name in self.fail_reads:
            raise OSError(EIO, "flash failure")
        return self.files.get(name)

    def _change(self, name: str, states: "tuple[Content, ...]", full: bool, source: str = "") -> None:
        """Bring the file from the first to the last of `states`; `source` is the file that it is renamed from."""
        if not self._powered:
            raise PowerCut("no power")
        self.ops += 1
        struck = self.ops == self._cut_at
        failed = not struck and self.fail is not None and self.fail(self.ops)
        if not struck and not failed:
            if full:
                raise OSError(ENOSPC, "no room")
            self._set(name, states[-1], source)
            return
        how = self._how if struck else self.fail_how
        if how == CUT_TORN:
            self._set(name, states[1] if len(states) > 2 else states[0], "")
        elif how == CUT_AFTER and not full:
            self._set(name, states[-1], source)
        if failed:
            raise OSError(EIO, "flash failure")
        self._powered = False
        if self.on_cut:
            self.on_cut()
        raise PowerCut("no power")

    def _set(self, name: str, content: "Content", source: str) -> None:
        if not source and content == self.files.get(name):
            return
        undo = [(name, self.files.get(name))]
        if source:
            undo.append((source, self.files.pop(source)))
        self._put(name, content)
        self._undo.append((self._stamp(), undo))
        if len(self._undo) > self._undo_max:
            del self._undo[0]

    def _put(self, name: str, content: "Content") -> None:
        if content is None:
            self.files.pop(name, None)
        else:
            self.files[name] = content


def _checked(name: str) -> str:
    """The rule of `FsFlash`."""
    if not 1 <= len(name) <= NAME_MAX or name[0] == "." or name.endswith(".tmp") or any(c not in _CHARS for c in name):
        raise ValueError(f"not a flash name: {name!r}")
    return name
