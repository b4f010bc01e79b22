"""A broker, compiled code, and devices of both kinds for the tests of the simulator."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evergrow_sim.launch import DeviceProcess, DeviceTask
from evergrow_tools import mpy
from evergrow_tools.brokers import Mosquitto

HEAP_KIB = 448
ROOT = Path(__file__).parents[2]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    with Mosquitto(folder) as broker:
        yield broker


@pytest.fixture(scope="session")
def code() -> Path:
    """The folder of the compiled portable packages."""
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    folder = ROOT / "build" / "mpy"
    mpy.build(folder)
    return folder


@pytest.fixture(params=["micropython", "cpython"])
def make_device(
    request: pytest.FixtureRequest, tmp_path: Path, mpy_heap: Callable[[int], str]
) -> Callable[..., DeviceProcess | DeviceTask]:
    """A function of a broker's port and further keys of the configuration that makes a device, not yet started."""

    def make(port: int, **config: Any) -> DeviceProcess | DeviceTask:
        config = {"tenant": "acme", "device": "w1", "host": "127.0.0.1", "port": port, "speed": 1000, "seed": 1, **config}
        if request.param == "cpython":
            return DeviceTask(config, tmp_path / "device")
        return DeviceProcess(config, tmp_path / "device", request.getfixturevalue("code"), mpy_heap(HEAP_KIB))

    return make
