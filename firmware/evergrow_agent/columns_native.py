# ruff: noqa: F821, RUF046 - the types of MicroPython's viper emitter
# mypy: ignore-errors
"""`columns.put_column` in machine code: for processors that MicroPython's compiler knows, see `evergrow_tools.mpy`."""

import micropython


@micropython.viper
def put_column(buf, pos: int, values, at: int, stride: int, end: int) -> int:
    """As `columns.put_column`; -1 when that has to do it: a value has more than 30 bits, whose difference may not fit a word."""
    if int(len(buf)) - pos < 2 + 5 * ((end - at + stride - 1) // stride):
        return -1
    out = ptr8(buf)
    source = ptr32(values)
    sign = 1
    sign <<= 31
    last = 0
    to = pos + 1
    while at < end:
        value = (source[at] ^ sign) - sign
        if value + 0x20000000 >> 30:
            return -1
        number = value - last << 1
        if number < 0:
            number = ~number
        last = value
        while number > 127:
            out[to] = number & 127 | 128
            number >>= 7
            to += 1
        out[to] = number
        to += 1
        at += stride
    size = to - pos - 1
    if size < 24:
        out[pos] = 0x40 | size
        return to
    at = to
    while at > pos + 1:
        out[at] = out[at - 1]
        at -= 1
    out[pos] = 0x58
    out[pos + 1] = size
    return to + 1
