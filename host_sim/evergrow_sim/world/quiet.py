"""Who is told that the cloud is busy keeps quiet (EG-BUSY-001): seen from between a device's agent and its client."""

from collections.abc import Callable
from typing import Any

from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.plant import Plant

_KINDS = {"tele": 1, "usage": 2, "get": 3}
_ALL = 0
_HOUR_S = 3600
_SLACK_MS = 5_000  # its clock may run a little faster than the world's


class Quiet:
    """Of one device; made before its first boot. `report(what)` is called when it says what it should hold back."""

    def __init__(self, loop: VirtualLoop, plant: Plant, report: Callable[[str], None]) -> None:
        self._loop = loop
        self._report = report
        plant.watchers.append(self._watched)
        self.signs = 0

    def _watched(self, agent: Any) -> None:
        make = agent._make_services

        def made() -> None:
            make()
            self._listen(agent.link)

        agent._make_services = made

    def _listen(self, link: Any) -> None:
        until_ms = dict.fromkeys(_KINDS.values(), 0)
        hold, publish = link.hold, link._publish

        def held(kind: int, retry_s: int) -> None:
            self.signs += 1
            for one in until_ms:
                if kind in (_ALL, one):
                    until_ms[one] = self._loop.now_ms + 1000 * min(retry_s, _HOUR_S) - _SLACK_MS
            hold(kind, retry_s)

        async def published(kind: str, data: Any) -> None:
            if self._loop.now_ms < until_ms.get(_KINDS.get(kind, -1), 0):
                self._report(f"up/{kind} although the cloud is busy")
            await publish(kind, data)

        link.hold, link._publish = held, published
