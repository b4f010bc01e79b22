"""When a device is told that the cloud is busy (SPEC section 19): once for each time that it then keeps quiet."""

import math
from collections import OrderedDict

from evergrow_cloud import wire_down

KINDS = {"tele": 1, "usage": 2, "get": 3}
"""What a device can hold back, and its number in dn/busy. Everything else is small, or needed to recover."""
MAX_RETRY_S = 3600


class BusySigns:
    """`max_keys`: how many are remembered; the oldest goes first, and its device may be told once more than need be."""

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._until_s: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def sign(self, tenant: str, device: str, kind: str, wait_s: float, now_s: float) -> bytes | None:
        """The dn/busy to send now, None if the device was told already or the kind cannot wait."""
        key = (tenant, device, kind)
        until_s = self._until_s.get(key, 0.0)
        if kind not in KINDS or now_s < until_s <= now_s + MAX_RETRY_S:  # else the clock was set back
            return None
        retry_s = max(1, min(MAX_RETRY_S, math.ceil(wait_s)))
        self._until_s[key] = now_s + retry_s
        self._until_s.move_to_end(key)
        if len(self._until_s) > self._max_keys:
            self._until_s.popitem(last=False)
        return wire_down.busy(KINDS[kind], retry_s)
