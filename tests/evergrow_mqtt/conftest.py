"""What the MQTT tests of the host share: the scenarios, and one way to run them on each interpreter."""

import asyncio
import importlib.util
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from evergrow_tools import mpy

SCENARIOS = Path(__file__).parent / "scenarios.py"
LIMIT_S = 60


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenarios", SCENARIOS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_scenarios = _load()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", [scenario.__name__ for scenario in _scenarios.SCENARIOS])


@pytest.fixture
def scenarios() -> ModuleType:
    return _scenarios


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpy")
    mpy.build(folder, ["evergrow_mqtt"])
    return folder


class Runner:
    """Runs a scenario on one interpreter. `tls` is (CA, host name) or (CA, host name, certificate, key)."""

    def __init__(self, interpreter: str, request: pytest.FixtureRequest, heap: str) -> None:
        self.interpreter = interpreter
        self._request = request
        self._heap = heap

    def __call__(self, name: str, broker: str, port: int, version: int, *tls: object) -> str:
        """Returns what the scenario returned, as text."""
        if self.interpreter == "cpython":
            return str(asyncio.run(asyncio.wait_for(self._here(name, broker, port, version, *tls), LIMIT_S)))
        launcher = Path(sysconfig.get_path("scripts")) / "micropython"
        if not launcher.exists():
            pytest.skip("no MicroPython in this environment")
        path = self._request.getfixturevalue("compiled")
        command = [launcher, "-X", f"heapsize={self._heap}", SCENARIOS, path, broker, port, version, name, *tls]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=LIMIT_S)
        assert done.stdout.startswith("ok "), done.stdout + done.stderr
        return done.stdout[3:].strip()

    async def _here(self, name: str, broker: str, port: int, version: int, *tls: object) -> object:
        settings = None
        if tls:
            from evergrow_mqtt.tls import client_tls

            ca, hostname, *own = (str(part) for part in tls)
            settings = client_tls(ca, *(own or (None, None)), server_hostname=hostname)
        return await getattr(_scenarios, name)(_scenarios.Site(broker, port, version, settings))


@pytest.fixture(params=["cpython", "micropython"])
def run(request: pytest.FixtureRequest, mpy_heap: Callable[[int], str]) -> Runner:
    return Runner(request.param, request, mpy_heap(384))
