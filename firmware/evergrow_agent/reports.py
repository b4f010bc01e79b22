"""What the cloud is still to be told of features (`up/feat`, EG-FEAT-009): outcomes in the index, and passing states in RAM."""

from array import array

from evergrow_agent.records import REVERTED
from evergrow_mqtt.errors import MqttError
from evergrow_protocol.errors import NOT_AUTHORISED, REVERT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from evergrow_agent.features import Features

# Keys of a report.
TRANSFER = 0
CODE = 1
STATE = 2
FEATURE = 3
BYTES = 4
BLOCKS = 5
MS = 6
VERIFY_MS = 7
HASH_CALLS = 8
TEXT = 9

MAX_TEXT_BYTES = 80  # EG-ERR-001

_COSTS = (BYTES, BLOCKS, MS, VERIFY_MS, HASH_CALLS)
_WIDTH = 1 + len(_COSTS)
_MAX_QUEUED = 16
_MAX_COSTS = 4
_TEXTS = {NOT_AUTHORISED: "revoked", REVERT: "no code is run: the watchdog"}


class Reports:
    """`send(fields)` is a coroutine function; when there is no link it raises OSError or MqttError, or returns False."""

    def __init__(self, features: "Features", send: "Callable[[dict[int, Any]], Awaitable[Any]]") -> None:
        self._features = features
        self._send = send
        self._queue: "list[dict[int, Any]]" = []
        self._costs = array("q", [-1] * (_WIDTH * _MAX_COSTS))  # rows of the latest transfers: the transfer, _COSTS or -1

    def add(self, report: "dict[int, Any]") -> None:
        """Say this as soon as there is a link. Of too many, the oldest is dropped: the cloud repeats what is open to it."""
        if len(self._queue) == _MAX_QUEUED:
            self._queue.pop(0)
        self._queue.append(report)

    def passing(self, transfer: int, state: int, named: "list[int]", text: str = "", code: int = 0) -> None:
        """A report of a state that is not the last."""
        self.add(self._report(transfer, code, state, named, text))

    def remember_costs(self, report: "dict[int, Any]") -> None:
        """The last report of this transfer says what it cost, too."""
        costs = self._costs
        for index in range(len(costs) - _WIDTH):
            costs[index] = costs[index + _WIDTH]
        for index in range(_WIDTH):
            costs[index - _WIDTH] = report.get(_COSTS[index - 1] if index else TRANSFER, -1)

    async def flush(self) -> bool:
        """Say everything that is due, oldest first; False: what is left waits for a link."""
        problems = self._features.problems
        while problems:
            code, publisher, feature, sequence = problems[0]
            text = _TEXTS.get(code) or ("damaged on flash" if feature else "index of features damaged")
            if not await self._say(self._report(0, code, REVERTED, [publisher, feature, sequence], text)):
                return False
            problems.pop(0)
        while self._queue:
            report = self._queue[0]
            if not await self._say(report):
                return False
            if self._queue and self._queue[0] is report:
                self._queue.pop(0)
        for outcome in self._features.outcomes if self._features.untold else ():
            if not outcome.told:
                fields = self._report(outcome.transfer, outcome.code, outcome.state, outcome.named, outcome.text)
                self._add_costs(fields)
                if not await self._say(fields):
                    return False
                try:
                    self._features.tell(outcome)
                except OSError:
                    pass  # It is told again after the next boot.
        return True

    def _report(self, transfer: int, code: int, state: int, named: "list[int]", text: str) -> "dict[int, Any]":
        report: "dict[int, Any]" = {TRANSFER: transfer, CODE: code, STATE: state}
        if named:  # of what was never installed, the feature is known once its body is here
            report[FEATURE] = named
        if text:
            report[TEXT] = short(text)
        return report

    def _add_costs(self, report: "dict[int, Any]") -> None:
        costs = self._costs
        for start in range(0, len(costs), _WIDTH):
            if costs[start] == report[TRANSFER]:
                for index in range(1, _WIDTH):
                    if costs[start + index] >= 0:
                        report[_COSTS[index - 1]] = costs[start + index]

    async def _say(self, report: "dict[int, Any]") -> bool:
        try:
            return await self._send(report) is not False
        except (OSError, MqttError):
            return False


def short(text: str) -> str:
    """`text` within what a report may carry."""
    text = text[:MAX_TEXT_BYTES]
    while len(text.encode()) > MAX_TEXT_BYTES:
        text = text[:-1]
    return text
