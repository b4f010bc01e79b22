"""Who may publish and subscribe where, in the words of a mosquitto ACL file, so that one text serves both brokers."""

from collections.abc import Iterable
from dataclasses import dataclass

from evergrow_sim.world.broker_topics import covers, matches

READ = "read"
WRITE = "write"

_KNOWN_CLIENTS = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """`access`: read, write or readwrite. `pattern`: a topic filter in which the level `%c` is the client id, `%u` the user name.

    `username`: None for everybody.
    """

    access: str
    pattern: str
    username: str | None = None


class Acl:
    """What no rule allows is denied. An immutable list of rules; `Broker.acl` may be replaced at any time."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._known: dict[tuple[str, str, str], list[str]] = {}

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Acl":
        """From the lines `user NAME`, `topic [read|write|readwrite] FILTER` and `pattern [...] FILTER`; ValueError for others.

        As in mosquitto, patterns are for everybody, `topic` lines for the last `user`, or before any for clients without a name.
        """
        rules = []
        username = ""
        for line in lines:
            word, _, rest = line.strip().partition(" ")
            if not word or word.startswith("#"):
                continue
            if word == "user":
                username = rest.strip()
                continue
            access, _, pattern = rest.strip().partition(" ")
            if access not in (READ, WRITE, "readwrite", "deny"):
                access, pattern = "readwrite", rest
            if word not in ("topic", "pattern") or not pattern.strip() or access == "deny":
                raise ValueError(f"ACL line {line!r}")
            rules.append(Rule(access, pattern.strip(), username if word == "topic" else None))
        return cls(rules)

    def may_write(self, client_id: str, username: str, topic: str) -> bool:
        """May this client publish to `topic`?"""
        return any(matches(pattern, topic) for pattern in self._patterns(WRITE, client_id, username))

    def may_read(self, client_id: str, username: str, topic: str) -> bool:
        """May this client see what is published to `topic`?"""
        return any(matches(pattern, topic) for pattern in self._patterns(READ, client_id, username))

    def may_subscribe(self, client_id: str, username: str, topic_filter: str) -> bool:
        """May this client read all that `topic_filter` matches?"""
        return any(covers(pattern, topic_filter) for pattern in self._patterns(READ, client_id, username))

    def _patterns(self, access: str, client_id: str, username: str) -> list[str]:
        """The filters of the rules for one client."""
        key = access, client_id, username
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KNOWN_CLIENTS:
                self._known.clear()
            rules = [rule for rule in self.rules if access in rule.access and rule.username in (None, username)]
            filled = [fill(rule.pattern, client_id, username) for rule in rules]
            found = self._known[key] = [pattern for pattern in filled if pattern]
        return found


def fill(pattern: str, client_id: str, username: str) -> str:
    """The topic filter that a pattern is for one client; "" if its id or name would be a wildcard or several levels there."""
    levels = pattern.split("/")
    for at, level in enumerate(levels):
        if level in ("%c", "%u"):
            name = client_id if level == "%c" else username
            if not name or any(char in "+#/" for char in name):
                return ""
            levels[at] = name
    return "/".join(levels)
