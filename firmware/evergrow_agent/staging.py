"""From an offer to verified bodies on the flash: pull the envelope, verify it, carry out its manifest, check what it brings.

Nothing is active by this, and no record names the files yet. Sizes and room are checked before a byte is written (EG-FEAT-002).
What was pulled before a power cut is not pulled again (see `progress`).
"""

import asyncio
from hashlib import sha256

from evergrow_agent import contents, heap, reports
from evergrow_agent.features import Features
from evergrow_agent.fetch import Fetcher
from evergrow_agent.grants import follows
from evergrow_agent.parts import Part, of, version
from evergrow_agent.progress import Progress
from evergrow_agent.records import REMOVED, STAGED, Record
from evergrow_protocol import suit, suit_manifest
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BAD_DIGEST, MALFORMED, STALE, STORAGE, TOO_LARGE, UNSUPPORTED, ProtocolError
from evergrow_protocol.feature import MAX_BODY
from evergrow_protocol.suit_envelope import MAX_ENVELOPE, Envelope
from evergrow_protocol.suit_parameters import version_holds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

    from evergrow_agent.parts import Opened
    from evergrow_agent.rights import Rights
    from evergrow_protocol.cose import Key

    Buffer = bytes | bytearray | memoryview

RESUME_BYTES = 4096  # a payload larger than this is not begun anew after a power cut

_ENVELOPE_BYTES = 3072  # what a feature takes with one signature (LMS W4, H10) and a body beside it; a larger one is possible
_SECTIONS = (suit_manifest.PAYLOAD_FETCH, suit_manifest.INSTALL, suit_manifest.VALIDATE)


class Stager:
    """`rights`: who is asked what publishers may. `identity`: (vendor id, class id), 16 bytes each. `clock`: the network's
    clock. `utc_s()`: seconds or None. `reserve_bytes`: flash that features leave alone, for usage records.
    """

    def __init__(
        self,
        features: Features,
        progress: Progress,
        fetcher: Fetcher,
        flash: "Any",
        rights: "Rights",
        identity: "tuple[bytes, bytes]",
        appliance: "Any",
        clock: "Any",
        utc_s: "Callable[[], int | None]",
        reserve_bytes: int,
    ) -> None:
        self._features = features
        self._progress = progress
        self._fetcher = fetcher
        self._flash = flash
        self._rights = rights
        self._identity = identity
        self._appliance = appliance
        self._clock = clock
        self._utc_s = utc_s
        self._reserve_bytes = reserve_bytes
        self._left: "dict[int, int | None]" = {}  # of each publisher's quota of flash, None for no limit
        self._room = memoryview(bytearray(_ENVELOPE_BYTES))  # taken now: later there may be no hole of this size
        self._data = self._room[:0]
        self._files: "list[str]" = []  # of this transfer, which no record names yet
        self._report: "dict[int, Any]" = {}

    async def stage(self, size: int, report: "dict[int, Any]") -> "list[Record]":
        """The versions that the transfer under way brings, each whole on the flash, or removals, which have no file; none when
        nothing is to change.

        `size`: bytes of the envelope. What is known is entered into `report`. Raises ProtocolError, OSError, MemoryError.
        """
        self.start(report)
        started_ms = self._clock.ticks_ms()
        keys = self._keys()
        part = self._part(await self.verify(suit.open_steps(await self.pull(size), keys)))
        if suit_manifest.removes(part.manifest):
            report[reports.STATE] = REMOVED
            return await self._remove(part)
        if all([self._is_in_force(new) for new in part.versions()]):
            return []
        parts = [part]
        await self._process(parts, _SECTIONS)
        news: "list[Record]" = []
        for part in parts:
            for new in part.versions():
                if part.data is None or not self._is_in_force(new):
                    self._judge(new, news)
                    new.needs = part.needs
                    news.append(new)
        report[reports.MS] = self._clock.ticks_ms() - started_ms
        return news

    def _judge(self, new: Record, beside: "list[Record]") -> None:
        """Whether what a version brings may be installed, beside the others of its transfer. ProtocolError, OSError."""
        if not new.file or new.state != STAGED or any([new.same_component(other) for other in beside]):
            raise ProtocolError(MALFORMED, "a component without content, or brought twice")
        body = self._features.verify(new)
        if not beside:
            self._report[reports.FEATURE] = [new.publisher, body.id, new.sequence]
        contents.check(body, self._appliance)
        self._rights.check_body(new, body, self._appliance, beside)
        new.feature = body.id
        new.kind = body.kind
        new.brings(body)
        self._features.check_conflicts(new, beside)
        self._fetcher.check()

    async def _remove(self, part: Part) -> "list[Record]":
        """The removals of a manifest that removes (EG-SUIT-005); those that are done already are left out."""
        await self._process([part], (suit_manifest.UNINSTALL,))
        news = []
        for new in part.versions():
            if new.state != REMOVED:
                raise ProtocolError(MALFORMED, "the manifest leaves a component that it does not unlink")
            new.state = STAGED
            new.file = ""
            found = self._features.find(new.publisher, new.component)
            if found and found.file and found.sequence == new.sequence:
                raise ProtocolError(STALE, f"sequence {new.sequence} is that of the installed version")
            if found and found.sequence != new.sequence:
                new.feature = found.feature
                news.append(new)
        self._features.check_needed(news)
        return news

    async def pull(self, size: int) -> memoryview:
        """The envelope of the transfer under way, or what else is payload 0; it stays until the next transfer."""
        if not 0 < size <= MAX_ENVELOPE:
            raise ProtocolError(TOO_LARGE, f"envelope of {size} bytes, limit {MAX_ENVELOPE}")
        if self._flash.free() < self._reserve_bytes:
            raise ProtocolError(STORAGE, f"no room beside a reserve of {self._reserve_bytes} bytes")
        data = self._data = self._room[:size] if size <= len(self._room) else memoryview(bytearray(size))
        if self._progress.envelope(self._fetcher.transfer, data):
            return data
        end = 0

        def store(chunk: memoryview) -> None:
            nonlocal end
            data[end : end + len(chunk)] = chunk
            end += len(chunk)

        await self._fetcher.fetch(0, size, store)
        self._report[reports.BYTES] += size
        return data

    async def verify(self, steps: "Generator[int, None, Any]") -> "Any":
        """Carry out steps that yield hash counts, a few milliseconds each on a slow board: the appliance goes on meanwhile."""
        started_ms = self._clock.ticks_ms()
        while True:
            try:
                self._report[reports.HASH_CALLS] = next(steps)
            except StopIteration as stop:
                self._report[reports.VERIFY_MS] = self._clock.ticks_ms() - started_ms
                return stop.value
            await asyncio.sleep(0)

    def start(self, report: "dict[int, Any]") -> None:
        """Forget the last transfer; what `pull` and `verify` cost is entered into `report`."""
        self._report = report
        self._files = []
        self._left = {}
        self._data = self._room[:0]

    def _keys(self) -> "Sequence[Key]":
        keys = self._rights.keys()
        if keys is None:
            raise ProtocolError(STORAGE, "the trusted keys cannot be read")
        return keys

    def _part(self, opened: "Opened", data: "memoryview | None" = None) -> Part:
        """A verified manifest, whose publisher may publish now and whose sequence numbers may follow. ProtocolError."""
        part = Part(opened, data)
        manifest = part.manifest
        for index, component in enumerate(manifest.components):
            other = index in manifest.dependencies
            new = None if other else self._new(part.publisher, dumps(component), manifest.sequence)
            if new and not (data and self._is_in_force(new)):
                self._check_sequence(new, suit_manifest.removes(manifest))
            part.news.append(new)
        if part.publisher not in self._left:
            self._left[part.publisher] = self._rights.check_offer(part.publisher, part.versions())
        return part

    def _new(self, publisher: int, component: bytes, sequence: int) -> Record:
        """A version without content yet."""
        installed = self._features.find(publisher, component)
        if installed and reports.FEATURE not in self._report:
            self._report[reports.FEATURE] = [publisher, installed.feature, sequence]
        return Record(publisher, component, 0, sequence, state=STAGED, transfer=self._fetcher.transfer)

    def _check_sequence(self, new: Record, removes: bool) -> None:
        newest = self._features.sequence(new.publisher, new.component)
        floor = self._features.floor(new.publisher)
        if newest < 0 and new.sequence < floor and not removes:
            raise ProtocolError(STALE, f"sequence {new.sequence} of a component not known here, where {floor} was forgotten")
        if newest >= 0 and new.sequence != newest and not follows(newest, new.sequence, self._utc_s() or 0):
            raise ProtocolError(STALE, f"sequence {new.sequence} does not follow the installed {newest}")

    def _is_in_force(self, new: Record) -> bool:
        installed = self._features.find(new.publisher, new.component)
        return bool(installed and installed.active and installed.sequence >= new.sequence)

    async def _process(self, parts: "list[Part]", sections: "Sequence[int]") -> None:
        """Carry out a manifest: afterwards each version in `parts` has a file of the signed size and digest, or is removed.

        To `parts` come those that it depends on and has inside.
        """
        processor = suit.Processor(parts[0].manifest, self._identity[0], self._identity[1])
        for section in sections:
            steps = processor.run(section)
            answer: "Any" = None
            while True:
                try:
                    action = steps.send(answer)
                except StopIteration:
                    break
                part = of(parts, action.manifest)
                new = part.news[action.index]
                if new is None:
                    from evergrow_agent import dependencies  # few need it

                    answer = await dependencies.answer(action, part, parts, self._features, self._open)
                else:
                    answer = await self._answer(action, part, new)

    async def _open(self, data: memoryview) -> Part:
        """Verify the envelope of a dependency."""
        return self._part(await self.verify(suit.open_steps(data, self._keys())), data)

    async def _answer(self, action: suit.Action, part: Part, new: Record) -> "bool | None":
        kind = action.kind
        installed = self._features.find(new.publisher, new.component)
        if installed and not installed.active:
            installed = None
        if part.data is not None and kind in (suit.FETCH, suit.WRITE, suit.IMAGE_MATCH) and self._is_in_force(new):
            return True  # a dependency that is here already, perhaps in a later version
        if kind == suit.FETCH:
            return await self._store(part.envelope, action, new, installed)
        if kind == suit.WRITE:
            self._keep(action, action.value, new)
            return None
        if kind == suit.UNLINK:
            new.state = REMOVED
            return None
        if kind == suit.IMAGE_MATCH:
            if not new.file and installed:
                new.file, new.size, new.digest = installed.file, installed.size, installed.digest
            return bool(new.file) and bytes(action.digest or b"") == new.digest and action.size in (None, new.size)
        if kind == suit.COMPONENT_SLOT:
            from evergrow_agent import forms  # only code has several

            return forms.loads(action.value)
        if kind == suit.USE_BEFORE:
            utc_s = self._utc_s()
            return utc_s is not None and utc_s < action.value
        if kind == suit.VERSION:
            return installed is not None and version_holds(action.value, version(self._features, installed))
        if kind == suit.MINIMUM_BATTERY:
            return bool(getattr(self._appliance, "battery_percent", 100) >= action.value)
        if kind == suit.UPDATE_AUTHORISED:
            return bool(getattr(self._appliance, "update_priority", 0) >= action.value > 0)
        raise ProtocolError(UNSUPPORTED, f"command {kind} is not supported")

    async def _store(self, envelope: Envelope, action: suit.Action, new: Record, installed: "Record | None") -> "bool | None":
        """Fetch a payload into a file that no record names yet."""
        if action.uri is None:
            raise ProtocolError(MALFORMED, "a payload needs a URI")
        payload, patch = suit.locate(action.uri)
        size = self._checked_size(action, new, patch, self._stored(new.component, payload))
        if not payload:
            self._keep(action, envelope.payloads.get(action.uri), new)
            return None
        if patch:
            return await self._patch(action, new, installed, payload, patch)
        file, begun = await self._fetch(new.component, payload, size)
        if begun and self._digest(file, size) != bytes(action.digest or b""):
            # What was on the flash was not what had been received, or the power cut spoilt it: that is nobody's fault but ours.
            self._flash.remove(file)
            await self._pull_rest(file, payload, size)
        self._take(action, new, file, size)
        return None

    async def _patch(
        self, action: suit.Action, new: Record, old: "Record | None", payload: int, patch_bytes: int
    ) -> "bool | None":
        """Make the new content of the installed one and a patch (EG-SUIT-007). False: that failed, try something else."""
        if old is None:
            return False
        size = self._checked_size(action, new)
        patch, _ = await self._fetch(new.component, payload, patch_bytes)
        file = self._features.staging_file(self._files + self._progress.files)
        self._files.append(file)
        page = self._fetcher.buffer
        end = 0
        heap.collect()
        from evergrow_agent import delta  # with the first patch

        try:
            pieces = delta.apply(self._reader(old.file), old.size, self._reader(patch), patch_bytes, size)
            for piece in pieces:
                page[end : end + len(piece)] = piece
                end += len(piece)
                if end + delta.CHUNK > len(page):
                    self._flash.append(file, memoryview(page)[:end])
                    end = 0
                await asyncio.sleep(0)
            if end:
                self._flash.append(file, memoryview(page)[:end])
            self._take(action, new, file, size)
        except (ProtocolError, MemoryError):  # the latter for its window
            return False
        return None

    def _reader(self, file: str) -> "Callable[[int, memoryview], int]":
        return lambda offset, buf: int(self._flash.readinto(file, offset, buf))

    def _checked_size(self, action: suit.Action, new: Record, patch: int = 0, stored: int = 0) -> int:
        """Bytes of the content, or of the patch that makes it, for which there is room, as far as they are not `stored` yet.

        Raises ProtocolError, OSError.
        """
        size = action.size
        if size is None or action.digest is None:
            raise ProtocolError(MALFORMED, "a payload needs a size and a digest")
        if not 0 < size <= MAX_BODY or patch > MAX_BODY:
            raise ProtocolError(TOO_LARGE, f"feature body of {max(size, patch)} bytes, limit {MAX_BODY}")
        left = self._left.get(new.publisher)
        if left is not None and size > left:
            raise ProtocolError(TOO_LARGE, f"{size} bytes go beyond what is left of the publisher's quota, {left}")
        if self._flash.free() < size + patch - stored + self._reserve_bytes:
            raise ProtocolError(STORAGE, f"no room for {size} bytes beside a reserve of {self._reserve_bytes}")
        return patch or size

    def _stored(self, component: bytes, payload: int) -> int:
        """How many bytes of a payload are on the flash since before the power cut."""
        file = self._progress.file(self._fetcher.transfer, component, payload)
        return max(self._flash.size(file), 0) if file else 0

    def _keep(self, action: suit.Action, data: "Buffer | None", new: Record) -> None:
        """Content that is at hand."""
        size = self._checked_size(action, new)
        if data is None or len(data) != size:
            raise ProtocolError(BAD_DIGEST, f"the envelope holds no {action.uri!r} of {size} bytes")
        file = self._features.staging_file(self._files + self._progress.files)
        self._files.append(file)
        self._flash.append(file, data)
        self._take(action, new, file, size)

    def _take(self, action: suit.Action, new: Record, file: str, size: int) -> None:
        """What is in the file is the component's new content, if it is what was signed."""
        digest = self._digest(file, size)
        if bytes(action.digest or b"") != digest:
            raise ProtocolError(BAD_DIGEST, f"payload {action.uri!r} is not what was signed")
        new.file, new.size, new.digest = file, size, digest
        left = self._left.get(new.publisher)
        if left is not None:
            self._left[new.publisher] = left - size

    async def _fetch(self, component: bytes, payload: int, size: int) -> "tuple[str, bool]":
        """A file with all of a payload; and whether some of it was there already."""
        transfer = self._fetcher.transfer
        file = self._progress.file(transfer, component, payload)
        begun = bool(file) and 0 <= self._flash.size(file) <= size
        if not begun:
            file = self._features.staging_file(self._files + self._progress.files)
            if size > RESUME_BYTES:
                self._progress.begin(transfer, self._data, component, payload, file)
        self._files.append(file)
        await self._pull_rest(file, payload, size)
        return file, begun

    async def _pull_rest(self, file: str, payload: int, size: int) -> None:
        start = max(self._flash.size(file), 0)
        await self._fetcher.fetch(payload, size, lambda chunk: self._flash.append(file, chunk), start)
        self._report[reports.BYTES] += size - start

    def _digest(self, file: str, size: int) -> bytes:
        """SHA-256 of a file of `size` bytes; b"" when it has another size."""
        if self._flash.size(file) != size:
            return b""
        hasher = sha256()
        page = memoryview(self._fetcher.buffer)
        for at in range(0, size, len(page)):
            hasher.update(page[: self._flash.readinto(file, at, page[: min(len(page), size - at)])])
        return hasher.digest()
