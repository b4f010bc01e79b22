"""Makes a component's new content out of the installed one and a small patch (EG-SUIT-007).

A patch is a raw deflate stream (RFC 1951) whose window begins as the old content. No inflater of a board can be told so, but
any can be brought there: it is fed the old content as stored blocks, then the patch, and as many bytes as the old content has
are thrown away. So a board needs no code for patches but what it has in C, and memory for the window and two chunks.

    read_old = lambda offset, buf: flash.readinto(record.file, offset, buf)
    for piece in delta.apply(read_old, record.size, read_patch, patch_bytes, action.size): ...     # store it, let others run
"""

import io

from evergrow_protocol.errors import BAD_DIGEST, TOO_LARGE, ProtocolError

try:
    from deflate import RAW, DeflateIO  # MicroPython
except ImportError:
    from evergrow_agent.zlibstream import RAW, DeflateIO  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    Read = Callable[[int, memoryview], int]

CHUNK = 256  # bytes; also how much is done between two yields
_LEAST_BITS = 10
_MOST_BITS = 14
_LOOKAHEAD = 262  # a compressor's window reaches this much less far back than it is long (zlib's MIN_LOOKAHEAD)
_BROKEN = 22  # EINVAL: what DeflateIO says of a stream that is none


def window_bits(old_size: int, size: int) -> int:
    """Of the window, for both sides: 2**bits bytes hold the old content as long as any of it may be copied, up to 16 KiB."""
    bits = _LEAST_BITS
    while bits < _MOST_BITS and 1 << bits < max(old_size, size) + _LOOKAHEAD:
        bits += 1
    return bits


def apply(read_old: "Read", old_size: int, read_patch: "Read", patch_size: int, size: int) -> "Generator[memoryview, None, None]":
    """Yield the new content, `size` bytes, in pieces of up to CHUNK bytes, each good until the next; some are empty.

    `read_old(offset, buf)` and `read_patch(offset, buf)` fill `buf` and return how many bytes they put there.
    Raises ProtocolError TOO_LARGE as soon as there is a byte more than `size`, however much the patch would still make of
    itself; BAD_DIGEST when it makes less, or is no patch; what the two functions raise; MemoryError for the window.
    """
    feed = _Feed(_parts(read_old, old_size, read_patch, patch_size))
    stream = DeflateIO(feed, RAW, window_bits(old_size, size))
    chunk = memoryview(bytearray(CHUNK))
    skip = old_size
    left = size
    while True:
        try:
            count = stream.readinto(chunk[: min(CHUNK, skip or left or 1)])
        except EOFError:
            count = 0
        except OSError as exc:
            if exc.errno != _BROKEN:
                raise
            count = 0
        if not count:
            break
        if skip:
            skip -= count
            yield chunk[:0]
        elif left:
            left -= count
            yield chunk[:count]
        else:
            raise ProtocolError(TOO_LARGE, f"the patch makes more than the signed {size} bytes")
    if left:
        raise ProtocolError(BAD_DIGEST, f"the patch makes {size - left} of {size} bytes")


def _parts(read_old: "Read", old_size: int, read_patch: "Read", patch_size: int) -> "Generator[memoryview, None, None]":
    """The stream to inflate: each piece of the old content as a stored block (RFC 1951 section 3.2.4), then the patch."""
    view = memoryview(bytearray(5 + CHUNK))
    for at in range(0, old_size, CHUNK):
        size = min(CHUNK, old_size - at)
        view[:5] = bytes((0, size & 255, size >> 8, ~size & 255, ~size >> 8 & 255))
        yield view[: 5 + _filled(read_old, at, view[5 : 5 + size])]
    for at in range(0, patch_size, CHUNK):
        yield view[: _filled(read_patch, at, view[: min(CHUNK, patch_size - at)])]


def _filled(read: "Read", at: int, view: memoryview) -> int:
    size = read(at, view)
    if size != len(view):
        raise ProtocolError(BAD_DIGEST, f"{size} of {len(view)} bytes at {at}: shorter than it should be")
    return size


class _Feed(io.IOBase):
    """Hands pieces on as a stream, to a reader that asks for single bytes."""

    def __init__(self, parts: "Generator[memoryview, None, None]") -> None:
        self._parts = parts
        self._part = memoryview(b"")
        self._at = 0

    def readinto(self, buf: "Any") -> int:
        if self._at == len(self._part):
            try:
                self._part = next(self._parts)
            except StopIteration:
                return 0
            self._at = 0
        count = min(len(buf), len(self._part) - self._at)
        buf[:count] = self._part[self._at : self._at + count]
        self._at += count
        return count
