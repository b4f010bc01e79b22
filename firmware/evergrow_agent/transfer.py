"""Pulling one payload block by block (SPEC section 9). Sans-IO: blocks and times in, requests and whole chunks out.

The device sets the pace. It has room for a window of blocks, of which half is stored at a time, in order, in pieces that suit a
flash page. It asks for more than it has room for: TCP delivers in order, so that what arrives is stored before there is no room,
and a line that is long, or repeats what was lost, is not idle for want of a request. What comes behind a gap and finds no room is
dropped, and asked for anew once there is some.
"""

from evergrow_protocol.errors import EXPIRED, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

WINDOW_BLOCKS = 8
RUN_BLOCKS = 8  # may come in one message; each is taken as it arrives
CHUNK_BLOCKS = WINDOW_BLOCKS // 2
AHEAD_BLOCKS = 16  # may be asked for at once
FIRST_PAUSE_MS = 2_000
MAX_PAUSE_MS = 30_000
MAX_SILENT_REQUESTS = 6  # with the pauses above: 90 s


class Pull:
    """One payload of `size` bytes in blocks of `block_bytes`; `buffer` holds a window and is lent for as long as this lives.

    `start`: so many bytes of it are stored already. `bytes_per_s`: at most so much is asked for, 0 for any.

    The caller asks the cloud whenever `request` says so and tells `requested` of it, hands every block of this payload to
    `on_block`, or puts it into its `room` and tells that it `arrived`, and stores what `chunk` returns before it calls `advance`.
    `done`: all is stored. `blocks`: how many it took.
    """

    def __init__(self, size: int, block_bytes: int, buffer: bytearray, start: int = 0, bytes_per_s: int = 0) -> None:
        self.blocks = 0
        self._size = size
        self._block_bytes = block_bytes
        self._count = -(-size // block_bytes)
        self._view = memoryview(buffer)
        self._bytes_per_s = bytes_per_s
        self._ahead = WINDOW_BLOCKS if bytes_per_s else AHEAD_BLOCKS
        self._first = start // (CHUNK_BLOCKS * block_bytes) * CHUNK_BLOCKS
        self._skip = start - self._first * block_bytes  # of the first chunk, which is stored already
        self.done = start >= size
        self._missing = self._unasked = self._fresh(0) & ~((1 << self._skip // block_bytes) - 1)
        self._again = 0  # blocks that are asked for at once because later ones came; each once
        self._dropped = 0  # blocks that came and found no room
        self._due_ms = 0
        self._paced_ms = 0  # nothing is asked for before
        self._pause_ms = FIRST_PAUSE_MS
        self._silent = 0

    def request(self, now_ms: int) -> "tuple[int, bytes] | None":
        """-> (first block, bitmap of the wanted ones from there on), or None when nothing is due now.

        Raises ProtocolError EXPIRED when MAX_SILENT_REQUESTS in a row brought no block.
        """
        if now_ms < self._paced_ms:
            return None
        late = now_ms >= self._due_ms
        ask = self._missing if late else self._missing & self._unasked
        if not ask:
            return None
        if late and self._silent >= MAX_SILENT_REQUESTS:
            raise ProtocolError(EXPIRED, f"no answer to {self._silent} requests for block {self._first}")
        self._unasked &= ~ask  # now: while the request is sent, blocks come and the window moves on, or the link is new
        self._due_ms = now_ms + self._pause_ms
        first = self._first
        while not ask & 1:
            ask >>= 1
            first += 1
        return first, ask.to_bytes(1 if ask < 256 else 2, "little")

    def requested(self, sent: bool) -> None:
        """What `request` said was sent, or could not be, since there is no link; that is not held against the cloud."""
        if sent:
            self._silent += 1
            self._pause_ms = min(2 * self._pause_ms, MAX_PAUSE_MS)

    def wait_ms(self, now_ms: int) -> int:
        """How long `request` has nothing to say unless a block arrives."""
        due_ms = 0 if self._missing & self._unasked else self._due_ms
        return max(due_ms - now_ms, self._paced_ms - now_ms, 0)

    def hurry(self) -> None:
        """The link is new: what is missing is due now, and earlier silence says nothing about it."""
        self._due_ms = 0
        self._silent = 0
        self._pause_ms = FIRST_PAUSE_MS

    def is_run(self, block: int, size: int) -> bool:
        """Whether `size` bytes from `block` on are whole blocks, the payload's last one counting as such (EG-FEAT-010)."""
        left = self._size - block * self._block_bytes
        return 0 < size <= left and (size == left or not size % self._block_bytes)

    def on_block(self, now_ms: int, block: int, data: "Buffer") -> bool:
        """Copy a block into the window. False: dropped, being unwanted, a repetition or of the wrong length (EG-FEAT-010)."""
        room = self.room(block, len(data))
        if room is None:
            return False
        room[:] = data
        self.arrived(now_ms, block)
        return True

    def room(self, block: int, size: int) -> "memoryview | None":
        """Where a block that comes now, of `size` bytes, is to be put until another one comes; None: it is dropped."""
        index = block - self._first
        if not 0 <= index < self._ahead or not self._missing >> index & 1:
            return None
        if size != min(self._block_bytes, self._size - block * self._block_bytes):
            return None
        # Blocks are sent in order and seldom overtake one another: what should have come before this one is probably lost.
        holes = self._missing & ~(self._unasked | self._again | self._dropped) & (1 << index) - 1
        self._unasked |= holes
        self._again |= holes
        if index >= WINDOW_BLOCKS:
            self._dropped |= 1 << index
            return None
        at = block % WINDOW_BLOCKS * self._block_bytes
        return self._view[at : at + size]

    def arrived(self, now_ms: int, block: int) -> None:
        """The last block that there was `room` for is whole."""
        self._missing &= ~(1 << block - self._first)
        self.blocks += 1
        self._silent = 0
        self._pause_ms = FIRST_PAUSE_MS
        self._due_ms = now_ms + FIRST_PAUSE_MS

    def chunk(self) -> "memoryview | None":
        """The next bytes to store once they are complete; else None."""
        if self.done or self._missing & (1 << CHUNK_BLOCKS) - 1:
            return None
        at = self._first % WINDOW_BLOCKS * self._block_bytes
        rest = self._size - self._first * self._block_bytes
        return self._view[at + self._skip : at + min(rest, CHUNK_BLOCKS * self._block_bytes)]

    def advance(self, now_ms: int) -> None:
        """The chunk is stored: its room is free for the blocks behind the window, which are due as soon as the pace allows."""
        self._first += CHUNK_BLOCKS
        self._skip = 0
        self._missing >>= CHUNK_BLOCKS
        self._again >>= CHUNK_BLOCKS
        fresh = self._fresh(self._ahead - CHUNK_BLOCKS)
        self._missing |= fresh
        self._dropped >>= CHUNK_BLOCKS
        room = self._dropped & (1 << WINDOW_BLOCKS) - 1
        self._dropped &= ~room
        self._unasked = self._unasked >> CHUNK_BLOCKS | fresh | room
        if self._bytes_per_s:
            pause_ms = 1000 * CHUNK_BLOCKS * self._block_bytes // self._bytes_per_s
            self._paced_ms = max(self._paced_ms + pause_ms, now_ms)
        self.done = self._first >= self._count

    def _fresh(self, start: int) -> int:
        """Bits, from `start` on, of the blocks that may be asked for and that the payload has."""
        return (1 << max(min(self._count - self._first, self._ahead), start)) - (1 << start)
