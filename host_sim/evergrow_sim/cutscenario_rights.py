"""Cycles of a feature that may be used a number of times, as a scenario for `cutpoints`: what is counted and told. Portable."""

from hashlib import sha256

from evergrow_agent import grants
from evergrow_agent.bootcount import bump
from evergrow_agent.cycle import Cycle
from evergrow_agent.entitlements import Entitlements
from evergrow_agent.features import Features, Record
from evergrow_agent.grants import Grants
from evergrow_agent.guard import Guard
from evergrow_agent.ledger import Ledger
from evergrow_agent.rights import Rights
from evergrow_agent.runner import IDLE, Runner
from evergrow_agent.seentime import SeenTime
from evergrow_agent.timebase import Timebase
from evergrow_protocol import registry_common as common
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import NOT_AUTHORISED, NOT_ENTITLED, OK, ProtocolError
from evergrow_sim import cutscenario_trust as trust
from evergrow_sim.cutscenario_ports import DRUM, PROGRAMME, Appliance, Clock, Random, programme, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FEATURE = 1001
_OWNER = (7, _FEATURE)


class _Boot:
    """One boot of the parts of an agent that know of rights."""

    def __init__(self, flash: "Any") -> None:
        clock: "Any" = Clock(trust.NOW)
        self.clock = clock
        self.appliance = Appliance()
        guard = Guard(self.appliance)
        self.runner = Runner(guard)
        timebase = Timebase(self.clock)
        self.ledger = Ledger(flash)
        self.ledger.load()
        self.ledger.adopt(0)
        self.features = Features(flash)
        self.grants = Grants(flash)
        seen = SeenTime(flash, self.clock, self.clock)
        self.entitlements = Entitlements(flash, trust.SUBKEY, trust.SUBJECT, seen)
        self.cycle = Cycle(self.runner, guard, self.ledger, flash, timebase, self.features)
        self.cycle.rights = Rights(self.features, self.grants, self.entitlements, seen)
        self.cycle.recover()
        self.cycle.boot = bump(flash, Random(), self.ledger.newest_boot)[0]
        self.until_idle()

    def start(self, programme: int) -> int:
        """-> the code."""
        try:
            self.cycle.start(programme, self.clock.now_ms)
        except ProtocolError as error:
            return error.code
        return OK

    def until_idle(self) -> None:
        """One tick at least: after a start, the runner first brings the appliance to rest."""
        while True:
            self.clock.now_ms += 1000
            self.cycle.tick(self.clock.now_ms)
            if self.runner.state == IDLE:
                return

    def used(self) -> int:
        return self.entitlements.held()[0][1].used


class EntitledCycles:
    """A use for each cycle that turned the drum, a record for each that began; none comes back (EG-ENT-009, EG-TRUST-013)."""

    # (the code of the next start, the sequence of the entitlement, uses that were counted of it) after each change
    stages = ((OK, 1, 0), (OK, 1, 1), (OK, 2, 0), (NOT_ENTITLED, 2, 1), (OK, 3, 0), (NOT_AUTHORISED, 3, 0))

    def __init__(self) -> None:
        self._done = 0

    def prepare(self, flash: "Any") -> None:
        root = trust.root()
        grants.provision(flash, root.key.public)
        trust.accept(Grants(flash), trust.grant_of(_OWNER[0], 1, [DRUM]))
        body = dumps({0: 2, 1: _FEATURE, 2: "cut", 3: "1.0", 5: programme(_FEATURE), 12: 1})
        features = Features(flash)
        file = features.staging_file()
        flash.append(file, body)
        features.activate(Record(_OWNER[0], b"f", _FEATURE, 1, 2, file, len(body), sha256(body).digest()))
        trust.take(_Boot(flash).entitlements, 1, 2)

    def live(self, flash: "Any") -> None:
        boot = _Boot(flash)
        changes = (
            lambda: self._use(boot),
            lambda: trust.take(boot.entitlements, 2, 1),
            lambda: self._use(boot),
            lambda: trust.take(boot.entitlements, 3, 9),
            lambda: trust.accept(boot.grants, trust.list_of(1, [], [[_OWNER[0], _FEATURE, 0, 5]])),
        )
        for number, change in enumerate(changes):
            change()
            self._done = number + 1

    def recover(self, flash: "Any") -> None:
        _Boot(flash)

    def state(self, flash: "Any") -> "Any":
        features = Features(flash)
        return self._records(flash), features.active(), flash.read("revoked"), flash.read(f"ent.{_OWNER[0]}.{_FEATURE}")

    def check(self, flash: "Any") -> "str | None":
        told = len([body for body in self._records(flash) if body.get(common.USAGE_FEATURES) == list(_OWNER)])
        boot = _Boot(flash)
        sequence = boot.entitlements.held()[0][1].what.sequence
        used = boot.used() + (0, 1, 2)[min(sequence - 1, 2)]
        if not told <= used <= told + 1:  # a use may be counted whose cycle never began
            return f"{used} uses were counted, {told} were told, after {self._done} changes"
        code = boot.start(_FEATURE)
        boot.until_idle()
        found = (code, sequence, boot.used() - (code == OK))
        if found not in self.stages[self._done : self._done + 2]:
            return f"{found} after {self._done} changes"
        if code != OK and boot.appliance.turned:
            return "what may not be used turned the drum"
        if boot.start(PROGRAMME) != OK:
            return "the appliance does not do what it could without the feature"
        boot.until_idle()
        last = self._records(flash)[-1]
        return None if boot.appliance.turned and common.USAGE_OUTCOME not in last else f"the base programme ended so: {last}"

    def _use(self, boot: _Boot) -> None:
        if boot.start(_FEATURE) != OK:
            raise ValueError("it does not start")
        boot.until_idle()

    def _records(self, flash: "Any") -> "list[Any]":
        ledger = Ledger(flash)
        ledger.load()
        return [record[3] for record in records(ledger)]


SCENARIOS = {"rights": EntitledCycles}
