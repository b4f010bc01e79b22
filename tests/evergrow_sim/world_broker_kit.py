"""What the tests of the simulated broker share: packets of both versions written by hand, independently of the project's codec,
clients that live on them, and the broker on a TCP port.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import mqtt5

from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.broker_tcp import listen_tcp

PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def data(value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2, "big") + value


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + varint(len(body)) + body


def block(version: int, properties: bytes = b"") -> bytes:
    return varint(len(properties)) + properties if version == 5 else b""


def connect(
    client_id: str,
    version: int = 5,
    *,
    clean: bool = True,
    keepalive_s: int = 0,
    expiry_s: int = 0,
    will: tuple[str, bytes, int, bool] | None = None,
    will_delay_s: int = 0,
    username: str | None = None,
    password: bytes | None = None,
    properties: bytes = b"",
) -> bytes:
    flags = (2 if clean else 0) | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    if will is not None:
        flags |= 4 | will[2] << 3 | (0x20 if will[3] else 0)
    if expiry_s:
        properties += b"\x11" + expiry_s.to_bytes(4, "big")
    body = data("MQTT") + bytes([version, flags]) + keepalive_s.to_bytes(2, "big") + block(version, properties) + data(client_id)
    if will is not None:
        delay = b"\x18" + will_delay_s.to_bytes(4, "big") if will_delay_s else b""
        body += block(version, delay) + data(will[0]) + data(will[1])
    for text in (username, password):
        body += data(text) if text is not None else b""
    return packet(0x10, body)


def publish(
    topic: str,
    payload: bytes = b"",
    qos: int = 0,
    *,
    version: int = 5,
    retain: bool = False,
    packet_id: int = 1,
    properties: bytes = b"",
) -> bytes:
    body = data(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + block(version, properties) + payload
    return packet(0x30 | qos << 1 | retain, body)


def subscribe(*filters: tuple[str, int], version: int = 5, packet_id: int = 1, properties: bytes = b"") -> bytes:
    """Of each filter its options: QoS, 4 no local, 8 retain as published, 16 and 32 retain handling."""
    body = b"".join(data(name) + bytes([options]) for name, options in filters)
    return packet(0x82, packet_id.to_bytes(2, "big") + block(version, properties) + body)


def unsubscribe(*filters: str, version: int = 5, packet_id: int = 1) -> bytes:
    return packet(0xA2, packet_id.to_bytes(2, "big") + block(version) + b"".join(data(name) for name in filters))


def puback(packet_id: int) -> bytes:
    return packet(0x40, packet_id.to_bytes(2, "big"))


def disconnect(code: int = 0, properties: bytes | None = None) -> bytes:
    return packet(0xE0, (bytes([code]) if code or properties else b"") + (block(5, properties) if properties else b""))


def split(stream: bytes) -> list[bytes]:
    """The packets in a stream of whole ones."""
    packets = []
    while stream:
        at, size, shift = 1, 0, 0
        while True:
            size |= (stream[at] & 127) << shift
            shift += 7
            at += 1
            if stream[at - 1] < 128:
                break
        assert at + size <= len(stream), "a packet is not whole"
        packets.append(stream[: at + size])
        stream = stream[at + size :]
    return packets


def decode(raw: bytes) -> Any:
    """A version 5 packet, read by a library that has nothing to do with this project."""
    found, size = mqtt5.read(raw)
    assert size == len(raw)
    return found


class Time:
    """The world's clock, moved by hand."""

    def __init__(self) -> None:
        self.ms = 1000

    def __call__(self) -> int:
        return self.ms

    def pass_ms(self, broker: Broker, ms: int) -> None:
        """Let time pass, and the broker do what is due exactly when it is."""
        end_ms = self.ms + ms
        while broker.due_ms is not None and broker.due_ms <= end_ms:
            self.ms = max(self.ms, broker.due_ms)
            due_ms = broker.tick()
            assert due_ms is None or due_ms > self.ms, "what was due is done, or the timer would spin"
        self.ms = end_ms


class Site:
    """A broker and its time, without a network."""

    def __init__(self, **settings: Any) -> None:
        self.time = Time()
        self.broker = Broker(self.time, **settings)

    def pass_ms(self, ms: int) -> None:
        self.time.pass_ms(self.broker, ms)

    def connect(self, client_id: str, version: int = 5, **options: Any) -> "Peer":
        """A client whose CONNECT was accepted; what came after the CONNACK is still to be read."""
        peer = Peer(self.broker, version)
        peer.connection.receive(connect(client_id, version, **options))
        raw = peer.first()
        assert raw[0] == 0x20 and raw[3] == 0, raw
        peer.session_present = raw[2] == 1
        return peer

    def watcher(self, *filters: str, version: int = 5) -> "Peer":
        """A client that sees everything, or what matches the filters."""
        peer = self.connect("watcher", version)
        peer.connection.receive(subscribe(*[(name, 1) for name in filters or ("#",)], version=version))
        assert peer.first()[0] == 0x90
        return peer


class Peer:
    """A client without a network. `state`: open, or how the broker ended it: closed, aborted."""

    def __init__(self, broker: Broker, version: int = 5) -> None:
        self.version = version
        self.state = "open"
        self.session_present = False
        self._received = bytearray()
        self.connection = broker.accept(self, "peer")

    def write(self, data: bytes) -> None:
        assert self.state == "open", "the broker wrote after the end"
        self._received += data

    def close(self) -> None:
        assert self.state == "open"
        self.state = "closed"

    def abort(self) -> None:
        assert self.state == "open"
        self.state = "aborted"

    def raw(self) -> list[bytes]:
        """Packets received since the last time."""
        packets = split(bytes(self._received))
        self._received.clear()
        return packets

    def first(self) -> bytes:
        """The oldest packet that was not read yet."""
        found = split(bytes(self._received))[0]
        del self._received[: len(found)]
        return found

    def read(self) -> list[Any]:
        """The same, decoded (version 5)."""
        return [decode(one) for one in self.raw()]

    def send(self, *packets: bytes) -> list[Any]:
        """Send packets; returns what came meanwhile, decoded if this is version 5."""
        for one in packets:
            self.connection.receive(one)
        return self.read() if self.version == 5 else self.raw()

    def messages(self) -> list[tuple[str, bytes]]:
        """(topic, payload) of the messages that came, each acknowledged if it wants to be."""
        found = []
        while fresh := [one for one in self.raw() if one[0] >> 4 == 3]:
            for one in fresh:
                message = decode(one) if self.version == 5 else decode_v4_publish(one)
                found.append((message.topic, bytes(message.payload)))
                if message.packet_id and self.state == "open":
                    self.connection.receive(puback(message.packet_id))
        return found

    def lose(self) -> None:
        """The link breaks."""
        self.connection.lost()
        self.state = "lost"


class V4Publish:
    def __init__(self, raw: bytes) -> None:
        at = len(raw) - len(raw[1:].lstrip(bytes(range(128, 256)))) + 1
        size = int.from_bytes(raw[at : at + 2], "big")
        self.qos = raw[0] >> 1 & 3
        self.retain = bool(raw[0] & 1)
        self.duplicate = bool(raw[0] & 8)
        self.topic = raw[at + 2 : at + 2 + size].decode()
        rest = raw[at + 2 + size :]
        self.packet_id = int.from_bytes(rest[:2], "big") if self.qos else 0
        self.payload = rest[2:] if self.qos else rest


def decode_v4_publish(raw: bytes) -> V4Publish:
    return V4Publish(raw)


class TcpPeer:
    """A client of a broker on a TCP port. What was sent is answered when `settle` returns."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.open = True

    def send(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def receive(self, until: Callable[[list[bytes]], bool]) -> list[bytes]:
        """Packets until that is so, or the broker hangs up."""
        while True:
            packets, rest = _whole(self._buffer)
            if until(packets):
                self._buffer = rest
                return packets
            try:
                fresh = self._socket.recv(65536)
            except ConnectionError:
                fresh = b""
            if not fresh:
                self._buffer = b""
                self.open = False
                self._socket.close()
                return packets
            self._buffer += fresh

    def settle(self) -> list[bytes]:
        """What came before the answer to a PINGREQ."""
        with contextlib.suppress(ConnectionError):
            self.send(PINGREQ)
        return [one for one in self.receive(lambda packets: PINGRESP in packets) if one != PINGRESP]

    def hang_up(self) -> list[bytes]:
        """Close without a word, and wait until the broker has seen it."""
        self._socket.shutdown(socket.SHUT_WR)
        return self.ended()

    def ended(self) -> list[bytes]:
        """What came until the broker hung up."""
        return self.receive(lambda packets: False)


def _whole(stream: bytes) -> tuple[list[bytes], bytes]:
    packets = []
    while len(stream) > 1:
        at, size, shift = 1, 0, 0
        while at < len(stream):
            size |= (stream[at] & 127) << shift
            shift += 7
            at += 1
            if stream[at - 1] < 128:
                break
        else:
            break
        if at + size > len(stream):
            break
        packets.append(stream[: at + size])
        stream = stream[at + size :]
    return packets, stream


class TcpBroker:
    """The broker on a TCP port of 127.0.0.1, in real time, on a thread of its own."""

    def __init__(self, **settings: Any) -> None:
        self.port = 0
        self._settings = settings
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> "TcpBroker":
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def call(self, function: Callable[[Broker], Any]) -> Any:
        """Call on the broker's thread."""

        async def there() -> Any:
            return function(self.broker)

        return asyncio.run_coroutine_threadsafe(there(), self.loop).result(20)

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.broker = Broker(lambda: int(self.loop.time() * 1000), **self._settings)
        self._stop = asyncio.Event()
        listening, self.port = await listen_tcp(BrokerServer(self.broker, self.loop))
        self._ready.set()
        await self._stop.wait()
        self.broker.stop()
        listening.close()
