"""Commands from the cloud (SPEC section 8): each runs once, and each gets exactly one code."""

from evergrow_agent import checked
from evergrow_protocol import messages
from evergrow_protocol.errors import (
    BAD_TYPE,
    EXPIRED,
    INVALID_STATE,
    MALFORMED,
    OK,
    OUT_OF_RANGE,
    STORAGE,
    UNKNOWN_KIND,
    ProtocolError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evergrow_agent.cycle import Cycle
    from evergrow_agent.timebase import Timebase

REMEMBERED = 16

_FILE = "commands"
_ROW = 5  # id (4) | code (1)
_PROGRAMME_MAX = 65535


class Commands:
    """Runs commands on `cycle`. To be set: `rebirth` asks the link for a new birth, `acknowledge(event)` takes note
    that a person has seen an alarm; `consent(publisher, feature, agreed)` and `remove(publisher, feature)` say whether there is
    such a feature, and `changed` is called after them.

    The last REMEMBERED ids are kept with their codes. They are written to the flash with each start, before anything else of
    it is: a broker that delivers it again after a power cut must not start the appliance again (EG-CMD-001).
    """

    def __init__(self, cycle: "Cycle", appliance: "Any", timebase: "Timebase", flash: "Any") -> None:
        self.rebirth: "Callable[[], None]" = _nothing
        self.acknowledge: "Callable[[int], None]" = _unknown
        self.consent: "Callable[[int, int, bool], bool]" = _no_feature
        self.remove: "Callable[[int, int], bool]" = _no_feature
        self.changed: "Callable[[], None]" = _nothing
        self._cycle = cycle
        self._appliance = appliance
        self._timebase = timebase
        self._flash = flash
        self._rows = bytearray(_ROW * REMEMBERED)  # taken once; the newest last
        self._first = len(self._rows)  # where the oldest is
        try:
            content = checked.load(flash, _FILE) or b""
        except OSError:
            content = b""
        for at in range(0, len(content) - _ROW + 1, _ROW):
            self._remember(content[at : at + 4], content[at + 4])

    def handle(self, data: "bytes | memoryview", now_ms: int) -> "tuple[int, int]":
        """Run a `dn/cmd`; returns (id, code) for the answer. ProtocolError: there is no id to answer to."""
        command_id, fields = messages.parse_command(data)
        known = command_id.to_bytes(4, "big")
        for at in range(self._first, len(self._rows), _ROW):
            if self._rows[at : at + 4] == known:
                return command_id, self._rows[at + 4]
        try:
            command, args, deadline_s = messages.command_fields(fields)
            self._check_deadline(deadline_s)
            if command == messages.COMMAND_START:
                self._start(known, args, now_ms)
                return command_id, OK
            self._run(command, args, now_ms)
            code = OK
        except ProtocolError as exc:
            code = exc.code
        except (OSError, MemoryError):
            code = STORAGE
        self._remember(known, code)
        return command_id, code

    def _remember(self, command_id: bytes, code: int) -> None:
        rows = self._rows
        rows[:-_ROW] = rows[_ROW:]
        rows[-_ROW:] = command_id + bytes((code,))
        self._first = max(self._first - _ROW, 0)

    def _check_deadline(self, deadline_s: "int | None") -> None:
        if deadline_s is None:
            return
        utc_s = self._timebase.utc_s()
        if utc_s is None:
            raise ProtocolError(EXPIRED, "a deadline, and UTC is not known")
        if utc_s > deadline_s:
            raise ProtocolError(EXPIRED, f"deadline {deadline_s} has passed, it is {utc_s}")

    def _start(self, command_id: bytes, args: "dict[int, Any]", now_ms: int) -> None:
        programme = messages.need(args, 0, "programme")
        if not 0 < programme <= _PROGRAMME_MAX:
            raise ProtocolError(OUT_OF_RANGE, f"programme {programme} is not in 1..{_PROGRAMME_MAX}")
        if not getattr(self._appliance, "remote_enable", False):
            raise ProtocolError(INVALID_STATE, "remote start was not enabled at the appliance")  # EG-CMD-002

        def accepted() -> None:
            self._remember(command_id, OK)
            self._save()

        self._cycle.start(programme, now_ms, accepted)

    def _run(self, command: int, args: "dict[int, Any]", now_ms: int) -> None:
        if command == messages.COMMAND_STOP:
            self._cycle.stop(now_ms)  # With nothing running this is how it is already.
        elif command == messages.COMMAND_REBIRTH:
            self.rebirth()
        elif command == messages.COMMAND_ACKNOWLEDGE:
            self.acknowledge(messages.need(args, 0, "event"))
        elif command == messages.COMMAND_CONSENT:
            if 2 not in args:
                raise ProtocolError(MALFORMED, "no consent")
            if type(args[2]) is not bool:
                raise ProtocolError(BAD_TYPE, "consent is true or false")
            self._change(self.consent(*_feature(args), args[2]))
        elif command == messages.COMMAND_REMOVE:
            self._change(self.remove(*_feature(args)))
        else:
            raise ProtocolError(UNKNOWN_KIND, f"no command {command}")

    def _change(self, found: bool) -> None:
        if not found:
            raise ProtocolError(OUT_OF_RANGE, "no such feature here, or nothing to agree to")
        self.changed()

    def _save(self) -> None:
        try:
            checked.save(self._flash, _FILE, bytes(self._rows[self._first :]))
        except OSError:
            pass  # Then they are remembered until power is lost.


def _feature(args: "dict[int, Any]") -> "tuple[int, int]":
    return messages.need(args, 0, "publisher"), messages.need(args, 1, "feature")


def _nothing() -> None:
    pass


def _unknown(event: int) -> None:
    raise ProtocolError(INVALID_STATE, f"alarm {event} is not raised")


def _no_feature(*_: "Any") -> bool:
    return False
