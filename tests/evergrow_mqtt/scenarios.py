"""What a client does with a real broker, as portable scenarios: pytest runs them in this process, and each again on MicroPython.

On MicroPython: micropython scenarios.py PATH BROKER PORT VERSION NAME, where PATH is sys.path joined by ":".
A scenario gets a `Site`. It ends when what it waits for has happened, or with an AssertionError; nothing in it sleeps to be safe.
"""

import asyncio
import sys
import time


class Clock:
    """Real time."""

    def ticks_ms(self):
        return time.time_ns() // 1_000_000

    async def sleep_ms(self, ms):
        await asyncio.sleep(ms / 1000)


class Random:
    def __init__(self):
        self._state = time.time_ns() & 0xFFFFFFFF

    def bytes(self, n):
        made = bytearray()
        for _ in range(n):
            self._state = (self._state * 1103515245 + 12345) & 0xFFFFFFFF
            made.append(self._state >> 16 & 0xFF)
        return bytes(made)


class Tap:
    """A stream that keeps what was written, and can go deaf: then nothing that comes is seen, until the link is cut."""

    def __init__(self, stream, net):
        self._stream = stream
        self._net = net
        self.written = bytearray()

    async def readinto(self, buf):
        size = await self._stream.readinto(buf)
        self._net.read(self, bytes(buf[:size]))
        if self._net.deaf:
            await self._stream.close()
            raise OSError(104)
        return size

    async def write(self, buf):
        self.written.extend(buf)
        await self._stream.write(buf)

    async def close(self):
        await self._stream.close()


class Net:
    """The `net` port with taps on its streams."""

    def __init__(self):
        self.clock = Clock()
        self.taps = []
        self.deaf = False
        self.seen = bytearray()
        self.changed = asyncio.Event()

    def read(self, tap, data):
        self.seen.extend(data)
        self.changed.set()

    async def connect(self, host, port, tls):
        from evergrow_mqtt.stream import open_stream

        tap = Tap(await open_stream(host, port, tls), self)
        self.taps.append(tap)
        return tap


class Device:
    """A client, what came to it, and what happened to it."""

    def __init__(self, site, name, **settings):
        from evergrow_mqtt.client import Client
        from evergrow_mqtt.config import Config

        settings.setdefault("version", site.version)
        settings.setdefault("backoff_base_ms", 20)
        settings.setdefault("backoff_cap_ms", 100)
        settings.setdefault("tls", site.tls)
        self.net = Net()
        self.messages = []
        self.oversized = []
        self.errors = []
        self.sessions = []
        self._event = asyncio.Event()
        self._task = None
        self._filter = None
        self.client = Client(Config(name, "127.0.0.1", site.port, **settings), self.net, Random(), self._keep, self._drained)

    def _keep(self, topic, payload, retain, dup):
        self.messages.append((topic, bytes(payload), retain))
        self._event.set()

    def _drained(self, topic, size):
        self.oversized.append((topic, size))
        self._event.set()

    def _failed(self, error):
        self.errors.append(error)
        self._event.set()

    async def _connected(self, session_present):
        if self._filter is not None:
            await self.client.subscribe(self._filter, 1)
        self.sessions.append(session_present)
        self._event.set()

    async def start(self, topic_filter=None):
        """Run the client; returns when it is connected, and subscribed if there is a filter."""
        self._filter = topic_filter
        self._task = asyncio.create_task(self.client.run(self._connected, self._failed))
        await self.until(lambda: self.sessions)

    async def until(self, condition):
        while not condition():
            self._event.clear()
            await asyncio.wait_for(self._event.wait(), 20)

    async def messages_are(self, *expected):
        await self.until(lambda: len(self.messages) >= len(expected))
        assert self.messages == list(expected), self.messages

    async def stop(self):
        await self.client.close()
        if self._task is not None:
            await self._task

    async def vanish(self):
        """Lose the link without a DISCONNECT."""
        self._task.cancel()
        while not self._task.done():
            await asyncio.sleep(0)


class Site:
    """A broker at a port, and what it can do."""

    def __init__(self, broker, port, version, tls=None):
        self.broker = broker
        self.port = port
        self.version = version
        self.tls = tls

    @property
    def is_mosquitto(self):
        return self.broker == "mosquitto"

    def topic(self, name):
        return f"eg1/test/{name}/{self.version}"

    def device(self, name, **settings):
        return Device(self, name, **settings)


async def connects_and_leaves(site):
    device = site.device("plain", clean_start=True)
    info = await device.client.connect()
    assert (info.version, info.session_present) == (site.version, False)
    await device.client.close()
    assert bytes(device.net.taps[0].written[-2:]) == b"\xe0\x00"


async def carries_messages_with_both_qualities_of_service(site):
    a, b = site.device("both-a", clean_start=True), site.device("both-b", clean_start=True)
    await a.start()
    await b.start(site.topic("both") + "/#")
    for qos in (0, 1):
        for size in (0, 1, 100, 3000):
            await a.client.publish(site.topic("both") + f"/{size}", bytes([qos]) * size, qos)
    await b.messages_are(*[
        (site.topic("both") + f"/{size}", bytes([qos]) * size, False) for qos in (0, 1) for size in (0, 1, 100, 3000)
    ])
    await a.stop()
    await b.stop()


async def unsubscribes(site):
    a = site.device("unsub", clean_start=True)
    await a.start(site.topic("unsub/+"))
    await a.client.publish(site.topic("unsub/one"), b"1", 1)
    await a.messages_are((site.topic("unsub/one"), b"1", False))
    await a.client.unsubscribe(site.topic("unsub/+"))
    await a.client.publish(site.topic("unsub/two"), b"2", 1)
    await a.client.subscribe(site.topic("unsub/three"), 1)
    await a.client.publish(site.topic("unsub/three"), b"3", 1)
    await a.until(lambda: len(a.messages) == 2)
    assert a.messages[1][0] == site.topic("unsub/three")
    await a.stop()


async def the_will_speaks_for_a_vanished_client_only(site):
    watcher = site.device("will-w", clean_start=True)
    await watcher.start(site.topic("will") + "/#")
    polite = site.device("will-p", clean_start=True, will=(site.topic("will") + "/polite", b"gone", 1, False))
    await polite.start()
    await polite.stop()
    rude = site.device("will-r", clean_start=True, will=(site.topic("will") + "/rude", b"gone", 1, False))
    await rude.start()
    await rude.vanish()
    await watcher.messages_are((site.topic("will") + "/rude", b"gone", False))
    await watcher.stop()


async def retained_messages_wait_for_a_subscriber(site):
    a = site.device("ret-a", clean_start=True)
    await a.start()
    await a.client.publish(site.topic("ret"), b"kept", 1, True)
    b = site.device("ret-b", clean_start=True)
    await b.start(site.topic("ret"))
    await b.messages_are((site.topic("ret"), b"kept", True))
    await a.client.publish(site.topic("ret"), b"", 1, True)
    await a.stop()
    await b.stop()


async def a_session_keeps_messages_for_an_absent_client(site):
    a, b = site.device("keep-a", clean_start=True), site.device("keep-b")
    await a.start()
    await b.start(site.topic("keep"))
    await b.vanish()
    await a.client.publish(site.topic("keep"), b"meanwhile", 1)
    again = site.device("keep-b")
    info = await again.client.connect()
    assert info.session_present
    await again.messages_are((site.topic("keep"), b"meanwhile", False))
    await again.stop()
    await a.stop()


async def an_unacknowledged_message_is_sent_again_with_dup(site):
    watcher = site.device("dup-w", clean_start=True)
    await watcher.start(site.topic("dup"))
    device = site.device("dup-d")
    await device.start()
    device.net.deaf = True
    waiting = asyncio.create_task(device.client.publish(site.topic("dup"), b"twice", 1))
    await device.until(lambda: device.errors)
    device.net.deaf = False
    await waiting
    await device.until(lambda: len(device.sessions) > 1)
    await watcher.until(lambda: len(watcher.messages) >= 2)
    assert {message[1] for message in watcher.messages} == {b"twice"}
    if device.sessions[-1]:  # a resumed session: the same packet again, marked as a duplicate
        assert bytes(device.net.taps[-1].written).count(b"\x3a") == 1
    await device.stop()
    await watcher.stop()


async def many_messages_respect_the_brokers_receive_maximum(site):
    watcher = site.device("out-w", clean_start=True)
    await watcher.start(site.topic("out"))
    device = site.device("out-d", clean_start=True)
    info = await device.client.connect()
    tasks = [asyncio.create_task(device.client.publish(site.topic("out"), bytes([i]) * 20, 1)) for i in range(30)]
    for task in tasks:
        await task
    await watcher.until(lambda: len(watcher.messages) >= 30)
    assert [message[1][0] for message in watcher.messages] == list(range(30))
    assert info.receive_maximum >= 1
    await device.client.close()
    await watcher.stop()


async def a_small_receive_maximum_of_ours_loses_nothing(site):
    device = site.device("in-d", clean_start=True, receive_maximum=2, rx_bytes=256)
    await device.start(site.topic("in"))
    sender = site.device("in-s", clean_start=True)
    await sender.start()
    for i in range(40):
        await sender.client.publish(site.topic("in"), bytes([i]) * 30, 1)
    await device.until(lambda: len(device.messages) >= 40)
    assert [message[1][0] for message in device.messages] == list(range(40))
    await device.stop()
    await sender.stop()


async def an_oversized_message_does_not_hurt(site):
    """It is drained and acknowledged, however many come, so that what comes after them still arrives."""
    device = site.device("big-d", clean_start=True, rx_bytes=256)
    await device.start(site.topic("big"))
    sender = site.device("big-s", clean_start=True)
    await sender.start()
    large = bytes(600)
    for _ in range(10):  # more than may be under way at once
        await sender.client.publish(site.topic("big"), large, 1)
    await sender.client.publish(site.topic("big"), b"small", 1)
    await device.messages_are((site.topic("big"), b"small", False))
    assert [topic for topic, _ in device.oversized] == [site.topic("big")] * 10
    assert device.errors == []
    await device.stop()
    await sender.stop()


async def topic_aliases_shorten_packets_where_allowed(site):
    watcher = site.device("alias-w", clean_start=True)
    await watcher.start("eg1/test/alias/#")
    device = site.device("alias-d", clean_start=True)
    info = await device.client.connect()
    for name in ("alias/one", "alias/two", "alias/one", "alias/two", "alias/one"):
        await device.client.publish(site.topic(name), name.encode())
    await watcher.until(lambda: len(watcher.messages) == 5)
    assert [message[0] for message in watcher.messages] == [site.topic(message[1].decode()) for message in watcher.messages]
    named = bytes(device.net.taps[0].written).count(site.topic("alias/one").encode())
    assert named == (1 if info.topic_alias_maximum else 3)
    if site.is_mosquitto:
        assert info.topic_alias_maximum == (10 if site.version == 5 else 0)
    await device.client.close()
    await watcher.stop()


async def a_second_client_of_the_same_name_takes_over(site):
    from evergrow_mqtt.errors import LinkError, Refused

    first, second = site.device("same", clean_start=True), site.device("same", clean_start=True)
    await first.start()
    info = await second.client.connect()
    assert info.code == 0
    await first.until(lambda: first.errors)
    # MQTT 5 has DISCONNECT 0x8E for this (§3.1.4); neither of our brokers says it.
    assert isinstance(first.errors[0], (LinkError, Refused))
    await first.stop()
    await second.client.close()


async def an_idle_connection_is_kept_alive(site):
    device = site.device("idle", clean_start=True, keepalive_s=1)
    await device.start()
    while bytes(device.net.seen).count(b"\xd0\x00") < 2:
        device.net.changed.clear()
        await asyncio.wait_for(device.net.changed.wait(), 20)
    assert device.client.connected and device.errors == []
    await device.stop()


async def nobody_listening_is_a_link_error(site):
    from evergrow_mqtt.errors import LinkError

    nowhere = Site(site.broker, 1, site.version)
    try:
        await nowhere.device("nowhere").client.connect()
    except LinkError as error:
        assert isinstance(error.cause, OSError)
    else:
        raise AssertionError("connected to port 1")


SCENARIOS = (
    connects_and_leaves,
    carries_messages_with_both_qualities_of_service,
    unsubscribes,
    the_will_speaks_for_a_vanished_client_only,
    retained_messages_wait_for_a_subscriber,
    a_session_keeps_messages_for_an_absent_client,
    an_unacknowledged_message_is_sent_again_with_dup,
    many_messages_respect_the_brokers_receive_maximum,
    a_small_receive_maximum_of_ours_loses_nothing,
    an_oversized_message_does_not_hurt,
    topic_aliases_shorten_packets_where_allowed,
    a_second_client_of_the_same_name_takes_over,
    an_idle_connection_is_kept_alive,
    nobody_listening_is_a_link_error,
)


async def a_version_5_client_falls_back(site):
    """On the port of a broker that speaks 3.1.1 only."""
    device = site.device("fallback", version=0, clean_start=True)
    info = await device.client.connect()
    assert info.version == 4
    await device.client.close()


async def strangers_are_refused(site):
    from evergrow_mqtt.errors import Refused

    device = site.device("stranger", clean_start=True)
    try:
        await device.client.connect()
    except Refused as error:
        assert error.permanent and error.code == 0x87
    else:
        raise AssertionError("connected")


async def a_denied_publish_is_refused_and_not_repeated(site):
    """mosquitto answers with 0x87 and drops the link; a 3.1.1 client gets a plain PUBACK."""
    from evergrow_mqtt.errors import Refused

    device = site.device("limited", clean_start=True)
    await device.start()
    try:
        await device.client.publish("forbidden/topic", b"x", 1)
        assert site.version == 4, "a denied publish succeeded"
    except Refused as error:
        assert error.code == 0x87
    await device.client.publish("limited/ok", b"y", 1)
    written = b"".join(bytes(tap.written) for tap in device.net.taps)
    assert written.count(b"forbidden/topic") == 1
    await device.stop()


async def tls_carries_messages(site):
    device = site.device("tls", clean_start=True)
    await device.start("tls/#")
    await device.client.publish("tls/a", b"x" * 3000, 1)
    await device.client.publish("tls/b", b"y", 0)
    await device.messages_are(("tls/a", b"x" * 3000, False), ("tls/b", b"y", False))
    await device.stop()


async def tls_fails(site):
    from evergrow_mqtt.errors import LinkError, TlsError

    device = site.device("tls", clean_start=True)
    try:
        await device.client.connect()
    except TlsError:
        return "TlsError"
    except LinkError as error:
        return f"LinkError {error}"
    raise AssertionError("connected")


def main(path, broker, port, version, name, *tls):
    """Entry on MicroPython. `tls`: CA, host name, and the client's certificate and key if it has them."""
    sys.path.clear()
    sys.path.extend(path.split(":"))
    sys.path.append(".frozen")
    settings = None
    if tls:
        from evergrow_mqtt.tls import client_tls

        settings = client_tls(tls[0], *(tls[2:] or (None, None)), server_hostname=tls[1])
    site = Site(broker, int(port), int(version), settings)
    print("ok", asyncio.run(globals()[name](site)))


if __name__ == "__main__":
    main(*sys.argv[1:])
