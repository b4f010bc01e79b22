"""The client against the simulated broker: the scenarios that it passes with mosquitto and iotcore, as if this were mosquitto.

On both interpreters over TCP, and once more in virtual time on the simulated network. Real clients of other makers follow.
"""

import asyncio
import importlib.util
import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import world_broker_kit as kit

from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_acl import Acl
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.broker_settings import Switches
from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.net import Network
from evergrow_sim.world.rand import derive
from evergrow_sim.world.trace import Trace

HOST = "127.0.0.1"
PORT = 1883


def _load(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "evergrow_mqtt" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"mqtt_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_shared = _load("conftest")
run, compiled = _shared.run, _shared.compiled
SCENARIOS = [scenario.__name__ for scenario in _load("scenarios").SCENARIOS]


@pytest.fixture(scope="module")
def tcp() -> Iterator[kit.TcpBroker]:
    with kit.TcpBroker() as broker:
        yield broker


@pytest.mark.parametrize("version", [5, 4])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_client_does_as_with_mosquitto(name, version, tcp, run):
    run(name, "mosquitto", tcp.port, version)


@pytest.mark.parametrize("version", [5, 4])
def test_a_denied_publish_is_refused_and_not_repeated(version, run):
    with kit.TcpBroker(acl=Acl.parse(["topic readwrite limited/#"])) as broker:
        run("a_denied_publish_is_refused_and_not_repeated", "mosquitto", broker.port, version)


def test_a_denied_publish_that_costs_the_link_is_not_repeated(run):
    switches = Switches(on_denied="answer and drop")
    with kit.TcpBroker(acl=Acl.parse(["topic readwrite limited/#"]), switches=switches) as broker:
        run("a_denied_publish_is_refused_and_not_repeated", "mosquitto", broker.port, 5)


@pytest.mark.parametrize("version", [5, 4])
def test_strangers_are_refused(version, run):
    with kit.TcpBroker(authenticate=lambda client_id, username, password: 0x87) as broker:
        run("strangers_are_refused", "mosquitto", broker.port, version)


def test_fallback_to_3_1_1(run):
    with kit.TcpBroker(switches=Switches(versions=(4,))) as broker:
        run("a_version_5_client_falls_back", "mosquitto", broker.port, 0)


# --- in virtual time ---


def play(name: str, version: int, prepare: Any = None) -> tuple[str, int]:
    """(trace digest, virtual ms) of a scenario on the simulated network."""
    loop, trace = VirtualLoop(), Trace()
    network = Network(loop, derive(1, "network"), trace)
    broker = Broker(lambda: loop.now_ms, trace=trace)
    network.listen(HOST, PORT, BrokerServer(broker, loop).accept)
    port = network.port_for("clients")
    if prepare:
        prepare(network.link("clients"))
    scenarios = _load("scenarios")
    real_net = scenarios.Net
    seeds = derive(1, "clients")

    class Net(real_net):
        def __init__(self) -> None:
            super().__init__()
            self.clock = port.clock

        async def connect(self, host: str, to_port: int, tls: object) -> Any:
            tap = scenarios.Tap(await port.connect(host, to_port, tls), self)
            self.taps.append(tap)
            return tap

    scenarios.Net = Net
    scenarios.Random = lambda: seeds
    try:
        loop.run(getattr(scenarios, name)(scenarios.Site("mosquitto", PORT, version)), until_ms=600_000)
        return trace.digest(), loop.now_ms
    finally:
        loop.close()


@pytest.mark.parametrize("version", [5, 4])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_client_does_as_with_mosquitto_in_virtual_time(name, version):
    assert play(name, version) == play(name, version), "a run repeats exactly"


@pytest.mark.parametrize("name", SCENARIOS)
def test_slow_links_that_split_bytes_anywhere_change_nothing(name):
    def slow(link: Any) -> None:
        link.split = True
        link.jitter_ms = 30
        link.loss = 0.02

    play(name, 5, slow)


# --- clients of other makers ---


@pytest.mark.parametrize("version", [paho.MQTTv5, paho.MQTTv311])
def test_paho_talks_to_it(version, tcp):
    came: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
    up: queue.Queue[object] = queue.Queue()

    def client(name: str) -> paho.Client:
        made = paho.Client(paho.CallbackAPIVersion.VERSION2, f"paho-{name}-{version}", protocol=version)
        made.on_connect = lambda *args: up.put(args[3])
        made.on_subscribe = lambda *args: up.put(args[3])
        made.on_message = lambda _, __, message: came.put((message.topic, message.payload, message.retain))
        return made

    watcher, sender = client("watcher"), client("sender")
    sender.will_set(f"paho/{version}/will", b"gone", 1)
    for one in (watcher, sender):
        one.connect(HOST, tcp.port)
        one.loop_start()
        assert up.get(timeout=20) == 0
    sender.publish(f"paho/{version}/kept", b"kept", 1, retain=True).wait_for_publish(20)
    watcher.subscribe(f"paho/{version}/#", 1)
    up.get(timeout=20)
    assert came.get(timeout=20) == (f"paho/{version}/kept", b"kept", True)
    for size in (0, 1, 60_000):
        sender.publish(f"paho/{version}/a", b"x" * size, 1).wait_for_publish(20)
        assert came.get(timeout=20) == (f"paho/{version}/a", b"x" * size, False)
    sender.loop_stop()
    sender._sock_close()
    assert came.get(timeout=20) == (f"paho/{version}/will", b"gone", False)
    watcher.disconnect()
    watcher.loop_stop()


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311])
async def test_aiomqtt_talks_to_it(version, tcp):
    async with aiomqtt.Client(HOST, tcp.port, identifier=f"aio-{version}", protocol=version) as client:
        await client.subscribe(f"aio/{version}/+", qos=1)
        for i in range(20):
            await client.publish(f"aio/{version}/{i}", str(i), qos=1)
        async with asyncio.timeout(20):
            found = [message.payload async for message, _ in _first(client.messages, 20)]
    assert found == [str(i).encode() for i in range(20)]


async def _first(messages: Any, count: int) -> Any:
    at = 0
    async for message in messages:
        yield message, at
        at += 1
        if at == count:
            return
