"""What the other appliances of the home say, and scenes that a person or a hub sets (SPEC section 16).

They are hints. Whoever listens may do with them what it could do anyway: limits, interlocks and remote enable hold all the same.
"""

from evergrow_protocol import messages
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import STALE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from evergrow_agent.timebase import Timebase

STALE_S = 120


class Home:
    """`on_event(device, event, value)` and `on_scene(scene)`: called with what concerns others, may be set. `device`: our id."""

    def __init__(self, device: str, timebase: "Timebase") -> None:
        self.on_event: "Callable[[str, int, int | None], None]" = _no_event
        self.on_scene: "Callable[[int], None]" = _no_scene
        self._device = device
        self._head = b"\x82" + dumps(device)
        self._timebase = timebase

    def announce(self, envelope: bytes) -> bytes:
        """An event of ours as the others read it: `[device, envelope]`."""
        return self._head + envelope

    def receive_event(self, payload: "bytes | memoryview") -> None:
        """`home/event`. ProtocolError: of no use."""
        device, t, event, value = messages.parse_home_event(payload)
        if device == self._device:
            return
        if isinstance(t, int):
            self._check_age(t)
        self.on_event(device, event, value)

    def receive_scene(self, payload: "bytes | memoryview") -> None:
        """`home/scene`. ProtocolError: of no use."""
        scene, utc_s = messages.parse_scene(payload)
        self._check_age(utc_s)
        self.on_scene(scene)

    def _check_age(self, utc_s: int) -> None:
        """A broker may hand out late what nobody means any more (EG-HOME-004)."""
        now_s = self._timebase.utc_s()
        if now_s is not None and abs(now_s - utc_s) > STALE_S:
            raise ProtocolError(STALE, f"said {now_s - utc_s} s ago, limit {STALE_S}")


def _no_event(device: str, event: int, value: "int | None") -> None:
    pass


def _no_scene(scene: int) -> None:
    pass
