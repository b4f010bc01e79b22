"""Options of the whole suite."""

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
        help="how much of its heap each file of the MicroPython lane gets: the suite is to pass with 75, because what a "
        "conservative collector keeps differs from run to run",
    )
