"""What the tests of features and of their installation share: small features, a publisher, and a world around an Installer."""

import asyncio
from hashlib import sha256

from evergrow_agent.features import Record
from evergrow_agent.updates import Updates
from evergrow_protocol.cbor import dumps
from evergrow_sim.anyrights import AnyRights
from evergrow_sim.publisher import Signer, manifest
from faultyflash import FaultyFlash

VENDOR = b"vendor-id-16byte"
CLASS = b"class-id--16byte"
PUBLISHER = 7
DRUM = 4

_signers = {}


def signer(name="acme", prefix=b"acme", publisher=PUBLISHER):
    """Making a key takes 32,000 hashes: each is made once per process."""
    if name not in _signers:
        _signers[name] = Signer(name, prefix, publisher)
    return _signers[name]


class Appliance:
    class_id = 1
    signals = (1, 2, 3)
    limits = {1: (0, 1), DRUM: (0, 1000)}
    unlockable = {DRUM: 1400}


def unlock(feature=1001, maximum=1400, version="1.0", actuator=DRUM, more=None):
    body = {0: 1, 1: feature, 2: "spin", 3: version, 4: {actuator: maximum}}
    body.update(more or {})
    return dumps(body)


def programme(feature=1002, programme_id=1002, rinses=4, more=None):
    """A programme feature; each rinse makes it some 20 bytes larger."""
    steps = [{0: 5, 1: {1: 1}, 3: [[1, 0, 9000]], 5: 600, 6: 2}] * rinses
    body = {0: 2, 1: feature, 2: "rinse", 3: "1.0", 5: [programme_id, steps]}
    body.update(more or {})
    return dumps(body)


def record(body, component=b"spin", sequence=1, feature=1001, file="feature.0"):
    return Record(PUBLISHER, component, feature, sequence, 1, file, len(body), sha256(body).digest())


def digest_of(body):
    return dumps([-16, sha256(body).digest()])


def manifest_of(body, sequence=1, name=b"spin", prefix=b"acme", uri="evergrow:1", size=None, vendor=VENDOR, class_id=CLASS):
    shared = [20, {1: vendor, 2: class_id, 3: digest_of(body), 14: len(body) if size is None else size}, 1, 15, 2, 15]
    sections = {20: [20, {21: uri}, 21, 2, 3, 15], 7: [3, 15]}
    return manifest(shared, sections, ((prefix, name),), sequence)


def signed(body, by=None, **fields):
    """-> [envelope, payload 1]"""
    return [(by or signer()).envelope(manifest_of(body, **fields)), body]


class Reported(BaseException):
    """Ends a run once the awaited report was made."""


class Clock:
    """Time passes when somebody sleeps."""

    def __init__(self):
        self.now_ms = 0

    def ticks_ms(self):
        return self.now_ms

    async def sleep_ms(self, ms):
        await asyncio.sleep(0)
        self.now_ms += ms


class World:
    """One boot of a device on `flash`, and a cloud that has `payloads` {transfer: [envelope, payload 1, ...]}.

    `requests`: every get. `reports`: every report. `answer(world, transfer, payload, block_bytes, first, wanted)`: replaces
    the cloud's behaviour. `online`: whether there is a link. `busy`: how often the appliance is not idle when it is asked.
    `said`: all reports. `passing`: those of states that are not the last. `births`: how often birth was said; the cloud answers
    each, while `welcomes`.
    """

    def __init__(
        self,
        flash=None,
        keys=None,
        answer=None,
        block_bytes=64,
        reserve_bytes=1024,
        appliance=None,
        quiet=None,
        clock=None,
        rate=0,
        rights=None,
    ):
        self.flash = FaultyFlash() if flash is None else flash
        self.clock = clock or Clock()
        self.passing = []
        self.said = []
        self.stop_when = None
        self.births = 0
        self.welcomes = True
        self.minute = None
        self.utc = None
        self.payloads = {}
        self.requests = []
        self.reports = []
        self.answer = answer or World.serve
        self.online = True
        self.busy = 0
        self.awaited = 0
        self._keys = [signer().key] if keys is None else keys
        updates = Updates(
            self.flash,
            self.clock,
            self.clock,
            appliance or Appliance(),
            rights or self._anyone,
            (VENDOR, CLASS),
            self._send_get,
            self._send_report,
            self._is_idle,
            lambda: self.utc,
            lambda: self.minute,
            quiet,
            block_bytes,
            rate,
            reserve_bytes,
        )
        self.rights = updates.rights
        self.features = updates.features
        self.lifecycle = updates.lifecycle
        self.installer = updates.installer
        self.lifecycle.changed = self.birth
        self._told = updates.installer._told
        self._flush = self._told.flush
        self._told.flush = self.flush

    def _anyone(self, features):
        return AnyRights(self._keys)

    async def _send_get(self, *request):
        if not self.online:
            raise OSError(113)
        self.requests.append(request)
        self.answer(self, *request)

    async def _send_report(self, fields):
        if not self.online:
            return False
        self.said.append(fields)
        if fields[2] <= 3:
            self.passing.append(fields)
            return
        self.reports.append(fields)
        self.awaited -= 1

    async def flush(self):
        """Stands before the reports, so as to end `run` when all that was awaited is said and noted down."""
        said = await self._flush()
        if self.awaited <= 0 or (self.stop_when and self.stop_when()):
            raise Reported
        return said

    def birth(self):
        self.births += 1
        self.lifecycle.on_birth()
        if self.welcomes:
            self.lifecycle.on_welcome()

    def _is_idle(self):
        self.busy -= 1
        return self.busy < 0

    def serve(self, transfer, payload, block_bytes, first, wanted):
        data = self.payloads[transfer][payload]
        for i in range(8 * len(wanted)):
            if wanted[i >> 3] >> (i & 7) & 1:
                at = (first + i) * block_bytes
                self.installer.on_block(transfer, payload, first + i, memoryview(data)[at : at + block_bytes])

    async def run(self, outcomes=1):
        """Until this many outcomes were reported; returns the last report."""
        self.awaited = outcomes
        if self.online and not self.births:
            self.birth()  # after a boot, as soon as there is a link
        try:
            await self.installer.run()
        except Reported:
            return self.reports[-1] if self.reports else None

    async def offer(self, payloads, transfer=1):
        """Offer, and run until it has ended; returns the report."""
        self.payloads[transfer] = payloads
        self.installer.on_offer(transfer, len(payloads[0]))
        return await self.run()
