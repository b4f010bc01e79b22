"""The bounds of the cloud, and the buckets that hold each device to its share."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Defaults suit one process in front of some ten thousand devices. Everything beyond a bound is dropped, never queued:
    the protocol makes the device say it again."""

    batch_messages: int = 500  # one transaction, one fsync
    batch_block_bytes: int = 4 << 20
    inbox_bytes: int = 32 << 20
    message_burst: int = 5_000  # per device; a usage bundle counts its records
    messages_per_s: float = 100
    telemetry_burst: int = 1_000  # batches of a device: its credits
    telemetry_per_hour: int = 3_600
    block_burst_bytes: int = 1 << 20  # per device
    block_bytes_per_s: int = 256 << 10
    blocks_per_request: int = 32
    message_block_bytes: int = 16_384  # blocks in one message; a broker may have a limit of its own
    telemetry_per_device: int = 1_000
    events_per_device: int = 1_000
    conflicts_per_device: int = 100
    tracked_devices: int = 100_000  # buckets kept; the one not used for longest goes first


class Buckets:
    """Token buckets by key: `burst` at once, `per_s` in the long run. Times are seconds, handed in.

    A time that goes back gives nothing and takes nothing.
    """

    def __init__(self, burst: float, per_s: float, max_keys: int) -> None:
        self._burst = burst
        self._per_s = per_s
        self._max_keys = max_keys
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: Hashable, amount: float, now_s: float) -> float:
        """How long until the bucket holds so many tokens, or is full."""
        level, last_s = self._levels.get(key, (self._burst, now_s))
        level += max(0.0, now_s - last_s) * self._per_s
        return max(0.0, min(amount, self._burst) - level) / self._per_s

    def take(self, key: Hashable, amount: float, now_s: float) -> bool:
        """Take `amount` tokens; False, and nothing taken, when the bucket does not hold them. More than `burst` is all of it."""
        amount = min(amount, self._burst)
        level, last_s = self._levels.pop(key, (self._burst, now_s))
        level = min(self._burst, level + max(0.0, now_s - last_s) * self._per_s)
        allowed = amount <= level
        self._levels[key] = (level - amount if allowed else level, now_s)
        if len(self._levels) > self._max_keys:
            self._levels.popitem(last=False)
        return allowed
