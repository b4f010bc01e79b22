"""MicroPython's `deflate.DeflateIO`, as far as patches need it, where there is only zlib: on CPython. Not for boards."""

import zlib
from errno import EINVAL
from typing import Any

RAW = 3  # as deflate.RAW
_CHUNK = 256


class DeflateIO:
    """Inflates what `feed` gives: raw deflate, a window of 2**bits bytes. OSError EINVAL for what is none, EOFError."""

    def __init__(self, feed: "Any", form: int, bits: int) -> None:
        self._feed = feed
        self._inflate = zlib.decompressobj(-bits)
        self._chunk = bytearray(_CHUNK)
        self._rest = b""

    def readinto(self, buf: memoryview) -> int:
        data = b""
        ended = False
        while not data and not self._inflate.eof:
            try:
                data = self._inflate.decompress(self._rest, len(buf))  # it may hold output back, without input to go with it
            except zlib.error:
                raise OSError(EINVAL, "not a deflate stream")
            self._rest = self._inflate.unconsumed_tail
            if not data and not self._rest:
                if ended:
                    raise EOFError
                self._rest = bytes(self._chunk[: self._feed.readinto(self._chunk)])
                ended = not self._rest
        buf[: len(data)] = data
        return len(data)
