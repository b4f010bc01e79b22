"""Listening to a broker: every message below eg1/, as it passes by. A tap publishes nothing and keeps nothing at the broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiomqtt

from evergrow_cloud import link
from evergrow_protocol import traffic
from evergrow_protocol.topics import MAJOR
from evergrow_protocol.traffic import Message

_QUEUE = 10_000
_RECEIVE_MAXIMUM = 1_000


def topic_filter(tenant: str | None = None, device: str | None = None) -> str:
    """The subscription; kinds are not filtered by the broker."""
    return f"{MAJOR}/{tenant or '+'}/{device or '+'}/#"


async def listen(
    broker: str,
    subscription: str,
    tls: link.TlsOptions,
    mqtt_3_1_1: bool = False,
    connected: "asyncio.Event | None" = None,
) -> AsyncIterator[Message]:
    """The messages of one connection, until it is lost: aiomqtt.MqttError. `connected` is set when none can be missed any more.

    Raises evergrow_cloud.errors.BrokerError for a URL or TLS files that cannot work.
    """
    queue: asyncio.Queue[aiomqtt.Message] = asyncio.Queue(_QUEUE)
    version = link.MQTT_3_1_1 if mqtt_3_1_1 else link.MQTT_5
    async with link.client(link.BrokerUrl.parse(broker), version, queue, _RECEIVE_MAXIMUM, tls) as client:
        await client.subscribe(subscription, qos=1)
        if connected is not None:
            connected.set()
        async for message in client.messages:
            link.acknowledge(client, message)
            payload = message.payload if isinstance(message.payload, bytes) else b""
            yield Message(str(message.topic), payload, round(time.time(), 3), message.qos, message.retain)


class Recorder:
    """Writes what passes a broker to a file, as long as the context is open. A broker that refuses costs the recording alone.

    `count`: messages written.
    """

    def __init__(self, broker: str, subscription: str, tls: link.TlsOptions, path: Path) -> None:
        self.count = 0
        self._where = (broker, subscription, tls)
        self._path = path
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Recorder":
        self._task = asyncio.create_task(self._record())
        waiting = asyncio.create_task(self._connected.wait())
        await asyncio.wait((waiting, self._task), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _record(self) -> None:
        broker, subscription, tls = self._where
        with self._path.open("w", encoding="utf-8") as file, suppress(aiomqtt.MqttError):
            async for message in listen(broker, subscription, tls, connected=self._connected):
                file.write(traffic.to_line(message) + "\n")
                self.count += 1
