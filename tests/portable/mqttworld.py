"""A world for the MQTT client without a network: a virtual clock, links that break where they are told to, and a server.

The server has a codec of its own, a few lines written from the standard, so that it does not share a mistake with the client's.
"""

import asyncio

QUIET_SWITCHES = 40  # so many turns of the event loop without a byte moving mean that everybody waits for the clock


class VirtualClock:
    """Time that passes only when everybody waits."""

    def __init__(self):
        self.now_ms = 0
        self.activity = 0
        self._sleepers = []

    def ticks_ms(self):
        return self.now_ms

    async def sleep_ms(self, ms):
        sleeper = [self.now_ms + max(ms, 0), asyncio.Event()]
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers = [other for other in self._sleepers if other is not sleeper]

    async def settle(self):
        """Return when nothing moves any more."""
        quiet, seen = 0, self.activity
        while quiet < QUIET_SWITCHES:
            await asyncio.sleep(0)
            quiet = quiet + 1 if seen == self.activity else 0
            seen = self.activity

    async def run(self, work, limit_ms=100_000_000):
        """Run a coroutine to its end, moving the clock on whenever all wait. AssertionError when it can never end."""
        task = asyncio.create_task(work)
        limit_ms += self.now_ms
        while True:
            await self.settle()
            if task.done():
                return await task
            due_ms = min((sleeper[0] for sleeper in self._sleepers), default=limit_ms + 1)
            if due_ms > limit_ms:
                task.cancel()
                raise AssertionError(f"nothing more happens before {limit_ms} ms; it is {self.now_ms} ms")
            self.now_ms = max(self.now_ms, due_ms)
            for sleeper in self._sleepers:
                if sleeper[0] <= self.now_ms:
                    sleeper[1].set()


class SeededRandom:
    """The same bytes each time (xorshift)."""

    def __init__(self, seed=1):
        self._state = seed

    def bytes(self, n):
        made = bytearray()
        for _ in range(n):
            self._state ^= self._state << 13 & 0xFFFFFFFF
            self._state ^= self._state >> 17
            self._state ^= self._state << 5 & 0xFFFFFFFF
            made.append(self._state & 0xFF)
        return bytes(made)


class Link:
    """The client's end of a connection to `server`. After `cut_after` bytes, counted both ways, it is dead."""

    def __init__(self, clock, server, cut_after=None):
        self._clock = clock
        self._server = server
        self._left = cut_after
        self._inbox = bytearray()
        self._arrived = asyncio.Event()
        self.dead = False
        self.silent = False  # half-open: what is written vanishes, nothing comes
        self.stuck = False  # the peer does not read: writes never end
        self.closed = False

    def _let_through(self, data):
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            if self._left == 0:
                self.dead = True
        return data

    def push(self, data):
        """The server sends."""
        self._clock.activity += 1
        if not self.dead and not self.silent:
            self._inbox.extend(self._let_through(bytes(data)))
        self._arrived.set()

    def drop(self):
        """The server, or the network, ends the connection."""
        self.dead = True
        self._clock.activity += 1
        self._arrived.set()

    async def readinto(self, buf):
        while not self._inbox:
            if self.dead:
                return 0
            self._arrived.clear()
            await self._arrived.wait()
        size = min(len(buf), len(self._inbox))
        buf[:size] = self._inbox[:size]
        self._inbox = self._inbox[size:]
        self._clock.activity += 1
        return size

    async def write(self, buf):
        await asyncio.sleep(0)
        self._clock.activity += 1
        while self.stuck:
            await self._clock.sleep_ms(1_000_000_000)
        if self.dead:
            raise OSError(104)
        if not self.silent:
            self._server.feed(self, self._let_through(bytes(buf)))
        if self.dead:
            self._arrived.set()

    async def close(self):
        self.closed = True
        self.dead = True


class World:
    """The `net` port. `cuts[i]` is the byte after which connection i dies, if there is one; `refuse` attempts fail first."""

    def __init__(self, server, cuts=(), refuse=0):
        self.clock = VirtualClock()
        self.server = server
        self.cuts = list(cuts)
        self.refuse = refuse
        self.unreachable = False
        self.links = []
        self.attempts_ms = []

    async def connect(self, host, port, tls):
        self.attempts_ms.append(self.clock.now_ms)
        self.clock.activity += 1
        if self.unreachable:
            await self.clock.sleep_ms(1_000_000_000)
        if self.refuse:
            self.refuse -= 1
            raise OSError(111)
        cut = self.cuts[len(self.links)] if len(self.links) < len(self.cuts) else None
        link = Link(self.clock, self.server, cut)
        self.links.append(link)
        self.server.opened(link)
        return link


def varint(value):
    made = bytearray()
    while value > 127:
        made.append(value % 128 + 128)
        value //= 128
    made.append(value)
    return bytes(made)


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


def text(string):
    data = string.encode()
    return len(data).to_bytes(2, "big") + data


def publish(version, topic, payload, packet_id=0, dup=False, retain=False, props=b""):
    """A PUBLISH as a server sends it; QoS 1 if it has a packet id."""
    body = text(topic)
    if packet_id:
        body += packet_id.to_bytes(2, "big")
    if version == 5:
        body += varint(len(props)) + props
    return packet(0x30 | (2 if packet_id else 0) | (8 if dup else 0) | (1 if retain else 0), body + payload)


CONNACK_5 = b"\x20\x03\x00\x00\x00"
CONNACK_4 = b"\x20\x02\x00\x00"


def feed(state, data, now_ms=0):
    """Hand bytes to a session as they fit; returns the events, payloads copied."""
    events = []
    data = bytes(data)
    while data:
        window = state.rx_window()
        size = min(len(window), len(data))
        window[:size] = data[:size]
        data = data[size:]
        state.received(size, now_ms)
        event = state.next_event()
        while event is not None:
            events.append(tuple(bytes(part) if isinstance(part, memoryview) else part for part in event))
            event = state.next_event()
    return events


class Server:
    """A broker with one client. What it did is in its lists; how it behaves is in its attributes."""

    def __init__(self, version=5, keeps_session=True):
        self.version = version  # the newest it speaks
        self.keeps_session = keeps_session
        self.props = b""  # of CONNACK
        self.connack_code = 0
        self.suback_code = 0
        self.mute = ()  # packet types it never answers
        self.denied = {}  # topic: reason code of its PUBACK; the link is dropped then
        self.hangs_up_on = None  # topic on which it just drops the link, as 3.1.1 has it
        self.to_deliver = []  # (topic, payload) sent with QoS 1 once there is a subscription
        self.connects = []  # (version, clean start, client id, keepalive)
        self.published = []  # (topic, payload, qos, dup, retain, packet id)
        self.on_wire = []  # the topic field of each PUBLISH as it came: empty when an alias stands for it
        self.pings = 0
        self.disconnects = []  # reason codes
        self.acked = []
        self.filters = []  # of the session's subscriptions
        self._has_session = False
        self._unacked = {}
        self._next_id = 100
        self._spoken = version
        self._link = None
        self._buffer = b""
        self._aliases = {}

    def opened(self, link):
        self._link = link
        self._buffer = b""
        self._aliases = {}

    def feed(self, link, data):
        if link is not self._link:
            return
        self._buffer += data
        while len(self._buffer) >= 2:
            size, at, shift = 0, 1, 0
            while at < len(self._buffer):
                size |= (self._buffer[at] & 127) << shift
                shift += 7
                at += 1
                if self._buffer[at - 1] < 128:
                    break
            else:
                return
            if len(self._buffer) < at + size:
                return
            first, body = self._buffer[0], self._buffer[at : at + size]
            self._buffer = self._buffer[at + size :]
            self._packet(link, first, body)

    def _packet(self, link, first, body):
        kind = first >> 4
        if kind == 3:
            self._on_publish(link, first, body)
        elif kind == 4:
            packet_id = int.from_bytes(body[:2], "big")
            self.acked.append((packet_id, body[2] if len(body) > 2 else 0))
            self._unacked.pop(packet_id, None)
        elif kind == 1:
            self._on_connect(link, body)
        elif kind == 14:
            self.disconnects.append(body[0] if body else 0)
            link.drop()
        elif kind == 12:
            self.pings += 1
            if kind not in self.mute:
                link.push(b"\xd0\x00")
        elif kind in (8, 10):
            self._filter(kind == 8, body)
            if kind not in self.mute:
                props = b"\x00" if self._spoken == 5 else b""
                code = b"" if kind == 10 and self._spoken == 4 else body[-1:] if kind == 8 else b"\x00"
                if kind == 8 and self.suback_code:
                    code = bytes([self.suback_code])
                link.push(packet((kind + 1) << 4, body[:2] + props + code))
            self._deliver(link)

    def _filter(self, wanted, body):
        at = 3 + body[2] if self._spoken == 5 else 2
        name = body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2], "big")].decode()
        self.filters = [one for one in self.filters if one != name] + [name] * wanted

    def _on_connect(self, link, body):
        version = body[6]
        at = 10
        if version == 5:
            at += 1 + body[10]
        size = int.from_bytes(body[at : at + 2], "big")
        clean = bool(body[7] & 2)
        self.connects.append((version, clean, body[at + 2 : at + 2 + size].decode(), int.from_bytes(body[8:10], "big")))
        self._spoken = version
        if 1 in self.mute:
            return
        if version > self.version:
            link.push(b"\x20\x02\x00\x01")
            link.drop()
            return
        present = self._has_session and self.keeps_session and not clean
        if not present:
            self.filters = []
            self._unacked = {}
        flags = bytes([1 if present and not self.connack_code else 0, self.connack_code])
        link.push(packet(0x20, flags + (varint(len(self.props)) + self.props if version == 5 else b"")))
        if self.connack_code:
            link.drop()
            return
        self._has_session = True
        for packet_id in sorted(self._unacked):
            topic, payload = self._unacked[packet_id]
            link.push(publish(version, topic, payload, packet_id, dup=True))

    def _on_publish(self, link, first, body):
        size = int.from_bytes(body[:2], "big")
        topic = body[2 : 2 + size].decode()
        self.on_wire.append(topic)
        at = 2 + size
        packet_id = 0
        if first & 6:
            packet_id = int.from_bytes(body[at : at + 2], "big")
            at += 2
        if self._spoken == 5:
            props = body[at + 1 : at + 1 + body[at]]
            at += 1 + body[at]
            if props[-3:-2] == b"\x23":
                alias = int.from_bytes(props[-2:], "big")
                topic = topic or self._aliases[alias]
                self._aliases[alias] = topic
        assert topic, "empty topic with an alias the server does not know"
        if topic == self.hangs_up_on:
            link.drop()
            return
        code = self.denied.get(topic, 0)
        if not code:
            self.published.append((topic, body[at:], first >> 1 & 3, bool(first & 8), bool(first & 1), packet_id))
        if packet_id and 3 not in self.mute:
            link.push(packet(0x40, body[2 + size : 4 + size] + (bytes([code]) if code else b"")))
        if code:
            link.drop()

    def _deliver(self, link):
        while self.filters and self.to_deliver:
            topic, payload = self.to_deliver.pop(0)
            self._next_id += 1
            self._unacked[self._next_id] = (topic, payload)
            link.push(publish(self._spoken, topic, payload, self._next_id))
