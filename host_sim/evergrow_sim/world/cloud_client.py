"""The MQTT client of the world's cloud end: the project's own, but that PUBACKs are left to who stores the messages.

A device acknowledges what it has taken; a cloud acknowledges what it has committed, as `evergrow_cloud.service` does.
"""

from collections.abc import Callable
from typing import Any

from evergrow_mqtt.client import Client
from evergrow_mqtt.config import Config
from evergrow_mqtt.errors import HandlerError
from evergrow_mqtt.session import EV_MESSAGE
from evergrow_sim.world.net import NetPort
from evergrow_sim.world.rand import Rand

Take = Callable[[str, bytes, bool, int], None]
"""(topic, payload, retained, packet id; 0 with QoS 0)"""


class CommittingClient(Client):
    """`take` is called with each message. One with a packet id waits for `acknowledge`; the broker bounds how many do."""

    def __init__(self, config: Config, net: NetPort, random: Rand, take: Take) -> None:
        super().__init__(config, net, random, _never)
        self._take = take

    def _handle(self, event: tuple[Any, ...]) -> None:
        if event[0] != EV_MESSAGE:
            super()._handle(event)
            return
        _, topic, payload, packet_id, retain, _ = event
        try:
            self._take(topic, bytes(payload), retain, packet_id)
        except Exception as error:
            raise HandlerError(f"{topic!r} was not taken", error) from error

    async def acknowledge(self, packet_id: int) -> None:
        """PUBACK a message; waits while there is no room for it. Nothing happens if the connection is over."""
        while self.connected and self._session.congested():
            await self._room()
        if self.connected:
            self._session.acknowledge(packet_id)
            self._wake.set()


def _never(*_: object) -> None:
    raise AssertionError("`take` is called instead")
