"""Fetches payloads of a transfer over the link: a `Pull`, the requests that it wants sent, and the waiting between them."""

import asyncio

from evergrow_agent.transfer import WINDOW_BLOCKS, Pull
from evergrow_mqtt.errors import MqttError
from evergrow_protocol.errors import EXPIRED, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Buffer = bytes | bytearray | memoryview

SLOW_MS = 10_000  # a transfer that takes longer is told of


class Fetcher:
    """`send_get(transfer, payload, block_bytes, first, wanted)` is a coroutine function; it may raise OSError or MqttError, or
    return False, when there is no link. `clock`: the network's. `while_waiting()` is called between blocks.

    `transfer`: the one under way, 0 for none. `blocks`: how many it took so far. `buffer`: room for a window; its user may
    borrow it between fetches. `on_slow`, to be set: a coroutine function, called once in a transfer that takes its time.
    """

    def __init__(
        self,
        clock: "Any",
        send_get: "Callable[[int, int, int, int, bytes], Awaitable[Any]]",
        block_bytes: int,
        bytes_per_s: int,
        while_waiting: "Callable[[], None]",
    ) -> None:
        self.transfer = 0
        self.blocks = 0
        self.buffer = bytearray(WINDOW_BLOCKS * block_bytes)
        self.on_slow: "Callable[[], Awaitable[None]] | None" = None
        self._slow_ms = 0  # when it is called; 0: it was
        self._clock = clock
        self._send_get = send_get
        self._block_bytes = block_bytes
        self._bytes_per_s = bytes_per_s
        self._while_waiting = while_waiting
        self._wake = asyncio.Event()
        self._pull: "Pull | None" = None
        self._payload = 0
        self._cancelled = False
        self._store: "Callable[[memoryview], None]" = _nowhere
        self._error: "Exception | None" = None
        # Blocks that come in one message:
        self._run: "Pull | None" = None  # for it
        self._block = 0  # the one that comes now,
        self._bytes = 0  # of which so many are here
        self._size = 0  # of it and of those behind it
        self._room: "memoryview | None" = None  # for it

    def begin(self, transfer: int) -> None:
        """From now on this transfer is under way; 0: none is."""
        self.transfer = transfer
        self.blocks = 0
        self._cancelled = False
        self._slow_ms = self._clock.ticks_ms() + SLOW_MS

    def cancel(self, transfer: int) -> bool:
        """Give up the transfer if it is under way: the fetch raises EXPIRED. False: it is not."""
        if transfer != self.transfer or not transfer:
            return False
        self._cancelled = True
        self._wake.set()
        return True

    def check(self) -> None:
        """Raises ProtocolError EXPIRED when the transfer under way was cancelled."""
        if self._cancelled:
            raise ProtocolError(EXPIRED, "cancelled")

    def on_blocks(self, transfer: int, payload: int, block: int, size: int, data: "Buffer") -> None:
        """`dn/block`: the beginning, or all, of `size` bytes of blocks. What is needed of `data` is copied."""
        pull = self._pull
        self._run = None
        if pull and transfer == self.transfer and payload == self._payload and pull.is_run(block, size):
            self._run = pull
            self._block = block
            self._bytes = 0
            self._size = size
            self.on_more(data)

    def on_more(self, data: "Buffer") -> None:
        """What follows on it."""
        at = 0
        while at < len(data) and self._size and self._run and self._run is self._pull:
            size = min(self._block_bytes, self._size)
            if not self._bytes:
                self._room = self._run.room(self._block, size)
            here = min(size - self._bytes, len(data) - at)
            if self._room is not None:
                self._room[self._bytes : self._bytes + here] = data[at : at + here]
            at += here
            self._bytes += here
            if self._bytes == size:
                self._bytes = 0
                self._size -= size
                if self._room is not None:
                    self._arrived(self._run)
                self._block += 1

    def _arrived(self, pull: Pull) -> None:
        """A block is whole; a whole chunk is stored at once, to have room for the next."""
        now_ms = self._clock.ticks_ms()
        pull.arrived(now_ms, self._block)
        try:
            chunk = pull.chunk()
            while chunk:
                self._store(chunk)
                pull.advance(now_ms)
                chunk = pull.chunk()
        except Exception as exc:
            self._error = exc  # it belongs to who fetches
            self._pull = None
        if self._error or pull.done or not pull.wait_ms(now_ms):
            self._wake.set()

    def on_connected(self) -> None:
        """There is a link again: ask at once for what is missing."""
        if self._pull:
            self._pull.hurry()
            self._wake.set()

    async def fetch(self, payload: int, size: int, store: "Callable[[memoryview], None]", start: int = 0) -> None:
        """Pull one payload from byte `start` on, chunk by chunk; an error of `store` ends it. ProtocolError EXPIRED."""
        pull = self._pull = Pull(size, self._block_bytes, self.buffer, start, self._bytes_per_s)
        self._payload = payload
        self._store = store
        self._error = None
        try:
            while not pull.done:
                self.check()
                ask = pull.request(self._clock.ticks_ms())
                if ask:
                    sent = await self._send(payload, ask[0], ask[1])
                    pull.requested(sent)
                now_ms = self._clock.ticks_ms()
                if self._slow_ms and now_ms >= self._slow_ms:
                    self._slow_ms = 0
                    if self.on_slow:
                        await self.on_slow()
                wait_ms = pull.wait_ms(self._clock.ticks_ms())
                if wait_ms and not pull.done and not self._error:
                    self._while_waiting()
                    await self._wait(wait_ms)
                if self._error:
                    raise self._error
        finally:
            self._pull = self._run = None
            self._store = _nowhere
            self.blocks += pull.blocks

    async def _send(self, payload: int, first: int, wanted: bytes) -> bool:
        try:
            return await self._send_get(self.transfer, payload, self._block_bytes, first, wanted) is not False
        except (OSError, MqttError):
            return False

    async def _wait(self, ms: int) -> None:
        """Until a block arrives, the link is new, or `ms` have passed."""
        if self._wake.is_set():
            self._wake.clear()
            return
        alarm = asyncio.create_task(self._alarm(ms))
        try:
            await self._wake.wait()
        finally:
            self._wake.clear()
            alarm.cancel()

    async def _alarm(self, ms: int) -> None:
        await self._clock.sleep_ms(ms)
        self._wake.set()


def _nowhere(chunk: memoryview) -> None:
    pass
