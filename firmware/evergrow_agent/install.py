"""Handles what the cloud offers (SPEC section 9), one offer after the other, and lets features live their lives in between.

A refusal, for whatever reason, leaves the device as it was (EG-FEAT-011). An offer that comes while another transfer is under way
waits for it; one whose version is staged or on trial is no longer under way.
"""

import asyncio

from evergrow_agent import heap, reports
from evergrow_agent.features import Features
from evergrow_agent.fetch import Fetcher
from evergrow_agent.lifecycle import Lifecycle
from evergrow_agent.progress import Progress
from evergrow_agent.records import CONFIRMED, LEAVING, REFUSED, REMOVED, STAGED, TRIAL
from evergrow_agent.reports import Reports
from evergrow_agent.staging import Stager
from evergrow_protocol import messages
from evergrow_protocol.errors import EXPIRED, INVALID_STATE, NOT_AUTHORISED, OK, STORAGE, TOO_LARGE, UNKNOWN_KIND, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    Buffer = bytes | bytearray | memoryview

CONTENT_FEATURE = 0

_MAX_OFFERS = 16
_POLL_MS = 1000  # while something waits for its time


class Installer:
    """`handlers`: what is done with an offered content that is no feature: {content: function}. It is handed the bytes, which
    stay as they are meanwhile, and is a generator: it yields hash counts, as often as it has worked for a few milliseconds, and
    raises ProtocolError or OSError when it refuses.
    """

    def __init__(
        self,
        features: Features,
        progress: Progress,
        fetcher: Fetcher,
        stager: Stager,
        lifecycle: Lifecycle,
        told: Reports,
        clock: "Any",
    ) -> None:
        self.handlers: "dict[int, Callable[[memoryview], Generator[int, None, Any]]]" = {}
        self._features = features
        self._progress = progress
        self._fetcher = fetcher
        self._stager = stager
        self._lifecycle = lifecycle
        self._told = told
        self._clock = clock
        self._offers: "list[tuple[int, int, int]]" = []  # (transfer, bytes, content); the first is being handled
        self._wake = asyncio.Event()
        fetcher.on_slow = self._on_slow
        self._report: "dict[int, Any]" = {}  # of the transfer under way
        self._alarmed = False

    def on_offer(self, transfer: int, size: int, content: int = CONTENT_FEATURE) -> None:
        """`dn/offer`. Known ones are ignored; so is one too many, which the cloud repeats after the next birth."""
        if len(self._offers) < _MAX_OFFERS and transfer not in [offer[0] for offer in self._offers]:
            self._offers.append((transfer, size, content))
            self._wake.set()

    def on_block(self, transfer: int, payload: int, block: int, data: "Buffer") -> None:
        """`dn/block`. What is needed of `data` is copied."""
        self._fetcher.on_blocks(transfer, payload, block, len(data), data)

    def on_part(self, part: memoryview, left: int, first: bool) -> None:
        """A part of a `dn/block`, of which `left` bytes are still to come; the `first`, or one that follows. ProtocolError."""
        if first:
            self._fetcher.on_blocks(*messages.parse_blocks_begin(part, left))
        else:
            self._fetcher.on_more(part)

    def on_cancel(self, transfer: int) -> None:
        """`dn/cancel`: give up what is not active yet; and say what has become of the transfer."""
        if self._fetcher.cancel(transfer):
            return
        self._offers = [offer for offer in self._offers if offer[0] != transfer]
        try:
            if not self._lifecycle.cancel(transfer) and not self._repeat(transfer, True):
                self._told.add(
                    {reports.TRANSFER: transfer, reports.CODE: EXPIRED, reports.STATE: REFUSED, reports.TEXT: "cancelled"}
                )
        except OSError:
            pass  # The cloud asks again.
        self._wake.set()

    def on_connected(self) -> None:
        """There is a link again: ask at once for what is missing, and say what is due."""
        self._fetcher.on_connected()
        self._wake.set()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Handle offers for ever. Never raises, but when it is cancelled."""
        while True:
            self._lifecycle.step()
            await self._told.flush()
            if self._offers:
                offer = self._offers[0]
                try:
                    await self._handle(*offer)
                finally:
                    self._fetcher.begin(0)
                    heap.collect()
                    self._report = {}
                    self._stager.start(self._report)
                    if offer in self._offers:
                        self._offers.remove(offer)
            else:
                busy = self._lifecycle.busy
                if not busy:
                    self._features.settle()
                await self._wait(_POLL_MS if busy else -1)

    async def _handle(self, transfer: int, size: int, content: int) -> None:
        """One offer, from the first block to what becomes of it."""
        if content == CONTENT_FEATURE and self._repeat(transfer):
            return
        self._fetcher.begin(transfer)
        report = self._report = {
            reports.TRANSFER: transfer,
            reports.CODE: OK,
            reports.STATE: CONFIRMED,
            reports.BYTES: 0,
            reports.BLOCKS: 0,
        }
        try:
            if content == CONTENT_FEATURE:
                news = await self._stager.stage(size, report)
                if news:
                    report[reports.STATE] = self._lifecycle.place(news)
            else:
                await self._take(content, size, report)
        except ProtocolError as exc:
            report[reports.CODE] = exc.code
            report[reports.TEXT] = reports.short(exc.text)
        except MemoryError:
            report[reports.CODE] = TOO_LARGE
            report[reports.TEXT] = "not enough memory"
        except OSError as exc:
            report[reports.CODE] = STORAGE
            report[reports.TEXT] = reports.short(f"flash: {exc}")
        except Exception as exc:
            # A fault in this program or its platform: it may cost the feature, but not the installer.
            report[reports.CODE] = INVALID_STATE
            report[reports.TEXT] = reports.short(f"unexpected {exc!r}")
        report[reports.BLOCKS] = self._fetcher.blocks
        self._progress.end()
        if report[reports.CODE] != OK:
            report[reports.STATE] = REFUSED
        self._features.clean()
        again = report[reports.CODE] in (EXPIRED, STORAGE, NOT_AUTHORISED) and self._is_installed(transfer)
        if again and self._repeat(transfer, True):
            return  # It was pulled again since its outcome was lost, and that failed: it is there all the same, revoked or not.
        heap.collect()  # What is remembered from here on stays.
        self._told.remember_costs(report)
        if report[reports.STATE] != REMOVED or not self._features.outcome(transfer):
            self._told.add(report)

    async def _take(self, content: int, size: int, report: "dict[int, Any]") -> None:
        """Content that is no feature."""
        handler = self.handlers.get(content)
        if handler is None:
            raise ProtocolError(UNKNOWN_KIND, f"nothing here takes content {content}")
        self._stager.start(report)
        await self._stager.verify(handler(await self._stager.pull(size)))

    def _repeat(self, transfer: int, confirmed: bool = False) -> bool:
        """Say again what has become of a transfer that is past pulling. False: it is not known. A confirmed one does not
        count, unless told so: its envelope shows whether what it brought is still whole."""
        outcome = self._features.outcome(transfer)
        if outcome and (confirmed or outcome.state != CONFIRMED):
            self._features.repeat(outcome)
            return True
        for record in self._features.of_transfer(transfer) if transfer else ():
            state = TRIAL if record.state == LEAVING and not outcome else record.state  # it ends as reverted, once it has left
            if record.whole and state in (STAGED, TRIAL):
                self._told.passing(transfer, state, record.named)
                return True
        return False

    def _is_installed(self, transfer: int) -> bool:
        records = self._features.of_transfer(transfer)
        return bool(records) and all([record.active for record in records])

    async def _on_slow(self) -> None:
        self._told.passing(self._fetcher.transfer, 1, self._report.get(reports.FEATURE, []))
        await self._told.flush()

    async def _wait(self, ms: int) -> None:
        """Until something happens, or about `ms` have passed; -1: only until something happens."""
        if not self._wake.is_set():
            if ms >= 0 and not self._alarmed:
                asyncio.create_task(self._alarm(ms))  # noqa: RUF006 - it ends by itself, and costs no exception
                self._alarmed = True
            await self._wake.wait()
        self._wake.clear()

    async def _alarm(self, ms: int) -> None:
        try:
            await self._clock.sleep_ms(ms)
        finally:
            self._alarmed = False
            self._wake.set()
            heap.collect()  # What ends a task stays in memory until another ends.
