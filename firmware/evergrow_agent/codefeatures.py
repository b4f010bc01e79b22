"""Keeps what `runtime` runs at what is in force in `features`: code features come and go with the index."""

from evergrow_agent.records import TRIAL
from evergrow_protocol.errors import REVERT, ProtocolError
from evergrow_protocol.feature import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from evergrow_agent.features import Features
    from evergrow_agent.lifecycle import Lifecycle
    from evergrow_agent.records import Record
    from evergrow_agent.runtime import Runtime


class CodeFeatures:
    """`sync` is to be called at boot, and whenever other features are in force than before. Never raises.

    `runtime`: None until there is code to run: a board that has none carries nothing of it. `make` makes it. `failed()`, to be
    set, is called when one is out of use that was not before.
    """

    def __init__(self, features: "Features", lifecycle: "Lifecycle", make: "Callable[[], Runtime]") -> None:
        self.runtime: "Runtime | None" = None
        self.failed: "Callable[[], None]" = _nothing
        self._features = features
        self._lifecycle = lifecycle
        self._make = make
        self._runs: "dict[tuple[int, int], int]" = {}  # owner: sequence number of what was started, broken or not

    def sync(self) -> None:
        """Stop what is no longer in force, and start what is new."""
        records = [record for record in self._features.records if record.in_force and record.kind == CODE]
        wanted = {(record.publisher, record.feature): record.sequence for record in records}
        if self.runtime is None:
            if not records:
                return
            self.runtime = self._make()
            self.runtime.on_broken = self._broken
        for owner in list(self._runs):
            if wanted.get(owner) != self._runs[owner]:
                del self._runs[owner]
                self.runtime.stop(owner)
                self.runtime.forgive()  # what the watchdog ended may have been this one
        for record in records:
            if record.active and (record.publisher, record.feature) not in self._runs:
                self._start(self.runtime, record)

    def _start(self, runtime: "Runtime", record: "Record") -> None:
        owner = (record.publisher, record.feature)
        self._runs[owner] = record.sequence
        if runtime.struck and record.state != TRIAL:  # by whom is not known: nobody is blamed
            record.whole = False
            self._features.problems.append((REVERT, owner[0], owner[1], record.sequence))
            return
        try:
            body = self._features.verify(record)
            runtime.start(owner, body.needs, body.code)
        except ProtocolError as exc:
            self._broken(owner, exc.text)
        except BaseException as exc:  # also a SystemExit, which would end the appliance's task
            self._broken(owner, f"start: {exc!r}"[:80])

    def _broken(self, owner: "tuple[int, int]", text: str) -> None:
        if self._lifecycle.fail(owner[0], owner[1], text):
            self.failed()


def _nothing() -> None:
    pass
