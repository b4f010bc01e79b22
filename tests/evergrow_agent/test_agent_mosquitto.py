"""The agent against a real broker, on CPython: what only a broker can prove (access rules, the will, a broker that dies)."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import cbor2
import pytest

from evergrow_agent.agent import Agent
from evergrow_agent.board import Config, Identity
from evergrow_agent.fsflash import FsFlash
from evergrow_sim.board import SimBoard
from evergrow_tools.brokers import Mosquitto

sys.path.insert(0, str(Path(__file__).parent.parent / "portable"))
from tinyappliance import TinyAppliance

UP = "eg1/acme/d1/up/"
NOW_S = 1_795_339_200
LIMIT_S = 30
ACL = [
    "pattern write eg1/acme/%c/up/#",
    "pattern read eg1/acme/%c/dn/#",
    "pattern readwrite eg1/acme/home/%u/#",
    "user cloud",
    "topic readwrite eg1/#",
]


class Tank(TinyAppliance):
    """The tiny appliance, stepped in ms as a simulated board does it."""

    def __init__(self) -> None:
        super().__init__()
        self._left_ms = 0

    def step(self, step_ms: int) -> None:
        self._left_ms += step_ms
        while self._left_ms >= 1000:
            self._left_ms -= 1000
            super().step()


class Cloud:
    """Answers births and usage, and keeps what came."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[tuple[str, Any, bool]] = []
        self.usage: dict[tuple[int, int], Any] = {}
        self.ready = asyncio.Event()
        self.changed = asyncio.Condition()

    async def run(self) -> None:
        while True:
            try:
                await self._serve()
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)  # The broker is away.

    async def _serve(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self.port, username="cloud", protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.subscribe("eg1/+/+/up/#", qos=1)
            self.ready.set()
            async for message in client.messages:
                root, _, kind = str(message.topic).rpartition("/up/")
                body = cbor2.loads(message.payload)  # type: ignore[arg-type]
                if kind == "birth" and not message.retain:
                    await client.publish(f"{root}/dn/welcome", cbor2.dumps([body[0], body[1], NOW_S]), qos=1)
                elif kind == "usage":
                    for boot, seq, _, record in body if isinstance(body[0], list) else [body]:
                        assert self.usage.setdefault((boot, seq), record) == record
                        await client.publish(f"{root}/dn/ack", cbor2.dumps([boot, seq]), qos=1)
                async with self.changed:
                    self.seen.append((kind, body, message.retain))
                    self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S), self.changed:
            await self.changed.wait_for(condition)

    def of(self, kind: str) -> list[Any]:
        return [body for name, body, _ in self.seen if name == kind]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with Mosquitto(folder, acl=ACL) as running:
        yield running


@asynccontextmanager
async def clouded(port: int) -> AsyncIterator[Cloud]:
    cloud = Cloud(port)
    task = asyncio.create_task(cloud.run())
    try:
        async with asyncio.timeout(LIMIT_S):
            await cloud.ready.wait()
        yield cloud
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def device(port: int, flash: Path, name: str = "d1", speed: int = 50, **options: Any) -> tuple[Agent, SimBoard]:
    board = SimBoard(Tank(), FsFlash(str(flash)), speed=speed)
    config = Config("127.0.0.1", port, mqtt={"backoff_base_ms": 50, "backoff_cap_ms": 300}, **options)
    return Agent(board, Identity("acme", name, "tank", "1.0"), config), board  # type: ignore[arg-type]


@asynccontextmanager
async def powered(agent: Agent, board: SimBoard) -> AsyncIterator[None]:
    """Runs for as long as the block; then power is gone."""
    tasks = [asyncio.create_task(board.run()), asyncio.create_task(agent.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settled(agent: Agent, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await agent.board.clock.sleep_ms(500)


async def test_a_cycle_is_reported_and_freed_within_the_access_rules(broker: Mosquitto, tmp_path: Path) -> None:
    """EG-TOP-002, EG-TOP-003, EG-BIRTH-001, EG-ACK-001"""
    async with clouded(broker.port) as cloud:
        agent, board = device(broker.port, tmp_path / "flash")
        async with powered(agent, board):
            await cloud.until(lambda: len(cloud.of("sync")) == 1)
            assert [kind for kind, _, _ in cloud.seen] == ["birth", "state", "sync"]
            assert cloud.of("birth")[0][3][5][0] == "cpython"
            agent.start_programme(1)
            await cloud.until(lambda: (1, 1) in cloud.usage)
            await settled(agent, lambda: agent.ledger.pending == 0)
        assert sum(agent.crashes.values()) == 0, agent.last_crash
        assert not [name for name in FsFlash(str(tmp_path / "flash")).names() if name.startswith("use.0")]


async def test_power_loss_lets_the_will_speak_and_the_cycle_is_reported_after_the_next_boot(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """EG-STATE-001, EG-USE-003"""
    async with clouded(broker.port) as cloud:
        agent, board = device(broker.port, tmp_path / "flash")
        async with powered(agent, board):
            await cloud.until(lambda: len(cloud.of("state")) == 1)
            agent.start_programme(1)
            await settled(agent, lambda: agent.runner.phase == 4)
        await cloud.until(lambda: cloud.of("state")[-1][3] == {0: 0})
        assert cloud.of("state")[-1][:2] == [1, 0]  # EG-ENV-002: a will has seq 0
        agent, board = device(broker.port, tmp_path / "flash")
        async with powered(agent, board):
            await cloud.until(lambda: (1, 1) in cloud.usage)
            await settled(agent, lambda: agent.ledger.pending == 0)
        assert cloud.usage[(1, 1)][1] == 3
        assert list(cloud.usage) == [(1, 1)]


async def test_a_broker_that_dies_costs_time_and_nothing_else(broker: Mosquitto, tmp_path: Path) -> None:
    """EG-BIRTH-004, EG-ACK-003"""
    async with clouded(broker.port) as cloud:
        agent, board = device(broker.port, tmp_path / "flash")
        async with powered(agent, board):
            await cloud.until(lambda: len(cloud.of("sync")) == 1)
            broker.kill()
            for _ in range(3):
                agent.start_programme(1)
                await settled(agent, lambda: agent.runner.state == 0)
            assert agent.ledger.pending == 3
            broker.start()
            await cloud.until(lambda: len(cloud.usage) == 3)
            await settled(agent, lambda: agent.ledger.pending == 0)
        assert sorted(cloud.usage) == [(1, 1), (1, 2), (1, 3)]
        assert sum(agent.crashes.values()) == 0, agent.last_crash


async def test_a_device_whose_rules_deny_it_everything_still_runs(broker: Mosquitto, tmp_path: Path) -> None:
    agent, board = device(broker.port, tmp_path / "flash", name="d2")
    agent.identity.tenant = "other"
    agent.boot()
    async with powered(agent, board):
        await settled(agent, lambda: bool(agent.link.last_error))
        agent.start_programme(1)
        await settled(agent, lambda: agent.runner.state == 0)
        assert not agent.link.online
        assert agent.ledger.pending == 1


async def test_appliances_of_one_home_hear_each_other_and_nobody_elses(broker: Mosquitto, tmp_path: Path) -> None:
    """EG-HOME-001, EG-HOME-002, EG-HOME-005: the rule of the broker names the home as the user."""
    heard: dict[str, list[tuple[str, int]]] = {"d1": [], "d2": [], "d3": []}
    async with clouded(broker.port):
        homes = {"d1": "h1", "d2": "h1", "d3": "h2"}
        # Slow, so that the clocks, which this cloud sets to the same second one after the other, stay within EG-HOME-004.
        made = {
            name: device(broker.port, tmp_path / name, name, speed=4, username=home, home=home) for name, home in homes.items()
        }
        for name, (agent, _) in made.items():
            agent.home.on_event = lambda who, event, value, name=name: heard[name].append((who, event))
        async with powered(*made["d1"]), powered(*made["d2"]), powered(*made["d3"]):
            for agent, _ in made.values():
                await settled(agent, lambda agent=agent: agent.online and not agent.link.busy)
            made["d1"][0].start_programme(1)
            await settled(made["d1"][0], lambda: bool(heard["d2"]))
            await settled(made["d1"][0], lambda: not made["d1"][0].events.pending)
        assert heard == {"d1": [], "d2": [("d1", 3)], "d3": []}


async def test_a_broker_that_refuses_the_home_costs_nothing_else(broker: Mosquitto, tmp_path: Path) -> None:
    """EG-HOME-001: nobody may enter home h9 as user d1."""
    async with clouded(broker.port) as cloud:
        agent, board = device(broker.port, tmp_path / "flash", username="d1", home="h9")
        async with powered(agent, board):
            await cloud.until(lambda: len(cloud.of("sync")) == 1)
            agent.start_programme(1)
            await cloud.until(lambda: (1, 1) in cloud.usage and bool(cloud.of("event")))
            await settled(agent, lambda: not agent.link.busy)
        assert agent.link.connects == 1
        assert sum(agent.crashes.values()) == 0, agent.last_crash
