"""Who told an appliance to do what, and how often it did: the truth behind «a command runs once» (EG-CMD-001, EG-CMD-004).

`Orders` reads each command that reaches an agent, sees what the agent does while it handles it, and what it answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cbor2

from evergrow_protocol import errors as codes
from evergrow_sim.lfs import PowerCut
from evergrow_sim.world.plant import Plant

START = 1


@dataclass
class Order:
    """A command that was sent: `command` and its `programme`, 0 if it has none. `begun`: boots in which it started a cycle.

    `tried`: how often its start was accepted, or was cut by a power failure. `stopped`: boots in which it ended something.
    `refused`: boots in which it was refused.
    """

    command: int
    programme: int
    begun: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    tried: int = 0


class Orders:
    """Of one appliance. `report(what)` is called with what may not be; `may_forget()` excuses what flash should have kept.

    `by_person`: to be set while a person presses start or stop. `on_handled()`: may be set, and is called after each command.
    """

    def __init__(self, plant: Plant, report: Callable[[str], None], may_forget: Callable[[], bool]) -> None:
        self.sent: dict[int, Order] = {}
        self.by_person = False
        self.on_handled: Callable[[], None] | None = None
        self._report = report
        self._may_forget = may_forget
        self._current = 0
        plant.watchers.append(self._watched)

    def send(self, number: int, command: int, args: dict[int, Any]) -> None:
        """A command was sent to it, under this id."""
        self.sent[number] = Order(command, args.get(0, 0))

    def answered(self, number: int, code: int, boot: int) -> None:
        """The device says in `boot` what became of a command."""
        order = self.sent.get(number)
        if order is None:
            return  # a rebirth that the cloud asked for
        if code == codes.OK:
            if order.command == START and not order.tried:
                self._report(f"command {number} is answered with 0, and started nothing")
            return
        order.refused.append(boot)
        if any(begun <= boot for begun in order.begun) and not self._may_forget():
            self._report(f"command {number} is answered with {code}, and had started programme {order.programme}")

    def _watched(self, agent: Any) -> None:
        make_services, start, stop = agent._make_services, agent.cycle.start, agent.runner.stop

        def made() -> None:
            make_services()
            receive = agent.link.receive

            def heard(kind: str, payload: memoryview) -> None:
                self._current = _command_id(payload) if kind == "cmd" else 0
                try:
                    receive(kind, payload)
                finally:
                    self._current = 0
                if kind == "cmd" and self.on_handled is not None:
                    self.on_handled()

            agent.link.receive = heard

        def started(programme: int, *more: Any) -> None:
            number = self._current
            try:
                start(programme, *more)
            except PowerCut:
                if number in self.sent:
                    self.sent[number].tried += 1
                raise
            self._begun(number, programme, agent.boot_number)

        def stopped(now_ms: int) -> None:
            number = self._current
            stop(now_ms)
            self._stopped(number, agent.boot_number)

        agent._make_services, agent.cycle.start, agent.runner.stop = made, started, stopped

    def _begun(self, number: int, programme: int, boot: int) -> None:
        order = self.sent.get(number)
        if order is None:
            if number or not self.by_person:
                self._report(f"programme {programme} was started by nobody")
            return
        order.tried += 1
        if (order.command, order.programme) != (START, programme):
            self._report(f"command {number} started programme {programme}, not {order.programme}")
        if order.begun and not self._may_forget():
            self._report(f"command {number} ran in boot {order.begun[-1]}, and again in boot {boot}")
        if boot in order.refused:
            self._report(f"command {number} was refused, and ran all the same in the same boot")
        order.begun.append(boot)

    def _stopped(self, number: int, boot: int) -> None:
        order = self.sent.get(number)
        if order is None:
            if number or not self.by_person:
                self._report("a programme was stopped by nobody")
        else:
            if boot in order.stopped:
                self._report(f"command {number} stopped twice in boot {boot}")
            order.stopped.append(boot)


def _command_id(payload: memoryview) -> int:
    """Of a `dn/cmd`; 0 for one that cannot be read."""
    try:
        found = cbor2.loads(bytes(payload))[0]
    except Exception:
        return 0
    return found if isinstance(found, int) else 0
