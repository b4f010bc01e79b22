"""Columns of telemetry (SPEC section 7): byte strings of varints, zigzag, the first value and then differences."""

from itertools import accumulate
from typing import Any

from evergrow_cloud.errors import WireError
from evergrow_protocol import errors as codes

MAX_SAMPLES = 4096
MAX_VARINT_BYTES = 5
MIN_SAMPLE, MAX_SAMPLE = -(2**31), 2**31 - 1  # EG-TELE-008


def values(encoded: Any, what: str) -> tuple[int, ...]:
    """What a column holds, differences summed up. WireError: 1 malformed or empty, 4 type, 5 out of range, 8 too large."""
    found = tuple(accumulate(-(number + 1) // 2 if number & 1 else number // 2 for number in numbers(encoded, what)))
    if min(found) < MIN_SAMPLE or max(found) > MAX_SAMPLE:
        raise WireError(codes.OUT_OF_RANGE, f"{what} has a sample that is not within {MIN_SAMPLE}..{MAX_SAMPLE}")
    return found


def numbers(encoded: Any, what: str) -> list[int]:
    """The varints as they stand there. Errors as `values`."""
    if not isinstance(encoded, bytes):
        raise WireError(codes.BAD_TYPE, f"{what} is a byte string")
    found: list[int] = []
    start = 0
    for end in [i + 1 for i, byte in enumerate(encoded) if byte < 0x80]:
        found.append(_number(encoded[start:end], what))
        start = end
    if start < len(encoded) or not found:
        raise WireError(codes.MALFORMED, f"{what} ends within a number" if encoded else f"{what} is empty")
    if len(found) > MAX_SAMPLES:
        raise WireError(codes.TOO_LARGE, f"{what} has {len(found)} samples, {MAX_SAMPLES} at most")
    return found


def _number(varint: bytes, what: str) -> int:
    if len(varint) > MAX_VARINT_BYTES:
        raise WireError(codes.MALFORMED, f"{what}: a number of {len(varint)} bytes, {MAX_VARINT_BYTES} at most")
    if len(varint) > 1 and not varint[-1]:
        raise WireError(codes.MALFORMED, f"{what}: a number that is longer than need be")
    return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(varint))
