"""What must always be so, whatever goes wrong, and who checks it. `Watch` looks at a house for as long as a run lasts.

rule        what is held to be true
interlock   the appliance is never dangerous, by its physics (`safety`)
balance     water, heat and energy add up; the cloud is never told of more than the appliance used
usage       every cycle is in the ledger of the cloud or still on flash, exactly once, as it was (`truth`), and so is what each
            feature was used; in the end the records are one whole chain (`ledgercheck`)
time        what a record tells of when its cycle was is right, wherever it says that it knows
pace        a device that is told that the cloud is busy holds back what it was told to (`quiet`)
grammar     every message can be read by the other side; boots rise, and (boot, seq) names one message (`grammar`)
commands    a command runs once at most, and its answer tells what came of it; no cycle is started or stopped by nobody (`orders`)
config      a configuration is in force whole, none before it again, no bad one ever; in the end the one that the cloud desires
voice       what users were told was taken is at the cloud in the end, once
features    nothing is active but what was rightly offered; a good offer ends well or for a good reason, a bad one is refused
rights      a feature is used no more often than was sold; none is that was revoked, is beyond its publisher's grant, or whose
            entitlement had ended, when the cycle began; in the end the device has all that the root said, and has told what
            is out of use by it (`trusted`)
base        the appliance's own programmes start and end well in the end, and before that are refused only because something runs
storm       a device that cannot connect tries ever more seldom
memory      everything that could grow is below its bound
crash       no task of the agent, of the cloud or of the broker ever fails; the watchdog bites only who hangs
reachable   when the faults are over, each device answers a command, is idle, and has told all, within SETTLE_S

What may be lost, and when: a cycle that power ends may be told as its last checkpoint, 5 minutes old at most. Of a cycle that
was under way while its flash refused operations, could not be read or had no room at all, the record may be lost or too small
when power fails as well; so may that of one which power had ended just before. A bit that flips in the journal may cost the
records that the cloud has not got yet. A flash that falls back costs what was written since: cycles of that time are told as
their last checkpoint or not at all, unless the cloud has them; a command of that time may run again, and what users said may be
lost. A flash that is erased costs what the cloud has not got, and nothing of what comes after. A meter that does not answer
counts too little. Nothing else costs anything.
"""

from dataclasses import dataclass

from evergrow_agent.runner import IDLE
from evergrow_cloud import offers, usage
from evergrow_protocol import errors as codes
from evergrow_sim.world import ledgercheck
from evergrow_sim.world.breaking import Breaker
from evergrow_sim.world.house import House, Resident
from evergrow_sim.world.trials import PAID
from evergrow_sim.world.truth import explain

AUDIT_S = 300
SETTLE_S = 1200
"""Half-open links are noticed within 1.5 keepalives, back-off grows to 2 minutes, and an appliance needs 15 to come to rest."""
REFUSED_S = 900
"""More of it when a broker refused clients for good: they come back only after that long."""

ATTEMPTS = 40
"""To connect in AUDIT_S: back-off doubles from 1 s with full jitter, and starts again after a connection that lasted."""
ATTEMPTS_PER_BOOT = 12
_ALWAYS_FAIR = (codes.BUSY, codes.EXPIRED, codes.STORAGE)  # to refuse an offer
_BEYOND_RIGHTS = (codes.NOT_AUTHORISED, codes.TOO_LARGE)
_TASKS_MAX = 24
_QUIET_MS = 30_000
TIME_SLACK_S = 120
"""A clock that drifts by 500 ppm, jumps that are too small to be seen, and a welcome that was long under way."""


@dataclass(frozen=True)
class Violation:
    """`at_ms`: when it was noticed."""

    at_ms: int
    rule: str
    device: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.device}: {self.what}"


class Watch:
    """Collects what is not as it must be in `violations`, each kind once."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._before: dict[str, tuple[int, int]] = {}  # attempts and boots at the last audit
        self._house: House
        self._breaker: Breaker

    def attend(self, house: House, breaker: Breaker) -> None:
        """Look at this house from now on."""
        self._house = house
        self._breaker = breaker
        self._later()

    def report(self, rule: str, device: str, what: str) -> None:
        world = self._house.world
        world.note(device, "VIOLATION", rule, what)
        if not any((known.rule, known.device) == (rule, device) for known in self.violations):
            self.violations.append(Violation(world.loop.now_ms, rule, device, what))

    # -- always

    def _later(self) -> None:
        loop = self._house.world.loop
        loop.call_at_us(loop.now_us + AUDIT_S * 1_000_000, self._audit)

    def _audit(self) -> None:
        self.audit()
        self._later()

    def audit(self) -> None:
        """Look at everything once."""
        for resident in self._house.residents.values():
            self._check_memory(resident)
            self._check_health(resident)
            self._check_balance(resident)
            self._check_storm(resident)
            self._check_uses(resident)
            if self._settled(resident):
                self.check_usage(resident)
        for failure in self._house.cloud.failures:
            self.report("crash", "cloud", failure)

    def check_usage(self, resident: Resident) -> None:
        """The cycles that are over against the ledger and the flash."""
        wrong = explain(resident.cycles(), self._house.accounts(resident), resident.log)
        if wrong:
            self.report("usage", resident.name, wrong)
        self._check_times(resident)
        self._check_sums(resident)
        conflicts = self._house.cloud.store.row("SELECT conflicts FROM devices WHERE device = ?", resident.name)
        if conflicts and conflicts[0] and not resident.undone:
            self.report("usage", resident.name, f"{conflicts[0]} records under a taken (boot, seq)")

    def _check_times(self, resident: Resident) -> None:
        """Records that are dated for sure, against the cycles of their boot; a cut one may be as old as its last checkpoint."""
        world = self._house.world
        began_s = world.utc_s() - world.loop.now_ms // 1000
        device = self._house.cloud.store.row("SELECT id FROM devices WHERE device = ?", resident.name)
        for record in usage.records(self._house.cloud.store, device[0]) if device else ():
            told = record.usage
            if record.bounds is not None or told.merged_cycles is not None:
                continue
            at_s = (record.utc_s or 0) - began_s
            what = (told.header.boot, told.programme)
            spans = [(one.started_ms, one.ended_ms) for one in resident.cycles() if (one.boot, one.programme) == what]
            if not any(start // 1000 - TIME_SLACK_S <= at_s <= end // 1000 + TIME_SLACK_S for start, end in spans):
                self.report("time", resident.name, f"record {told.header} is dated {at_s} s, when no such cycle was")

    def _check_sums(self, resident: Resident) -> None:
        """What the cloud's ledger adds up is what its records say."""
        told = self._house.told(resident).values()
        counted = self._house.cloud.store.row(
            "SELECT coalesce(sum(cycles), 0), coalesce(sum(energy_wh), 0), coalesce(sum(water_ml), 0)"
            " FROM usage JOIN devices ON devices.id = device_id WHERE device = ?",
            resident.name,
        )
        sums = (
            sum(1 if one.merged_cycles is None else one.merged_cycles for one in told),
            sum(one.energy_wh or 0 for one in told),
            sum(one.water_ml or 0 for one in told),
        )
        if counted != sums:
            self.report("usage", resident.name, f"the cloud counts {counted}, its records say {sums}")
        wrong = ledgercheck.shares(self._house.cloud.store, resident.name, told)
        if wrong:
            self.report("usage", resident.name, wrong)

    def _settled(self, resident: Resident) -> bool:
        """Whether what happened is on flash by now: it has power, has booted, and its flash is well."""
        device = resident.device
        flash = device.flash
        if not device.on or flash.fail is not None or flash.fail_reads or resident.log.running or resident.washer.dead_signals:
            return False
        boot = device.boot
        return boot is not None and boot.clock.ticks_ms() > _QUIET_MS and self._booted(resident) and device.agent.ledger.healthy

    def _booted(self, resident: Resident) -> bool:
        boot = resident.device.boot
        return boot is not None and boot.agent is not None and boot.agent.boot_number > 0

    def _check_balance(self, resident: Resident) -> None:
        washer = resident.device.appliance
        unbalanced = washer.unbalanced()
        if unbalanced:
            self.report("balance", resident.name, f"the balance of {unbalanced} is wrong")
        told = self._house.told(resident).values()
        energy_wh, water_ml = sum(one.energy_wh or 0 for one in told), sum(one.water_ml or 0 for one in told)
        # A record's count is a difference of whole counts: it may be one more than what was used.
        if energy_wh > washer.energy_mj // 3_600_000 + len(told) or water_ml > washer.water_in_ul // 1000 + len(told):
            self.report("balance", resident.name, f"the cloud was told of {energy_wh} Wh and {water_ml} ml, more than was used")

    def _check_health(self, resident: Resident) -> None:
        device = resident.device
        for failure in device.failures:
            self.report("crash", device.name, f"the agent ended: {failure}")
        if device.bites > resident.stalls:
            self.report("crash", device.name, f"the watchdog bit {device.bites} times, it had reason to {resident.stalls} times")
        if not self._booted(resident):
            return
        agent = device.agent
        if any(agent.crashes.values()):
            self.report("crash", device.name, agent.last_crash)
        if agent.link.errors:
            self.report("crash", device.name, f"a message was not handled: {agent.link.last_error}")

    def _check_storm(self, resident: Resident) -> None:
        before, resident_boots = self._before.get(resident.name, (0, 0))
        attempts = resident.attempts - before
        most = ATTEMPTS + ATTEMPTS_PER_BOOT * (resident.device.boots - resident_boots)
        if attempts > most:
            self.report("storm", resident.name, f"{attempts} attempts to connect in {AUDIT_S} s, {most} at most")
        self._before[resident.name] = (resident.attempts, resident.device.boots)

    def _check_uses(self, resident: Resident) -> None:
        """Nobody uses more of a feature than was sold (EG-ENT-005, 009), unless the flash lost what was counted."""
        used = sum(1 for cycle in resident.log.cycles if cycle.programme == PAID)
        if used > resident.sold and not resident.may_lose():
            self.report("rights", resident.name, f"{used} cycles of a feature of which {resident.sold} uses were sold")

    def _check_memory(self, resident: Resident) -> None:
        house, name = self._house, resident.name
        session = house.broker.sessions.get(name)
        sizes = {
            "messages queued at the broker": (session.queued if session else 0, house.broker.limits.queue_messages),
            "sessions at the broker": (len(house.broker.sessions), len(house.residents) + 64),
            "connections at the broker": (len(house.broker.connections), 8 * (len(house.residents) + 1)),
            "messages in the cloud's inbox": (len(house.cloud.inbox), 500),
        }
        boot = resident.device.boot
        if boot is not None and boot.agent is not None and self._booted(resident):
            sizes["tasks"] = (len(boot.group.tasks()), _TASKS_MAX)
            sizes |= {what: (size, most) for what, size, most in containers(boot.agent)}
        for what, (size, most) in sizes.items():
            if size > most:
                self.report("memory", name, f"{size} {what}, {most} at most")

    # -- in the end

    def bound_s(self) -> int:
        """How long it may take until all is well again."""
        return SETTLE_S + (REFUSED_S if self._breaker.refusals else 0)

    def well(self, resident: Resident) -> str:
        """"" when a device is at rest and has told all, else what is still missing."""
        house, device = self._house, resident.device
        if not device.on or not self._booted(resident):
            return "it has no power"
        agent = device.agent
        if resident.washer.stalled:
            return "its program hangs"
        if agent.runner.state != IDLE:
            return "it is not at rest"
        if not agent.link.online:
            return f"it is offline: {agent.link.last_error}"
        if agent.ledger.pending or agent.ledger.merged_cycles:
            return f"{agent.ledger.pending} records and {agent.ledger.merged_cycles} merged cycles are not acked"
        if agent.voice.pending or agent.events.pending:
            return f"{agent.voice.pending} sayings are not heard, or an event is not told"
        for transfer in resident.offered:
            found = offers.get(house.cloud.store, transfer)
            if found is None or found.open:
                missing = resident.lives.pending(transfer, found.state if found else None, agent)
                if missing:
                    return missing
        return resident.lives.believed(house.cloud.store, resident.name, agent)

    def check_reachable(self) -> None:
        """Time to come to rest is up. Not of offers: a report that a broker lost is told again after the next birth."""
        for resident in self._house.residents.values():
            device = resident.device
            booted = device.on and self._booted(resident)
            missing = resident.lives.believed(self._house.cloud.store, device.name, device.agent) if booted else "it is off"
            if missing:
                self.report("reachable", resident.name, f"{self.bound_s()} s after the last fault {missing}")

    def check_base(self, wrong: list[tuple[str, str]]) -> None:
        """(device, what was wrong with its base function), "" for nothing."""
        for device, what in wrong:
            if what:
                self.report("base", device, what)

    def undesired(self, resident: Resident) -> str:
        """"" when a device that is well has the configuration that the cloud desires, else what is wrong."""
        return resident.desires.missing(self._house.cloud.configured(resident.name), resident.device.agent)

    def unheard(self, resident: Resident) -> str:
        """"" when a device that is well has the newest grants and revocations, and has told what is out of use by them."""
        return self._house.root.missing(resident.trusted) or resident.trusted.untold(resident.device.agent)

    def finish(self, probes: dict[str, tuple[int, object]]) -> None:
        """The last look. `probes`: {device: (id of a command, its answer)}."""
        self.audit()
        for resident in self._house.residents.values():
            missing = self.well(resident)
            number, answer = probes.get(resident.name, (0, None))
            if missing:
                self.report("reachable", resident.name, f"{self.bound_s()} s after the last fault {missing}")
            elif answer != (codes.OK, None):
                self.report("reachable", resident.name, f"command {number} is answered with {answer}")
            else:
                self.check_usage(resident)
                undesired = self.undesired(resident)
                if undesired:
                    self.report("config", resident.name, undesired)
                unheard = self.unheard(resident)
                if unheard:
                    self.report("rights", resident.name, unheard)
                # A flash that fell back chains to tags that were used before: what the audit says then is not judged.
                broken = ledgercheck.chain(self._house.cloud.store, resident.name, resident.erasures, resident.rotten)
                if broken and not resident.undone:
                    self.report("usage", resident.name, broken)
                wrong = resident.lives.explain(self._house.cloud.store, resident.device.agent, resident.may_lose())
                if wrong:
                    self.report("features", resident.name, wrong)
                wrong = "" if resident.may_rot or resident.undone else resident.said.explain(self._house.heard(resident))
                if wrong:
                    self.report("voice", resident.name, wrong)
            self._check_offers(resident)

    def _check_offers(self, resident: Resident) -> None:
        for transfer, offer in resident.offered.items():
            found = offers.get(self._house.cloud.store, transfer)
            if found is None or found.open or found.code is None:
                continue
            if offer.brings is None:
                fair = offer.code in (found.code, -1) or found.code in _ALWAYS_FAIR or found.code == codes.STALE
                fair = fair or (found.code == codes.NOT_AUTHORISED and bool(self._house.root.lists))
                if found.state == offers.CONFIRMED or not fair:
                    self.report("features", resident.name, f"{offer.name!r} ended with code {found.code}, not {offer.code}")
            elif found.state == offers.CONFIRMED and resident.trusted.must_refuse(transfer, self._house.root.changes):
                self.report("rights", resident.name, f"{offer.name!r} was taken, and the grant of its publisher had ended")
            elif found.state != offers.CONFIRMED and found.code not in (*_ALWAYS_FAIR, codes.STALE):
                if found.code == codes.REVERT and resident.lives.may_revert(offer):
                    continue
                if found.code == codes.INVALID_STATE and offer.consent:
                    continue
                root = self._house.root
                beyond = resident.trusted.may_refuse(transfer, offer, root.lists.values(), root.changes)
                if beyond and found.code in _BEYOND_RIGHTS:
                    continue
                text = found.report.text if found.report else ""
                if not (resident.may_rot and found.code == codes.BAD_DIGEST):
                    self.report("features", resident.name, f"{offer.name!r} was refused with code {found.code}: {text}")


def containers(agent: object) -> list[tuple[str, int, int]]:
    """(what, size, bound) of everything in an agent that could grow."""
    any_agent: "object" = agent
    get = _path(any_agent)
    return [
        ("answers to commands", len(get("link._answers")), 8),
        ("publishers waiting", len(get("link._client._waiting")), 16),
        ("tasks of the connection", len(get("link._client._tasks")), 8),
        ("records announced", len(get("ledger._window")), 16),
        ("segments", len(get("ledger.journal.segments")), 2 * 65536 // 4096),
        ("sayings", len(get("voice._said")), 8),
        ("events", len(get("events.pending")), 16),
        ("alarms", len(get("events.alarms")), 16),
        ("offers", len(get("installer._offers")), 16),
        ("records of features", len(get("features.records")), 24),
        ("outcomes of transfers", len(get("features.outcomes")), 8),
        ("reports of features", len(get("installer._told._queue")), 16),
        ("problems of features", len(get("features.problems")), 32),
        ("transfers that wait", len(get("lifecycle._waiting")), 25),
        ("steps of the drum over its limit", len(get("guard.over_base")), 8),
    ]


def _path(root: object):  # type: ignore[no-untyped-def]
    def get(path: str):  # type: ignore[no-untyped-def]
        value = root
        for name in path.split("."):
            value = getattr(value, name)
        return value

    return get
