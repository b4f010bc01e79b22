"""The way to the broker: its URL, TLS, the MQTT version, and the event loop that aiomqtt needs."""

import asyncio
import secrets
import socket
import ssl
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from evergrow_cloud.errors import BrokerError

MQTT_5 = aiomqtt.ProtocolVersion.V5
MQTT_3_1_1 = aiomqtt.ProtocolVersion.V311

KEEPALIVE_S = 60
TIMEOUT_S = 10
OUTGOING_CALLS = 16
"""Publishes in flight. Below the 20 that mosquitto and paho allow by default."""
PACKET_BYTES = 65_536 + 512  # EG-LIM-001, and some for the topic

T = TypeVar("T")


@dataclass(frozen=True)
class TlsOptions:
    """Paths of PEM files. `ca`: whom to trust, default the system's; `cert` and `key`: the client certificate, if wanted."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises BrokerError for files that cannot be read."""
        try:
            for path in filter(None, (self.ca, self.cert, self.key)):
                open(path, "rb").close()  # ssl does not say which it is
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except OSError as error:  # ssl.SSLError is one
            raise BrokerError(f"TLS files: {error}") from None
        return context


@dataclass(frozen=True)
class BrokerUrl:
    """`mqtt://[user[:password]@]host[:port]` or `mqtts://...`. Printing it shows no password."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> "BrokerUrl":
        """Raises BrokerError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BrokerError(f"broker URL: {error}") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise BrokerError("a broker URL is mqtt://[user:password@]host[:port] or mqtts://...")
        tls = parts.scheme == "mqtts"
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port or (8883 if tls else 1883), tls, username, password)

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    __repr__ = __str__


def client(
    broker: BrokerUrl,
    version: aiomqtt.ProtocolVersion,
    queue: "asyncio.Queue[aiomqtt.Message]",
    receive_maximum: int,
    tls: TlsOptions,
) -> aiomqtt.Client:
    """A client that is not connected yet, with a new id and a clean session: the protocol recovers by itself (EG-TOP-004).

    PUBACKs are left to the caller (`acknowledge`), so that the broker stops at `receive_maximum` messages when the cloud is slow.
    """
    properties = None
    if version == MQTT_5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = receive_maximum
        properties.MaximumPacketSize = PACKET_BYTES
    made = aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password,
        identifier=f"evergrow-cloud-{secrets.token_hex(4)}",
        protocol=version,
        keepalive=KEEPALIVE_S,
        timeout=TIMEOUT_S,
        properties=properties,
        tls_context=tls.context() if broker.tls else None,
        queue_type=lambda maxsize: queue,  # type: ignore[arg-type] # a class is expected, and called with its size
        max_concurrent_outgoing_calls=OUTGOING_CALLS,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    made.pending_calls_threshold = 2 * OUTGOING_CALLS
    made._client.manual_ack_set(True)  # aiomqtt has no option for it
    return made


def acknowledge(client: aiomqtt.Client, message: aiomqtt.Message) -> None:
    """Send the PUBACK of a message."""
    if message.qos:
        client._client.ack(message.mid, message.qos)


async def lost(client: aiomqtt.Client) -> NoReturn:
    """Raise MqttError as soon as the connection is gone. A task that waits for a PUBACK finds out after TIMEOUT_S only."""
    await asyncio.shield(client._disconnected)
    raise aiomqtt.MqttError("the broker disconnected")


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run with a loop that can watch sockets for aiomqtt, which the default one on Windows cannot."""
    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
