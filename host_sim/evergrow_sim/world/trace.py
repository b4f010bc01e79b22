"""What happened in the world: a digest of all of it, and the last events as a person reads them.

Two runs with one digest did the same things at the same times in the same order.
"""

from collections import deque
from collections.abc import Callable
from hashlib import sha256

Event = tuple[int, str, str, tuple["Detail", ...]]
"""(t_ms, who, what, details)"""

Detail = int | str | bytes
Sink = Callable[[Event], None]

_FLUSH_EVENTS = 256
_SHOWN_BYTES = 24


class TraceError(Exception):
    """A detail of a kind that could differ between two runs of one seed."""


class Trace:
    """`keep`: how many events `last` remembers. `sink(event)`: None, or called with every event, for a replay or a story.

    `count`: events so far.
    """

    def __init__(self, keep: int = 200, sink: Sink | None = None) -> None:
        self.count = 0
        self.sink = sink
        self._hash = sha256()
        self._lines: list[str] = []
        self._last: deque[Event] = deque(maxlen=keep)

    def add(self, t_ms: int, who: str, what: str, *details: Detail) -> None:
        """Record an event. TraceError for a detail that is no int, str or bytes: its text might hold an address or an order."""
        for detail in details:
            if type(detail) not in (bytes, int, str, bool):
                raise TraceError(f"{who} {what}: a detail is {type(detail).__name__}, not int, str or bytes")
        event = (t_ms, who, what, details)
        self.count += 1
        self._last.append(event)
        self._lines.append(ascii(event))  # not repr: what of Unicode is printable depends on the interpreter's version
        if len(self._lines) >= _FLUSH_EVENTS:
            self._flush()
        if self.sink is not None:
            self.sink(event)

    def digest(self) -> str:
        """Of all events so far, 64 hexadecimal digits."""
        self._flush()
        return self._hash.hexdigest()

    def last(self) -> list[Event]:
        """The last `keep` events, oldest first."""
        return list(self._last)

    def _flush(self) -> None:
        self._hash.update("".join([line + "\n" for line in self._lines]).encode())
        self._lines.clear()


def line(event: Event) -> str:
    """An event as a line of text; long bytes are cut short."""
    t_ms, who, what, details = event
    seconds, ms = divmod(t_ms, 1000)
    clock = f"{seconds // 3600:3d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"
    return " ".join([clock, f"{who:<12}", what, *[_shown(detail) for detail in details]])


def _shown(detail: Detail) -> str:
    if not isinstance(detail, bytes):
        return str(detail)
    text = detail[:_SHOWN_BYTES].hex()
    return f"{len(detail)}:{text}..." if len(detail) > _SHOWN_BYTES else f"{len(detail)}:{text}"
