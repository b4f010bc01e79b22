"""The client on both interpreters against real brokers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergrow_tools.brokers import BrokerError, IotCore, Mosquitto, mosquitto_path


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("limited"), acl=["topic readwrite limited/#"]) as broker:
        yield broker


@pytest.fixture(scope="module")
def members_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    folder = tmp_path_factory.mktemp("members")
    (folder / "users").write_text("")
    with Mosquitto(folder, settings=["allow_anonymous false", f"password_file {folder / 'users'}"]) as broker:
        yield broker


@pytest.fixture(scope="module")
def iotcore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IotCore]:
    with IotCore(tmp_path_factory.mktemp("iotcore")) as broker:
        yield broker


@pytest.mark.parametrize("version", [5, 4])
def test_mosquitto(scenario, version, mosquitto, run):
    run(scenario, "mosquitto", mosquitto.port, version)


@pytest.mark.parametrize("version", [5, 4])
def test_iotcore(scenario, version, iotcore, run):
    run(scenario, "iotcore", iotcore.port if version == 5 else iotcore.v4_port, version)


def test_fallback_to_3_1_1(iotcore, run):
    run("a_version_5_client_falls_back", "iotcore", iotcore.v4_port, 0)


@pytest.mark.parametrize("version", [5, 4])
def test_a_denied_publish_is_refused_and_not_repeated(version, limited, run):
    run("a_denied_publish_is_refused_and_not_repeated", "mosquitto", limited.port, version)


@pytest.mark.parametrize("version", [5, 4])
def test_strangers_are_refused(version, members_only, run):
    run("strangers_are_refused", "mosquitto", members_only.port, version)


async def test_a_broker_restart_loses_no_message(tmp_path: Path, scenarios):
    with Mosquitto(tmp_path) as broker:
        site = scenarios.Site("mosquitto", broker.port, 5)
        watcher, device = site.device("restart-w"), site.device("restart-d")
        await watcher.start("restart/#")
        await device.start()
        await device.client.publish("restart/a", b"before", 1)
        await watcher.until(lambda: watcher.messages)
        await asyncio.to_thread(broker.stop)
        await device.until(lambda: device.errors)
        waiting = asyncio.create_task(device.client.publish("restart/a", b"during", 1))
        await asyncio.to_thread(broker.start)
        await waiting
        await watcher.until(lambda: watcher.messages[-1][1] == b"during")
        await device.stop()
        await watcher.stop()


def test_a_missing_mosquitto_is_explained(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.which", lambda *args, **settings: None)
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        mosquitto_path()


def test_a_broker_that_cannot_start_says_why(tmp_path: Path):
    with pytest.raises(BrokerError, match="no_such_setting"), Mosquitto(tmp_path, settings=["no_such_setting 1"]):
        pass
