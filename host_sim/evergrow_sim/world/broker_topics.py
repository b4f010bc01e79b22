"""Topic names and filters (MQTT 5 §4.7): their grammar, what matches what, and the tree that finds subscribers."""

from dataclasses import dataclass, field

from evergrow_mqtt.wire import malformed


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription of one session. `retain_handling`: 0 send, 1 send if it is new, 2 do not send retained messages."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


def check_filter(topic_filter: str) -> None:
    """Raises ProtocolViolation(MALFORMED) unless the wildcards stand where they may (§4.7.1)."""
    levels = topic_filter.split("/")
    for at, level in enumerate(levels):
        if ("#" in level and (level != "#" or at + 1 < len(levels))) or ("+" in level and level != "+"):
            raise malformed(f"wildcard inside a level of a topic filter of {len(topic_filter)} characters")
    if not topic_filter:
        raise malformed("empty topic filter")


def matches(topic_filter: str, topic: str) -> bool:
    """True if a message to `topic` is for a subscriber of `topic_filter`."""
    if topic_filter[0] in "+#" and topic[0] == "$":
        return False
    return covers(topic_filter, topic)


def covers(wider: str, narrower: str) -> bool:
    """True if everything that matches the filter `narrower` matches `wider` too."""
    outer, inner = wider.split("/"), narrower.split("/")
    for at, level in enumerate(outer):
        if level == "#":
            return True
        if at == len(inner) or inner[at] == "#" or (level != "+" and level != inner[at]):
            return False
    # "a/#" means "a" as well, so the filter "a" does not cover it: the lengths must agree.
    return len(outer) == len(inner)


_KNOWN_TOPICS = 4096


@dataclass(slots=True)
class _Node:
    children: "dict[str, _Node]" = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


class SubscriptionTree:
    """Who subscribed to what, by topic level. Found in the order of subscription along each branch, so always in the same one."""

    def __init__(self) -> None:
        self._root = _Node()
        self._known: dict[str, dict[str, list[Subscription]]] = {}  # what `find` found since the last change

    def add(self, client_id: str, subscription: Subscription) -> None:
        """Add, or replace the one of the same filter."""
        self._known.clear()
        node = self._root
        for level in subscription.topic_filter.split("/"):
            node = node.children.setdefault(level, _Node())
        node.subscriptions[client_id] = subscription

    def remove(self, client_id: str, topic_filter: str) -> None:
        """Remove it, and the branch that nobody needs any more."""
        self._known.clear()
        path = [self._root]
        levels = topic_filter.split("/")
        for level in levels:
            if level not in path[-1].children:
                return
            path.append(path[-1].children[level])
        path[-1].subscriptions.pop(client_id, None)
        while levels and not path[-1].children and not path[-1].subscriptions:
            path.pop()
            del path[-1].children[levels.pop()]

    def find(self, topic: str) -> dict[str, list[Subscription]]:
        """Client ids with their subscriptions that match `topic`. Not to be changed by the caller."""
        found = self._known.get(topic)
        if found is None:
            if len(self._known) >= _KNOWN_TOPICS:
                self._known.clear()
            found = self._known[topic] = {}
            self._collect(self._root, topic.split("/"), 0, found)
        return found

    def _collect(self, node: _Node, levels: list[str], depth: int, found: dict[str, list[Subscription]]) -> None:
        wildcards = depth > 0 or not levels[0].startswith("$")
        if wildcards and "#" in node.children:
            _take(node.children["#"], found)
        if depth == len(levels):
            _take(node, found)
            return
        if levels[depth] in node.children:
            self._collect(node.children[levels[depth]], levels, depth + 1, found)
        if wildcards and "+" in node.children:
            self._collect(node.children["+"], levels, depth + 1, found)


def _take(node: _Node, found: dict[str, list[Subscription]]) -> None:
    for client_id, subscription in node.subscriptions.items():
        found.setdefault(client_id, []).append(subscription)
