"""What an input of a fuzzed parser may cost, and the inputs to begin with.

The parsers are in tests/portable/fuzztargets.py. Costs are lines of Python and bytes of memory; no clock is asked: a slow machine
finds nothing and hides nothing.
"""

import random
import sys
import tracemalloc
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "portable"))

from fuzztargets import TARGETS, outcome, seeds

__all__ = ["TARGETS", "check", "check_cost", "cost", "lines_of", "mutants", "outcome", "seeds"]

_LINES = 12_000  # a signature that is right in form is hashed through, and a manifest runs eight sections
_LINES_PER_BYTE = 30
_BYTES = 16_384
_BYTES_PER_BYTE = 4

_PIECES = [bytes.fromhex(text) for text in ("9affffffff", "81" * 20, "5b" + "ff" * 8, "d86b", "f6", "20", "1b", "7f", "f93c00")]


def mutants(target: str, good: list[bytes], number: int) -> list[bytes]:
    """The same ones each time: good inputs with a few bytes changed, cut out, repeated or put in."""
    draw = random.Random(target)
    made = list(good)
    while len(made) < number:
        mutant = draw.choice(good)
        for _ in range(draw.randint(1, 3)):
            start = draw.randint(0, len(mutant))
            end = min(len(mutant), start + draw.choice((0, 1, 1, 1, 4, 40)))
            piece = draw.choice((draw.randbytes(1), draw.randbytes(2), b"", mutant[start:end] * 2, draw.choice(_PIECES)))
            mutant = mutant[:start] + piece + mutant[end:]
        made.append(mutant)
    return made


def check(target: str, data: bytes) -> None:
    """Run one input; raises for anything but a refusal by code."""
    outcome(target, data)


def cost(target: str, data: bytes) -> tuple[int, int]:
    """(lines of Python, most bytes of memory at a time) that one input takes."""
    check(target, data)  # what is imported or cached on first use is not this input's
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        check(target, data)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    lines = 0

    def line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += 1
        return line

    sys.settrace(line)
    try:
        check(target, data)
    finally:
        sys.settrace(None)
    return lines, peak


def lines_of(target: str, data: bytes) -> set[tuple[str, int]]:
    """The lines of ours that one input runs: (file, number)."""
    seen: set[tuple[str, int]] = set()

    def line(frame: FrameType, event: str, argument: object) -> Any:
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    sys.settrace(line)
    try:
        check(target, data)
    finally:
        sys.settrace(None)
    return {(file, number) for file, number in seen if "evergrow_" in file}


def check_cost(target: str, data: bytes) -> None:
    """Raises AssertionError for an input that takes more than its length allows."""
    lines, peak = cost(target, data)
    assert lines <= _LINES + _LINES_PER_BYTE * len(data), f"{lines} lines for {len(data)} bytes"
    assert peak <= _BYTES + _BYTES_PER_BYTE * len(data), f"{peak} bytes of memory for {len(data)} bytes"
