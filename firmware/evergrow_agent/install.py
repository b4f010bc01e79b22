"""Installs the features that the cloud offers: pull, verify, check, stage, activate, report (SPEC section 9).

A refusal, for whatever reason, leaves the device as it was (EG-FEAT-011). Only one thing makes a feature active: the write of the
index in `features`; a power cut before it leaves a staged file that the next boot removes. Offers are handled one after the
other, in the order in which they came.
"""

import asyncio
from hashlib import sha256

from evergrow_agent import contents
from evergrow_agent.features import Features, Record
from evergrow_agent.transfer import WINDOW_BLOCKS, Pull
from evergrow_mqtt.errors import MqttError
from evergrow_protocol import suit, suit_manifest
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import (
    BAD_DIGEST,
    INVALID_STATE,
    MALFORMED,
    OK,
    STALE,
    STORAGE,
    TOO_LARGE,
    UNSUPPORTED,
    ProtocolError,
)
from evergrow_protocol.feature import MAX_BODY
from evergrow_protocol.suit_envelope import MAX_ENVELOPE, Envelope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from evergrow_protocol.cose import Key
    from evergrow_protocol.suit_manifest import Manifest

    Buffer = bytes | bytearray | memoryview

# States of a report (EG-FEAT-009).
STAGED = 2
CONFIRMED = 4
REVERTED = 5
REFUSED = 6

_MAX_OFFERS = 16
_MAX_SEQUENCE_JUMP = 1 << 26  # two years of seconds, for publishers who count in time; a slip must not use the numbers up
MAX_TEXT_BYTES = 80  # EG-ERR-001

_IDLE_POLL_MS = 1000
_ENVELOPE_BYTES = 3072  # what a feature takes with one signature (LMS W4, H10) and a body beside it; a larger one is possible

# Keys of a report.
_TRANSFER = 0
_CODE = 1
_STATE = 2
_FEATURE = 3
_BYTES = 4
_BLOCKS = 5
_MS = 6
_VERIFY_MS = 7
_HASH_CALLS = 8
_TEXT = 9


class Installer:
    """`keyring`: the trusted keys, None while they cannot be read. `identity`: (vendor id, class id), 16 bytes each. `clock`:
    the network's clock.

    `send_get(transfer, payload, block_bytes, first, wanted)` and `send_report(fields)` are coroutine functions; they may
    raise OSError or MqttError, or return False, when there is no link. `is_idle()`: whether no cycle runs.
    `reserve_bytes`: flash that features leave alone, for usage records. Blocks of `block_bytes` are asked for.
    """

    def __init__(
        self,
        features: Features,
        flash: "Any",
        keyring: "Sequence[Key] | None",
        identity: "tuple[bytes, bytes]",
        appliance: "Any",
        clock: "Any",
        send_get: "Callable[[int, int, int, int, bytes], Awaitable[Any]]",
        send_report: "Callable[[dict[int, Any]], Awaitable[Any]]",
        is_idle: "Callable[[], bool]",
        block_bytes: int = 512,
        reserve_bytes: int = 32768,
    ) -> None:
        self._features = features
        self._flash = flash
        self._keyring = keyring
        self._identity = identity
        self._appliance = appliance
        self._clock = clock
        self._send_get = send_get
        self._send_report = send_report
        self._is_idle = is_idle
        self._block_bytes = block_bytes
        self._reserve_bytes = reserve_bytes
        self._window = bytearray(WINDOW_BLOCKS * block_bytes)
        self._room = memoryview(bytearray(_ENVELOPE_BYTES))  # taken now: later there may be no hole of this size
        self._offers: "list[tuple[int, int]]" = []  # (transfer, envelope bytes); the first is being handled
        self._wake = asyncio.Event()
        self._pull: "Pull | None" = None
        self._payload = 0
        self._report: "dict[int, Any]" = {}  # of the offer that is being handled

    def on_offer(self, transfer: int, size: int, content: int = 0) -> None:
        """`dn/offer`. Known ones are ignored; so is one too many, which the cloud repeats after the next birth."""
        if len(self._offers) < _MAX_OFFERS and transfer not in [offer[0] for offer in self._offers]:
            self._offers.append((transfer, size))
            self._wake.set()

    def on_block(self, transfer: int, payload: int, block: int, data: "Buffer") -> None:
        """`dn/block`. What is needed of `data` is copied."""
        if self._pull and transfer == self._report[_TRANSFER] and payload == self._payload:
            self._pull.on_block(self._clock.ticks_ms(), block, data)
            if self._pull.window():
                self._wake.set()

    def on_connected(self) -> None:
        """There is a link again: ask at once for what is missing."""
        if self._pull:
            self._pull.hurry()
        self._wake.set()

    async def run(self) -> None:
        """Handle offers for ever. Never raises, but when it is cancelled."""
        while True:
            await self._report_problems()
            if self._offers:
                try:
                    await self._handle(*self._offers[0])
                finally:
                    self._offers.pop(0)
            else:
                await self._wait(-1)

    async def _handle(self, transfer: int, size: int) -> None:
        """One offer, from the first block to the report of how it ended."""
        report = self._report = {_TRANSFER: transfer, _CODE: OK, _STATE: CONFIRMED, _BYTES: 0, _BLOCKS: 0}
        try:
            record = await self._stage(size)
            if record:
                await self._until_idle()
                self._features.activate(record)
        except ProtocolError as exc:
            report[_CODE] = exc.code
            report[_TEXT] = _short(exc.text)
        except MemoryError:
            report[_CODE] = TOO_LARGE
            report[_TEXT] = "not enough memory"
        except OSError as exc:
            report[_CODE] = STORAGE
            report[_TEXT] = _short(f"flash: {exc}")
        except Exception as exc:
            # A fault in this program or its platform: it may cost the feature, but not the installer.
            report[_CODE] = INVALID_STATE
            report[_TEXT] = _short(f"unexpected {exc!r}")
        if report[_CODE] != OK:
            report[_STATE] = REFUSED
            self._features.clean()
        await self._say(report)

    async def _stage(self, size: int) -> "Record | None":
        """Everything up to a verified body on flash. None: the offered version is active already."""
        report = self._report
        started_ms = self._clock.ticks_ms()
        envelope, manifest, key = await self._open(size)
        if len(manifest.components) != 1:
            raise ProtocolError(UNSUPPORTED, f"{len(manifest.components)} components, supported is 1")
        component = dumps(manifest.components[0])
        installed = self._features.find(key.publisher, component)
        if installed:
            report[_FEATURE] = [key.publisher, installed.feature, manifest.sequence]
            if manifest.sequence == installed.sequence and installed.active:
                return None
            if not 0 <= manifest.sequence - installed.sequence <= _MAX_SEQUENCE_JUMP:
                raise ProtocolError(STALE, f"sequence {manifest.sequence} does not follow the installed {installed.sequence}")
        new = Record(key.publisher, component, 0, manifest.sequence)
        await self._process(manifest, envelope, new, installed)
        body = self._features.verify(new)
        report[_FEATURE] = [new.publisher, body.id, new.sequence]
        contents.check(body, self._appliance)
        new.feature = body.id
        new.kind = body.kind
        new.brings(body)
        self._features.check_conflicts(new)
        report[_MS] = self._clock.ticks_ms() - started_ms
        return new

    async def _open(self, size: int) -> "tuple[Envelope, Manifest, Key]":
        """Pull the envelope and verify it; nothing that it says is believed before."""
        if self._keyring is None:
            raise ProtocolError(STORAGE, "the key ring could not be read at boot")
        if not 0 < size <= MAX_ENVELOPE:
            raise ProtocolError(TOO_LARGE, f"envelope of {size} bytes, limit {MAX_ENVELOPE}")
        data = self._room[:size] if size <= len(self._room) else memoryview(bytearray(size))
        end = 0

        def store(window: memoryview) -> None:
            nonlocal end
            data[end : end + len(window)] = window
            end += len(window)

        await self._fetch(0, size, store)
        started_ms = self._clock.ticks_ms()
        steps = suit.open_steps(data, self._keyring)
        while True:
            try:
                self._report[_HASH_CALLS] = next(steps)
            except StopIteration as stop:
                opened: "tuple[Envelope, Manifest, Key]" = stop.value
                break
            await asyncio.sleep(0)  # every few milliseconds on a slow board: the appliance goes on meanwhile
        self._report[_VERIFY_MS] = self._clock.ticks_ms() - started_ms
        return opened

    async def _process(self, manifest: "Manifest", envelope: Envelope, new: Record, installed: "Record | None") -> None:
        """Carry out the manifest: afterwards `new` has a file of the signed size and digest."""
        processor = suit.Processor(manifest, self._identity[0], self._identity[1])
        for section in (suit_manifest.PAYLOAD_FETCH, suit_manifest.INSTALL, suit_manifest.VALIDATE):
            steps = processor.run(section)
            answer: "bool | None" = None
            while True:
                try:
                    action = steps.send(answer)
                except StopIteration:
                    break
                answer = None
                if action.kind == suit.FETCH:
                    await self._store_payload(envelope, action, new)
                elif action.kind == suit.IMAGE_MATCH:
                    if not new.file and installed and installed.active:
                        new.file, new.size, new.digest = installed.file, installed.size, installed.digest
                    answer = bool(new.file) and bytes(action.digest or b"") == new.digest and action.size in (None, new.size)
                else:
                    raise ProtocolError(UNSUPPORTED, f"command {action.kind} is not supported")
        if not new.file:
            raise ProtocolError(MALFORMED, "the manifest installs nothing")

    async def _store_payload(self, envelope: Envelope, action: suit.Action, new: Record) -> None:
        """Fetch a payload into a file that nothing names yet. Sizes and room are checked before the first byte (EG-FEAT-002)."""
        size = action.size
        if size is None or action.digest is None or action.uri is None:
            raise ProtocolError(MALFORMED, "a payload needs a URI, a size and a digest")
        if not 0 < size <= MAX_BODY:
            raise ProtocolError(TOO_LARGE, f"feature body of {size} bytes, limit {MAX_BODY}")
        payload = suit.payload_number(action.uri)
        if self._flash.free() < size + self._reserve_bytes:
            raise ProtocolError(STORAGE, f"no room for {size} bytes beside a reserve of {self._reserve_bytes}")
        file = self._features.staging_file()
        hasher = sha256()

        def store(window: "Buffer") -> None:
            self._flash.append(file, window)
            hasher.update(window)

        if payload:
            await self._fetch(payload, size, store)
        else:
            data = envelope.payloads.get(action.uri)
            if data is None or len(data) != size:
                raise ProtocolError(BAD_DIGEST, f"the envelope holds no {action.uri!r} of {size} bytes")
            store(data)
        new.file, new.size, new.digest = file, size, hasher.digest()
        if bytes(action.digest) != new.digest:
            raise ProtocolError(BAD_DIGEST, f"payload {action.uri!r} is not what was signed")

    async def _fetch(self, payload: int, size: int, store: "Callable[[memoryview], None]") -> None:
        """Pull one payload, window by window; an error of `store` ends it."""
        report = self._report
        pull = self._pull = Pull(size, self._block_bytes, self._window)
        self._payload = payload
        try:
            while not pull.done:
                ask = pull.request(self._clock.ticks_ms())
                if ask:
                    sent = await self._send(self._send_get(report[_TRANSFER], payload, self._block_bytes, ask[0], ask[1]))
                    pull.requested(self._clock.ticks_ms(), sent)
                window = pull.window()
                if window:
                    store(window)
                    pull.advance()
                else:
                    await self._wait(pull.wait_ms(self._clock.ticks_ms()))
        finally:
            self._pull = None
            report[_BLOCKS] += pull.blocks
        report[_BYTES] += size

    async def _until_idle(self) -> None:
        """EG-FEAT-008."""
        if not self._is_idle():
            staged = self._report.copy()
            staged[_STATE] = STAGED
            await self._say(staged)
        while not self._is_idle():
            await self._wait(_IDLE_POLL_MS)

    async def _report_problems(self) -> None:
        """Tell once of features that were found damaged; they are out of use, and the cloud may offer them again."""
        problems = self._features.problems
        while problems:
            code, publisher, feature, sequence = problems[0]
            text = "damaged on flash" if feature else "index of features damaged"
            report = {_TRANSFER: 0, _CODE: code, _STATE: REVERTED, _FEATURE: [publisher, feature, sequence], _TEXT: text}
            if not await self._say(report):
                return
            problems.pop(0)

    async def _say(self, report: "dict[int, Any]") -> bool:
        # A report that cannot be sent is not kept: the cloud repeats open offers after birth, and gets the same outcome again.
        return await self._send(self._send_report(report))

    async def _send(self, sending: "Awaitable[Any]") -> bool:
        try:
            return await sending is not False
        except (OSError, MqttError):
            return False

    async def _wait(self, ms: int) -> None:
        """Until something happens, or `ms` have passed; -1: only until something happens."""
        self._wake.clear()
        alarm = asyncio.create_task(self._alarm(ms)) if ms >= 0 else None
        try:
            await self._wake.wait()
        finally:
            if alarm:
                alarm.cancel()

    async def _alarm(self, ms: int) -> None:
        await self._clock.sleep_ms(ms)
        self._wake.set()


def _short(text: str) -> str:
    text = text[:MAX_TEXT_BYTES]
    while len(text.encode()) > MAX_TEXT_BYTES:
        text = text[:-1]
    return text
