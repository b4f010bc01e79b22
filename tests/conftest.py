"""Options of the whole suite."""

from collections.abc import Callable

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code; a hang is told by faulthandler_timeout.
settings.register_profile("evergrow", settings(), deadline=None)
settings.load_profile("evergrow")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mpy",
        choices=("compiled", "source"),
        default="compiled",
        help="what the MicroPython lane imports: compiled .mpy files, as a board does (default), or sources, for debugging",
    )
    parser.addoption(
        "--mpy-heap-percent",
        type=int,
        default=100,
        help="how much of its heap each MicroPython process gets: the suite is to pass with 75, because what a conservative "
        "collector keeps differs from run to run",
    )


@pytest.fixture
def mpy_heap(request: pytest.FixtureRequest) -> Callable[[int], str]:
    """A function of KiB that says what a MicroPython process is to get of them, as `-X heapsize` has it."""
    percent: int = request.config.getoption("--mpy-heap-percent")
    return lambda kib: f"{kib * percent // 100}K"
