"""What the broker keeps for one client id (MQTT 5 §4.1): subscriptions, and QoS 1 messages that wait or are under way."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evergrow_sim.world.broker_packets import Publish
from evergrow_sim.world.broker_settings import Limits
from evergrow_sim.world.broker_topics import Subscription

if TYPE_CHECKING:
    from evergrow_sim.world.broker_connection import Connection

_OVERHEAD_BYTES = 64  # counted for each queued message, so that empty ones are not free


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the broker took in. `expires_ms`: when nobody wants it any more, None for never. `origin`: client id."""

    publish: Publish
    expires_ms: int | None
    origin: str

    def expired(self, now_ms: int) -> bool:
        return self.expires_ms is not None and now_ms >= self.expires_ms

    def left_s(self, now_ms: int) -> int | None:
        """The expiry interval to hand on: what came, less the whole seconds that it waited here (§3.3.2.3.3)."""
        return None if self.expires_ms is None else max(0, -((now_ms - self.expires_ms) // 1000))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message for one subscriber, at the QoS and with the retain flag that it gets."""

    message: Message
    qos: int
    retain: bool

    @property
    def size(self) -> int:
        publish = self.message.publish
        return len(publish.payload) + len(publish.topic) + len(publish.properties) + _OVERHEAD_BYTES


class Session:
    """`connection`: the one that it is used on, or None. `ends_ms`: when it ends if nobody comes back, None for never.

    `will`: the message to publish for the client; `will_due_ms`: when, if it is waiting for that already.
    """

    def __init__(self, client_id: str, limits: Limits) -> None:
        self.client_id = client_id
        self.username = ""
        self.expiry_s = 0
        self.ends_ms: int | None = None
        self.connection: Connection | None = None
        self.will: Publish | None = None
        self.will_delay_s = 0
        self.will_due_ms: int | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self._limits = limits
        self._queue: deque[Delivery] = deque()
        self._queue_bytes = 0
        self._inflight: dict[int, Delivery] = {}
        self._again: deque[tuple[int, Delivery]] = deque()
        self._last_id = 0

    @property
    def queued(self) -> int:
        """QoS 1 messages that wait to be sent, for the first time or again."""
        return len(self._queue) + len(self._again)

    @property
    def inflight(self) -> int:
        """QoS 1 messages sent and not acknowledged."""
        return len(self._inflight)

    def offer(self, delivery: Delivery, now_ms: int) -> bool:
        """Queue a QoS 1 message; False when the queue is full, even without those that have expired."""
        if not self._fits(delivery):
            self._expire(now_ms)
            if not self._fits(delivery):
                return False
        self._queue.append(delivery)
        self._queue_bytes += delivery.size
        return True

    def _fits(self, delivery: Delivery) -> bool:
        limits = self._limits
        return len(self._queue) < limits.queue_messages and self._queue_bytes + delivery.size <= limits.queue_bytes

    def _expire(self, now_ms: int) -> None:
        kept = [delivery for delivery in self._queue if not delivery.message.expired(now_ms)]
        self._queue = deque(kept)
        self._queue_bytes = sum(delivery.size for delivery in kept)

    def next(self, now_ms: int) -> tuple[int, Delivery, bool] | None:
        """(packet id, message, dup) to send next; it is under way from now on. What has expired in the queue is forgotten."""
        if self._again:
            packet_id, delivery = self._again.popleft()
            self._inflight[packet_id] = delivery
            return packet_id, delivery, True
        while self._queue:
            delivery = self._queue.popleft()
            self._queue_bytes -= delivery.size
            if not delivery.message.expired(now_ms):
                packet_id = self._new_id()
                self._inflight[packet_id] = delivery
                return packet_id, delivery, False
        return None

    def _new_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._inflight:
                return self._last_id

    def acknowledged(self, packet_id: int) -> bool:
        """The client has the message; False if none has this id."""
        return self._inflight.pop(packet_id, None) is not None

    def resume(self) -> None:
        """A new connection: what was under way on the last one goes first, with its old ids and in its old order (§4.4, §4.6)."""
        self._again.extendleft(reversed(self._inflight.items()))
        self._inflight.clear()
