"""The ports of a device in scenarios for `cutpoints`: a clock, a random port, and an appliance that turns a drum. Portable."""

import asyncio

from evergrow_agent.journal import RECORD_MAX
from evergrow_protocol import registry_common as common
from evergrow_protocol.cbor import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from evergrow_agent.ledger import Ledger

PROGRAMME = 1
"""That of the appliance's own."""
DRUM = 4
_RPM, _ENERGY = 3, 7


class Clock:
    """Time passes when somebody sleeps, or adds to `now_ms`. `utc_s`: what it shows throughout, None for nothing."""

    def __init__(self, utc_s: "int | None" = None) -> None:
        self.now_ms = 0
        self._utc_s = utc_s

    def ticks_ms(self) -> int:
        return self.now_ms

    async def sleep_ms(self, ms: int) -> None:
        await asyncio.sleep(0)
        self.now_ms += ms

    def utc_s(self) -> "int | None":
        return self._utc_s

    def set_utc_s(self, utc_s: int) -> None:
        pass


class Random:
    """Not to be needed."""

    def bytes(self, count: int) -> bytes:
        return b"\x01" * count


def programme(number: int) -> "list[Any]":
    """It turns the drum, slowly and fast, and takes 4 s."""
    return [number, [{0: 4, 1: {DRUM: 45}, 4: 2, 5: 9}, {0: 7, 1: {DRUM: 800}, 4: 2, 5: 9}], {0: 60}]


class Appliance:
    """`energy_wh`: what its meter shows. `turned`: how often it was told to turn."""

    class_id = 1
    signals = (_RPM, _ENERGY)
    limits = {DRUM: (0, 1000)}
    unlockable: "dict[int, int]" = {}
    interlocks = ()
    safe_state = {DRUM: 0}
    rest_state: "dict[int, int]" = {}
    meters = ((common.USAGE_ENERGY_WH, _ENERGY, 0),)
    ending = dumps([0, [{0: 9, 4: 1, 5: 9}]])
    programmes = {PROGRAMME: dumps(programme(PROGRAMME))}

    def __init__(self) -> None:
        self.energy_wh = 0
        self.turned = 0
        self._rpm = 0

    def read(self, signal: int) -> int:
        return self._rpm if signal == _RPM else self.energy_wh

    def write(self, actuator: int, value: int) -> None:
        self._rpm = value
        self.turned += value > 0


def records(ledger: "Ledger") -> "list[Any]":
    """[[boot, seq, t, body, ...], ...] of all that is in a ledger."""
    ledger.rewind()
    buf = memoryview(bytearray(RECORD_MAX))
    found = []
    size = ledger.next_into(buf)
    while size:
        found.append(loads(buf[:size]))
        size = ledger.next_into(buf)
    return found
