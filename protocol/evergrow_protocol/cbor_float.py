"""Floating point, which our wire does not use: loaded when the first float turns up, so a board normally never pays for it.

Half precision is done by hand: MicroPython's struct packs subnormal halves wrongly.
"""

import struct


def pack(value: float) -> bytes:
    """`value` with its head in the shortest form that keeps it; every NaN becomes F9 7E00 (RFC 8949 section 4.2.2)."""
    if value != value:
        return b"\xf9\x7e\x00"
    try:
        single = struct.pack(">f", value)
    except OverflowError:  # CPython; MicroPython packs an infinity, which differs below
        return b"\xfb" + struct.pack(">d", value)
    half = _to_half(int.from_bytes(single, "big"))
    if _from_half(half) == value:
        return struct.pack(">BH", 0xF9, half)
    if struct.unpack(">f", single)[0] == value:
        return b"\xfa" + single
    return b"\xfb" + struct.pack(">d", value)


def unpack(item: bytes) -> float:
    """The value of a whole float item, head included: 3, 5 or 9 bytes."""
    if len(item) == 3:
        return _from_half(item[1] << 8 | item[2])
    value: float = struct.unpack(">f" if len(item) == 5 else ">d", item[1:])[0]
    return value


def is_shortest(item: bytes) -> bool:
    """Whether a shorter form would have kept the value."""
    value = unpack(item)
    if pack(value) == item:
        return True
    # Single precision rounds what it reads; a double that does not survive that has no shorter form.
    return len(item) == 9 and value == value and struct.pack(">d", value) != item[1:]


def _to_half(single: int) -> int:
    """The half at or next to a single, both as bits; the caller finds out which."""
    exponent = (single >> 23 & 255) - 112
    if exponent > 30:
        half = 0x7C00
    elif exponent > 0:
        half = exponent << 10 | single >> 13 & 1023
    else:
        half = (single & 0x7FFFFF | 0x800000) >> min(14 - exponent, 24)
    return half | single >> 16 & 0x8000


def _from_half(half: int) -> float:
    exponent = half >> 10 & 31
    fraction = half & 1023
    if exponent == 31:
        value = float("nan" if fraction else "inf")
    elif exponent:
        value = (fraction + 1024) * 2.0 ** (exponent - 25)
    else:
        value = fraction * 2.0**-24
    return -value if half & 0x8000 else value
