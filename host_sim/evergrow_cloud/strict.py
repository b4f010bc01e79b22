"""Deterministic CBOR in and out (SPEC section 1, RFC 8949 section 4.2.1), on top of cbor2.

cbor2 reads everything that CBOR can say: tags that build dates and regular expressions, shared references that make cycles,
duplicate keys, floats. So the bytes are walked first, without recursion and without allocating what a header merely claims; only
what the protocol allows gets to cbor2.
"""

from typing import Any

import cbor2

from evergrow_cloud.errors import WireError
from evergrow_protocol import errors as codes

MAX_BYTES = 65_536  # EG-LIM-001
MAX_DEPTH = 12  # EG-ENC-005 asks for 8 at least
MAX_ITEMS = 16_384
MAX_INT = 2**63 - 1  # what SQLite can hold, and more than any quantity needs

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_LEAST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
_FALSE, _TRUE, _NULL = 20, 21, 22


def loads(data: bytes) -> Any:
    """The one item that `data` holds, as int, bytes, str, bool, None, list and dict (with int keys).

    Raises WireError: 1 malformed, truncated or more than one item; 2 not deterministic; 4 a float, tag or key that is not an
    integer; 5 an integer beyond 64 bits signed; 8 beyond a bound.
    """
    return parse(data)[0]


def parse(data: bytes) -> tuple[Any, list[int]]:
    """As `loads`, and the offsets of the outermost array's elements."""
    elements = check(data)
    try:
        return cbor2.loads(data), elements
    except cbor2.CBORDecodeError as error:  # only UTF-8 is left to find
        raise WireError(codes.MALFORMED, f"not CBOR: {error}") from None


def dumps(value: Any) -> bytes:
    """`value` (the types of `loads`, tuples as arrays) as deterministic CBOR. Raises WireError 4 for anything else."""
    return cbor2.dumps(_ordered(value))


def check(data: bytes) -> list[int]:
    """Walk one deterministic item to its end. Returns the offsets of the outermost array's elements, if it is one.

    Raises WireError as `loads`.
    """
    if len(data) > MAX_BYTES:
        raise WireError(codes.TOO_LARGE, f"{len(data)} bytes, {MAX_BYTES} at most")
    elements: list[int] = []
    left: list[int] = []  # of each open container, outermost first: how many items are still to come
    last_keys: list[bytes | None] = []  # and its last key; None for an array
    items = pos = 0
    while True:
        start = pos
        if len(left) == 1 and last_keys[0] is None:
            elements.append(start)
        major, argument, pos = _head(data, start)
        if left and last_keys[-1] is not None and not left[-1] & 1:
            last_keys[-1] = _next_key(major, data[start:pos], last_keys[-1], start)
        children = 0
        if major >= _BYTES:
            if major <= _TEXT:
                pos += argument
            else:
                children = argument * 2 if major == _MAP else argument
            if pos + children > len(data):
                raise WireError(codes.MALFORMED, f"truncated: more announced at byte {start} than there is")
        items += 1
        if items > MAX_ITEMS:
            raise WireError(codes.TOO_LARGE, f"more than {MAX_ITEMS} items")
        if children:
            if len(left) == MAX_DEPTH:
                raise WireError(codes.TOO_LARGE, f"nested deeper than {MAX_DEPTH} at byte {start}")
            left.append(children)
            last_keys.append(b"" if major == _MAP else None)
            continue
        while left:
            left[-1] -= 1
            if left[-1]:
                break
            left.pop()
            last_keys.pop()
        if not left:
            break
    if pos != len(data):
        raise WireError(codes.MALFORMED, f"{len(data) - pos} bytes after the end")
    return elements


def _next_key(major: int, key: bytes, last_key: bytes, start: int) -> bytes:
    if major not in (_UINT, _NINT):
        raise WireError(codes.BAD_TYPE, f"a key that is not an integer at byte {start}")
    if key == last_key:
        raise WireError(codes.NOT_DETERMINISTIC, f"a key twice at byte {start}")
    if key < last_key:
        raise WireError(codes.NOT_DETERMINISTIC, f"keys out of order at byte {start}")
    return key


def _head(data: bytes, start: int) -> tuple[int, int, int]:
    """(major type, argument, offset of what follows) of the item at `start`."""
    if start >= len(data):
        raise WireError(codes.MALFORMED, f"truncated at byte {start}")
    major, info = data[start] >> 5, data[start] & 31
    pos = start + 1
    if major == _TAG:
        raise WireError(codes.BAD_TYPE, f"a tag at byte {start}")
    if major == _SIMPLE:
        if info in (_FALSE, _TRUE, _NULL):
            return major, 0, pos
        if info > 27 or (info == 24 and data[pos : pos + 1] < b" "):  # such values below 32 have heads of one byte only
            raise WireError(codes.MALFORMED, f"a break, or a head that CBOR does not have, at byte {start}")
        raise WireError(codes.BAD_TYPE, f"a float, undefined or simple value at byte {start}")
    if info < 24:
        return major, info, pos
    if info == 31 and major in (_BYTES, _TEXT, _ARRAY, _MAP):
        raise WireError(codes.NOT_DETERMINISTIC, f"an indefinite length at byte {start}")
    if info > 27:
        raise WireError(codes.MALFORMED, f"reserved information {info} at byte {start}")
    end = pos + _WIDTHS[info]
    if end > len(data):
        raise WireError(codes.MALFORMED, f"truncated at byte {len(data)}")
    argument = int.from_bytes(data[pos:end], "big")
    if argument < _LEAST[info]:
        raise WireError(codes.NOT_DETERMINISTIC, f"{argument} in {_WIDTHS[info]} bytes at byte {start}")
    if argument > MAX_INT:
        code = codes.OUT_OF_RANGE if major in (_UINT, _NINT) else codes.MALFORMED
        raise WireError(code, f"{argument} at byte {start}, {MAX_INT} at most")
    return major, argument, end


def _ordered(value: Any) -> Any:
    """Maps in bytewise order of their encoded keys. (cbor2's `canonical` is the older length-first order of RFC 7049.)"""
    if isinstance(value, dict):
        if not all(type(key) is int for key in value):
            raise WireError(codes.BAD_TYPE, "a key is an integer")
        return {key: _ordered(value[key]) for key in sorted(value, key=cbor2.dumps)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    if value is None or isinstance(value, bool | bytes | str):
        return value
    if type(value) is int and -MAX_INT - 1 <= value <= MAX_INT:
        return value
    raise WireError(codes.BAD_TYPE, f"{type(value).__name__} {str(value)[:40]} cannot be sent")
