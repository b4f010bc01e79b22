"""Code features are held to the grant of their publisher, to revocation and to entitlements, as data is."""

from evergrow_agent.codefeatures import CodeFeatures
from evergrow_agent.events import Events
from evergrow_agent.guard import GuardError
from evergrow_agent.home import Home
from evergrow_agent.records import CONFIRMED, TRIAL, Record
from evergrow_agent.runner import IDLE
from evergrow_agent.runtime import Runtime
from evergrow_agent.timebase import Timebase
from evergrow_protocol.errors import NOT_AUTHORISED, NOT_ENTITLED, OK, STALE, TOO_LARGE, ProtocolError
from evergrow_protocol.feature import parse
from evergrow_protocol.registry_common import EVENT_CYCLE_ENDED
from installkit import signer
from rightskit import Washer, wash
from sensekit import HEAP_BYTES, METER, RIGHTS, sense
from support import raises
from tinyappliance import DRUM, LEVEL
from trustkit import DAY, NOW, PUBLISHER, grant_of, list_of

HEAP = "2M"
SENSE = (PUBLISHER, 1001)
PLAIN = 1
HAPPENS = EVENT_CYCLE_ENDED  # what the sample counts


class Device(Washer):
    """A washer with a run time for code."""

    def __init__(self, flash=None, utc=NOW):
        self.code = None
        Washer.__init__(self, flash, utc)
        self.code = self.cycle.code = CodeFeatures(self.features, self.world.lifecycle, self._make, self.rights)
        self.world.lifecycle.changed = self._changed
        self.code.sync()

    def _make(self):
        timebase = Timebase(self.clock)
        runtime = Runtime(
            self.guard, self.runner, Events(timebase), Home("d1", timebase), timebase, self.clock, self.flash, None
        )
        runtime.is_safe = lambda: self.runner.state == IDLE
        return runtime

    def _changed(self):
        self.world.birth()
        self.code.sync(self.cycle.active)

    def tick(self, event=0):
        Washer.tick(self)
        if self.code and self.code.runtime:
            self.code.runtime.tick(self.clock.now_ms, event)
            self.cycle.count_code(self.clock.now_ms)

    def review(self):
        """What the agent does at a safe point."""
        assert self.runner.state == IDLE
        self.code.sync(self.cycle.active)

    def runs(self):
        return [running.owner for running in self.code.runtime.features] if self.code.runtime else []

    def used(self):
        return self.entitlements.held()[0][1].used

    def finish(self):
        while self.runner.state != IDLE:
            self.tick()

    def cycle_with_use(self):
        """A cycle of the appliance's own in which the sample counts something; -> its record."""
        assert self.start(PLAIN) == OK
        self.tick()
        self.tick(HAPPENS)
        self.finish()
        return self.records()[-1]

    def reboot(self, utc=NOW):
        return Device(self.flash, utc)


async def device(entitlement=0, **rights):
    found = Device()
    assert await found.grant(grant_of(**(rights or RIGHTS))) == OK
    if entitlement:  # until then it is on trial, and does not run
        found.world.stop_when = lambda: found.world.passing and found.world.passing[-1][2] == TRIAL
    await found.install(sense(entitlement=entitlement), b"sense")
    found.world.stop_when = None
    assert found.features.active()
    return found


async def test_at_install_what_is_declared_is_held_to_the_grant():
    """EG-CODE-004, EG-TRUST-006"""
    bench = Device()
    cases = (
        ({"k7": [LEVEL]}, NOT_AUTHORISED),
        ({"k8": [1, 2]}, NOT_AUTHORISED),
        ({"k9": [4, 5]}, NOT_AUTHORISED),
        ({"k11": HEAP_BYTES - 1}, TOO_LARGE),
        ({"k10": 100}, TOO_LARGE),
    )
    for number, (less, code) in enumerate(cases):
        rights = dict(RIGHTS)
        rights.update(less)
        assert await bench.grant(grant_of(sequence=1 + number, **rights)) == OK
        assert await bench.install(sense(), b"sense") == code, less
        assert bench.features.active() == [] and bench.runs() == []
    assert await bench.grant(grant_of(sequence=90, **RIGHTS)) == OK
    assert await bench.install(sense(), b"sense") == OK
    assert bench.runs() == [SENSE]


async def test_a_meter_belongs_to_one_publisher():
    """EG-CODE-010: also after a reboot; when the one who has it is gone, another may."""
    other = signer("other", b"other", 9)
    bench = await device()
    assert await bench.grant(grant_of(9, by=other, **RIGHTS)) == OK
    bench = bench.reboot()
    assert await bench.install(sense(1002), b"sense", by=other, prefix=b"other") == STALE
    assert bench.features.active() == [(PUBLISHER, 1001, 1)]
    assert await bench.install(sense(1002, needs={2: []}), b"sense", by=other, prefix=b"other") == OK
    first = bench.features.records[0]
    assert bench.features.remove(PUBLISHER, 1001)
    new = Record(9, b"sense", 1002, 2)
    check = bench.rights.check_body
    assert raises(ProtocolError, check, new, parse(sense(1002)), bench.appliance, [first]).code == STALE  # in one transfer
    assert await bench.install(sense(1002), b"sense", 2, by=other, prefix=b"other") == OK


async def test_the_code_of_a_publisher_shares_its_heap_and_an_upgrade_counts_once():
    """EG-TRUST-006"""
    bench = await device()
    assert await bench.install(sense(1002, needs={2: [], 5: 1}), b"other") == TOO_LARGE
    assert await bench.install(sense(version="1.1"), b"sense", 2) == OK
    assert bench.runs() == [SENSE]


async def test_what_is_installed_is_held_to_the_grant_that_stands():
    """EG-CODE-004: a grant became narrower, and wider again."""
    bench = await device()
    for sequence, less in enumerate(({"k8": [1, 2]}, {"k11": 0}, {"k7": []}), 1):
        narrow = dict(RIGHTS)
        narrow.update(less)
        assert await bench.grant(grant_of(sequence=2 * sequence, **narrow)) == OK
        bench.review()
        assert bench.runs() == [], less
        bench.code.sync(False, False)
        assert bench.runs() == []
        assert bench.reboot().runs() == []
        assert bench.run(PLAIN) == OK
        assert await bench.grant(grant_of(sequence=2 * sequence + 1, **RIGHTS)) == OK
        bench.review()
        assert bench.runs() == [SENSE]


async def test_the_guard_holds_a_write_to_the_grant_itself():
    """EG-CODE-004: as if a check before had been passed over."""
    bench = await device()
    api = bench.code.runtime.features[0].api
    assert api._granted == (1, 2, DRUM)
    assert api.write(DRUM, 45) == 45
    api._granted = (1, 2)
    assert raises(GuardError, api.write, DRUM, 60).code == NOT_AUTHORISED
    assert bench.guard.value(DRUM) == 45
    assert api.write(DRUM, 0) == 0  # the safe state is nobody's right


async def test_what_is_revoked_while_it_runs_ends_at_the_next_safe_point_and_the_cycle_as_it_would():
    """EG-TRUST-012, EG-TRUST-013, EG-CODE-005"""
    bench = await device()
    assert bench.start(PLAIN) == OK
    bench.tick()
    bench.tick(HAPPENS)
    assert await bench.revoke(list_of(1, features=[[PUBLISHER, 1001, 0, 1]])) == OK
    bench.finish()
    record = bench.records()[-1]
    assert 1 not in record and record[3] == list(SENSE) and record[METER] == HAPPENS
    bench.review()
    assert bench.runs() == [] and bench.rights.in_use() == []
    assert bench.guard.value(DRUM) == 0
    for one in (bench, bench.reboot()):
        one.code.sync()
        assert one.runs() == [] and one.run(PLAIN) == OK
        assert 3 not in one.records()[-1]
    assert await bench.install(sense(version="1.1"), b"sense", 2) == OK
    assert bench.runs() == [SENSE]


async def test_what_it_drove_goes_to_its_safe_state_when_its_publisher_is_revoked():
    """EG-TRUST-012"""
    bench = await device()
    for _ in range(7):
        bench.tick()
    assert bench.appliance.actuators[DRUM] == 100
    await bench.revoke(list_of(1, publishers=[PUBLISHER]))
    bench.review()
    bench.tick()
    assert bench.runs() == [] and bench.appliance.actuators[DRUM] == 0
    assert bench.run(PLAIN) == OK


def state(bench):
    return [record.state for record in bench.features.records]


async def test_code_on_trial_that_may_not_run_is_neither_confirmed_nor_reverted():
    """EG-FEAT-019, EG-ENT-005: not by time, nor by cycles or boots without it; then it runs, and its seconds count from there."""
    bench = await device(entitlement=1)
    for _ in range(3):
        bench.world.clock.now_ms += 2000 * DAY
        bench.review()
        bench.world.lifecycle.step()
        assert bench.run(PLAIN) == OK
        bench = bench.reboot()
        bench.world.birth()
        bench.world.lifecycle.step()
        assert state(bench) == [TRIAL] and bench.runs() == []
    bench.features.records[0].trial_s = 100
    assert bench.entitle() == OK
    bench.review()
    assert bench.runs() == [SENSE]
    bench.world.lifecycle.step()
    assert state(bench) == [TRIAL]
    bench.world.clock.now_ms += 60_000
    assert bench.entitle(2, k4=0) == OK
    bench.review()  # stopped: what it ran counts no more
    bench.world.clock.now_ms += 60_000
    bench.world.lifecycle.step()
    assert state(bench) == [TRIAL] and bench.runs() == []
    assert bench.entitle(3) == OK
    bench.review()
    bench.world.clock.now_ms += 99_999
    bench.world.lifecycle.step()
    assert state(bench) == [TRIAL]
    bench.world.clock.now_ms += 1
    bench.world.lifecycle.step()
    assert state(bench) == [CONFIRMED]


async def test_code_that_needs_an_entitlement_runs_only_with_one():
    """EG-ENT-005"""
    bench = await device(entitlement=1)
    assert bench.features.active() and bench.runs() == []
    assert bench.run(PLAIN) == OK and bench.reboot().runs() == []
    bench.entitle()
    bench.review()
    assert bench.runs() == [SENSE] and bench.reboot().runs() == [SENSE]
    bench.entitle(2, k4=0)
    bench.review()
    assert bench.runs() == [] and bench.run(PLAIN) == OK


async def test_a_cycle_that_runs_goes_on_with_it_when_its_entitlement_ends():
    """EG-ENT-005"""
    bench = await device(entitlement=1)
    bench.entitle(claims={4: NOW + DAY})
    bench.review()
    assert bench.start(PLAIN) == OK
    bench.entitle(2, k4=0)
    bench.code.sync(bench.cycle.active)
    bench.tick(HAPPENS)
    assert bench.runs() == [SENSE]
    bench.finish()
    assert bench.records()[-1][3] == list(SENSE)
    assert bench.start(PLAIN) == OK  # whether a review came in between or not
    assert bench.runs() == []
    bench.finish()
    assert 3 not in bench.records()[-1]


async def test_one_that_expires_is_stopped_and_a_clock_that_is_set_back_starts_nothing():
    """EG-ENT-006, EG-ENT-007"""
    bench = await device(entitlement=1)
    bench.entitle(claims={4: NOW + DAY})
    bench.review()
    bench.clock.run(2 * DAY)
    bench.review()
    assert bench.runs() == []
    bench.clock.utc = NOW
    bench.review()
    assert bench.runs() == [] and bench.run(PLAIN) == OK


async def test_a_cycle_in_which_it_did_something_is_one_use():
    """EG-ENT-009"""
    bench = await device(entitlement=1)
    bench.entitle(k4=2)
    bench.review()
    bench.run(PLAIN)  # its drum was turned in this one
    assert bench.used() == 1
    bench.run(PLAIN)
    assert bench.used() == 1 and 3 not in bench.records()[-1]
    assert bench.cycle_with_use()[3] == list(SENSE)
    assert bench.used() == 2
    bench.review()
    assert bench.runs() == []
    assert 3 not in bench.cycle_with_use()
    again = bench.reboot()
    assert again.used() == 2 and again.runs() == []


async def test_a_use_is_durable_in_the_tick_in_which_it_is_made():
    """EG-ENT-009: power is cut right after."""
    bench = await device(entitlement=1)
    bench.entitle(k4=1)
    bench.review()
    bench.start(PLAIN)
    bench.tick()
    assert bench.used() == 0
    bench.tick(HAPPENS)
    assert bench.used() == 1
    again = bench.reboot()
    assert again.used() == 1 and again.runs() == []
    assert again.records()[-1][3] == list(SENSE) and again.records()[-1][METER] == HAPPENS


async def test_what_it_did_outside_a_cycle_is_a_use_of_the_next():
    """EG-ENT-009, EG-CODE-005"""
    bench = await device(entitlement=1)
    bench.entitle(k4=5)
    bench.review()
    bench.tick(HAPPENS)
    assert bench.used() == 0
    bench.start(PLAIN)
    bench.tick()
    assert bench.used() == 1
    bench.finish()
    assert bench.records()[-1][3] == list(SENSE) and bench.used() == 1


async def test_a_trial_of_code_is_told_with_the_usage():
    """EG-ENT-011"""
    bench = await device(entitlement=1)
    bench.entitle(k6=True)
    bench.review()
    assert bench.cycle_with_use()[18] == 1
    bench.entitle(2)
    assert 18 not in bench.cycle_with_use()


async def test_what_was_stopped_in_a_cycle_is_in_its_record_once():
    """EG-CODE-005"""
    bench = await device()
    bench.start(PLAIN)
    bench.tick()
    bench.tick(HAPPENS)
    bench.code.runtime.stop(SENSE)
    bench.finish()
    assert bench.records()[-1][3] == list(SENSE) and bench.records()[-1][METER] == HAPPENS
    bench.run(PLAIN)
    assert 3 not in bench.records()[-1]


async def test_one_that_was_stopped_and_started_in_a_cycle_counts_on():
    """EG-CODE-005"""
    bench = await device()
    bench.start(PLAIN)
    bench.tick()
    bench.tick(HAPPENS)
    await bench.revoke(list_of(1, features=[[PUBLISHER, 1001, 0, 1]]))
    bench.code.sync(True)
    assert bench.runs() == []
    await bench.revoke(list_of(2))
    bench.code.sync(True)
    assert bench.runs() == [SENSE]
    bench.tick(HAPPENS)
    bench.finish()
    assert bench.records()[-1][METER] == 2 * HAPPENS and bench.records()[-1][3] == list(SENSE)


async def test_a_programme_and_code_of_one_publisher_share_nothing_but_its_grant():
    """EG-ENT-005, EG-TRUST-006"""
    bench = await device(entitlement=1)
    assert await bench.install(wash(1003), b"wash") == OK
    assert bench.start(1003) == NOT_ENTITLED and bench.runs() == []
    bench.entitle(feature=1003)
    bench.review()
    assert bench.run(1003) == OK and bench.runs() == []
