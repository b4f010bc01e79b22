"""The simulated broker on the simulated network: links that die, clients that do not read, restarts."""

import asyncio
import errno
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import world_broker_kit as kit

from evergrow_mqtt.client import Client
from evergrow_mqtt.config import Config
from evergrow_sim.world.broker_settings import Switches
from evergrow_sim.world.broker_world import WorldBroker
from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.net import Network, Stream
from evergrow_sim.world.rand import derive
from evergrow_sim.world.trace import Trace

HOST, PORT = "broker.example", 1883


class World:
    """A network with a broker."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.trace = Trace(keep=2000)
        self.network = Network(self.loop, derive(1, "network"), self.trace)
        self.broker = WorldBroker(self.network, self.trace, HOST, PORT)

    def run(self, work: Awaitable[Any], until_ms: int | None = None) -> Any:
        return self.loop.run(work, until_ms)

    def client(self, name: str, on_message: Callable[..., None] = lambda *_: None, **settings: Any) -> Client:
        config = Config(name, HOST, PORT, **{"backoff_base_ms": 100, "backoff_cap_ms": 1000, **settings})
        return Client(config, self.network.port_for(name), derive(1, name), on_message)

    async def raw(self, name: str, *packets: bytes) -> Stream:
        """A stream on which CONNECT and more were sent."""
        stream = await self.network.port_for(name).connect(HOST, PORT)
        await stream.write(kit.connect(name, clean=False, expiry_s=1000) + b"".join(packets))
        return stream

    def notes(self, what: str) -> list[tuple[Any, ...]]:
        return [details for _, who, found, details in self.trace.last() if (who, found) == ("broker", what)]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.loop.close()


async def _read(stream: Stream, wanted: int) -> list[bytes]:
    """Packets from a stream, until there are so many."""
    data, buffer = b"", bytearray(4096)
    while True:
        packets, _ = kit._whole(data)
        if len(packets) >= wanted:
            return packets
        size = await stream.readinto(buffer)
        assert size, "the broker closed the connection"
        data += bytes(buffer[:size])


def test_a_half_open_link_ends_after_one_and_a_half_keepalives_with_the_will(world):
    async def work() -> int:
        came: list[tuple[str, int]] = []
        watcher = world.client("watcher", lambda topic, payload, *_: came.append((topic, world.loop.now_ms)))
        await watcher.connect()
        await watcher.subscribe("will/#")
        client = world.client("a", keepalive_s=30, will=("will/a", b"gone", 1, False))
        await client.connect()
        world.network.link("a").half_open = True
        since_ms = world.loop.now_ms
        while not came:
            await asyncio.sleep(1)
        await watcher.close()
        return came[0][1] - since_ms

    assert 44_000 < world.run(work(), 100_000) <= 45_100


def test_a_reset_link_publishes_the_will_at_once(world):
    async def work() -> list[str]:
        came: list[str] = []
        watcher = world.client("watcher", lambda topic, *_: came.append(topic))
        await watcher.connect()
        await watcher.subscribe("will/#")
        client = world.client("a", will=("will/a", b"gone", 1, False))
        await client.connect()
        world.network.reset("a")
        await asyncio.sleep(0.1)
        return came

    assert world.run(work(), 10_000) == ["will/a"]


def test_a_client_that_does_not_read_costs_a_bounded_amount_and_loses_no_queued_message(world):
    count, size = 300, 1000

    async def work() -> list[bytes]:
        stream = await world.raw("slow", kit.subscribe(("t", 1)))
        await _read(stream, 2)
        sender = world.client("sender")
        await sender.connect()
        for i in range(count):
            await sender.publish("t", i.to_bytes(2, "big") * (size // 2), 1)
        held = world.broker.core.sessions["slow"]
        assert held.inflight <= 20 and held.queued + held.inflight == count
        found = []
        while len(found) < count:
            for raw in await _read(stream, min(20, count - len(found))):
                message = kit.decode(raw)
                found.append(bytes(message.payload[:2]))
                await stream.write(kit.puback(message.packet_id))
        return found

    assert world.run(work(), 1_000_000) == [i.to_bytes(2, "big") for i in range(count)]


def test_qos_0_for_a_client_that_does_not_read_is_dropped_beyond_the_buffers(world):
    async def work() -> int:
        stream = await world.raw("slow", kit.subscribe(("t", 0)))
        await _read(stream, 2)
        sender = world.client("sender")
        await sender.connect()
        for _ in range(500):
            await sender.publish("t", bytes(1000), 1)
        return len(world.notes("drop"))

    assert world.run(work(), 1_000_000) >= 400, "at most 100 KB are in the network and in the broker's buffers"


def test_a_client_that_is_thrown_out_and_does_not_read_is_gone_soon(world):
    async def work() -> tuple[list[str], list[bool]]:
        stream = await world.raw("slow", kit.subscribe(("t", 0)))
        await _read(stream, 2)
        sender = world.client("sender")
        await sender.connect()
        for _ in range(200):
            await sender.publish("t", bytes(1000), 1)
        await stream.write(b"\xff")
        await asyncio.sleep(11)
        names = [one.who for one in world.broker.core.connections]
        return names, [one.far.over for one in world.network.connections("slow")]

    assert world.run(work(), 1_000_000) in ((["sender"], [True]), (["sender"], []))


def test_a_stopped_broker_refuses_and_a_started_one_is_found_again(world):
    async def work() -> None:
        sessions: list[bool] = []

        async def connected(session_present: bool) -> None:
            sessions.append(session_present)

        client = world.client("a")
        running = asyncio.get_running_loop().create_task(client.run(connected))
        await asyncio.sleep(1)
        world.broker.stop()
        await asyncio.sleep(5)
        with pytest.raises(OSError) as refused:
            await world.network.port_for("b").connect(HOST, PORT)
        assert refused.value.errno == errno.ECONNREFUSED
        waiting = asyncio.get_running_loop().create_task(client.publish("t", b"kept", 1))
        world.broker.start()
        await waiting
        world.broker.restart(with_memory=False)
        await asyncio.sleep(5)
        await client.publish("t", b"again", 1)
        await client.close()
        await running
        assert sessions == [False, True, False]

    world.run(work(), 100_000)


def test_a_late_puback_comes_when_it_is_due(world):
    async def work() -> int:
        client = world.client("a")
        await client.connect()
        world.broker.core.switches = Switches(puback_delay_ms=2000)
        since_ms = world.loop.now_ms
        await client.publish("t", b"x", 1)
        return world.loop.now_ms - since_ms

    assert 2000 <= world.run(work(), 100_000) <= 2050


def test_a_mistake_in_the_broker_ends_the_run_and_is_no_lost_connection(world):
    def broken(client_id: str, message: object) -> None:
        raise LookupError(client_id)

    async def work() -> None:
        client = world.client("a")
        await client.connect()
        world.broker.core.observe = broken
        await client.publish("t", b"x", 1)

    with pytest.raises(LookupError):
        world.run(work(), 100_000)


def test_runs_of_many_clients_repeat_exactly():
    def once() -> tuple[str, int]:
        world = World()

        async def device(i: int) -> None:
            client = world.client(f"w{i}", keepalive_s=30)
            link = world.network.link(f"w{i}")
            link.jitter_ms, link.split, link.loss = 50, True, 0.05
            await client.connect()
            await client.subscribe(f"eg1/acme/w{i}/dn/#")
            for n in range(10):
                await client.publish(f"eg1/acme/w{(i + 1) % 10}/dn/x", bytes([n]) * 100, n % 2)
                await asyncio.sleep(i)
            await client.close()

        async def work() -> None:
            await asyncio.gather(*[device(i) for i in range(10)])

        world.run(work(), 10_000_000)
        found = world.trace.digest(), world.trace.count
        world.loop.close()
        return found

    assert once() == once()
