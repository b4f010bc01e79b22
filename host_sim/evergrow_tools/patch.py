"""Makes patches from an installed content to a new one, and proves each by applying it as a device does (EG-SUIT-007)."""

import zlib
from collections.abc import Callable

from evergrow_agent import delta
from evergrow_protocol.errors import ProtocolError

_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED)


def make(old: bytes, new: bytes) -> bytes:
    """The smallest patch that makes `new` of `old` on a device."""
    bits = delta.window_bits(len(old), len(new))
    tried = []
    for strategy in _STRATEGIES:
        for memory in (8, 9):
            deflate = zlib.compressobj(9, zlib.DEFLATED, -bits, memory, strategy, old)
            tried.append(deflate.compress(new) + deflate.flush())
    patch = min(tried, key=len)
    if apply(old, patch, len(new)) != new:
        raise AssertionError("a patch must make what it was made from")
    return patch


def apply(old: bytes, patch: bytes, size: int) -> bytes:
    """What a device makes of it. Raises ProtocolError as `delta.apply`."""
    return b"".join(bytes(piece) for piece in delta.apply(_reader(old), len(old), _reader(patch), len(patch), size))


def fits(old: bytes, patch: bytes, new: bytes) -> bool:
    """Whether the patch makes `new` of `old`."""
    try:
        return apply(old, patch, len(new)) == new
    except ProtocolError:
        return False


def _reader(data: bytes) -> Callable[[int, memoryview], int]:
    def read(offset: int, buf: memoryview) -> int:
        piece = data[offset : offset + len(buf)]
        buf[: len(piece)] = piece
        return len(piece)

    return read
