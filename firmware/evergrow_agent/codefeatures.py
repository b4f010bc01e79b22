"""Keeps what `runtime` runs at what is in force in `features` and may run: code features come and go with index and rights."""

from evergrow_agent.records import TRIAL
from evergrow_protocol.errors import NOT_ENTITLED, REVERT, STORAGE, ProtocolError
from evergrow_protocol.feature import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from evergrow_agent.features import Features
    from evergrow_agent.lifecycle import Lifecycle
    from evergrow_agent.records import Record
    from evergrow_agent.rights import Rights
    from evergrow_agent.runtime import Runtime
    from evergrow_protocol.feature_code import Needs

    Owner = tuple[int, int]


class CodeFeatures:
    """`sync` is to be called at boot, when features or rights have changed, and at safe points. Never raises.

    `runtime`: None until there is code to run: a board that has none carries nothing of it. `make` makes it. `rights`: None
    when all code may run, or who is asked. `failed()`, to be set, is called when one is out of use that was not before.
    """

    def __init__(
        self, features: "Features", lifecycle: "Lifecycle", make: "Callable[[], Runtime]", rights: "Rights | None" = None
    ) -> None:
        self.runtime: "Runtime | None" = None
        self.failed: "Callable[[], None]" = _nothing
        self._features = features
        self._lifecycle = lifecycle
        self._make = make
        self._rights = rights
        self._runs: "dict[Owner, tuple[int, Needs | None]]" = {}  # sequence number of what was started; None: broken
        self._cleared = False  # there was no code in this boot
        self._beyond: "dict[Owner, int]" = {}  # sequence number of what asks for more than is granted

    def sync(self, in_cycle: bool = False, changed: bool = True) -> None:
        """Stop what is no longer in force or may not run now, and start what is new or may run again.

        `in_cycle`: what runs and is not entitled any more goes on to the end of the cycle (EG-ENT-005). `changed`: grants may be
        others than the last time; else what went beyond them is not looked at again.
        """
        records = [record for record in self._features.records if record.in_force and record.kind == CODE]
        wanted = {(record.publisher, record.feature): record.sequence for record in records}
        if self.runtime is None:
            if not records:
                self._cleared = True
                return
            self.runtime = self._make()
            self.runtime.on_broken = self._broken
            if self._cleared:
                self.runtime.forgive()  # what the watchdog ended in boots before is not here any more
        if changed:
            self._beyond.clear()
        for owner in list(self._runs):
            sequence, needs = self._runs[owner]
            in_force = wanted.get(owner) == sequence
            if not in_force or not self._may_go_on(owner, needs, in_cycle):
                del self._runs[owner]
                self.runtime.stop(owner)
                self._lifecycle.runs(owner[0], owner[1], False)
                if not in_force:
                    self.runtime.forgive()  # what the watchdog ended may have been this one
        for record in records:
            owner = (record.publisher, record.feature)
            if record.active and owner not in self._runs and self._beyond.get(owner) != record.sequence:
                self._start(self.runtime, record, owner)

    def _may_go_on(self, owner: "Owner", needs: "Needs | None", in_cycle: bool) -> bool:
        try:
            if self._rights and needs:
                self._rights.admit_code(owner, needs)
            return True
        except ProtocolError as exc:
            return in_cycle and exc.code == NOT_ENTITLED

    def _start(self, runtime: "Runtime", record: "Record", owner: "Owner") -> None:
        from evergrow_protocol import feature_code

        rights = self._rights
        granted = None
        try:
            if rights:
                rights.admit_code(owner)  # before anything is read
        except ProtocolError:
            return
        self._runs[owner] = (record.sequence, None)
        if runtime.struck and record.state != TRIAL:  # by whom is not known: nobody is blamed
            self._leave_out(record, REVERT)
            return
        body = None
        try:
            body = self._features.verify(record)
            needs = feature_code.parse(body.needs or b"")
            if rights:
                try:
                    granted = rights.admit_code(owner, needs)
                except ProtocolError:
                    del self._runs[owner]
                    self._beyond[owner] = record.sequence
                    return
            runtime.start(owner, needs, body.code, granted)
            self._runs[owner] = (record.sequence, needs)
            self._lifecycle.runs(owner[0], owner[1], True)
        except ProtocolError as exc:
            self._broken(owner, exc.text)
        except BaseException as exc:  # also a SystemExit, which would end the appliance's task
            if not body and isinstance(exc, (OSError, MemoryError)) and record.state != TRIAL:
                self._leave_out(record, STORAGE)  # The flash has a bad day, and not the code.
                return
            self._broken(owner, f"start: {exc!r}"[:80])

    def _leave_out(self, record: "Record", code: int) -> None:
        """Until the next boot, and it is not held against it."""
        record.whole = False
        self._features.problems.append((code, record.publisher, record.feature, record.sequence))
        self.failed()

    def _broken(self, owner: "Owner", text: str) -> None:
        if owner in self._runs:
            self._runs[owner] = (self._runs[owner][0], None)
        if self._lifecycle.fail(owner[0], owner[1], text):
            self.failed()


def _nothing() -> None:
    pass
