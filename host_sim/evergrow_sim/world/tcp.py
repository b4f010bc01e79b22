"""One TCP connection in memory: two ends, the bytes between them, and what its line does to these."""

import asyncio
import errno
from collections import deque
from typing import TYPE_CHECKING, Protocol

from evergrow_sim.world.rand import Rand

if TYPE_CHECKING:
    from evergrow_sim.world.net import Link, Network

WINDOW_BYTES = 16384
"""A writer waits while more than this is on its way, or arrived and unread: so much a stalled connection holds at most, and
one write."""

_MSS = 1460
_PIECE_MAX = 48  # bytes, where a link splits
_RTO_US = 200_000  # TCP repeats a lost segment after this, doubled each time, up to
_RTO_MAX_US = 60_000_000
_TEXTS = {errno.ECONNRESET: "connection reset"}


class Receiver(Protocol):
    """Who takes bytes as they arrive, instead of waiting for them in `readinto`: see `Stream.attach`."""

    def receive(self, data: bytes) -> None:
        """Bytes arrived."""

    def lost(self) -> None:
        """Nothing more will arrive: the other end has closed, or the connection broke. Called once, not after `shut`."""

    def pause_writing(self) -> None:
        """More than WINDOW_BYTES are unread."""

    def resume_writing(self) -> None:
        """There is room again."""


class Connection:
    """Two ends and the bytes between them. `near`: the end of `who`, who dialled; `far`: that of who listened."""

    def __init__(self, network: "Network", number: int, who: str, link: "Link", rand: Rand) -> None:
        self.network = network
        self.loop = network.loop
        self.number = number
        self.who = who
        self.link = link
        self.rand = rand
        self.lost = False  # half open, for ever
        self.near = Stream(self, "dn")
        self.far = Stream(self, "up")
        self.near.out = Pipe(self, self.far)
        self.far.out = Pipe(self, self.near)

    def reset(self) -> None:
        """Both ends break now."""
        self.note("reset")
        for end in (self.near, self.far):
            end.fail(errno.ECONNRESET)
        self.check_over()

    def check_over(self) -> None:
        """Forget the connection when neither end can do anything with it."""
        if self.near.over and self.far.over and not self.near.out.busy and not self.far.out.busy:
            self.network.live.pop(self.number, None)

    def note(self, what: str, *details: int | str | bytes) -> None:
        self.network.note(self.who, what, self.number, *details)


class Pipe:
    """One direction of a connection: segments in order, of which only the first is under way in the timers."""

    def __init__(self, connection: Connection, end: "Stream") -> None:
        self._connection = connection
        self._end = end
        self._queue: deque[tuple[int, bytes]] = deque()  # (arrives at, bytes); no bytes: the end of the stream
        self._queued = 0
        self._free_us = 0
        self._last_us = 0
        self._rto_us = _RTO_US

    @property
    def busy(self) -> bool:
        return bool(self._queue)

    @property
    def backlog(self) -> int:
        """Bytes that the reader has not taken yet."""
        return self._queued + len(self._end.inbox)

    def send(self, data: bytes) -> None:
        connection = self._connection
        link = connection.link
        start = 0
        while start < len(data):
            size = 1 + connection.rand.below(_PIECE_MAX) if link.split else _MSS
            self._push(data[start : start + size])
            start += size

    def finish(self) -> None:
        """The end of the stream, behind all that was sent."""
        self._push(b"")

    def drop(self) -> None:
        """What is on its way never arrives."""
        self._queue.clear()
        self._queued = 0

    def _push(self, data: bytes) -> None:
        connection = self._connection
        if connection.lost:
            self._queued += len(data)  # Accepted, and never heard of again.
            return
        link, now_us = connection.link, connection.loop.now_us
        sent_us = max(now_us, self._free_us)
        if link.bytes_per_s:
            sent_us += len(data) * 1_000_000 // link.bytes_per_s
        self._free_us = sent_us
        arrives_us = sent_us + 1000 * link.delay_ms
        if link.jitter_ms:
            arrives_us += connection.rand.below(1000 * link.jitter_ms + 1)
        self._last_us = arrives_us = max(arrives_us, self._last_us)
        self._queue.append((arrives_us, data))
        self._queued += len(data)
        if len(self._queue) == 1:
            connection.loop.call_at_us(arrives_us, self._arrive)

    def _arrive(self) -> None:
        """The first segment reaches the other end, or does not."""
        if not self._queue:
            return  # dropped meanwhile
        connection = self._connection
        link, loop = connection.link, connection.loop
        if link.half_open:
            connection.note("lost")
            connection.lost = True
            self._queue.clear()
            return
        if link.stalled or (link.loss and connection.rand.chance(link.loss)):
            loop.call_at_us(loop.now_us + self._rto_us, self._arrive)
            self._rto_us = min(2 * self._rto_us, _RTO_MAX_US)
            return
        if link.reset and connection.rand.chance(link.reset):
            connection.reset()
            return
        self._rto_us = _RTO_US
        _, data = self._queue.popleft()
        self._queued -= len(data)
        self._end.arrive(data)
        if self._queue:
            loop.call_at_us(max(self._queue[0][0], loop.now_us), self._arrive)
        else:
            connection.check_over()


class Stream:
    """One end of a connection: what `connect` returns and `accept` is handed. `peer`: who dialled. `number`: the connection's.

    One task may read and one may write at a time. Errors are OSError: ECONNRESET, EBADF after `close`.
    """

    out: Pipe

    def __init__(self, connection: Connection, direction: str) -> None:
        self.inbox = bytearray()
        self._connection = connection
        self._direction = direction  # in which bytes travel that arrive here
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._ended = False  # nothing more will come
        self._error = 0
        self._closed = False
        self._vanished = False
        self._receiver: Receiver | None = None
        self._paused = False

    @property
    def peer(self) -> str:
        return self._connection.who

    @property
    def number(self) -> int:
        return self._connection.number

    @property
    def over(self) -> bool:
        """Nobody will use this end any more."""
        return self._closed or self._vanished or self._error != 0

    async def readinto(self, buf: "bytearray | memoryview") -> int:
        """Wait for at least one byte; returns how many were put into `buf`, 0 at the end of the stream."""
        while not self.inbox:
            self._check()
            if self._ended:
                return 0
            self._reader = self._connection.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        self._check()
        size = min(len(buf), len(self.inbox))
        buf[:size] = self.inbox[:size]
        del self.inbox[:size]
        self._other().made_room()
        return size

    async def write(self, buf: "bytes | bytearray | memoryview") -> None:
        """Send all of `buf`, which may be changed afterwards; waits while more than WINDOW_BYTES are unread."""
        self._check()
        self.out.send(bytes(buf))
        while self.out.backlog > WINDOW_BYTES:
            self._writer = self._connection.loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None
            self._check()

    async def close(self) -> None:
        """Give this end back; what was written is still sent. Never raises."""
        self.shut()

    def attach(self, receiver: Receiver) -> None:
        """From now on `receiver` is called with what arrives, and with what is here already; `readinto` is not used then."""
        self._receiver = receiver
        if self.inbox:
            data = bytes(self.inbox)
            self.inbox.clear()
            receiver.receive(data)
        if (self._ended or self._error) and not self._closed:
            receiver.lost()

    def post(self, data: bytes) -> None:
        """Send without waiting; the receiver is paused when there is too much. On a broken or closed stream it is lost."""
        if not self.over:
            self.out.send(data)
            if self._receiver is not None and not self._paused and self.out.backlog > WINDOW_BYTES:
                self._paused = True
                self._receiver.pause_writing()

    def shut(self) -> None:
        """`close`, for those who do not wait."""
        if self.over:
            self._closed = True
            return
        self._closed = True
        self._connection.note("closed", "near" if self._direction == "dn" else "far")
        self.inbox.clear()
        self._wake()
        self.out.finish()
        self._connection.check_over()

    def abort(self) -> None:
        """Break the connection, as the end of a process does: the other end gets ECONNRESET, unless the line is dead."""
        if not self.over:
            self._closed = True
            self._wake()
            self.out.drop()
            self._refuse()

    # -- for the connection

    def arrive(self, data: bytes) -> None:
        """A segment, or the end, is here."""
        if self._vanished and self._connection.network.is_off(self._connection.who):
            return
        if self.over:
            if data and not self._error:
                self._refuse()
            return
        self._connection.note(self._direction, data)
        if not data:
            self._ended = True
            if self._receiver is not None:
                self._receiver.lost()
        elif self._receiver is not None:
            self._receiver.receive(data)
            self._other().made_room()
        else:
            self.inbox += data
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def made_room(self) -> None:
        """The reader of what this end writes has taken some of it."""
        if self.over or self.out.backlog > WINDOW_BYTES:
            return
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
        if self._paused and self._receiver is not None:
            self._paused = False
            self._receiver.resume_writing()

    def fail(self, code: int) -> None:
        """The connection broke; what has not been read is lost."""
        self.out.drop()
        if self.over:
            return
        self._error = code
        self.inbox.clear()
        self._wake()
        if self._receiver is not None and not self._ended:
            self._receiver.lost()

    def vanish(self) -> None:
        """Power is gone: nobody is here, and nobody is told. What had left is still under way."""
        self._vanished = True
        self.inbox.clear()
        self._connection.check_over()

    def _other(self) -> "Stream":
        connection = self._connection
        return connection.far if self is connection.near else connection.near

    def _refuse(self) -> None:
        """Tell the other end that nobody is here, once, if the line lets it through."""
        connection, other = self._connection, self._other()
        link = connection.link
        if connection.lost or link.stalled or link.half_open:
            return
        connection.loop.call_at_us(connection.loop.now_us + 1000 * link.delay_ms, _reset, connection, other)

    def _check(self) -> None:
        if self._closed or self._vanished:
            raise OSError(errno.EBADF, "the stream is closed")
        if self._error:
            raise OSError(self._error, _TEXTS[self._error])  # not strerror: its text differs between machines

    def _wake(self) -> None:
        for waiter in (self._reader, self._writer):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)


def _reset(connection: Connection, end: Stream) -> None:
    connection.note("refused")
    end.fail(errno.ECONNRESET)
    connection.check_over()
