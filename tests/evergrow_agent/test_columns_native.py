"""The machine code of columns on a board of 32 bits, which runs in no test: its source, with words that wrap as they do there."""

import random
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evergrow_agent import columns


class Word(int):
    """An integer of viper on a board: results of arithmetic keep 32 bits, with their sign."""

    def __new__(cls, value: int) -> "Word":
        return super().__new__(cls, (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000)


for _name in ("add", "sub", "xor", "and", "or", "lshift", "rshift", "invert", "floordiv"):
    _plain = getattr(int, f"__{_name}__")
    setattr(Word, f"__{_name}__", lambda *operands, _plain=_plain: Word(_plain(*operands)))


class Pointer:
    """`ptr8` and `ptr32`: no bounds but those of the test."""

    def __init__(self, buf: Any) -> None:
        self._buf = buf

    def __getitem__(self, at: int) -> Word:
        assert at >= 0
        return Word(self._buf[at])

    def __setitem__(self, at: int, value: int) -> None:
        assert at >= 0
        self._buf[at] = value & 0xFF


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`columns_native.put_column`, as a board of 32 bits runs it."""
    monkeypatch.setitem(sys.modules, "micropython", SimpleNamespace(viper=lambda function: function))  # type: ignore[arg-type]
    source = Path(columns.__file__).with_name("columns_native.py").read_text()
    names: dict[str, Any] = {"ptr8": Pointer, "ptr32": Pointer}
    exec(source, names)
    function: Callable[..., int] = names["put_column"]
    return function


EDGES = [edge + d for edge in (0, 64, -64, 1 << 29, -(1 << 29), 1 << 30, -(1 << 30)) for d in (-1, 0, 1)]
EDGES += [(1 << 31) - 1, -(1 << 31)]


def column(put: Callable[..., int], values: "array[int]") -> bytes | None:
    buf = bytearray(2 + 5 * len(values))
    end = put(buf, 0, values, 0, 1, len(values))
    return None if end < 0 else bytes(buf[:end])


def test_words_wrap() -> None:
    assert Word(0x7FFFFFFF) + 1 == -0x80000000 and ~Word(5) == -6 and Word(1) << 31 == -0x80000000 and Word(-9) >> 1 == -5


def test_a_board_of_32_bits_writes_the_same_bytes_or_leaves_them_to_the_portable_code(put: Callable[..., int]) -> None:
    """EG-TELE-003"""
    drawn = random.Random(3)
    samples = [[one, other, one, 0] for one in EDGES for other in EDGES]
    samples += [[drawn.getrandbits(bits) - (1 << bits - 1) for _ in range(30)] for bits in range(1, 33) for _ in range(20)]
    left = 0
    for numbers in samples:
        found = column(put, array("i", numbers))
        if found is None:
            left += 1
            assert min(numbers) < -(1 << 29) or max(numbers) >= 1 << 29
        else:
            assert found == column(columns.put_column, array("i", numbers))
    assert 0 < left < len(samples) // 2
