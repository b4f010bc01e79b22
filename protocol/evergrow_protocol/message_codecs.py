"""How byte strings on the wire are packed, for host programs: bitmaps (EG-ACK-001) and columns of samples. Not for boards."""

from collections.abc import Callable

from evergrow_protocol.message_table import Type
from evergrow_protocol.message_tree import Item

_VARINT_BYTES = 5  # EG-TELE-003


def bits(data: bytes) -> list[int]:
    """The numbers of the bits that are set, ascending."""
    return [8 * i + bit for i, byte in enumerate(data) for bit in range(8) if byte >> bit & 1]


def from_bits(numbers: list[int]) -> bytes:
    """The shortest bitmap with these bits. ValueError for what is no number of a bit."""
    if any(type(number) is not int or not 0 <= number < 1 << 16 for number in numbers):
        raise ValueError("a bitmap is a list of numbers of bits")
    total = sum({1 << number for number in numbers})
    return total.to_bytes((total.bit_length() + 7) // 8, "little")


def steps(data: bytes) -> list[int]:
    """Base-128 varints, least significant group first. ValueError for one that is cut off, too long or not the shortest."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 7 * _VARINT_BYTES:
            raise ValueError(f"a varint of more than {_VARINT_BYTES} bytes")
        if byte < 0x80:
            if byte == 0 and shift > 7:
                raise ValueError("a varint in more bytes than it needs")
            numbers.append(value)
            value = shift = 0
    if shift:
        raise ValueError("the last varint is cut off")
    return numbers


def from_steps(numbers: list[int]) -> bytes:
    """ValueError for what is negative or no integer."""
    out = bytearray()
    for number in numbers:
        if type(number) is not int or not 0 <= number < 1 << 7 * _VARINT_BYTES:
            raise ValueError(f"{number!r} is no number of {7 * _VARINT_BYTES} bits")
        while number >= 0x80:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def deltas(data: bytes) -> list[int]:
    """A column: the first value, then differences, each a zigzag varint (as protobuf's sint64); -> the values. ValueError."""
    values, value = [], 0
    for number in steps(data):
        value += number >> 1 ^ -(number & 1)
        values.append(value)
    return values


def from_deltas(values: list[int]) -> bytes:
    """ValueError for what is no integer."""
    if any(type(value) is not int for value in values):
        raise ValueError("a column is a list of integers")
    differences = [value - before for value, before in zip(values, [0, *values], strict=False)]
    return from_steps([2 * step if step >= 0 else -2 * step - 1 for step in differences])


def are_samples(data: bytes) -> bool:
    """Whether each value of a column is of 32 bits with its sign (EG-TELE-008). What is no column at all is another question."""
    try:
        return all(-(1 << 31) <= value < 1 << 31 for value in deltas(data))
    except ValueError:
        return True


def are_gaps(data: bytes) -> bool:
    """Whether the first gap is 0, and none of more than 32 bits (EG-TELE-004)."""
    try:
        return data[:1] <= b"\x00" and max(steps(data), default=0) < 1 << 32
    except ValueError:
        return True


UNPACK: dict[str, Callable[[bytes], list[int]]] = {"bitmap": bits, "steps": steps, "deltas": deltas}
PACK: dict[str, Callable[[list[int]], bytes]] = {"bitmap": from_bits, "steps": from_steps, "deltas": from_deltas}


def samples(type: Type, item: Item) -> int:
    """How many samples a column holds, packed or as an array."""
    if type.codec and isinstance(item.value, bytes):
        return sum(byte < 0x80 for byte in item.value)
    return len(item.children)
