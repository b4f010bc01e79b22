"""Is there a broker that lets us in? Asked before work begins that needs one; the running cloud just keeps trying."""

import asyncio
import socket
import ssl

import aiomqtt

from evergrow_cloud import link
from evergrow_cloud.errors import BrokerError

WAIT_S = 4.0
"""For the connection, and then for the answer in each version of MQTT."""


async def check(broker_url: str, tls: link.TlsOptions, wait_s: float = WAIT_S) -> None:
    """Connect as the cloud does, and leave again. BrokerError says why that cannot be done, in a sentence without a full stop."""
    broker = link.BrokerUrl.parse(broker_url)
    context = tls.context() if broker.tls else None
    try:
        # First without MQTT: paho waits for a handshake as long as a keep-alive lasts.
        await asyncio.to_thread(_connect, broker, context, wait_s)
    except TimeoutError:
        raise BrokerError(f"no connection to {broker} within {wait_s:g} s") from None
    except OSError as error:  # of names, of sockets and of certificates
        raise BrokerError(f"no connection to {broker}: {error.strerror or error}") from None
    said = ""
    for version in (link.MQTT_5, link.MQTT_3_1_1):
        client = link.client(broker, version, asyncio.Queue(), 1, tls)
        client.timeout = wait_s
        try:
            async with client:
                return
        except aiomqtt.MqttCodeError as error:
            said = str(error).partition("] ")[2]
        except aiomqtt.MqttError:
            said = said or "it does not answer as an MQTT broker does"
    raise BrokerError(f"no connection to {broker}: {said}")


def _connect(broker: link.BrokerUrl, context: ssl.SSLContext | None, wait_s: float) -> None:
    with socket.create_connection((broker.host, broker.port), wait_s) as connection:
        if context is not None:
            context.wrap_socket(connection, server_hostname=broker.host).close()
