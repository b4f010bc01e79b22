"""The cloud end in the world: the reference cloud's own store, ingest, offers and commands, on the project's MQTT client.

It does what `evergrow_cloud.service` does, without threads and with virtual time for the disk: messages are taken in batches,
stored in one transaction each, PUBACKed and answered after the commit.

A crash takes everything but the database: what was in the inbox, what was stored and not yet answered, every wait.
"""

import asyncio
from collections import deque
from typing import Any

from evergrow_cloud import commands, configs, devices, entitlements, offers, trust, wire_down
from evergrow_cloud.ingest import Incoming, Ingest, Outgoing
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store
from evergrow_mqtt.backoff import Backoff
from evergrow_mqtt.config import Config
from evergrow_mqtt.errors import MqttError
from evergrow_protocol import topics
from evergrow_sim.world.cloud_client import CommittingClient
from evergrow_sim.world.loop import Group
from evergrow_sim.world.world import World

NAME = "cloud"
INBOX_MESSAGES = 500

_PACKET_BYTES = 66_048
_DISK_US = 4000  # a commit takes up to this
_POLL_S = 20
_REBIRTH_DELAY_S = 3
_REBIRTHS_PER_S = 50
_DUE_LIMIT = 50


class InboxFull(Exception):
    """The broker sends faster than this cloud stores. What is not taken is repeated by who sent it."""


class CloudEnd:
    """One reference cloud. Off at first: `start`. `store`: its database, which survives every crash.

    `connects`: how often it got through to the broker. `failures`: sessions that ended with something nobody expects.
    `inbox`: (message, packet id to acknowledge or 0). `off_s`: how much its clock is wrong. `version`: of MQTT.
    """

    def __init__(self, world: World, host: str, port: int, version: int = 5, limits: Limits | None = None) -> None:
        self.world = world
        self.store = Store(":memory:", utc_s=self.utc_s)
        self.connects = 0
        self.failures: list[str] = []
        self.off_s = 0
        self.inbox: deque[tuple[Incoming, int]] = deque()
        self._host = host
        self._port = port
        self._version = version
        self._limits = limits or Limits()
        self._rand = world.rand(NAME)
        self._starts = 0
        self._group: Group | None = None
        self._client: CommittingClient | None = None
        self._ingest = Ingest(self.store, self._limits)
        self._arrived = asyncio.Event()
        self._due = asyncio.Event()

    @property
    def on(self) -> bool:
        """Whether its process runs."""
        return self._group is not None

    @property
    def online(self) -> bool:
        """Whether it hears the broker."""
        return self._client is not None and self._client.connected

    def utc_s(self) -> int:
        """The time, as this cloud believes."""
        return self.world.utc_s() + self.off_s

    # -- power

    def start(self) -> None:
        """Start its process. Harmless when it runs."""
        if self._group is not None:
            return
        self._starts += 1
        self.world.note(NAME, "start", self._starts)
        self.world.network.power_on(NAME)
        self.inbox.clear()
        self._ingest = Ingest(self.store, self._limits)
        self._arrived, self._due = asyncio.Event(), asyncio.Event()
        self._group = Group(self.world.loop, f"{NAME}-{self._starts}")
        self._group.spawn(self._run())

    def squeeze(self, limits: Limits) -> None:
        """From now on it takes no more than this."""
        self._limits = limits
        self._ingest = Ingest(self.store, limits)

    def crash(self, machine: bool = False) -> None:
        """Its process ends here and now, and the system breaks its connections; or its `machine` does, and nobody is told."""
        group, self._group = self._group, None
        if group is None:
            return
        self.world.note(NAME, "crash", machine)
        if machine:
            self.world.network.power_off(NAME)
        else:
            self.world.network.reset(NAME)
        self._client = None
        group.kill()

    # -- what people do by way of the database; it works while the process is down

    def offer(self, device: str, envelope: bytes, payloads: dict[int, bytes], content: int = 0, tenant: str = "acme") -> int:
        """Offer a feature, or other content. Returns the transfer id; raises as `offers.offer`."""
        transfer = offers.offer(self.store, tenant, device, envelope, payloads, content)
        self._due.set()
        return transfer

    def command(self, device: str, command: int, args: dict[int, Any], timeout_s: int = 60, tenant: str = "acme") -> int:
        """Send a command; it is given up if it cannot be sent within `timeout_s`. Returns its id."""
        with self.store.transaction():
            device_id = devices.ensure(self.store, tenant, device)
        number = commands.add(self.store, device_id, command, args, None, timeout_s)
        self._due.set()
        return number

    def cancel(self, transfer: int) -> None:
        """Take an offer back."""
        offers.cancel(self.store, transfer)
        self._due.set()

    def configure(self, device: str, values: dict[int, Any], tenant: str = "acme") -> int:
        """Desire a configuration of a device. Returns its version."""
        with self.store.transaction():
            device_id = devices.ensure(self.store, tenant, device)
        version = configs.put(self.store, device_id, values)
        self._due.set()
        return version

    def entitle(self, device: str, terms: entitlements.Terms, tenant: str = "acme") -> None:
        """Issue an entitlement in place of the one that the device has to that feature."""
        entitlements.issue(self.store, tenant, device, terms)
        self._due.set()

    def publish_trust(self, data: bytes, tenant: str = "acme") -> None:
        """Take a grant or a revocation list for all devices. Raises as `trust.put`."""
        trust.put(self.store, tenant, trust.read(data))
        self._due.set()

    def configured(self, device: str) -> configs.Desired | None:
        """What is desired of a device, and what became of it."""
        row = self.store.row("SELECT id FROM devices WHERE device = ?", device)
        return configs.get(self.store, row[0]) if row else None

    def answer(self, number: int) -> tuple[int, Any] | None:
        """(code, result) of a command; None while there is none."""
        return commands.result(self.store, number)

    # -- the process

    async def _run(self) -> None:
        backoff = Backoff(500, 30_000, 30_000, self._rand)
        while True:
            try:
                if await self._connection():
                    backoff.reset()
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                self.world.note(NAME, "failed", type(error).__name__)
            await self.world.loop.sleep_us(1000 * backoff.next_ms())

    async def _connection(self) -> bool:
        """One connection, with a client of its own, from the attempt to its end. True: it came about."""
        config = Config(
            f"evergrow-cloud-{self._rand.bytes(4).hex()}",
            self._host,
            self._port,
            username=NAME,
            clean_start=True,
            session_expiry_s=0,
            rx_bytes=_PACKET_BYTES,
            tx_bytes=_PACKET_BYTES,
            receive_maximum=min(self._limits.batch_messages, INBOX_MESSAGES // 2),
            version=self._version,
        )
        self.inbox.clear()
        net = self.world.network.port_for(NAME, boot=self._starts)
        client = self._client = CommittingClient(config, net, self._rand, self._take)
        over = asyncio.Event()
        before = self.connects

        def ended(_: MqttError) -> None:
            over.set()

        async def serve(_: bool) -> None:
            await self._serve(client)

        running = asyncio.create_task(client.run(serve, ended))
        try:
            await over.wait()
        finally:
            running.cancel()
        while not running.done():
            await asyncio.sleep(0)
        return self.connects > before

    def _take(self, topic: str, payload: bytes, retain: bool, packet_id: int) -> None:
        if len(self.inbox) >= INBOX_MESSAGES:
            raise InboxFull(f"{len(self.inbox)} messages wait")
        self.inbox.append((Incoming(topic, payload, retain), packet_id))
        self._arrived.set()

    async def _serve(self, client: CommittingClient) -> None:
        started_ms = 1000 * self.utc_s()
        await client.subscribe("eg1/+/+/up/#", 1)
        self.connects += 1
        self.world.note(NAME, "online", self.connects)
        tasks = [asyncio.create_task(work) for work in (self._receive(client), self._send_due(client), self._poll())]
        tasks.append(asyncio.create_task(self._ask_for_rebirth(client, started_ms)))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _receive(self, client: CommittingClient) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self.inbox:
                batch = [self.inbox.popleft() for _ in range(min(len(self.inbox), self._limits.batch_messages))]
                await self._disk()
                now_s = self.utc_s() + self.world.loop.now_us % 1_000_000 / 1_000_000
                outcome = self._ingest.apply([message for message, _ in batch], now_s)
                await self._disk()  # It is stored, and nobody has been told yet.
                for _, packet_id in batch:
                    if packet_id:
                        await client.acknowledge(packet_id)
                if outcome.due:
                    self._due.set()
                await self._publish(client, outcome.outgoing)

    async def _send_due(self, client: CommittingClient) -> None:
        while True:
            self._due.clear()
            for offer in offers.due(self.store, _DUE_LIMIT):
                kind, message = offer.message()
                await self._publish(client, [Outgoing(topics.dn(offer.tenant, offer.device, kind), message, 1)])
                await self._disk()
                offers.sent(self.store, offer.transfer)
            for command in commands.due(self.store, _DUE_LIMIT):
                await self._publish(client, [Outgoing(topics.dn(command.tenant, command.device, "cmd"), command.message, 1)])
                await self._disk()
                commands.sent(self.store, command.id)
            for config in configs.due(self.store, _DUE_LIMIT):
                await self._publish(client, [Outgoing(topics.dn(config.tenant, config.device, "cfg"), config.message, 1)])
                await self._disk()
                configs.sent(self.store, config.device_id, config.version)
            for issued in entitlements.due(self.store, _DUE_LIMIT):
                await self._publish(client, [Outgoing(topics.dn(issued.tenant, issued.device, "ent"), issued.message, 1)])
                await self._disk()
                entitlements.sent(self.store, issued.id)
            await self._due.wait()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            self._due.set()

    async def _ask_for_rebirth(self, client: CommittingClient, since_ms: int) -> None:
        """As the service does: who may have said something in the meantime is asked to say it again (EG-BIRTH-004)."""
        await asyncio.sleep(_REBIRTH_DELAY_S)
        after = 0
        while found := devices.ungreeted(self.store, since_ms, after, _REBIRTHS_PER_S):
            for _, tenant, device in found:
                message = wire_down.command(commands.fresh_id(self.store), commands.REBIRTH, {})
                await self._publish(client, [Outgoing(topics.dn(tenant, device, "cmd"), message, 1)])
            after = found[-1][0]
            await asyncio.sleep(1)

    async def _disk(self) -> None:
        await self.world.loop.sleep_us(self._rand.below(_DISK_US))

    async def _publish(self, client: CommittingClient, messages: list[Outgoing]) -> None:
        if len(messages) == 1:
            await client.publish(messages[0].topic, messages[0].payload, messages[0].qos)
        elif messages:
            await asyncio.gather(*[client.publish(message.topic, message.payload, message.qos) for message in messages])
