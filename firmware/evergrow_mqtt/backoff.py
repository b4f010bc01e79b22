"""How long to wait before the next attempt: exponential with full jitter, so that a fleet does not come back in step."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Random

_MAX_DOUBLINGS = 24


class Backoff:
    """Delays between 0 and base * 2^n, n counting the failures since `reset()`; never above the cap."""

    def __init__(self, base_ms: int, cap_ms: int, refused_ms: int, random: "Random") -> None:
        self._base_ms = base_ms
        self._cap_ms = cap_ms
        self._refused_ms = refused_ms
        self._random = random
        self._failures = 0

    def reset(self) -> None:
        """The last attempt was a success worth the name."""
        self._failures = 0

    def next_ms(self) -> int:
        """The delay after one more failure."""
        limit = min(self._cap_ms, self._base_ms << self._failures)
        if self._failures < _MAX_DOUBLINGS:
            self._failures += 1
        return self._below(limit)

    def refused_ms(self) -> int:
        """The delay after a refusal that time alone does not heal: long, and still not in step with others."""
        return self._refused_ms // 2 + self._below(self._refused_ms // 2)

    def _below(self, limit_ms: int) -> int:
        return int.from_bytes(self._random.bytes(4), "big") % (limit_ms + 1)
