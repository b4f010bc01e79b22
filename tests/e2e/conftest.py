"""Real parts for the tests from end to end: brokers, the cloud's database, compiled code, a washer, signed features."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evergrow_cloud.store import Store
from evergrow_sim.launch import DeviceProcess, DeviceTask
from evergrow_tools import mpy
from evergrow_tools.brokers import Mosquitto

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("washhouse")

from washhouse import NAME, TENANT, Publisher  # noqa: E402 - see the two lines before

SPEED = 2000
HEAP_KIB = 448


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "cloud.db") as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For a broker."""
    path = tmp_path / "broker"
    path.mkdir()
    return path


@pytest.fixture
def mosquitto(folder: Path) -> Iterator[Mosquitto]:
    with Mosquitto(folder) as broker:
        yield broker


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled portable packages."""
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    folder = tmp_path_factory.mktemp("code") / "mpy"
    mpy.build(folder)
    return folder


@pytest.fixture(scope="session")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return Publisher(tmp_path_factory.mktemp("keys"))


@pytest.fixture(params=["micropython"])
def make_device(
    request: pytest.FixtureRequest, tmp_path: Path, mpy_heap: Callable[[int], str]
) -> Callable[..., DeviceProcess | DeviceTask]:
    """A function of a broker's port and further keys of the configuration that makes a washer, not yet started.

    Its heap on MicroPython has room to spare: how little it can do with is the demo's statement, and the budgets'.
    It runs on MicroPython. Where CPython adds something, a test asks for more by parametrizing this fixture indirectly.
    """

    def make(port: int, **config: Any) -> DeviceProcess | DeviceTask:
        basic = {"tenant": TENANT, "device": NAME, "host": "127.0.0.1", "port": port, "speed": SPEED, "seed": 1}
        if request.param == "cpython":
            return DeviceTask({**basic, **config}, tmp_path / "device")
        return DeviceProcess({**basic, **config}, tmp_path / "device", request.getfixturevalue("code"), mpy_heap(HEAP_KIB))

    return make
