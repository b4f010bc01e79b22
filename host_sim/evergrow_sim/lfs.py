"""A board's flash chip for MicroPython: the real LittleFS2 on a block device kept in RAM or in a host file.

A block device here has `block_count`, `block_bytes`, `read(block, offset, buf)`, `erase(block)`, `prog(block, offset, data)`.
`Chip` turns one into what `vfs.VfsLfs2` wants, counts the operations that change it, and can lose power in any of them.
"""

from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

try:
    import vfs
except ImportError:  # CPython: there the simulated flash is a plain directory
    vfs = None  # type: ignore[assignment]

AVAILABLE = vfs is not None
BLOCK_BYTES = 4096  # the erase block of common NOR flash
PROG_BYTES = 128  # the unit in which a commit is written
_ERASED = 0xFF

_EIO = -5
# Operations of a MicroPython block device's ioctl.
_BLOCK_COUNT = 4
_BLOCK_BYTES = 5
_ERASE = 6

CUT_BEFORE = 0
CUT_TORN = 1
CUT_AFTER = 2
CUT_NOISE = 3


class PowerCut(BaseException):
    """The simulated power went away. Not an `Exception`: no handler for errors may go on after it."""


class RamBlocks:
    """Flash in RAM, erased at first. `data` outlives the `Chip` and the file system on it, as a real chip outlives a boot."""

    def __init__(self, block_count: int, block_bytes: int = BLOCK_BYTES) -> None:
        self.block_count = block_count
        self.block_bytes = block_bytes
        self.data = bytearray(block_count * block_bytes)
        self._blank = bytes([_ERASED]) * block_bytes
        for block in range(block_count):
            self.erase(block)

    def read(self, block: int, offset: int, buf: "bytearray | memoryview") -> None:
        at = block * self.block_bytes + offset
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def erase(self, block: int) -> None:
        self.prog(block, 0, self._blank)

    def prog(self, block: int, offset: int, data: "Buffer") -> None:
        at = block * self.block_bytes + offset
        self.data[at : at + len(data)] = data


class FileBlocks:
    """Flash in a file of the host, outside the interpreter's heap; what is written survives the end of the process.

    The file is made, erased, when it is absent. Raises OSError. A real flash chip forgets nothing when power fails; this
    one forgets nothing when its process is killed, which is the power cut of a simulated board.
    """

    def __init__(self, path: str, block_count: int, block_bytes: int = BLOCK_BYTES) -> None:
        self.block_count = block_count
        self.block_bytes = block_bytes
        self._blank = bytes([_ERASED]) * 256
        try:
            self._file = open(path, "r+b")
        except OSError:
            open(path, "wb").close()
            self._file = open(path, "r+b")
        # A file that is too short is one whose making was interrupted: what is missing is erased flash.
        size = self._file.seek(0, 2)
        while size < block_count * block_bytes:
            size += self._file.write(self._blank)

    def read(self, block: int, offset: int, buf: "bytearray | memoryview") -> None:
        self._file.seek(block * self.block_bytes + offset)
        self._file.readinto(buf)

    def erase(self, block: int) -> None:
        self._file.seek(block * self.block_bytes)
        for _ in range(0, self.block_bytes, len(self._blank)):
            self._file.write(self._blank)

    def prog(self, block: int, offset: int, data: "Buffer") -> None:
        self._file.seek(block * self.block_bytes + offset)
        self._file.write(data)

    def close(self) -> None:
        self._file.close()


class Chip:
    """The block device that `vfs.VfsLfs2` mounts, on `blocks`; `ops` counts its erasures and programmings.

    `cut(at, how)` lets power fail at operation `at` (counted like `ops`): before it, in the middle of it (half the bytes), after
    it, or in its middle with some bits changed and others not. From then on every operation raises PowerCut, until a new Chip is
    made on the same blocks: the reboot. `erases` and `programmed_bytes` count wear.
    """

    def __init__(self, blocks: "RamBlocks | FileBlocks") -> None:
        self.ops = 0
        self.erases = 0
        self.programmed_bytes = 0
        self._blocks = blocks
        self._cut_at = 0
        self._how = CUT_BEFORE
        self._dead = False

    def cut(self, at: int, how: int) -> None:
        self._cut_at = at
        self._how = how

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> int:
        if self._dead:
            return self._no_power()
        self._blocks.read(block, offset, buf)
        return 0

    def writeblocks(self, block: int, buf: "Buffer", offset: int = 0) -> int:
        if self._dead:
            return self._no_power()
        struck = self._strikes()
        self.programmed_bytes += len(buf)
        if not struck or self._how == CUT_AFTER:
            self._blocks.prog(block, offset, buf)
        elif self._how == CUT_TORN:
            self._blocks.prog(block, offset, memoryview(buf)[: len(buf) // 2])
        elif self._how == CUT_NOISE:  # of the bits that should be cleared, some are
            self._blocks.prog(block, offset, bytes([byte | noise for byte, noise in zip(buf, self._noise(len(buf)))]))
        return self._no_power() if struck else 0

    def ioctl(self, op: int, arg: int) -> int:
        if op == _BLOCK_COUNT:
            return self._blocks.block_count
        if op == _BLOCK_BYTES:
            return self._blocks.block_bytes
        if op == _ERASE:
            return self._erase(arg)
        return 0

    def _erase(self, block: int) -> int:
        if self._dead:
            return self._no_power()
        struck = self._strikes()
        self.erases += 1
        if not struck or self._how == CUT_AFTER:
            self._blocks.erase(block)
        elif self._how == CUT_NOISE:  # of the bits that should be set, some are
            old = bytearray(self._blocks.block_bytes)
            self._blocks.read(block, 0, old)
            self._blocks.prog(block, 0, bytes([byte | noise for byte, noise in zip(old, self._noise(len(old)))]))
        elif self._how == CUT_TORN:  # neither old nor blank: half of it is noise
            self._blocks.prog(block, 0, b"\xa5" * (self._blocks.block_bytes // 2))
        return self._no_power() if struck else 0

    def _noise(self, size: int) -> bytes:
        """Bytes that depend on the operation's number alone."""
        noise = b""
        while len(noise) < size:
            noise += sha256(f"{self.ops}/{len(noise)}".encode()).digest()
        return noise[:size]

    def _strikes(self) -> bool:
        self.ops += 1
        self._dead = self.ops == self._cut_at
        return self._dead

    def _no_power(self) -> int:
        try:
            cut = PowerCut("no power")
        except MemoryError:
            return _EIO  # The collector, with the heap locked, closes a file that was open at the cut. MicroPython says so.
        raise cut


def mount(chip: Chip, path: str) -> "Any":
    """Mount the LittleFS2 on `chip` at `path`, after making one if the flash holds none; unmounts what was there before.

    Raises OSError where flash is damaged beyond mounting but not blank, so that data is never formatted away.
    """
    unmount(path)
    try:
        filesystem = _lfs(chip)
    except OSError:
        if not _blank(chip):
            raise
        vfs.VfsLfs2.mkfs(chip, progsize=PROG_BYTES, readsize=PROG_BYTES, lookahead=32)
        filesystem = _lfs(chip)
    vfs.mount(filesystem, path)
    return filesystem


def unmount(path: str) -> None:
    """Unmount what is mounted at `path`, if anything."""
    try:
        vfs.umount(path)
    except OSError:
        pass


def _lfs(chip: Chip) -> "Any":
    return vfs.VfsLfs2(chip, progsize=PROG_BYTES, readsize=PROG_BYTES, lookahead=32, mtime=False)


def _blank(chip: Chip) -> bool:
    """Whether no superblock of LittleFS is in the first two blocks: erased, or power failed while being formatted."""
    head = bytearray(16)
    for block in (0, 1):
        chip.readblocks(block, head)
        if b"littlefs" in bytes(head):
            return False
    return True
