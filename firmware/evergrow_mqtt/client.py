"""The asyncio shell around the session: one stream, three small tasks, and a loop that keeps reconnecting.

Tasks of a connection: the *reader* opens the stream and feeds the session, the *writer* alone writes (so that a cancelled
publisher can never leave half a packet on the wire), the *keeper* sleeps until the session's next deadline. Whichever of them
fails first ends the connection with its error; `_teardown` then clears up. All time comes from `net.clock`.
"""

import asyncio

from . import codec, reasons, session
from .backoff import Backoff
from .errors import Closed, HandlerError, LinkError, MqttError, ProtocolViolation, Refused, TlsError
from .session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from .codec import Connack
    from .config import Config
    from .ports import Net, OnMessage, Payload, Random, Stream


_STABLE_MS = 30_000  # a connection that lived this long was a success: the next back-off starts small again
_GOODBYE_MS = 2_000  # for DISCONNECT to leave; then the stream is closed anyway


class _Waiter:
    """Somebody who waits for an acknowledgement; `durable`: beyond this connection, too."""

    def __init__(self, durable: bool) -> None:
        self.durable = durable
        self._event = asyncio.Event()
        self._code = 0
        self._error: "MqttError | None" = None

    def resolve(self, code: int, error: "MqttError | None" = None) -> None:
        self._code = code
        self._error = error
        self._event.set()

    async def wait(self) -> int:
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._code


class Client:
    """An MQTT client.

    `net`: the network port: `net.clock.ticks_ms()`, `await net.clock.sleep_ms(ms)`, `await net.connect(host, port, tls)`
    (`stream.open_stream` does the last). `random`: `random.bytes(n)`.
    `on_message(topic, payload, retain, dup)` is called, not awaited, for each message; `payload` is a view that is valid only
    during the call. A QoS 1 message is acknowledged after it has returned, so that a durable store can come first. If it raises,
    the message is *not* acknowledged and the connection ends with HandlerError: acknowledging would lose the message, and
    MQTT repeats one only over a new connection. `run` then backs off longer each time, so one that always raises cannot spin.
    `on_oversized(topic or None, size_bytes)`: a message larger than the receive buffer was drained, and acknowledged.
    `on_part(topic, payload, left, retain)`: a part of one that `packet_bytes` allows, of whose payload `left` bytes are still to
    come; `topic` is "" but for the first. One whose link breaks has no end: the next message begins with a topic.
    """

    def __init__(
        self,
        config: "Config",
        net: "Net",
        random: "Random",
        on_message: "OnMessage",
        on_oversized: "Callable[[str | None, int], None] | None" = None,
        on_part: "Callable[[str, memoryview, int, bool], None] | None" = None,
    ) -> None:
        self._config = config
        self._net = net
        self._random = random
        self._on_message = on_message
        self._on_oversized = on_oversized
        self._on_part = on_part
        self._session = Session(config)
        self._version = config.version or 5
        self._stream: "Stream | None" = None
        self._tasks: "list[asyncio.Task[None]]" = []
        self._waiting: "dict[int, _Waiter]" = {}  # by packet id
        self._turn = asyncio.Lock()  # first come, first queued
        self._wake = asyncio.Event()  # the session has something to write
        self._written = asyncio.Event()  # something was written, or acknowledged: there may be room
        self._up = asyncio.Event()  # CONNACK came, or will not come
        self._down = asyncio.Event()  # there is no connection
        self._down.set()
        self._awake = asyncio.Event()  # the pause between two attempts is over
        self._closing = False
        self._error: "MqttError | None" = None
        self._was_connecting = False

    @property
    def connected(self) -> bool:
        """True between a CONNACK that accepts and the end of that connection."""
        return self._session.state == session.CONNECTED

    # --- connecting ---

    async def connect(self) -> "Connack":
        """Connect once; `run` does this again and again. Returns what the server said.

        Raises Refused (its CONNACK says no), LinkError or TlsError (no connection, or no CONNACK in time), ProtocolViolation,
        Closed. With `version` 0 a server that does not answer to MQTT 5 is asked again in 3.1.1, with a time-out of its own.
        """
        versions = (self._config.version,) if self._config.version else (self._version, 9 - self._version)
        for version in versions:
            try:
                info = await self._attempt(version)
            except MqttError as error:
                if version != versions[-1] and self._speaks_other_version(error):
                    continue
                raise
            self._version = version
            return info
        raise Closed("no version to try")

    def _speaks_other_version(self, error: MqttError) -> bool:
        """A server without MQTT 5 should say so, but many of 3.1.1 just hang up on a CONNECT they cannot read."""
        if isinstance(error, Refused):
            return error.code == reasons.UNSUPPORTED_VERSION
        return self._was_connecting and isinstance(error, LinkError)

    async def _attempt(self, version: int) -> "Connack":
        self._check_open()
        await self._teardown()
        self._check_open()
        self._error = None
        for event in (self._up, self._down, self._wake, self._written):
            event.clear()
        timer = self._spawn(self._expire, self._config.connect_timeout_ms, "no CONNACK")
        self._spawn(self._read, version)
        try:
            await self._up.wait()
        except asyncio.CancelledError:
            self._end(LinkError("connect was cancelled"))
            await self._teardown()
            raise
        if self._down.is_set():
            await self._teardown()
            raise self._error or LinkError("link failed")
        timer.cancel()
        self._tasks.remove(timer)
        self._spawn(self._keep)
        return self._session.info

    async def _expire(self, timeout_ms: int, text: str) -> None:
        await self._net.clock.sleep_ms(timeout_ms)
        self._end(LinkError(f"{text} within {timeout_ms} ms"))

    def _spawn(self, work: "Callable[..., Awaitable[None]]", *args: "Any") -> "asyncio.Task[None]":
        task = asyncio.create_task(self._guard(work, args))
        self._tasks.append(task)
        return task

    async def _guard(self, work: "Callable[..., Awaitable[None]]", args: "tuple[Any, ...]") -> None:
        """Run a task of this connection; however it fails, the connection ends with a typed error."""
        try:
            await work(*args)
        except asyncio.CancelledError:
            pass
        except ProtocolViolation as error:
            self._leave(error, error.code)
        except HandlerError as error:
            self._leave(error, reasons.IMPLEMENTATION_SPECIFIC)
        except MqttError as error:
            self._end(error)
        except OSError as error:
            self._end(self._lost("link failed", error))
        except Exception as error:
            self._leave(HandlerError("unexpected failure", error), reasons.IMPLEMENTATION_SPECIFIC)

    def _lost(self, text: str, cause: "OSError | None" = None) -> LinkError:
        """The error for a link that failed. On a TLS link whose server leaves before CONNACK, TLS is to blame: it is how a
        refused client certificate looks where the handshake is part of the first write, or where the alert came too late.
        """
        if self._config.tls is not None:
            from .tls import is_tls_error

            if self._session.state == session.CONNECTING or is_tls_error(cause):
                return TlsError(text, cause)
        return LinkError(text, cause)

    # --- the three tasks ---

    async def _read(self, version: int) -> None:
        config = self._config
        stream = await self._net.connect(config.host, config.port, config.tls)
        self._stream = stream
        clock = self._net.clock
        state = self._session
        state.begin(version, clock.ticks_ms())
        self._spawn(self._write, stream)
        self._wake.set()
        while not self._down.is_set():
            while state.congested():
                await self._room()
            event = state.next_event()
            if event is not None:
                self._handle(event)
                self._wake.set()
                continue
            size = await stream.readinto(state.rx_window())
            if size == 0:
                raise self._lost("server closed the connection")
            state.received(size, clock.ticks_ms())

    async def _write(self, stream: "Stream") -> None:
        state = self._session
        while True:
            chunk = state.next_chunk()
            while chunk is not None:
                await stream.write(chunk)
                state.chunk_sent(self._net.clock.ticks_ms())
                self._written.set()
                chunk = state.next_chunk()
            if state.state == session.CLOSING:
                self._end(self._error or Closed("client was closed"))
            await self._wake.wait()
            self._wake.clear()

    async def _keep(self) -> None:
        clock = self._net.clock
        while True:
            now_ms = clock.ticks_ms()
            due_ms = self._session.tick(now_ms)
            if self._session.ping_ms == now_ms:
                self._wake.set()
            await clock.sleep_ms(due_ms - now_ms)

    def _handle(self, event: "tuple[Any, ...]") -> None:
        kind = event[0]
        if kind == session.EV_MESSAGE:
            _, topic, payload, packet_id, retain, dup = event
            try:
                self._on_message(topic, payload, retain, dup)
            except Exception as error:
                raise HandlerError(f"on_message failed for {topic!r}", error)
            if packet_id:
                self._session.acknowledge(packet_id)
        elif kind == session.EV_ACK:
            self._resolve(event[1], event[2])
        elif kind == session.EV_PART:
            _, topic, payload, left, packet_id, retain = event
            if self._on_part is not None:
                try:
                    self._on_part(topic, payload, left, retain)
                except Exception as error:
                    raise HandlerError("on_part failed", error)
            if packet_id:
                self._session.acknowledge(packet_id)
        elif kind == session.EV_OVERSIZED:
            if self._on_oversized is not None:
                self._on_oversized(event[1], event[2])
        elif kind == session.EV_DISCONNECT:
            if event[1] < 0x80:
                raise LinkError("server disconnected")
            raise Refused(event[1], "server disconnected")
        elif event[1].code:
            raise Refused(event[1].code, "CONNECT refused")
        else:
            for packet_id, code in self._session.unsendable():
                self._resolve(packet_id, code)
            self._up.set()

    def _resolve(self, packet_id: int, code: int) -> None:
        self._written.set()
        waiter = self._waiting.pop(packet_id, None)
        if waiter is not None:
            waiter.resolve(code, Refused(code, "server refused") if code >= 0x80 else None)

    # --- the end of a connection ---

    def _end(self, error: MqttError) -> None:
        """The connection is over, for the first reason given. Called from any task; never waits."""
        if self._down.is_set():
            return
        self._error = self._error or error
        self._was_connecting = self._session.state == session.CONNECTING
        given_up = self._session.link_lost()
        if given_up in self._waiting:
            self._waiting.pop(given_up).resolve(0, LinkError("link broke each time this message was sent"))
        self._fail(self._error, self._closing)
        self._down.set()
        self._up.set()
        self._written.set()

    def _fail(self, error: MqttError, everybody: bool) -> None:
        for packet_id, waiter in list(self._waiting.items()):
            if everybody or not waiter.durable:
                del self._waiting[packet_id]
                waiter.resolve(0, error)

    def _leave(self, error: MqttError, code: int) -> None:
        """End the connection with a DISCONNECT that says why, if it can be said and written soon."""
        if self._down.is_set():
            return
        if self._session.disconnect(code):
            self._error = error
            self._wake.set()
            self._spawn(self._expire, _GOODBYE_MS, "DISCONNECT not written")
        else:
            self._end(error)

    async def _teardown(self) -> None:
        """Stop the tasks and close the stream. Two callers at once are harmless."""
        tasks, self._tasks = self._tasks, []
        stream, self._stream = self._stream, None
        current = asyncio.current_task()
        tasks = [task for task in tasks if task is not current]
        for task in tasks:
            task.cancel()
        # Waiting for each to be done, instead of awaiting it, keeps our own cancellation apart from theirs.
        for task in tasks:
            while not task.done():
                await asyncio.sleep(0)
        if stream is not None:
            try:
                await stream.close()
            except OSError:
                pass  # it is gone, which is all we wanted

    async def close(self) -> None:
        """Leave for good: DISCONNECT (so that no will is published), close, and let everybody who waits fail with Closed."""
        if self._closing:
            return
        self._closing = True
        self._awake.set()
        error = Closed("client was closed")
        if not self._down.is_set():
            self._leave(error, reasons.SUCCESS)
            await self._down.wait()
        self._fail(error, True)
        self._written.set()
        await self._teardown()

    # --- supervision ---

    async def run(
        self,
        on_connect: "Callable[[bool], Awaitable[None]] | None" = None,
        on_disconnect: "Callable[[MqttError], None] | None" = None,
    ) -> None:
        """Keep a connection up until `close()`; returns then.

        `await on_connect(session_present)` after each CONNACK: the place to subscribe. It runs beside the connection and is
        cancelled with it; what it raises ends the connection. `on_disconnect(error)` is called for each connection that ended,
        and for each attempt that failed. Between attempts: full jitter. Cancelling `run` drops the link without DISCONNECT, so
        that the server publishes the will.
        """
        config = self._config
        backoff = Backoff(config.backoff_base_ms, config.backoff_cap_ms, config.refused_backoff_ms, self._random)
        clock = self._net.clock
        try:
            while not self._closing:
                since_ms = clock.ticks_ms()
                try:
                    if not self.connected:
                        await self.connect()
                    since_ms = clock.ticks_ms()
                    if on_connect is not None:
                        self._spawn(self._greet, on_connect)
                    await self._down.wait()
                    error = self._error
                    if clock.ticks_ms() - since_ms >= _STABLE_MS:
                        backoff.reset()
                except MqttError as failure:
                    error = failure
                await self._teardown()
                if self._closing or error is None:
                    break
                if on_disconnect is not None:
                    on_disconnect(error)
                permanent = isinstance(error, Refused) and error.permanent
                await self._pause(backoff.refused_ms() if permanent else backoff.next_ms())
        finally:
            self._end(LinkError("run was cancelled"))
            await self._teardown()

    async def _greet(self, on_connect: "Callable[[bool], Awaitable[None]]") -> None:
        await on_connect(self._session.info.session_present)

    async def _pause(self, delay_ms: int) -> None:
        """Sleep, but not past `close()`."""
        timer = asyncio.create_task(self._end_pause(delay_ms))
        try:
            await self._awake.wait()
        finally:
            timer.cancel()
        if not self._closing:
            self._awake.clear()

    async def _end_pause(self, delay_ms: int) -> None:
        await self._net.clock.sleep_ms(delay_ms)
        self._awake.set()

    # --- the application's side ---

    async def publish(
        self, topic: str, payload: "Payload", qos: int = 0, retain: bool = False, expiry_s: "int | None" = None
    ) -> None:
        """Publish a message; waits while the transmit buffer is full.

        QoS 0: returns when the message is queued. It is dropped if the link breaks before it was written, and LinkError if
        there is none now, or none any more while waiting for room.
        QoS 1: returns when the server has acknowledged it, *however many connections that takes*: the message stays in the
        transmit buffer and goes out again, as a duplicate if the session was resumed. Cancelling ends the wait, not the message.
        Raises Refused (by the server's reason code, or by a limit it announced; it is not sent again), Closed, and LinkError when
        the link broke several times in a row while this message alone was under way.
        `expiry_s`: seconds that the server may keep it for a subscriber (MQTT 5 only).
        """
        if qos not in (0, 1):
            raise Refused(reasons.QOS_NOT_SUPPORTED, f"QoS {qos}")
        name = codec.topic_name(topic)
        if not qos:
            # Those who wait with QoS 1 go first: their messages must not starve behind a stream of telemetry.
            while True:
                self._check_connected()
                if not self._turn.locked() and self._queue(name, payload, 0, retain, expiry_s) >= 0:
                    return
                await self._room()
        async with self._turn:
            packet_id = self._queue(name, payload, qos, retain, expiry_s)
            while packet_id < 0:
                await self._room()
                packet_id = self._queue(name, payload, qos, retain, expiry_s)
            waiter = self._waiting[packet_id] = _Waiter(True)
        await waiter.wait()

    def _queue(self, name: bytes, payload: "Payload", qos: int, retain: bool, expiry_s: "int | None") -> int:
        self._check_open()
        self._wake.set()
        return self._session.publish(name, payload, qos, retain, expiry_s)

    async def _room(self) -> None:
        """Wait until there may be more room, or a reason to stop waiting for it."""
        self._written.clear()
        await self._written.wait()

    async def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """Subscribe to one filter; returns the QoS granted. Raises Refused, LinkError (no connection, or lost before the
        answer: subscribe again from `on_connect`), Closed.
        """
        if qos not in (0, 1):
            raise Refused(reasons.QOS_NOT_SUPPORTED, f"QoS {qos}")
        return await self._request(topic_filter, qos)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Undo `subscribe`. Raises as that does."""
        await self._request(topic_filter, None)

    async def _request(self, topic_filter: str, qos: "int | None") -> int:
        name = codec.utf8(topic_filter)
        while True:
            self._check_connected()
            packet_id = self._session.request(name, qos)
            if packet_id >= 0:
                break
            await self._room()
        waiter = self._waiting[packet_id] = _Waiter(False)
        self._wake.set()
        return await waiter.wait()

    def _check_open(self) -> None:
        if self._closing:
            raise Closed("client was closed")

    def _check_connected(self) -> None:
        self._check_open()
        if not self.connected:
            raise LinkError("not connected")
