"""A whole device without a network: the agent on a tiny appliance, a virtual clock, a broker and a cloud in memory. Portable."""

import asyncio
import gc

from evergrow_agent.agent import Agent
from evergrow_agent.board import Board, Config, Identity
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.messages import FLAG_FRESH
from faultyflash import FaultyFlash
from mqttworld import SeededRandom, Server, VirtualClock, World
from tinyappliance import TinyAppliance

NOW_S = 1_795_339_200
UP = "eg1/acme/d1/up/"
DN = "eg1/acme/d1/dn/"
HOME = "eg1/acme/home/h1/"


class Clock(VirtualClock):
    """As a board without a battery: UTC is unknown until somebody tells."""

    def __init__(self):
        super().__init__()
        self._boot_utc_s = None

    def utc_s(self):
        return None if self._boot_utc_s is None else self._boot_utc_s + self.now_ms // 1000

    def set_utc_s(self, utc_s):
        self._boot_utc_s = utc_s - self.now_ms // 1000


class Cloud(Server):
    """A broker with the cloud inside. `acks`, `welcomes`: whether it answers. `up`: (kind, message, QoS, retain) in order;
    `at_home`: (kind, message) likewise. `least_boot`: what it knows of the device's boots."""

    def __init__(self):
        super().__init__()
        self.acks = True
        self.welcomes = True
        self.least_boot = 0
        self.up = []
        self.at_home = []
        self.usage = {}  # (boot, seq): body
        self.repeated = 0

    def _on_publish(self, link, first, body):
        seen = len(self.published)
        super()._on_publish(link, first, body)
        for topic, payload, qos, _, retain, _ in self.published[seen:]:
            if topic.startswith(HOME):
                self.at_home.append((topic[len(HOME) :], loads(bytes(payload), deterministic=True)))
                continue
            assert topic.startswith(UP), topic
            kind = topic[len(UP) :]
            message = loads(bytes(payload), deterministic=True)
            self.up.append((kind, message, qos, retain))
            if kind == "birth" and self.welcomes:
                ext = [{0: self.least_boot}] if message[3][9] & FLAG_FRESH else []
                self.down("welcome", [message[0], message[1], NOW_S] + ext)
            elif kind == "usage":
                for envelope in message if isinstance(message[0], list) else [message]:
                    self.take(envelope)
                if self.acks:
                    self.ack(message[0][0] if isinstance(message[0], list) else message[0])

    def take(self, envelope):
        boot, seq, _, body = envelope
        if (boot, seq) in self.usage:
            self.repeated += 1
            assert self.usage[(boot, seq)] == body
        self.usage[(boot, seq)] = body

    def ack(self, boot):
        for boot in {key[0] for key in self.usage}:
            seq = 0
            while (boot, seq + 1) in self.usage:
                seq += 1
            bits = sum([1 << (other - seq - 1) for b, other in self.usage if b == boot and other > seq])
            self.down("ack", [boot, seq, bits.to_bytes(8, "little")] if bits else [boot, seq])

    def down(self, kind, message):
        self.to_deliver.append((DN + kind, message if isinstance(message, bytes) else dumps(message)))
        self._deliver(self._link)

    def tell_home(self, kind, message):
        self.to_deliver.append((HOME + kind, dumps(message)))
        self._deliver(self._link)

    def of(self, kind):
        """The messages of one kind, in order."""
        return [message for name, message, _, _ in self.up if name == kind]


class Watchdog:
    def __init__(self):
        self.fed = 0

    def feed(self):
        self.fed += 1


class Device:
    """One boot. `flash` and `appliance` survive; hand them to the next."""

    def __init__(self, cloud, flash=None, appliance=None, cuts=(), refuse=0, **config):
        gc.collect()  # a boot begins with a heap on which nothing of the last one is left
        self.world = World(cloud, cuts, refuse)
        self.clock = self.world.clock = Clock()
        self.flash = flash or FaultyFlash()
        self.appliance = appliance or TinyAppliance()
        self.watchdog = Watchdog()
        board = Board(self.clock, self.world, self.flash, SeededRandom(), self.watchdog, self.appliance)
        identity = Identity("acme", "d1", "tiny", "1.0", b"vendor-id-16byte", b"class-id--16byte")
        config.setdefault("mqtt", {"backoff_base_ms": 100, "backoff_cap_ms": 2000})
        self.agent = Agent(board, identity, Config("broker", 1883, **config))

    async def _physics(self):
        while True:
            await self.clock.sleep_ms(1000)
            self.appliance.step()

    async def _live(self, story):
        tasks = [asyncio.create_task(self._physics()), asyncio.create_task(self.agent.run())]
        try:
            await self.clock.sleep_ms(1)
            await story(self)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                while not task.done():
                    await asyncio.sleep(0)

    async def live(self, story):
        """Run the agent for as long as `await story(device)` takes; then power is gone."""
        await self.clock.run(self._live(story))

    async def until(self, condition, limit_s=3600):
        """Wait, in virtual time, until `condition()`."""
        end_ms = self.clock.now_ms + 1000 * limit_s
        while not condition():
            assert self.clock.now_ms < end_ms, "it does not happen"
            await self.clock.sleep_ms(250)

    async def run_cycle(self, programme_id=1):
        self.agent.start_programme(programme_id)
        await self.until(lambda: self.agent.runner.state == 0)
