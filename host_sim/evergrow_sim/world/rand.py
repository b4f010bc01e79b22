"""Random numbers that are the same on every machine, interpreter version and shard: SHA-256 in counter mode.

Everything random in the world comes from one run seed through `derive`. Who draws has a stream of its own, named after it, so
that one more draw here changes nothing there.
"""

from collections.abc import MutableSequence, Sequence
from hashlib import sha256
from typing import TypeVar

Name = int | str | bytes
T = TypeVar("T")

_BLOCK = 32
_CHANCE_BITS = 53  # as many as a float holds


class Rand:
    """A stream of random numbers; also the board's random port. `key`: 32 bytes, see `derive`."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0
        self._pool = b""
        self._at = 0

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        end = self._at + count
        if end > len(self._pool):
            blocks = [self._pool[self._at :]]
            end = count
            for _ in range(-(-(count - len(blocks[0])) // _BLOCK)):
                blocks.append(sha256(self._key + self._counter.to_bytes(8, "big")).digest())
                self._counter += 1
            self._pool = b"".join(blocks)
            self._at = 0
        data = self._pool[self._at : end]
        self._at = end
        return data

    def below(self, limit: int) -> int:
        """0 <= n < limit, all alike. ValueError unless limit is at least 1."""
        if limit < 1:
            raise ValueError(f"limit is {limit}, not at least 1")
        bits = (limit - 1).bit_length()
        size = (bits + 7) // 8
        while True:  # at most every other draw is thrown away
            drawn = int.from_bytes(self.bytes(size), "big") >> 8 * size - bits
            if drawn < limit:
                return drawn

    def between(self, low: int, high: int) -> int:
        """low <= n <= high, all alike."""
        return low + self.below(high - low + 1)

    def chance(self, probability: float) -> bool:
        """True with this probability; without a draw when it is certain."""
        if probability <= 0 or probability >= 1:
            return probability > 0
        return self.below(1 << _CHANCE_BITS) < int(probability * (1 << _CHANCE_BITS))

    def choice(self, items: Sequence[T]) -> T:
        """One of them. ValueError when there are none."""
        return items[self.below(len(items))]

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Put them in a random order, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def derive(self, *names: Name) -> "Rand":
        """A stream of its own for a part of who owns this one; it depends on the names, not on what was drawn so far."""
        return Rand(_key(self._key, names))


def derive(seed: Name, *names: Name) -> Rand:
    """The stream of `names` in the run of `seed`: derive(7, "device", "w1"). Names are told apart by type, too."""
    return Rand(_key(seed, names))


def _key(seed: Name, names: tuple[Name, ...]) -> bytes:
    for name in (seed, *names):
        if type(name) not in (int, str, bytes):
            raise TypeError(f"a stream is named by int, str or bytes, not by {type(name).__name__}")
    return sha256(ascii((seed, names)).encode()).digest()
