"""A run of the world's own machinery, without agent and cloud: loop, random streams, network, flash, broker and MQTT clients.

It changes seldom, so that its digest can be kept in a file, made by another version of Python than the one that tests it:

    cd tests/evergrow_sim && python3.13 world_machinery.py > world_machinery.json    # with the rooms on PYTHONPATH
"""

import json
import platform
from typing import Any

from evergrow_mqtt.client import Client
from evergrow_mqtt.config import Config
from evergrow_mqtt.errors import MqttError
from evergrow_sim.lfs import PowerCut
from evergrow_sim.world.broker_world import WorldBroker
from evergrow_sim.world.flash import PowerFlash
from evergrow_sim.world.world import World

SEED = 4711
CLIENTS = 4
SPAN_MS = 1_800_000


def digest() -> str:
    """Of half an hour in which clients talk over bad links by way of a broker that restarts, and write to flash that fails."""
    with World(SEED) as world:
        broker = WorldBroker(world.network, world.trace, "broker", 1883)
        rand = world.rand("machinery")
        for number in range(CLIENTS):
            _Talker(world, f"c{number}").start()
        for at_s in range(60, SPAN_MS // 1000, 60):
            name = f"c{rand.below(CLIENTS)}"
            world.loop.call_at_us(at_s * 1_000_000, _disturb, world, broker, name, rand.below(6), rand.between(1, 300))
        world.run(until_ms=SPAN_MS)
        assert world.trace.count > 5000
        return world.trace.digest()


def _disturb(world: World, broker: WorldBroker, name: str, what: int, size: int) -> None:
    link = world.network.link(name)
    if what == 0:
        broker.restart(with_memory=bool(size % 2))
    elif what == 1:
        world.network.reset(name)
    elif what == 2:
        link.heal()
    else:
        link.loss, link.jitter_ms, link.split, link.delay_ms = size / 1000, 3 * size, what == 3, size


class _Talker:
    """A client that says something every few seconds, and writes what it hears to its flash."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._rand = world.rand("talker", name)
        self._flash = PowerFlash(block_count=16)
        config = Config(name, "broker", 1883, keepalive_s=30, will=(f"w/{name}", b"gone", 1, True))
        self._client = Client(config, world.network.port_for(name), self._rand, self._hear)

    def start(self) -> None:
        self._world.loop.start(self._client.run(self._greet))
        self._world.loop.start(self._talk())

    async def _greet(self, present: bool) -> None:
        self._world.note(self._name, "online", present)
        await self._client.subscribe("t/#", 1)

    async def _talk(self) -> None:
        while True:
            await self._world.loop.sleep_us(self._rand.between(100_000, 20_000_000))
            topic = f"t/{self._name}/{self._rand.below(3)}"
            try:
                await self._client.publish(topic, self._rand.bytes(self._rand.below(200)), self._rand.below(2))
            except MqttError as error:
                self._world.note(self._name, "not said", type(error).__name__)

    def _hear(self, topic: str, payload: Any, retain: bool, dup: bool) -> None:
        if not self._rand.below(20):
            self._flash.cut(self._flash.ops + 1, self._rand.below(3))
        try:
            self._flash.append("heard", payload)
            if self._flash.size("heard") > 4096:
                self._flash.rename("heard", "old")
        except PowerCut:
            self._flash.power_on()
        except OSError as error:
            self._world.note(self._name, "full", error.errno or 0)
            self._flash.remove("old")
        self._world.note(self._name, "heard", topic, retain, dup, self._flash.ops, self._flash.free(), self._flash.wear.erases)


if __name__ == "__main__":
    made_by = f"{platform.python_implementation()} {platform.python_version()}"
    print(json.dumps({"made_by": made_by, "seed": SEED, "digest": digest()}, indent=2))
