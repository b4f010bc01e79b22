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


class Fetcher:
    """`send_get(transfer, payload, block_bytes, first, wanted)` is a coroutine function; it may raise OSError or MqttError, or
    return False, when there is no link. `clock`: the network's. `while_waiting()` is called between blocks.

    `transfer`: the one under way, 0 for none. `blocks`: how many it took so far. `buffer`: room for a window; its user may
    borrow it between fetches.
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

    def begin(self, transfer: int) -> None:
        """From now on this transfer is under way; 0: none is."""
        self.transfer = transfer
        self.blocks = 0
        self._cancelled = False

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

    def on_block(self, transfer: int, payload: int, block: int, data: "Buffer") -> None:
        """`dn/block`. What is needed of `data` is copied; a whole chunk is stored at once, to have room for the next."""
        pull = self._pull
        if pull is None or transfer != self.transfer or payload != self._payload:
            return
        now_ms = self._clock.ticks_ms()
        if not pull.on_block(now_ms, block, data):
            return
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
                wait_ms = pull.wait_ms(self._clock.ticks_ms())
                if wait_ms and not pull.done and not self._error:
                    self._while_waiting()
                    await self._wait(wait_ms)
                if self._error:
                    raise self._error
        finally:
            self._pull = None
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
