"""A small home in a world: the broker, a cloud of a few lines, washers. As a script: `world_kit.py SEED` prints a digest."""

import sys
from typing import Any

from evergrow_agent.board import Config
from evergrow_mqtt.client import Client
from evergrow_mqtt.config import Config as MqttConfig
from evergrow_protocol.cbor import dumps, loads
from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.device import WorldDevice
from evergrow_sim.world.world import World

QUICK = 3  # a programme of half an hour
MINUTE_MS = 60_000


class Cloud:
    """Welcomes each birth and acks each usage record. `usage`: {(device, boot, seq): body}; `repeated`: those that came again."""

    def __init__(self, world: World) -> None:
        self.usage: dict[tuple[str, int, int], dict[int, Any]] = {}
        self.births: list[tuple[str, int]] = []
        self.repeated = 0
        self._world = world
        config = MqttConfig("cloud", "broker", 1883, rx_bytes=65536, tx_bytes=65536)
        self._client = Client(config, world.network.port_for("cloud"), world.rand("cloud"), self._on_message)
        world.loop.start(self._client.run(self._greet))

    async def _greet(self, session_present: bool) -> None:
        await self._client.subscribe("eg1/acme/+/up/#", 1)

    def _on_message(self, topic: str, payload: memoryview, retain: bool, dup: bool) -> None:
        _, _, device, _, kind = topic.split("/")
        message = loads(bytes(payload), deterministic=True)
        if kind == "birth" and not retain:
            self.births.append((device, message[0]))
            self._down(device, "welcome", [message[0], message[1], self._world.utc_s()])
        elif kind == "usage":
            for boot, seq, _, body in message if isinstance(message[0], list) else [message]:
                self.repeated += (device, boot, seq) in self.usage
                assert self.usage.setdefault((device, boot, seq), body) == body
                self._down(device, "ack", [boot, seq])

    def _down(self, device: str, kind: str, message: list[Any]) -> None:
        self._world.loop.start(self._client.publish(f"eg1/acme/{device}/dn/{kind}", dumps(message), 1))


class Home:
    """`washers`: off, with the names w0, w1, ..."""

    def __init__(self, seed: int, washers: int = 1, **config: Any) -> None:
        self.world = World(seed)
        loop = self.world.loop
        self.broker = Broker(lambda: loop.now_ms, trace=self.world.trace)
        self.world.network.listen("broker", 1883, BrokerServer(self.broker, loop).accept)
        self.cloud = Cloud(self.world)
        self.washers = [self.washer(f"w{number}", **config) for number in range(washers)]

    def washer(self, name: str, **config: Any) -> WorldDevice:
        return WorldDevice(self.world, name, Config("broker", 1883, **config))

    def at(self, t_ms: int, what: Any, *args: Any) -> None:
        self.world.loop.call_at_us(1000 * t_ms, what, *args)

    def __enter__(self) -> "Home":
        return self

    def __exit__(self, *_: object) -> None:
        self.world.close()


def eventful(seed: int) -> Home:
    """An hour and a half in which everything goes wrong once."""
    home = Home(seed, 2, telemetry_signals=(1, 2, 3), telemetry_s=10)
    rand = home.world.rand("story")
    for washer in home.washers:
        link = home.world.network.link(washer.name)
        link.jitter_ms, link.loss, link.split = 80, 0.02, True
        washer.drift_ppm, washer.rtc = rand.between(-50, 50), rand.choice(("none", "1970", "kept"))
        home.at(rand.below(5000), washer.power_on)
        home.at(MINUTE_MS + rand.below(5000), washer.start_programme, QUICK)
        home.at(rand.between(5, 25) * MINUTE_MS, home.world.network.reset, washer.name)
        home.at(rand.between(26, 29) * MINUTE_MS, washer.reboot, 5000)
        home.at(40 * MINUTE_MS, setattr, link, "half_open", True)
        home.at(45 * MINUTE_MS, link.heal)
        home.at(50 * MINUTE_MS, washer.start_programme, QUICK)
    home.world.run(until_ms=90 * MINUTE_MS)
    return home


if __name__ == "__main__":
    with eventful(int(sys.argv[1])) as made:
        print(made.world.trace.digest(), made.world.trace.count, made.world.loop.events)
