"""What a user says at the appliance: how good a feature was, or what is wished for (SPEC section 15).

Each saying is an envelope, kept on flash until the cloud has heard it. There are at most SAYINGS_MAX: whoever speaks when there
is no room is told so, and nothing that was taken is dropped.

    file `voice`   a `checked` CBOR array of envelopes, as byte strings
"""

from evergrow_agent import checked
from evergrow_protocol import messages
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import STORAGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evergrow_agent.timebase import Timebase

SAYINGS_MAX = 8

_FILE = "voice"


class Voice:
    """`boot` is to be set before the first saying. `on_said()`: called when there is something to send, may be set.

    `lost`: whether what was said before this boot could not be read.
    """

    def __init__(self, flash: "Any", timebase: "Timebase") -> None:
        self.boot = 0
        self.lost = False
        self.on_said: "Callable[[], None]" = _nothing
        self._flash = flash
        self._timebase = timebase
        self._seq = 0
        self._readable = True
        self._said: "list[bytes]" = []
        self._next = 0
        try:
            content = checked.load(flash, _FILE)
            if content is not None:
                self._said = [bytes(envelope) for envelope in loads(content)]
                for envelope in self._said:
                    messages.record_id(envelope)
        except OSError:
            self._readable = False  # Nothing is written over what may still be there.
        except (ProtocolError, TypeError):
            self._said = []
            self.lost = True

    @property
    def pending(self) -> int:
        """Sayings that the cloud has not heard."""
        return len(self._said)

    def say(
        self,
        kind: int,
        value: int,
        text: str = "",
        usage: "tuple[int, int] | None" = None,
        feature: "tuple[int, int] | None" = None,
    ) -> "tuple[int, int]":
        """Take what a person says; it is durable on return. Returns its (boot, seq).

        `kind`: VOICE_RATING (`value` 1..5) or VOICE_WISH (`value` a wish of the registry). `usage`: (boot, seq) of the record it
        is about; `feature`: (publisher, feature). ProtocolError 5 or 8 for what cannot be said, 13 when there is no room.
        """
        body = messages.voice(kind, value, text, usage, feature)
        if not self._readable or len(self._said) >= SAYINGS_MAX:
            raise ProtocolError(STORAGE, f"{len(self._said)} sayings wait for the cloud, limit {SAYINGS_MAX}")
        envelope = dumps((self.boot, self._seq + 1, self._timebase.t(), body))
        self._seq += 1  # Also when it cannot be stored: an id never names two sayings.
        try:
            self._save(self._said + [envelope])
        except OSError:
            raise ProtocolError(STORAGE, "the flash does not take it")
        self.on_said()
        return self.boot, self._seq

    def heard(self, boot: int, seq: int) -> None:
        """The cloud has stored this one: it goes. An id that is not here changes nothing."""
        for index, envelope in enumerate(self._said):
            if messages.record_id(envelope) == (boot, seq):
                try:
                    self._save(self._said[:index] + self._said[index + 1 :])
                    if index < self._next:
                        self._next -= 1
                except OSError:
                    pass  # It is said again, and heard again.
                return

    def rewind(self) -> None:
        """Send all again that is not heard."""
        self._next = 0

    def next(self) -> "bytes | None":
        """The next envelope to send, None for none."""
        if self._next >= len(self._said):
            return None
        self._next += 1
        return self._said[self._next - 1]

    @property
    def unsaid(self) -> bool:
        return self._next < len(self._said)

    def _save(self, said: "list[bytes]") -> None:
        if said:
            checked.save(self._flash, _FILE, dumps(said))
        else:
            self._flash.remove(_FILE)
        self._said = said


def _nothing() -> None:
    pass
