"""The last retained message of each topic (MQTT 5 §3.3.1.3), in a store of bounded size."""

from collections.abc import Iterator

from evergrow_sim.world.broker_session import Delivery, Message
from evergrow_sim.world.broker_settings import Limits
from evergrow_sim.world.broker_topics import matches


class RetainedStore:
    """Messages by topic, found in the order in which the topics first came."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: dict[str, Message] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def keep(self, message: Message, now_ms: int) -> bool:
        """Keep it instead of the topic's last one; without a payload just forget that. False if there is no room."""
        topic = message.publish.topic
        if not message.publish.payload:
            self._forget(topic)
            return True
        if not self._fits(message):
            for old in [old for old, kept in self._messages.items() if kept.expired(now_ms)]:
                self._forget(old)
            if not self._fits(message):
                return False
        before = self._messages.get(topic)
        self._bytes += _size(message) - (_size(before) if before else 0)
        self._messages[topic] = message
        return True

    def _fits(self, message: Message) -> bool:
        before = self._messages.get(message.publish.topic)
        size = self._bytes + _size(message) - (_size(before) if before else 0)
        count = len(self._messages) + (before is None)
        return count <= self._limits.retained_messages and size <= self._limits.retained_bytes

    def _forget(self, topic: str) -> None:
        message = self._messages.pop(topic, None)
        if message is not None:
            self._bytes -= _size(message)

    def find(self, topic_filter: str, now_ms: int) -> Iterator[Message]:
        """Those that match and have not expired."""
        for topic, message in self._messages.items():
            if matches(topic_filter, topic) and not message.expired(now_ms):
                yield message


def _size(message: Message) -> int:
    return Delivery(message, 0, True).size
