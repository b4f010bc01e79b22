"""Orders: that a command runs once, and what its answer says, is held against what the appliance did."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BUSY, OK, ProtocolError
from evergrow_sim.lfs import PowerCut
from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.orders import Orders
from evergrow_sim.world.plant import Plant
from evergrow_sim.world.safety import WatchedWasher

START, STOP = 1, 2


class House:
    """Orders of a washer whose agent does for each message what `do` does."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.may_forget = False
        loop = VirtualLoop()
        plant = Plant(loop, WatchedWasher(None, 1000, 500, lambda rule: None))
        self.orders = Orders(plant, self.said.append, lambda: self.may_forget)
        self.do: Callable[[Any], None] = lambda agent: None
        self._plant = plant
        self.agent = self.boot(1)

    def boot(self, number: int) -> Any:
        agent = SimpleNamespace(boot_number=number, link=SimpleNamespace())
        agent.cycle = SimpleNamespace(start=self._start, tick=lambda now_ms: 0)
        agent.runner = SimpleNamespace(stop=lambda now_ms: None, state=1, programme_id=4)
        agent._make_services = lambda: setattr(agent.link, "receive", lambda kind, payload: self.do(agent))
        self.refuse: Exception | None = None
        self._plant.running = None
        self._plant.watch(agent)
        agent._make_services()
        self.agent = agent
        return agent

    def _start(self, programme: int, now_ms: int) -> None:
        if self.refuse is not None:
            raise self.refuse

    def hear(self, number: int, *calls: tuple[int, int]) -> None:
        """The agent handles the command `number`, and starts or stops what `calls` say."""

        def do(agent: Any) -> None:
            for what, programme in calls:
                if what == START:
                    self._plant.running = None
                    agent.cycle.start(programme, 0)
                else:
                    agent.runner.stop(0)

        self.do = do
        self.agent.link.receive("cmd", memoryview(dumps([number, 1, {}])))


@pytest.fixture
def house() -> House:
    made = House()
    made.orders.send(7, START, {0: 4})
    made.orders.send(8, STOP, {})
    return made


def test_a_command_that_runs_once_is_right(house: House) -> None:
    """EG-CMD-001 EG-CMD-004"""
    house.hear(7, (START, 4))
    house.orders.answered(7, OK, 1)
    house.hear(7)
    house.orders.answered(7, OK, 1)
    house.hear(8, (STOP, 0))
    house.orders.answered(8, OK, 1)
    assert house.said == []


def test_one_that_runs_again_is_seen_also_after_a_reboot(house: House) -> None:
    """EG-CMD-001"""
    house.hear(7, (START, 4))
    house.boot(2)
    house.hear(7, (START, 4))
    assert house.said == ["command 7 ran in boot 1, and again in boot 2"]


def test_a_device_whose_flash_failed_may_forget(house: House) -> None:
    house.may_forget = True
    house.hear(7, (START, 4))
    house.boot(2)
    house.hear(7, (START, 4))
    assert house.said == []


def test_a_start_that_power_cut_off_may_run_after_it(house: House) -> None:
    house.refuse = PowerCut("no power")
    with pytest.raises(PowerCut):
        house.hear(7, (START, 4))
    house.boot(2)
    house.hear(7, (START, 4))
    house.orders.answered(7, OK, 2)
    assert house.said == []


def test_what_nobody_started_is_seen(house: House) -> None:
    house.hear(99, (START, 4))
    house.hear(8, (START, 4))
    assert house.said[0] == "programme 4 was started by nobody"
    assert "command 8 started programme 4" in house.said[1]
    house.orders.by_person = True
    house._plant.running = None
    house.agent.cycle.start(4, 0)
    assert len(house.said) == 2


def test_an_answer_has_to_be_true(house: House) -> None:
    """EG-CMD-004"""
    house.orders.answered(7, OK, 1)
    assert house.said == ["command 7 is answered with 0, and started nothing"]
    house.hear(7, (START, 4))
    house.orders.answered(7, BUSY, 1)
    assert "is answered with 7, and had started" in house.said[1]


def test_a_refused_command_may_run_after_a_reboot_and_not_before(house: House) -> None:
    """EG-CMD-001"""
    house.refuse = ProtocolError(BUSY, "runs")
    with pytest.raises(ProtocolError):
        house.hear(7, (START, 4))
    house.orders.answered(7, BUSY, 1)
    house.boot(2)
    house.hear(7, (START, 4))
    assert house.said == []
    house.orders.answered(7, BUSY, 2)
    assert "had started programme 4" in house.said[0]


def test_a_stop_stops_once(house: House) -> None:
    house.hear(8, (STOP, 0))
    house.hear(8, (STOP, 0))
    assert house.said == ["command 8 stopped twice in boot 1"]
