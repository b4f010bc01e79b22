"""One offer to one device, from the first block to the last report, in a boot of its own; for `cutpoints`. Portable."""

import asyncio
from hashlib import sha256

from evergrow_agent.features import Features
from evergrow_agent.progress import Progress
from evergrow_agent.updates import Updates
from evergrow_protocol.cbor import dumps
from evergrow_sim.anyrights import AnyRights
from evergrow_sim.cutscenario_ports import DRUM, Clock
from evergrow_sim.publisher import Signer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PUBLISHER = 7
VENDOR, CLASS = b"vendor-id-16byte", b"class-id--16byte"
BLOCK_BYTES = 256

_ROUNDS = 5000

_signers: "dict[str, Signer]" = {}


def signer() -> Signer:
    """Making it takes 32,000 hashes: once per process."""
    if "acme" not in _signers:
        _signers["acme"] = Signer("acme", b"acme", PUBLISHER)
    return _signers["acme"]


class Appliance:
    class_id = 1
    signals = (1,)
    limits = {DRUM: (0, 1000)}
    unlockable = {DRUM: 1400}


class Cloud:
    """Has `payloads`, [envelope, payload 1, ...], to offer as `transfer`, until the device reports `last` of it.

    `asked`: [(payload, block)] of the latest offer; `said`: [[transfer, code, state]] of its reports.
    """

    def __init__(self, transfer: int, payloads: "list[bytes]", last: int) -> None:
        self.asked: "list[tuple[int, int]]" = []
        self.said: "list[list[int]]" = []
        self._transfer = transfer
        self._payloads = payloads
        self._last = last

    def offer(self, flash: "Any") -> None:
        """One boot of the device with a link."""
        self.asked = []
        self.said = []
        asyncio.new_event_loop()
        asyncio.run(self._offer(flash))

    async def _offer(self, flash: "Any") -> None:
        clock = Clock()

        async def get(transfer: int, payload: int, block_bytes: int, first: int, wanted: bytes) -> None:
            data = self._payloads[payload]
            for i in range(8 * len(wanted)):
                if wanted[i >> 3] >> (i & 7) & 1:
                    self.asked.append((payload, first + i))
                    at = (first + i) * block_bytes
                    updates.installer.on_block(transfer, payload, first + i, memoryview(data)[at : at + block_bytes])

        async def report(fields: "dict[int, Any]") -> None:
            self.said.append([fields[key] for key in range(3)])

        updates = boot(flash, clock, get, report)

        def welcomed() -> None:
            updates.lifecycle.on_birth()
            updates.lifecycle.on_welcome()

        updates.lifecycle.changed = welcomed
        welcomed()
        updates.installer.on_offer(self._transfer, len(self._payloads[0]))
        running = asyncio.create_task(updates.installer.run())
        for _ in range(_ROUNDS):
            untold = [1 for outcome in updates.features.outcomes if not outcome.told]
            if running.done() or (self.ended and not untold):
                break
            await asyncio.sleep(0)
        if running.done():
            await running  # power was cut
        running.cancel()
        while not running.done():
            await asyncio.sleep(0)

    @property
    def ended(self) -> bool:
        """Whether the device has said so."""
        return bool([1 for transfer, _, state in self.said if transfer == self._transfer and state == self._last])

    def heard(self, code: int, state: int) -> bool:
        """Whether the device has reported just that of the transfer."""
        return [self._transfer, code, state] in self.said


def boot(flash: "Any", clock: "Any" = None, get: "Any" = None, report: "Any" = None) -> Updates:
    """The device's part that looks after features; without `get` and `report` there is no link."""
    clock = clock or Clock()
    return Updates(
        flash,
        clock,
        clock,
        Appliance(),
        _rights,
        (VENDOR, CLASS),
        get or _no_link,
        report or deaf,
        lambda: True,
        lambda: None,
        lambda: None,
        None,
        BLOCK_BYTES,
        0,
        1024,
    )


def _rights(_: Features) -> "Any":
    return AnyRights([signer().key])


def digest_of(content: bytes) -> bytes:
    return dumps([-16, sha256(content).digest()])


def found(flash: "Any") -> Features:
    """What there is, as a boot sees it."""
    return Features(flash, Progress(flash).files)


async def deaf(fields: "dict[int, Any]") -> bool:
    return False


async def _no_link(transfer: int, payload: int, block_bytes: int, first: int, wanted: bytes) -> bool:
    return False
