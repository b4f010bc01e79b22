"""The simulated broker behind streams: those of the simulated network in virtual time, or TCP, so that real clients can try it.

    server = BrokerServer(broker, loop)
    network.listen("broker", 1883, server.accept)

A stream is what the `net` port's `connect` returns on the other side: `readinto`, `write`, `close`; and `abort`.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, runtime_checkable

from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_connection import Connection
from evergrow_sim.world.tcp import Receiver

_READ_BYTES = 4096
_HIGH_BYTES = 32_768  # waiting to be written: no more messages then,
_LOW_BYTES = 8192  # until it is this
_GOODBYE_S = 10.0  # for the last bytes to a client that does not read


class Stream(Protocol):
    """One end of a connection. `readinto` and `write` raise OSError."""

    async def readinto(self, buf: Any) -> int: ...

    async def write(self, buf: Any) -> None: ...

    async def close(self) -> None: ...

    def abort(self) -> None: ...


@runtime_checkable
class Attachable(Protocol):
    """A stream of the simulated network: see `tcp.Stream`."""

    peer: str

    def attach(self, receiver: Receiver) -> None: ...

    def post(self, data: bytes) -> None: ...

    def shut(self) -> None: ...

    def abort(self) -> None: ...


class BrokerServer:
    """Runs a broker on an asyncio loop, whose clock is the broker's: a timer, and a task for each stream that does not call."""

    def __init__(self, broker: Broker, loop: asyncio.AbstractEventLoop) -> None:
        self.broker = broker
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        broker.wake = self._soon

    def accept(self, stream: Stream) -> Awaitable[None] | None:
        """Serve one client, to be awaited until that is over; None where the stream calls when bytes arrive."""
        if isinstance(stream, Attachable):
            stream.attach(_Called(self.broker, stream, self._loop))
            return None
        return _Served(self.broker, stream, self._loop).run()

    def _soon(self) -> None:
        """Have `tick` called when it is wanted."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        due_ms = self.broker.due_ms
        if due_ms is not None:
            delay_ms = max(1, due_ms - self.broker.now_ms())  # a timer may come a little early: then it is asked for again
            self._timer = self._loop.call_later(delay_ms / 1000, self._tick)

    def _tick(self) -> None:
        self.broker.tick()
        self._soon()


class _Called:
    """A connection on a stream that calls, and the broker's transport to it: without tasks, which would be most of the work.

    What the broker writes in one go is sent in one.
    """

    def __init__(self, broker: Broker, stream: Attachable, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._out = bytearray()
        self._due = False  # `_flush` will be called
        self._full = False  # by what was written at once
        self._blocked = False  # by the stream
        self._closing = False
        self._connection: Connection = broker.accept(self, str(stream.peer))

    # --- the broker's transport ---

    def write(self, data: bytes) -> None:
        self._out += data
        if len(self._out) > _HIGH_BYTES:
            self._full = True
            self._connection.pause_writing()
        self._soon()

    def close(self) -> None:
        self._closing = True
        self._soon()

    def abort(self) -> None:
        self._out.clear()
        self._stream.abort()

    # --- the stream's receiver ---

    def receive(self, data: bytes) -> None:
        self._connection.receive(data)

    def lost(self) -> None:
        self._connection.lost()

    def pause_writing(self) -> None:
        self._blocked = True
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._blocked = False
        self._connection.resume_writing()

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        if self._out:
            data = bytes(self._out)
            self._out.clear()
            self._stream.post(data)
        if self._closing:
            self._stream.shut()
        elif self._full and not self._blocked:
            self._full = False
            self._connection.resume_writing()


class _Served:
    """A connection on its stream, and the broker's transport to it. What is to be written waits in a buffer."""

    def __init__(self, broker: Broker, stream: Stream, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._out = bytearray()
        self._wake = asyncio.Event()
        self._over = asyncio.Event()
        self._closing = False
        self._goodbye: asyncio.TimerHandle | None = None
        self._connection: Connection = broker.accept(self, str(getattr(stream, "peer", "")))

    # --- the broker's transport ---

    def write(self, data: bytes) -> None:
        self._out += data
        if len(self._out) > _HIGH_BYTES:
            self._connection.pause_writing()
        self._wake.set()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._goodbye = self._loop.call_later(_GOODBYE_S, self.abort)

    def abort(self) -> None:
        self._out.clear()
        self._over.set()

    # --- the stream ---

    async def run(self) -> None:
        """Read and write until it is over."""
        reading = self._loop.create_task(self._read())
        writing = self._loop.create_task(self._write())
        writing.add_done_callback(lambda _: self._over.set())
        for task in (reading, writing):
            task.add_done_callback(_check)
        flushed = False
        try:
            await self._over.wait()
            flushed = writing.done()
        finally:
            if self._goodbye is not None:
                self._goodbye.cancel()
            self._connection.lost()
            if not flushed:
                self._stream.abort()
            for task in (reading, writing):
                task.cancel()
        await self._stream.close()

    async def _read(self) -> None:
        connection = self._connection
        buffer = memoryview(bytearray(_READ_BYTES))
        while not connection.closed:
            try:
                size = await self._stream.readinto(buffer)
            except OSError:
                size = 0
            if size:
                connection.receive(buffer[:size])
            else:
                connection.lost()

    async def _write(self) -> None:
        while True:
            while self._out:
                chunk = bytes(self._out)
                self._out.clear()
                try:
                    await self._stream.write(chunk)
                except OSError:
                    self._connection.lost()
                    return
                if len(self._out) <= _LOW_BYTES:
                    self._connection.resume_writing()
            if self._closing:
                return
            self._wake.clear()
            await self._wake.wait()


def _check(task: "asyncio.Task[None]") -> None:
    """A mistake in the broker must not pass for a lost connection: raised here, it ends the run of a virtual loop."""
    if not task.cancelled():
        task.result()
