"""What happened at the appliance, and what is wrong with it (SPEC section 14).

A *note* happened once. An *alarm* is raised when something becomes wrong and cleared when it is no longer so; which ones are
raised is part of the state, so that a lost event costs a detail and never the truth. Each event is encoded when it happens, with
the number and the time it then has; so one that is sent twice is known to be the same.
"""

from evergrow_protocol import messages
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import INVALID_STATE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from evergrow_agent.timebase import Timebase

QUEUE_MAX = 16
ALARMS_MAX = 16


class Events:
    """`boot` is to be set before the first event.

    `alarms`: {event id: whether it was acknowledged} of those that are raised. `changes`: how often one was raised or cleared.
    `pending`: what is to be sent, (what, envelope), the oldest first.
    """

    def __init__(self, timebase: "Timebase") -> None:
        self.boot = 0
        self.alarms: "dict[int, bool]" = {}
        self.changes = 0
        self._timebase = timebase
        self._seq = 0
        self.pending: "list[tuple[int, bytes]]" = []
        self._dropped = 0

    def renumber(self, boot: int) -> None:
        """The boot has another number from now on. Nothing was sent under the old one (EG-ENV-006)."""
        self.boot = boot
        self.pending = [(what, messages.with_boot(envelope, boot)) for what, envelope in self.pending]

    def note(self, event: int, value: "int | None" = None, owner: "tuple[int, int] | None" = None) -> None:
        """Something happened. `owner`: (publisher, feature) whose event it is, None for the appliance's own."""
        self._say(event, messages.EVENT_NOTE, value, owner)

    def alarm(self, event: int, on: bool, value: "int | None" = None, owner: "tuple[int, int] | None" = None) -> None:
        """Something is wrong, or no longer so; only a change is told. Of more than ALARMS_MAX the later ones are not raised."""
        if on and event not in self.alarms and len(self.alarms) < ALARMS_MAX:
            self.alarms[event] = False
            self.changes += 1
            self._say(event, messages.EVENT_RAISED, value, owner)
        elif not on and event in self.alarms:
            self.alarms.pop(event)
            self.changes += 1
            self._say(event, messages.EVENT_CLEARED, value, owner)

    def acknowledge(self, event: int) -> None:
        """A person has seen the alarm; it stays raised. ProtocolError INVALID_STATE when it is not raised."""
        if event not in self.alarms:
            raise ProtocolError(INVALID_STATE, f"alarm {event} is not raised")
        if not self.alarms[event]:
            self.alarms[event] = True
            self._say(event, messages.EVENT_ACKNOWLEDGED, None, None)

    def raised(self) -> "list[int]":
        """The raised alarms, ascending, as state tells them."""
        return sorted(self.alarms)

    def first(self) -> "bytes | None":
        """The oldest event that is to be sent, encoded; None for none. It stays until `sent`."""
        return self.pending[0][1] if self.pending else None

    def sent(self, envelope: bytes) -> None:
        """The broker has it."""
        if self.pending and self.pending[0][1] is envelope:
            self.pending.pop(0)

    def _say(self, event: int, what: int, value: "int | None", owner: "tuple[int, int] | None") -> None:
        body = messages.event(event, what, value, owner, self._dropped)
        envelope = dumps((self.boot, self._seq + 1, self._timebase.t(), body))
        self._seq += 1
        self._dropped = 0
        if len(self.pending) >= QUEUE_MAX:
            self._drop()
        self.pending.append((what, envelope))

    def _drop(self) -> None:
        """Make room: the oldest note goes first; without one, the oldest of all. The next event says how many went."""
        self._dropped += 1
        for index, row in enumerate(self.pending):
            if row[0] == messages.EVENT_NOTE:
                self.pending.pop(index)
                return
        self.pending.pop(0)
