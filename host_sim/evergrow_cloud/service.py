"""The running cloud: broker on one side, database on the other, `Ingest` in between.

One thread does the work on the database; the event loop owns the sockets. Messages are taken in batches, stored in one
transaction each, PUBACKed and answered after the commit. A broker or disk that fails ends the session, and a new one is tried
with backoff. Then devices that may have talked in the meantime are asked to be born again, and so to repeat what is not acked.
"""

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

import aiomqtt

from evergrow_cloud import commands, configs, devices, entitlements, link, offers, scenes, wire_down
from evergrow_cloud.errors import BrokerError, CloudError, CommandTimeout
from evergrow_cloud.ingest import Incoming, Ingest, Outgoing
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store
from evergrow_protocol import topics

log = logging.getLogger("evergrow.cloud")

POLL_S = 0.2
"""How often offers and commands of other processes are looked for. It is one query on an almost empty index."""
REBIRTH_DELAY_S = 3.0
REBIRTHS_PER_S = 50
BACKOFF_S = (0.5, 30.0)
_DUE_LIMIT = 50

T = TypeVar("T")


class Cloud:
    """The reference cloud of one broker, for all tenants or for one.

    Use it once, as `async with Cloud(store, url) as cloud:` (a task of its own) or `await cloud.run()` (until cancelled). The
    store stays the caller's: it may be read meanwhile and is not closed. Raises BrokerError for a URL or TLS files that cannot
    work.
    """

    def __init__(
        self,
        store: Store,
        broker_url: str,
        *,
        tenant: str | None = None,
        tls: link.TlsOptions | None = None,
        limits: Limits | None = None,
        utc_s: Callable[[], float] = time.time,
        rebirth_delay_s: float = REBIRTH_DELAY_S,
    ) -> None:
        self._store = store
        self._broker = link.BrokerUrl.parse(broker_url)
        self._tls = tls or link.TlsOptions()
        if self._broker.tls:
            self._tls.context()  # say now what cannot work
        if tenant is not None:
            topics.check_id(tenant)
        self._tenant = tenant
        self._limits = limits or Limits()
        self._utc_s = utc_s
        self._rebirth_delay_s = rebirth_delay_s
        self._ingest = Ingest(store, self._limits)
        self._database = ThreadPoolExecutor(1, "evergrow-cloud-store")
        self._versions = [link.MQTT_5, link.MQTT_3_1_1]
        self._version_known = False
        self._waiting: dict[int, asyncio.Future[tuple[int, Any]]] = {}
        self._connected = asyncio.Event()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Cloud":
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._task is not None
        await _end({self._task}, again_s=5)
        self._database.shutdown()

    async def connected(self, timeout_s: float = 30) -> None:
        """Wait until the cloud listens. Raises BrokerError after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            raise BrokerError(f"no connection to {self._broker} within {timeout_s:g} s") from None

    async def run(self) -> None:
        """Serve until cancelled."""
        pause_s = BACKOFF_S[0]
        while True:
            try:
                await self._session()
            except (aiomqtt.MqttError, CloudError, OSError, sqlite3.OperationalError) as error:
                log.warning("no session with %s: %s", self._broker, error)
            except Exception:  # a bug: it costs a session, not the service
                log.exception("the session with %s failed", self._broker)
            if self._connected.is_set():
                self._connected.clear()
                pause_s = BACKOFF_S[0]
            elif not self._version_known:
                self._versions.reverse()  # perhaps it does not speak this one
            await asyncio.sleep(random.uniform(0, pause_s))  # full jitter
            pause_s = min(2 * pause_s, BACKOFF_S[1])

    async def offer(self, device: str, envelope: bytes, payloads: dict[int, bytes]) -> int:
        """Offer a feature to a device, named as `tenant/device`, or `device` where that is enough. Returns the transfer id.

        Raises as `offers.offer`, and UnknownDevice.
        """
        tenant, name = await self._in_database(devices.address, self._store, device, self._tenant)
        transfer = await self._in_database(offers.offer, self._store, tenant, name, envelope, payloads)
        self._due.set()
        return transfer

    async def command(
        self, device: str, command: int, args: dict[int, Any], deadline: int | None = None, timeout: float = 30
    ) -> tuple[int, Any]:
        """Send a command and wait for its answer: (code, result). `deadline`: UTC seconds after which the device refuses it.

        Raises UnknownDevice; CommandTimeout after `timeout` seconds.
        """
        found = await self._in_database(devices.find, self._store, device, self._tenant)
        answer: asyncio.Future[tuple[int, Any]] = asyncio.get_running_loop().create_future()
        number = await self._in_database(commands.add, self._store, found.id, command, args, deadline, timeout)
        self._waiting[number] = answer
        self._due.set()
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            await self._in_database(commands.sent, self._store, number)
            late = await self._in_database(commands.result, self._store, number)
            if late is not None:
                return late
            raise CommandTimeout(f"{found.name} did not answer command {command} within {timeout:g} s") from None
        finally:
            del self._waiting[number]

    async def _session(self) -> None:
        queue = _Inbox(self._limits.inbox_bytes)
        client = link.client(self._broker, self._versions[0], queue, self._limits.batch_messages, self._tls)
        async with client:
            started_ms = int(self._utc_s() * 1000)
            granted = await client.subscribe(f"eg1/{self._tenant or '+'}/+/up/#", qos=1)
            if any((code if isinstance(code, int) else code.value) >= 0x80 for code in granted):
                raise BrokerError(f"{self._broker} refuses the subscription: {granted}")
            self._version_known = True
            log.info("connected to %s", self._broker)
            self._connected.set()
            work = (
                link.lost(client),
                self._receive(client, queue),
                self._send_due(client),
                self._ask_for_rebirth(client, started_ms),
            )
            tasks = {asyncio.create_task(part) for part in work}
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
            finally:
                await _end(tasks, again_s=0.1)

    async def _receive(self, client: aiomqtt.Client, queue: "_Inbox") -> None:
        messages = client.messages
        while True:
            batch = [await anext(messages)]
            while len(batch) < self._limits.batch_messages and not queue.empty():
                batch.append(queue.get_nowait())
            incoming = [Incoming(str(message.topic), bytes(message.payload), message.retain) for message in batch]
            outcome = await self._in_database(self._ingest.apply, incoming, self._utc_s())
            for message in batch:
                link.acknowledge(client, message)
            for number, answer in outcome.answered.items():
                waiting = self._waiting.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
            if outcome.due:
                self._due.set()
            await _publish(client, outcome.outgoing)
            if queue.overflowed:  # what was lost will be repeated after a new session
                raise BrokerError(f"{self._broker} sends faster than this cloud stores, and beyond Receive Maximum")

    async def _send_due(self, client: aiomqtt.Client) -> None:
        while True:
            self._due.clear()
            for offer in await self._in_database(offers.due, self._store, _DUE_LIMIT):
                kind, message = offer.message()
                await _publish(client, [Outgoing(topics.dn(offer.tenant, offer.device, kind), message, 1)])
                await self._in_database(offers.sent, self._store, offer.transfer)
            for command in await self._in_database(commands.due, self._store, _DUE_LIMIT):
                await _publish(client, [Outgoing(topics.dn(command.tenant, command.device, "cmd"), command.message, 1)])
                await self._in_database(commands.sent, self._store, command.id)
            for scene in await self._in_database(scenes.due, self._store, _DUE_LIMIT):
                await _publish(client, [Outgoing(scene.topic, scene.message, 1)])
                await self._in_database(scenes.sent, self._store, scene.id)
            for config in await self._in_database(configs.due, self._store, _DUE_LIMIT):
                await _publish(client, [Outgoing(topics.dn(config.tenant, config.device, "cfg"), config.message, 1)])
                await self._in_database(configs.sent, self._store, config.device_id, config.version)
            for issued in await self._in_database(entitlements.due, self._store, _DUE_LIMIT):
                await _publish(client, [Outgoing(topics.dn(issued.tenant, issued.device, "ent"), issued.message, 1)])
                await self._in_database(entitlements.sent, self._store, issued.id)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._due.wait()

    async def _ask_for_rebirth(self, client: aiomqtt.Client, since_ms: int) -> None:
        """What devices said while nobody listened is gone, and they do not know: a birth makes them repeat it (EG-BIRTH-004)."""
        await asyncio.sleep(self._rebirth_delay_s)  # many come by themselves when a broker restarts
        after = 0
        while True:
            found = await self._in_database(devices.ungreeted, self._store, since_ms, after, REBIRTHS_PER_S)
            if not found:
                return
            for _, tenant, device in found:
                if self._tenant in (None, tenant):
                    number = await self._in_database(commands.fresh_id, self._store)
                    message = wire_down.command(number, commands.REBIRTH, {})
                    await _publish(client, [Outgoing(topics.dn(tenant, device, "cmd"), message, 1)])
            after = found[-1][0]
            await asyncio.sleep(1)

    async def _in_database(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work, *args)


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """The bounded queue behind the socket. QoS 0 may fill half of it, so that telemetry cannot displace usage (EG-TELE-002).

    Receive Maximum keeps QoS 1 far below the bound; but some brokers (mosquitto 2.0.11) go beyond it once the first PUBACK came.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.overflowed = False
        self._max_bytes = max_bytes
        self._bytes = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        room = self._max_bytes if item.qos else self._max_bytes // 2
        if self._bytes + _weight(item) <= room:
            super().put_nowait(item)
        elif item.qos:
            self.overflowed = True

    def _put(self, item: aiomqtt.Message) -> None:
        self._bytes += _weight(item)
        super()._put(item)

    def _get(self) -> aiomqtt.Message:
        item = super()._get()
        self._bytes -= _weight(item)
        return item


def _weight(message: aiomqtt.Message) -> int:
    """Bytes of memory, about."""
    return len(message.payload) + 1000


async def _end(tasks: set[asyncio.Task[None]], again_s: float) -> None:
    """Cancel tasks until they have ended, every `again_s` seconds.

    Once is not enough: before Python 3.12 asyncio.wait_for, which aiomqtt uses, may swallow a cancellation that comes together
    with what it waits for. (A TaskGroup would cancel once, and wait for ever.)
    """
    while tasks:
        for task in tasks:
            task.cancel()
        done, tasks = await asyncio.wait(tasks, timeout=again_s)
        for task in done:
            if not task.cancelled():
                task.exception()  # of no interest any more, but asyncio complains about one that nobody looked at


async def _publish(client: aiomqtt.Client, messages: Sequence[Outgoing]) -> None:
    """All of them, some at a time (the client bounds it). Raises MqttError when the broker does not take one."""
    if len(messages) == 1:
        await client.publish(messages[0].topic, messages[0].payload, messages[0].qos)
    elif messages:
        await asyncio.gather(*(client.publish(message.topic, message.payload, message.qos) for message in messages))
