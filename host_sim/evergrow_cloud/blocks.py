"""Answers to `up/get`: the blocks a device asked for, within its share and its packet size (SPEC section 9)."""

from collections.abc import Iterable, Iterator
from typing import cast

from evergrow_cloud import offers, wire, wire_down
from evergrow_cloud.limits import Buckets, Limits
from evergrow_cloud.messages import Birth, BlockRequest
from evergrow_cloud.store import Store

MAX_BLOCK_BYTES = 16_384
DEFAULT_MAX_PACKET_BYTES = 2_048
"""For a device whose birth is not known (yet)."""


class BlockService:
    """Serves blocks in the order of their numbers. What does not fit is left out: the device asks again for what it misses."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._shares = Buckets(limits.block_burst_bytes, limits.block_bytes_per_s, limits.tracked_devices)

    def serve(self, device_id: int, topic: str, request: BlockRequest, now_s: float, budget: int) -> Iterator[bytes]:
        """The payloads of dn/block messages to `topic`, `budget` bytes at most."""
        size = request.block_bytes
        if size > MAX_BLOCK_BYTES:
            return
        max_packet_bytes = self._max_packet_bytes(device_id)
        limits = self._limits
        most = max(1, min(request.run, min(limits.message_block_bytes, limits.block_burst_bytes, budget) // size))
        for number, count in runs(request.first, request.wanted[: limits.blocks_per_request], most):
            data = offers.read(self._store, device_id, request.transfer, request.payload, number * size, count * size)
            if not data:
                return
            message = wire_down.block(request.transfer, request.payload, number, data)
            budget -= len(message)
            if budget < 0 or (count == 1 and packet_bytes(topic, message) > max_packet_bytes):
                return
            if not self._shares.take(device_id, len(message), now_s):
                return
            yield message

    def _max_packet_bytes(self, device_id: int) -> int:
        row = self._store.row("SELECT birth FROM devices WHERE id = ?", device_id)
        if row is None or row[0] is None:
            return DEFAULT_MAX_PACKET_BYTES
        return cast(Birth, wire.decode("birth", row[0])).max_packet_bytes


def runs(first: int, wanted: Iterable[int], most: int) -> Iterator[tuple[int, int]]:
    """(block, how many from it on, `most` at most) of the blocks `first` + i, i in `wanted`, ascending."""
    start, count = first, 0
    for offset in wanted:
        if count and (count == most or first + offset != start + count):
            yield start, count
            count = 0
        if not count:
            start = first + offset
        count += 1
    if count:
        yield start, count


def packet_bytes(topic: str, payload: bytes) -> int:
    """The size of the whole PUBLISH packet, at most: with a packet identifier and an empty MQTT 5 property list."""
    rest = 2 + len(topic) + 2 + 1 + len(payload)
    return 1 + (1 if rest < 1 << 7 else 2 if rest < 1 << 14 else 3) + rest
