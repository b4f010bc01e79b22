"""The scenarios against real brokers, with the client on both interpreters."""

import asyncio
import importlib.util
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergrow_tools import mpy
from evergrow_tools.brokers import BrokerError, IotCore, Mosquitto, mosquitto_path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT_S = 60


def load_scenarios():
    spec = importlib.util.spec_from_file_location("scenarios", HERE / "scenarios.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scenarios = load_scenarios()


@pytest.fixture(scope="module")
def launcher() -> Path:
    path = Path(sysconfig.get_path("scripts")) / "micropython"
    if not path.exists():
        pytest.skip("no MicroPython in this environment")
    return path


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpy")
    mpy.build(folder, ["evergrow_mqtt"])
    return folder


def start(broker) -> Iterator:
    try:
        broker.start()
    except BrokerError as error:
        pytest.fail(str(error))
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    yield from start(Mosquitto(tmp_path_factory.mktemp("mosquitto")))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    yield from start(Mosquitto(tmp_path_factory.mktemp("limited"), acl=["topic readwrite limited/#"]))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "users").write_text("")
    yield from start(Mosquitto(folder, settings=["allow_anonymous false", f"password_file {folder / 'users'}"]))


@pytest.fixture(scope="module")
def iotcore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IotCore]:
    yield from start(IotCore(tmp_path_factory.mktemp("iotcore")))


class Runner:
    """Runs a scenario on one interpreter."""

    def __init__(self, interpreter: str, request: pytest.FixtureRequest) -> None:
        self._interpreter = interpreter
        self._request = request

    def __call__(self, name: str, broker: str, port: int, version: int) -> None:
        if self._interpreter == "cpython":
            site = scenarios.Site(broker, port, version)
            asyncio.run(asyncio.wait_for(getattr(scenarios, name)(site), LIMIT_S))
            return
        launcher, path = self._request.getfixturevalue("launcher"), self._request.getfixturevalue("compiled")
        command = [launcher, "-X", "heapsize=256K", HERE / "scenarios.py", path, broker, port, version, name]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=LIMIT_S)
        assert done.stdout.startswith("ok"), done.stdout + done.stderr


@pytest.fixture(params=["cpython", "micropython"])
def run(request: pytest.FixtureRequest) -> Runner:
    return Runner(request.param, request)


@pytest.mark.parametrize("version", [5, 4])
@pytest.mark.parametrize("name", [scenario.__name__ for scenario in scenarios.SCENARIOS])
def test_mosquitto(name: str, version: int, mosquitto: Mosquitto, run: Runner) -> None:
    run(name, "mosquitto", mosquitto.port, version)


@pytest.mark.parametrize("version", [5, 4])
@pytest.mark.parametrize("name", [scenario.__name__ for scenario in scenarios.SCENARIOS])
def test_iotcore(name: str, version: int, iotcore: IotCore, run: Runner) -> None:
    run(name, "iotcore", iotcore.port if version == 5 else iotcore.v4_port, version)


def test_fallback_to_3_1_1(iotcore: IotCore, run: Runner) -> None:
    run("a_version_5_client_falls_back", "iotcore", iotcore.v4_port, 0)


@pytest.mark.parametrize("version", [5, 4])
def test_a_denied_publish_is_refused_and_not_repeated(version: int, limited: Mosquitto, run: Runner) -> None:
    run("a_denied_publish_is_refused_and_not_repeated", "mosquitto", limited.port, version)


@pytest.mark.parametrize("version", [5, 4])
def test_strangers_are_refused(version: int, closed: Mosquitto, run: Runner) -> None:
    run("strangers_are_refused", "mosquitto", closed.port, version)


async def test_a_broker_restart_loses_no_message(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        site = scenarios.Site("mosquitto", broker.port, 5)
        watcher, device = site.device("restart-w"), site.device("restart-d")
        await watcher.start("restart/#")
        await device.start()
        await device.client.publish("restart/a", b"before", 1)
        await asyncio.to_thread(broker.stop)
        await device.until(lambda: device.errors)
        waiting = asyncio.create_task(device.client.publish("restart/a", b"during", 1))
        await asyncio.to_thread(broker.start)
        await waiting
        await watcher.until(lambda: len(watcher.messages) >= 2)
        assert [message[1] for message in watcher.messages] == [b"before", b"during"]
        await device.stop()
        await watcher.stop()


def test_a_missing_mosquitto_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *args, **settings: None)
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        mosquitto_path()


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="no_such_setting"), Mosquitto(tmp_path, settings=["no_such_setting 1"]):
        pass


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
