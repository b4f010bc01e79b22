"""A network in memory: TCP as its users see it, with everything that a bad line does to it.

A *port* is the net port of one who dials (`port_for`); its *link* is the line between it and the rest of the world, and carries
the faults for all its connections, both ways. Who listens is in the middle of the network and has no line of its own. Bytes
of one connection arrive in order or not at all; connections overtake one another.
"""

import contextvars
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from evergrow_sim.world.clocks import Clock
from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.rand import Rand
from evergrow_sim.world.tcp import Connection
from evergrow_sim.world.tcp import Stream as Stream
from evergrow_sim.world.trace import Trace

_SYN_US = 1_000_000
_SYN_TRIES = 6

Accept = Callable[["Stream"], Awaitable[None] | None]


class Link:
    """The line of one who dials. Every attribute may be set at any time; what is on its way is subject to what holds when it
    would arrive.

    delay_ms, jitter_ms  each way: fixed, and up to so much more for each segment
    bytes_per_s          each way and connection; 0: no limit
    loss                 chance that a segment is lost and repeated by TCP: nothing behind it arrives earlier
    reset                chance that a segment ends its connection: both ends get ECONNRESET
    split                bytes arrive in pieces, cut anywhere
    stalled              nothing arrives, no error; what was written arrives when TCP tries again after it
    half_open            nothing arrives, no error; a connection that lost something to it stays dead for ever
    refuse               nobody is there: ECONNREFUSED
    dns_fail             names are not found
    """

    def __init__(self, delay_ms: int = 20, jitter_ms: int = 0) -> None:
        self.delay_ms = delay_ms
        self.jitter_ms = jitter_ms
        self.bytes_per_s = 0
        self.loss = 0.0
        self.reset = 0.0
        self.split = False
        self.stalled = False
        self.half_open = False
        self.refuse = False
        self.dns_fail = False

    def heal(self) -> None:
        """All faults are over; delays stay."""
        fresh = Link(self.delay_ms, self.jitter_ms)
        self.__dict__.update(fresh.__dict__)


class Network:
    """`listen` and `port_for` are how the others get in. `live`: the connections that are not over, by number."""

    def __init__(self, loop: VirtualLoop, rand: Rand, trace: Trace) -> None:
        self.loop = loop
        self.trace = trace
        self.live: dict[int, Connection] = {}
        self._rand = rand
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._links: dict[str, Link] = {}
        self._off: set[str] = set()
        self._connections = 0

    def listen(self, host: str, port: int, accept: Accept) -> "Listener":
        """From now on `accept(stream)` is called for each connection; if it is a coroutine function, as a task of its own.

        What it creates belongs to the group of the caller of `listen`. OSError EADDRINUSE.
        """
        if (host, port) in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{host}:{port} is in use")
        listener = self._listeners[(host, port)] = Listener(self, host, port, accept)
        return listener

    def port_for(self, who: str, clock: Any = None, boot: int = 0) -> "NetPort":
        """The net port of `who`. `clock`: the clock that it lives by; None for one that is always right. `boot`: which one."""
        return NetPort(self, who, clock or Clock(self.loop), self._rand.derive(who, boot))

    def link(self, who: str) -> Link:
        """The line of `who`, to see and set its faults."""
        if who not in self._links:
            self._links[who] = Link()
        return self._links[who]

    def connections(self, who: str) -> "list[Connection]":
        """Those that `who` dialled and that are not over, oldest first."""
        return [connection for connection in self.live.values() if connection.who == who]

    def reset(self, who: str) -> None:
        """All connections of `who` break: both ends get ECONNRESET now."""
        for connection in self.connections(who):
            connection.reset()

    def power_off(self, who: str) -> None:
        """`who` has vanished without a word: the other ends wait, and what they send is lost."""
        self._off.add(who)
        for connection in self.connections(who):
            connection.near.vanish()

    def power_on(self, who: str) -> None:
        """`who` is back, and knows nothing of its old connections: who sends on one of them gets ECONNRESET."""
        self._off.discard(who)

    def is_off(self, who: str) -> bool:
        return who in self._off

    def note(self, who: str, what: str, *details: int | str | bytes) -> None:
        self.trace.add(self.loop.now_ms, who, what, *details)

    def find(self, host: str, port: int) -> "Listener | None":
        return self._listeners.get((host, port))

    def forget(self, listener: "Listener") -> None:
        self._listeners.pop((listener.host, listener.port), None)

    def open(self, who: str, link: Link, rand: Rand, listener: "Listener") -> "Stream":
        """A new connection; returns the end of who dialled."""
        self._connections += 1
        connection = Connection(self, self._connections, who, link, rand.derive(self._connections))
        self.live[connection.number] = connection
        self.note(who, "connected", connection.number, listener.host, listener.port)
        listener.serve(connection.far)
        return connection.near


class Listener:
    """Somebody who listens. `close` ends that; connections that are open stay open."""

    def __init__(self, network: Network, host: str, port: int, accept: Accept) -> None:
        self.host = host
        self.port = port
        self._network = network
        self._accept = accept
        self._context = contextvars.copy_context()

    def close(self) -> None:
        self._network.forget(self)

    def serve(self, stream: "Stream") -> None:
        self._context.copy().run(self._serve, stream)

    def _serve(self, stream: "Stream") -> None:
        work = self._accept(stream)
        if work is not None:
            self._network.loop.start(_accepted(work, stream))


async def _accepted(work: Awaitable[None], stream: "Stream") -> None:
    try:
        await work
    except OSError:
        stream.shut()  # its connection broke; who accepts need not care


class NetPort:
    """The net port: `clock`, `connect`. `link`: its line."""

    def __init__(self, network: Network, who: str, clock: Any, rand: Rand) -> None:
        self.clock = clock
        self.who = who
        self.link = network.link(who)
        self._network = network
        self._rand = rand

    async def connect(self, host: str, port: int, tls: object = None) -> "Stream":
        """Open a connection; takes a round trip at least. OSError. There is no time-out but TCP's own of two minutes."""
        network, loop, link = self._network, self._network.loop, self.link
        network.note(self.who, "connect", host, port)
        if link.dns_fail:
            await loop.sleep_us(1000 * link.delay_ms)
            raise self._failed(socket.EAI_AGAIN, f"no address for {host}", socket.gaierror)
        for attempt in range(_SYN_TRIES):
            if not self._lost():
                break
            await loop.sleep_us(_SYN_US << attempt)
        else:
            raise self._failed(errno.ETIMEDOUT, f"{host}:{port} does not answer")
        await loop.sleep_us(2 * self._one_way_us())
        listener = network.find(host, port)
        if link.refuse or listener is None:
            raise self._failed(errno.ECONNREFUSED, f"{host}:{port} refuses")
        return network.open(self.who, link, self._rand, listener)

    def _lost(self) -> bool:
        link = self.link
        return link.stalled or link.half_open or self._rand.chance(link.loss)

    def _one_way_us(self) -> int:
        link = self.link
        return 1000 * link.delay_ms + (self._rand.below(1000 * link.jitter_ms + 1) if link.jitter_ms else 0)

    def _failed(self, code: int, text: str, kind: "type[OSError]" = OSError) -> OSError:
        self._network.note(self.who, "not connected", text)
        return kind(code, text)
