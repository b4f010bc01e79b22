"""A device with a root key, its features and its appliance, for the tests of what features may. Portable."""

from evergrow_agent.bootcount import bump
from evergrow_agent.cycle import Cycle
from evergrow_agent.entitlements import Entitlements
from evergrow_agent.grants import Grants
from evergrow_agent.guard import Guard
from evergrow_agent.ledger import Ledger
from evergrow_agent.rights import Rights
from evergrow_agent.runner import IDLE, Runner
from evergrow_agent.seentime import SeenTime
from evergrow_agent.timebase import Timebase
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.grant import GRANT, REVOCATIONS
from installkit import World, signed, unlock
from ledgerkit import pending
from stillclock import Clock
from tinyappliance import DRUM, TinyAppliance, programme
from trustkit import NOW, PUBLISHER, SUBJECT, SUBKEY, claims_of, grant_of, provisioned, root, token_of

WASH = (PUBLISHER, 1001)
SPIN = (PUBLISHER, 1002)


def wash(feature=1001, needs=1, more=None, steps=None):
    """A feature that brings programme `feature`; `needs`: an entitlement."""
    data = loads(programme(feature) if steps is None else programme(feature, steps))
    body = {0: 2, 1: feature, 2: "wash", 3: "1.0", 5: data, 12: needs}
    body.update(more or {})
    return dumps(body)


class Random:
    def bytes(self, n):
        return b"\x01" * n


class Washer:
    """One boot. `flash` survives."""

    def __init__(self, flash=None, utc=NOW, key=SUBKEY, subject=SUBJECT):
        self.flash = provisioned() if flash is None else flash
        self.clock = Clock(utc)
        timebase = Timebase(self.clock)
        self.grants = Grants(self.flash)
        self.seen = SeenTime(self.flash, self.clock, self.clock)  # what the clock says is confirmed
        self.entitlements = Entitlements(self.flash, key, subject, self.seen)
        self.appliance = TinyAppliance()
        self.world = World(self.flash, appliance=self.appliance, rights=self._rights)
        self.world.installer.handlers = {content: self._acceptor(content) for content in (GRANT, REVOCATIONS)}
        self.features = self.world.features
        self.rights = self.world.rights
        self.guard = Guard(self.appliance)
        self.runner = Runner(self.guard)
        self.ledger = Ledger(self.flash)
        self.ledger.load()
        self.ledger.adopt(0)
        self.cycle = Cycle(self.runner, self.guard, self.ledger, self.flash, timebase, self.features)
        self.cycle.rights = self.rights
        self.cycle.recover()
        self.cycle.boot = bump(self.flash, Random(), self.ledger.newest_boot)[0]
        self.tick()

    def _rights(self, features):
        return Rights(features, self.grants, self.entitlements, self.seen)

    def _acceptor(self, content):
        return lambda data: self.grants.accept_steps(content, data, self.seen.now_s)

    async def offer(self, payloads, content=0, transfer=0):
        """-> (code, state) of the report."""
        world = self.world
        transfer = transfer or len(world.payloads) + 1
        world.payloads[transfer] = payloads
        world.installer.on_offer(transfer, len(payloads[0]), content)
        report = await world.run()
        return report[1], report[2]

    async def grant(self, payload=None):
        return (await self.offer([root().message(payload or grant_of())], GRANT))[0]

    async def revoke(self, payload):
        return (await self.offer([root().message(payload)], REVOCATIONS))[0]

    async def install(self, body, name=b"wash", sequence=1, by=None, prefix=b"acme"):
        return (await self.offer(signed(body, by, name=name, sequence=sequence, prefix=prefix)))[0]

    def entitle(self, sequence=1, **more):
        return self.entitlements.take(token_of(claims_of(sequence, **more)))[3]

    def start(self, number=1001):
        """-> the code."""
        try:
            self.cycle.start(number, self.clock.now_ms)
        except ProtocolError as error:
            return error.code
        return 0

    def tick(self):
        self.clock.run(1)
        self.cycle.tick(self.clock.now_ms)
        self.seen.tick()  # as after some seconds
        self.appliance.step()

    def run(self, number=1001):
        """A whole cycle; -> the code of its start."""
        code = self.start(number)
        while not code and self.runner.state != IDLE:
            self.tick()
        return code

    def records(self):
        """[body] of what is in the ledger."""
        return [record[3] for record in pending(self.ledger)]

    def reboot(self, utc=NOW):
        return Washer(self.flash, utc)


async def washer(*bodies, **more):
    """One with a grant and these features."""
    device = Washer(**more)
    assert await device.grant() == 0
    for number, body in enumerate(bodies):
        assert await device.install(body, b"f%d" % number) == 0
    return device


def spin(needs=1, maximum=1400):
    return unlock(1002, maximum, actuator=DRUM, more={12: needs})
