"""From the start of a cycle to a durable record, with power cut anywhere."""

from evergrow_agent import devicekey
from evergrow_agent.bootcount import bump
from evergrow_agent.cycle import Cycle
from evergrow_agent.guard import Guard
from evergrow_agent.journal import Journal
from evergrow_agent.ledger import Ledger
from evergrow_agent.runner import IDLE, RUNNING, Runner
from evergrow_agent.timebase import Timebase
from evergrow_protocol import registry_common as common
from evergrow_protocol.cbor import loads
from evergrow_protocol.errors import INVALID_STATE, OUT_OF_RANGE, ProtocolError
from evergrow_protocol.registry_common import USAGE_MERGED
from faultyflash import AFTER, MODES, FaultyFlash, PowerCut, cut_everywhere
from ledgerkit import announce, pending
from stillclock import Clock
from stillfeatures import Features
from support import raises
from tinyappliance import DRUM, TinyAppliance, programme

OWNER = (7, 1001)
SPIN = (7, 1002)


class Random:
    def bytes(self, n):
        return b"\x01" * n


class Bench:
    """One boot of an appliance whose flash survives."""

    def __init__(self, flash, features=None, journal=None):
        self.flash = flash
        self.appliance = TinyAppliance()
        self.clock = Clock()
        self.guard = Guard(self.appliance)
        self.runner = Runner(self.guard)
        self.ledger = Ledger(flash, journal)
        self.timebase = Timebase(self.clock)
        self.cycle = Cycle(self.runner, self.guard, self.ledger, flash, self.timebase, features)
        self.ledger.load()
        self.ledger.adopt(0)
        self.cycle.recover()
        self.boot, _ = bump(flash, Random(), self.ledger.newest_boot)
        self.cycle.boot = self.boot
        self.tick()

    def tick(self, seconds=1):
        self.clock.now_ms += 1000 * seconds
        self.appliance.step(seconds)
        return self.cycle.tick(self.clock.now_ms)

    def start(self, programme_id=1):
        self.cycle.start(programme_id, self.clock.now_ms)

    def run_cycle(self, programme_id=1):
        self.start(programme_id)
        for _ in range(100):
            self.tick()
            if self.runner.state == IDLE:
                return
        raise AssertionError("the cycle does not end")

    def records(self):
        """All that is pending, as (boot, seq, t, body)."""
        return pending(self.ledger)


def test_a_finished_cycle_leaves_one_record_and_no_checkpoint():
    """EG-USE-002"""
    bench = Bench(FaultyFlash())
    bench.clock.utc = 1_795_339_200
    bench.timebase.set_utc_s(1_795_339_200)
    bench.run_cycle()
    ((boot, seq, t, body),) = bench.records()
    assert (boot, seq, t) == (1, 1, 1_795_339_200)
    assert body[common.USAGE_PROGRAMME] == 1 and common.USAGE_OUTCOME not in body
    assert body[common.USAGE_WATER_ML] == 3000 and body[common.USAGE_SPIN_MAX_RPM] == 1000
    assert body[common.USAGE_ENERGY_WH] >= 6
    assert common.USAGE_FEATURES not in body and common.USAGE_ERROR not in body
    assert "cycle" not in bench.flash.files


def test_a_stopped_and_a_failed_cycle_leave_their_record():
    bench = Bench(FaultyFlash())
    bench.start()
    bench.tick()
    bench.runner.stop(bench.clock.now_ms)
    while bench.runner.state != IDLE:
        bench.tick()
    bench.start()
    bench.tick()
    bench.appliance.broken = True
    bench.tick()
    bench.appliance.broken = False
    while bench.runner.state != IDLE:
        bench.tick()
    first, second = [record[3] for record in bench.records()]
    assert first[common.USAGE_OUTCOME] == common.OUTCOME_STOPPED
    assert second[common.USAGE_OUTCOME] == common.OUTCOME_FAULT
    assert second[common.USAGE_ERROR] == common.ERROR_APPLIANCE_IO


def test_while_a_cycle_runs_its_checkpoint_says_what_it_used_so_far():
    """EG-USE-003"""
    bench = Bench(FaultyFlash())
    bench.start()
    while bench.runner.phase != 7:
        bench.tick()
    after = Bench(FaultyFlash(bench.flash.files))
    ((boot, seq, t, body),) = after.records()
    assert (boot, seq) == (1, 1) and after.boot == 2
    assert body[common.USAGE_OUTCOME] == common.OUTCOME_POWER_LOST
    assert body[common.USAGE_WATER_ML] == 3000 and body[common.USAGE_ENERGY_WH] >= 3
    assert t == [bench.clock.now_ms]  # EG-TIME-002: the time of that boot
    assert "cycle" not in bench.flash.files


def test_a_long_phase_is_checkpointed_now_and_then():
    bench = Bench(FaultyFlash())
    bench.appliance.programmes[1] = programme(1, [{0: 4, 1: {DRUM: 45}, 4: 2000, 5: 3000}])
    bench.start()
    for _ in range(1000):
        bench.tick()
    ((_, _, _, body),) = Bench(FaultyFlash(bench.flash.files)).records()
    assert body[common.USAGE_ENERGY_WH] >= 600
    assert bench.flash.count < 12


def test_the_feature_that_brought_the_programme_is_in_the_record_and_tells_its_number():
    """EG-USE-005, EG-USE-010: where the two numbers differ, both are there."""
    bench = Bench(FaultyFlash(), Features({1001: (programme(1001), OWNER)}))
    bench.run_cycle(1001)
    ((_, _, _, body),) = bench.records()
    assert common.USAGE_PROGRAMME not in body and body[common.USAGE_FEATURES] == list(OWNER) and OWNER[1] == 1001
    bench = Bench(FaultyFlash(), Features({2005: (programme(2005), OWNER)}))
    bench.run_cycle(2005)
    ((_, _, _, body),) = bench.records()
    assert body[common.USAGE_PROGRAMME] == 2005 and body[common.USAGE_FEATURES] == list(OWNER)


def test_an_unlock_is_in_the_record_when_the_cycle_went_above_the_base_limit_and_only_then():
    """EG-USE-005, EG-FEAT-013"""
    features = Features(unlocks=[(DRUM, 1400, SPIN)])
    bench = Bench(FaultyFlash(), features)
    bench.run_cycle()
    slow = programme(2, [{0: 4, 1: {DRUM: 900}, 4: 2, 5: 3}])
    bench.appliance.programmes[2] = slow
    bench.run_cycle(2)
    features.raised = []
    bench.run_cycle()
    used, unused, gone = [record[3] for record in bench.records()]
    assert used[common.USAGE_FEATURES] == list(SPIN) and used[common.USAGE_SPIN_MAX_RPM] == 1400
    assert common.USAGE_FEATURES not in unused
    assert common.USAGE_FEATURES not in gone and gone[common.USAGE_SPIN_MAX_RPM] == 1000


def test_of_two_unlocks_of_one_limit_the_one_in_force_counts():
    features = Features(unlocks=[(DRUM, 1200, (7, 1003)), (DRUM, 1300, SPIN), (DRUM, 1300, (7, 1004)), (99, 5, (7, 1005))])
    bench = Bench(FaultyFlash(), features)
    bench.run_cycle()
    ((_, _, _, body),) = bench.records()
    assert body[common.USAGE_FEATURES] == list(SPIN) and body[common.USAGE_SPIN_MAX_RPM] == 1300


def test_a_record_with_two_features_and_its_tag_takes_at_most_50_bytes():
    """EG-USE-007"""
    flash = FaultyFlash()
    devicekey.provision(flash, bytes(range(32)))
    bench = Bench(flash, Features({1001: (programme(1001), OWNER)}, [(DRUM, 1400, SPIN)]))
    bench.clock.utc = 1_795_339_200
    bench.run_cycle(1001)
    (envelope,) = announce(bench.ledger)
    assert len(envelope) <= 50 and len(loads(envelope)) == 5
    assert bench.records()[0][3][common.USAGE_FEATURES] == list(OWNER + SPIN)


def test_a_programme_that_is_not_there_or_while_another_runs_is_refused():
    """EG-CMD-005"""
    bench = Bench(FaultyFlash(), Features())
    assert raises(ProtocolError, bench.start, 1001).code == OUT_OF_RANGE
    bench.cycle.features = None
    assert raises(ProtocolError, bench.start, 1001).code == OUT_OF_RANGE
    bench.start()
    assert raises(ProtocolError, bench.start).code == INVALID_STATE
    assert raises(ProtocolError, bench.start, 1001).code == INVALID_STATE
    bench.tick()
    assert bench.runner.state == RUNNING


def test_a_broken_programme_leaves_nothing_behind():
    bench = Bench(FaultyFlash(), Features({1001: (b"\x83\x01", OWNER)}))
    raises(ProtocolError, bench.start, 1001)
    assert bench.runner.state == IDLE
    assert "cycle" not in bench.flash.files
    bench.run_cycle()
    assert [record[1] for record in bench.records()] == [1]


def test_features_that_fail_stop_no_base_programme():
    bench = Bench(FaultyFlash(), Features(unlocks=[(DRUM, 1400, SPIN)]))
    bench.run_cycle()

    def fail():
        raise ValueError("a bug")

    bench.cycle.features.unlocks = fail
    bench.run_cycle()
    assert bench.records()[1][3][common.USAGE_SPIN_MAX_RPM] == 1000
    assert bench.cycle.failures == 1


def test_a_dead_flash_stops_no_cycle_and_loses_nothing_while_power_lasts():
    """EG-USE-006"""
    for mode in MODES:
        flash = FaultyFlash()
        bench = Bench(flash)
        flash.mode, flash.fail = mode, lambda n: True
        for _ in range(3):
            bench.run_cycle()
        flash.fail = None
        bench.run_cycle()
        bench.ledger.settle()
        bodies = [record[3] for record in bench.records()]
        assert sum([body.get(USAGE_MERGED, 1) for body in bodies]) == 4
        assert sum([body[common.USAGE_WATER_ML] for body in bodies]) == 4 * 3000
        again = Bench(FaultyFlash(flash.files))
        assert [record[3] for record in again.records()] == bodies


def test_what_a_failing_flash_did_not_take_is_stored_later_without_another_cycle():
    """EG-USE-002"""
    flash = FaultyFlash()
    bench = Bench(flash)
    flash.fail = lambda n: True
    bench.run_cycle()
    assert bench.ledger.merged_cycles == 1 and not bench.ledger.healthy
    flash.fail = None
    for _ in range(61):
        bench.tick()
    assert bench.ledger.settled and bench.ledger.healthy
    assert Bench(FaultyFlash(flash.files)).ledger.pending == 1


def test_a_checkpoint_that_outlives_its_merged_record_is_not_reported_again():
    """EG-USE-003: the flash did what it said it could not, and nobody came to remove the checkpoint."""
    for cycles in (1, 2, 3):
        flash = FaultyFlash()
        Bench(flash).run_cycle()
        bench = Bench(flash)
        flash.fail, flash.mode = (lambda n: True), AFTER
        flash.fail_reads = ("use.00000001",)
        for _ in range(cycles):
            bench.run_cycle()
        assert bench.ledger.merged_cycles == cycles and "cycle" in flash.files
        flash.fail, flash.fail_reads = None, ()
        for _ in range(61):
            bench.tick()
        assert bench.ledger.settled
        after = Bench(FaultyFlash(flash.files))
        assert sum([record[3].get(USAGE_MERGED, 1) for record in after.records()]) == 1 + cycles


def test_the_record_of_a_boot_whose_number_was_drawn_hides_no_later_one():
    """EG-ENV-001 EG-USE-003: it was cut by power, and is told by a boot that counts again."""
    flash = FaultyFlash()
    Bench(flash).run_cycle()
    flash.fail_reads = ("boot.0", "boot.1")
    drawn = Bench(flash)
    drawn.start()
    drawn.tick()
    flash.fail_reads = ()
    later = Bench(FaultyFlash(flash.files))
    assert later.boot > drawn.boot > 0x80000000
    later.run_cycle()
    assert [record[0] for record in later.records()] == [1, drawn.boot, later.boot]


def test_a_damaged_checkpoint_is_counted_and_removed():
    flash = FaultyFlash({"cycle": b"garbage"})
    bench = Bench(flash)
    assert bench.cycle.failures == 1
    assert bench.records() == [] and "cycle" not in flash.files
    bench.run_cycle()


def test_a_checkpoint_that_could_not_be_removed_is_not_reported_again():
    """EG-USE-003"""
    bench = Bench(FaultyFlash())
    remove = bench.flash.remove

    def unwilling(name):
        if name == "cycle":
            raise OSError(5)
        remove(name)

    bench.flash.remove = unwilling
    bench.run_cycle()
    assert "cycle" in bench.flash.files
    bench.records()
    bench.ledger.ack(1, 1)
    assert bench.ledger.pending == 0
    after = Bench(FaultyFlash(bench.flash.files))
    assert after.records() == [] and "cycle" not in bench.flash.files
    after.run_cycle()
    assert [record[:2] for record in after.records()] == [(2, 1)]


def test_a_cut_cycle_stays_on_the_flash_until_its_record_is_durable():
    """EG-USE-003: the flash fails at the boot after the cut, and power is lost again."""
    bench = Bench(FaultyFlash())
    bench.start()
    bench.tick()
    for failing in ((2, 3), range(1, 99)):  # append and merge; everything
        Bench(FaultyFlash(bench.flash.files, fail=lambda n: n in failing))  # noqa: B023
    records = Bench(FaultyFlash(bench.flash.files)).records()
    assert [record[:2] for record in records] == [(1, 1)]


def test_power_cut_at_every_operation_with_a_full_journal():
    """EG-USE-006: merged or not, each cycle that had started counts once."""
    assert cut_everywhere(_fill_through_cut) > 20


def _fill_through_cut(mode, cut_at):
    flash = FaultyFlash(cut_at=cut_at, mode=mode)
    started = 0
    try:
        bench = Bench(flash, journal=Journal(flash, 40, 40, 0))
        for _ in range(4):
            bench.start()
            started += 1
            while bench.runner.state != IDLE:
                bench.tick()
        return False
    except PowerCut:
        pass
    for _ in range(2):  # The second boot changes nothing.
        flash = FaultyFlash(flash.files)
        bench = Bench(flash, journal=Journal(flash, 40, 40, 0))
        cycles = bench.ledger.pending + bench.ledger.merged_cycles
        assert started <= cycles <= started + 1, (mode, cut_at, started, cycles)
        assert "cycle" not in flash.files
    return True


def test_power_cut_at_every_operation_of_three_cycles():
    """EG-USE-003, EG-ENV-003: each cycle that had started is reported, once, and a second reboot changes nothing."""
    assert cut_everywhere(_live_through_cut) >= 20


def _live_through_cut(mode, cut_at):
    flash = FaultyFlash(cut_at=cut_at, mode=mode)
    started = []
    finished = []
    try:
        bench = Bench(flash)
        for n in range(3):
            bench.start()
            started.append(n)  # start returned: the checkpoint is there
            while bench.runner.state != IDLE:
                bench.tick()
            finished.append(n)
        return False
    except PowerCut:
        pass
    once_files = dict(flash.files)
    once = Bench(FaultyFlash(once_files)).records()
    twice = Bench(FaultyFlash(once_files)).records()
    assert once == twice
    # Power lost again at every operation of the recovery: the same records in the end.
    again_at = 1
    while True:
        files = dict(flash.files)
        try:
            Bench(FaultyFlash(files, again_at, mode))
            break
        except PowerCut:
            assert Bench(FaultyFlash(files)).records() == once, (mode, cut_at, again_at)
        again_at += 1
    ids = [record[:2] for record in once]
    assert ids == [(1, n + 1) for n in range(len(ids))]
    outcomes = [record[3].get(common.USAGE_OUTCOME, 0) for record in once]
    complete = outcomes.count(common.OUTCOME_FINISHED)
    # A cycle whose record was stored just before the cut, and one whose checkpoint was, are reported too.
    assert len(started) <= len(ids) <= len(started) + 1, (mode, cut_at)
    assert len(finished) <= complete <= len(finished) + 1, (mode, cut_at)
    assert outcomes == [common.OUTCOME_FINISHED] * complete + [common.OUTCOME_POWER_LOST] * (len(ids) - complete)
    assert len(ids) - complete <= 1
    return True
