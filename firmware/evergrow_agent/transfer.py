"""Pulling one payload block by block (SPEC section 9). Sans-IO: blocks and times in, requests and whole windows out.

The device sets the pace: it asks for one window of blocks at a time, and for the next when that one is stored. So the cloud never
has more in flight than the device has room for, and a payload is stored in order, in pieces that suit a flash page.
"""

from evergrow_protocol.errors import EXPIRED, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

WINDOW_BLOCKS = 4
FIRST_PAUSE_MS = 2_000
MAX_PAUSE_MS = 30_000
MAX_SILENT_REQUESTS = 6  # with the pauses above: 90 s


class Pull:
    """One payload of `size` bytes in blocks of `block_bytes`; `buffer` holds a window and is lent for as long as this lives.

    The caller asks the cloud whenever `request` says so and tells `requested` of it, hands every block of this payload to
    `on_block`, and stores what `window` returns before it calls `advance`. `done`: all is stored. `blocks`: how many it took.
    """

    def __init__(self, size: int, block_bytes: int, buffer: bytearray) -> None:
        self.blocks = 0
        self.done = size == 0
        self._size = size
        self._block_bytes = block_bytes
        self._view = memoryview(buffer)
        self._first = 0
        self._due_ms = 0
        self._pause_ms = FIRST_PAUSE_MS
        self._silent = 0
        self._open_window()

    def request(self, now_ms: int) -> "tuple[int, bytes] | None":
        """-> (first block, bitmap of the wanted ones from there on), or None when nothing is due now.

        Raises ProtocolError EXPIRED when MAX_SILENT_REQUESTS in a row brought no block.
        """
        if not self._missing or now_ms < self._due_ms:
            return None
        if self._silent >= MAX_SILENT_REQUESTS:
            raise ProtocolError(EXPIRED, f"no answer to {self._silent} requests for block {self._first}")
        return self._first, bytes((self._missing,))

    def requested(self, now_ms: int, sent: bool) -> None:
        """What `request` said was sent, or could not be, since there is no link; that is not held against the cloud."""
        self._due_ms = now_ms + self._pause_ms
        if sent:
            self._silent += 1
            self._pause_ms = min(2 * self._pause_ms, MAX_PAUSE_MS)

    def wait_ms(self, now_ms: int) -> int:
        """How long `request` has nothing to say unless a block arrives."""
        return max(self._due_ms - now_ms, 0)

    def hurry(self) -> None:
        """The link is new: what is missing is due now, and earlier silence says nothing about it."""
        self._due_ms = 0
        self._silent = 0
        self._pause_ms = FIRST_PAUSE_MS

    def on_block(self, now_ms: int, block: int, data: "Buffer") -> bool:
        """Copy a block into the window. False: dropped, being unwanted, a repetition or of the wrong length (EG-FEAT-010)."""
        index = block - self._first
        if not 0 <= index < WINDOW_BLOCKS or not self._missing >> index & 1:
            return False
        start = index * self._block_bytes
        if len(data) != min(self._block_bytes, self._window_bytes - start):
            return False
        self._view[start : start + len(data)] = data
        self._missing &= ~(1 << index)
        self.blocks += 1
        self._silent = 0
        self._pause_ms = FIRST_PAUSE_MS
        self._due_ms = now_ms + FIRST_PAUSE_MS
        return True

    def window(self) -> "memoryview | None":
        """The bytes of the current window once it is complete, for the caller to store; else None."""
        if self._missing or self.done:
            return None
        return self._view[: self._window_bytes]

    def advance(self) -> None:
        """The window is stored: go on to the next, which is due at once."""
        self._first += WINDOW_BLOCKS
        self._due_ms = 0
        self.done = self._first * self._block_bytes >= self._size
        self._open_window()

    def _open_window(self) -> None:
        rest = self._size - self._first * self._block_bytes
        self._window_bytes = max(0, min(rest, WINDOW_BLOCKS * self._block_bytes))
        self._missing = (1 << -(-self._window_bytes // self._block_bytes)) - 1
