"""What an operation of the flash port costs on LittleFS2: blocks that a file takes, and an estimate of programs and erases.

Names and small files (up to INLINE_MAX bytes) stand in the log of the directory, a pair of blocks. A commit takes whole units of
PROG_BYTES; a full log is compacted into the other block of the pair, which is one erase. The data of larger files stands in
blocks of its own, and an append copies the last of them. Sizes are those of the on-disk format (littlefs SPEC.md), for the
configuration that `evergrow_sim.lfs` mounts; tests/portable/test_flash_wear.py compares the estimate with the real one: bytes
are right within a fifth; the real log is compacted once or twice where this counts one erase, depending on how commits align.
"""

from evergrow_sim.lfs import BLOCK_BYTES, PROG_BYTES

INLINE_MAX = 512  # MicroPython: the cache, 4 times PROG_BYTES; also an eighth of a block

_CACHE_BYTES = 512
_TAG = 4
_CHECK = 28  # checksum of a commit, and of the erased bytes after it
_SUPERBLOCK = 44
_SPLIT_BYTES = BLOCK_BYTES // 2  # more live bytes than this make a directory two pairs, when its log is compacted


def data_blocks(size: int) -> int:
    """Blocks that the data of a file takes: none if inline; each but the first begins with pointers to earlier ones."""
    if size <= INLINE_MAX:
        return 0
    count = 1
    while _end(count - 1) < size:
        count += 1
    return count


def blocks_to_append(before: int, after: int) -> int:
    """New blocks for an append to a file of `before` bytes that makes it `after`: its last one is copied, if not full."""
    if after <= max(before, INLINE_MAX):
        return 0
    whole = 0
    while before > INLINE_MAX and _end(whole) <= before:
        whole += 1
    return data_blocks(after) - whole


def pair_blocks(files: "dict[str, bytes]") -> int:
    """Blocks of the directory, LittleFS2's first two among them. The real one may have split before and not joined again."""
    return 2 * max(1, -(-_live_bytes(files) // _SPLIT_BYTES))


class Wear:
    """Estimates since it was made. `names`: {name: [programmed bytes, erases]}, with the erases of the log that they made due."""

    def __init__(self) -> None:
        self.programmed_bytes = 0
        self.programs = 0
        self.erases = 0
        self.names: "dict[str, list[int]]" = {}
        self._log_bytes = _SUPERBLOCK

    def replaced(self, name: str, size: int, files: "dict[str, bytes]") -> None:
        """`write`: a new file, its content, and the renaming."""
        self._commit(name, 3 * _TAG + len(name), files)
        self._data(name, 0, size)
        self._commit(name, _TAG + _inline_bytes(size), files)
        self.renamed(name, size, files)

    def appended(self, name: str, before: int, after: int, new: bool, files: "dict[str, bytes]") -> None:
        if new:
            self._commit(name, 3 * _TAG + len(name), files)
        if after > before:
            self._data(name, before, after)
            self._commit(name, _TAG + _inline_bytes(after), files)

    def renamed(self, name: str, size: int, files: "dict[str, bytes]") -> None:
        self._commit(name, 4 * _TAG + len(name) + _inline_bytes(size), files)

    def removed(self, name: str, files: "dict[str, bytes]") -> None:
        self._commit(name, _TAG, files)

    def _data(self, name: str, before: int, after: int) -> None:
        """Data outside the log, once there is more of it than fits in: from the start of the last block on."""
        if after <= INLINE_MAX:
            return
        blocks = blocks_to_append(before, after)
        first = data_blocks(after) - blocks
        size = after - (_end(first - 1) if first else 0)
        self._count(name, size, -(-size // _CACHE_BYTES), blocks)

    def _commit(self, name: str, size: int, files: "dict[str, bytes]") -> None:
        size = _units(size + _CHECK)
        if self._log_bytes + size > BLOCK_BYTES:
            live = _units(_live_bytes(files) * 2 // pair_blocks(files) + _CHECK)
            self._log_bytes = live
            self._count(name, live, -(-live // _CACHE_BYTES), 1)
        self._log_bytes += size
        self._count(name, size, -(-size // _CACHE_BYTES), 0)

    def _count(self, name: str, size: int, programs: int, erases: int) -> None:
        size = _units(size)
        self.programmed_bytes += size
        self.programs += programs
        self.erases += erases
        row = self.names.setdefault(name, [0, 0])
        row[0] += size
        row[1] += erases


def _live_bytes(files: "dict[str, bytes]") -> int:
    size = _SUPERBLOCK
    for name, data in files.items():
        size += 2 * _TAG + len(name) + _inline_bytes(len(data))
    return size


def _inline_bytes(size: int) -> int:
    """What the log holds of a file: all of it, or where its last block is and its size."""
    return size if size <= INLINE_MAX else 8


def _pointer_bytes(block: int) -> int:
    """Block number `block` of a file points to the one before it, the one 2 before if it is even, 4 before if ..."""
    if not block:
        return 0
    count = 1
    while not block & 1:
        block >>= 1
        count += 1
    return 4 * count


def _end(block: int) -> int:
    """Size of a file that fills its blocks up to number `block`."""
    return sum([BLOCK_BYTES - _pointer_bytes(number) for number in range(block + 1)])


def _units(size: int) -> int:
    return -(-size // PROG_BYTES) * PROG_BYTES
