"""What the appliance is doing, as `up/state` says it."""

from evergrow_agent.runner import IDLE
from evergrow_protocol import messages
from evergrow_protocol.registry_common import OUTCOME_FAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from evergrow_agent.events import Events
    from evergrow_agent.runner import Runner
    from evergrow_agent.settings import Settings


class State:
    """Watches `runner`, the appliance's remote enable, the alarms in `events`, and which configuration is in force."""

    def __init__(self, runner: "Runner", appliance: "Any", events: "Events", settings: "Settings") -> None:
        self._settings = settings
        self._runner = runner
        self._appliance = appliance
        self._events = events
        self._seen: "tuple[Any, ...]" = ()

    def changed(self) -> bool:
        """Whether something that must be published has changed since the last call (EG-STATE-002)."""
        runner, settings = self._runner, self._settings
        config = (settings.version, settings.code, settings.refused)
        now = (runner.state, runner.programme_id, runner.phase, self._remote(), runner.error, self._events.changes, config)
        if now == self._seen:
            return False
        self._seen = now
        return True

    def body(self) -> "dict[int, Any]":
        runner = self._runner
        operation = runner.state
        if operation == IDLE and runner.outcome == OUTCOME_FAULT:
            operation = messages.OPERATION_FAULT
        return messages.state(
            messages.LINK_ONLINE,
            operation,
            runner.programme_id,
            runner.phase,
            runner.remaining_s,
            self._remote(),
            runner.error,
            self._events.raised(),
            self._settings.reported(),
        )

    def _remote(self) -> bool:
        return bool(getattr(self._appliance, "remote_enable", False))  # No such switch: nobody has enabled anything.
