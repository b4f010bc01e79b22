"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mpy",
        choices=("compiled", "source"),
        default="compiled",
        help="what the MicroPython lane imports: compiled .mpy files, as a board does (default), or sources, for debugging",
    )
