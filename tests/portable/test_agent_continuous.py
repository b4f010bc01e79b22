"""Appliances without cycles: a record for each period, however it ends, with power cut anywhere."""

from evergrow_agent.cycle import Cycle
from evergrow_agent.guard import Guard
from evergrow_agent.ledger import Ledger
from evergrow_agent.programme import Programme, ProgrammeError
from evergrow_agent.runner import IDLE, RUNNING, Runner
from evergrow_agent.timebase import Timebase
from evergrow_protocol import registry_common as common
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import INVALID_STATE, MALFORMED, OUT_OF_RANGE, ProtocolError
from faultyflash import FaultyFlash, PowerCut, cut_everywhere
from ledgerkit import pending
from stillclock import Clock
from stillfeatures import Features
from support import raises
from tinyappliance import DRUM, ENERGY, TinyAppliance

BASE, OTHER, CYCLE, HOLIDAY = 1, 2, 3, 1001
OWNER = (7, HOLIDAY)
PERIOD_S = 600


def continuous(number, rpm, period_s=PERIOD_S):
    return dumps([number, [{0: 11, 1: {DRUM: rpm}, 4: 20, 5: 30}, {0: 11, 1: {DRUM: rpm}, 4: 20, 5: 30}], {1: period_s}])


class Steady(TinyAppliance):
    """Turns its drum all the time, at 1 Wh a second."""

    base_programme = BASE
    ending = dumps([0, [{0: 9, 3: [[ENERGY, 0, 0]], 5: 1}]])

    def __init__(self):
        TinyAppliance.__init__(self)
        self.programmes = {
            BASE: continuous(BASE, 10),
            OTHER: continuous(OTHER, 20),
            CYCLE: dumps([CYCLE, [{0: 4, 1: {DRUM: 30}, 4: 30, 5: 40}]]),
        }


class Bench:
    def __init__(self, flash, features=None, boot=1, base=BASE):
        self.flash = flash
        self.appliance = Steady()
        self.appliance.base_programme = base
        self.clock = Clock()
        self.guard = Guard(self.appliance)
        self.runner = Runner(self.guard)
        self.ledger = Ledger(flash)
        self.cycle = Cycle(self.runner, self.guard, self.ledger, flash, Timebase(self.clock), features)
        self.ledger.load()
        self.ledger.adopt(0)
        self.cycle.recover()
        self.cycle.boot = boot
        self.tick(1)

    def tick(self, seconds):
        events = []
        for _ in range(seconds):
            self.clock.now_ms += 1000
            self.appliance.step()
            event = self.cycle.tick(self.clock.now_ms)
            if event == common.EVENT_PERIOD_ENDED:
                events.append(event)
        return events

    def start(self, programme):
        self.cycle.start(programme, self.clock.now_ms)

    def stop(self):
        self.cycle.stop(self.clock.now_ms)

    def bodies(self):
        return bodies(self.ledger)

    def told(self):
        """(programme, outcome) of all records."""
        return [(body.get(0) or body[3][1], body.get(1, common.OUTCOME_FINISHED)) for body in self.bodies()]


def bodies(ledger):
    return [record[3] for record in pending(ledger)]


def test_base_programme_starts_by_itself_and_has_a_record_for_each_period():
    """EG-USE-020, EG-USE-021"""
    bench = Bench(FaultyFlash())
    events = bench.tick(3 * PERIOD_S + 10)
    assert bench.runner.state == RUNNING and bench.runner.programme_id == BASE
    assert events.count(common.EVENT_PERIOD_ENDED) == 3
    bodies = bench.bodies()
    assert bench.told() == [(BASE, common.OUTCOME_FINISHED)] * 3
    for body in bodies:
        assert abs(body[common.USAGE_DURATION_S] - PERIOD_S) <= 2
    bench.stop()
    bench.tick(2)
    assert len(bench.bodies()) == 3  # a base programme is not to be stopped


def test_nothing_is_used_between_two_records():
    """EG-USE-021: the meters of one record end where those of the next begin."""
    bench = Bench(FaultyFlash(), base=0)
    bench.start(OTHER)
    before = bench.appliance.values[ENERGY]
    bench.tick(PERIOD_S + 50)
    bench.start(BASE)
    bench.tick(100)
    bench.stop()
    bench.tick(3)
    assert bench.told() == [(OTHER, 0), (OTHER, 0), (BASE, common.OUTCOME_STOPPED)]
    used = sum([body[common.USAGE_ENERGY_WH] for body in bench.bodies()])
    assert used == bench.appliance.values[ENERGY] - before and used >= PERIOD_S + 145


def test_another_programme_takes_over_without_an_ending_and_gives_back():
    """EG-USE-022, EG-USE-005"""
    features = Features({HOLIDAY: (continuous(HOLIDAY, 5), OWNER)})
    bench = Bench(FaultyFlash(), features)
    bench.tick(100)
    bench.start(HOLIDAY)
    bench.tick(1)
    assert bench.runner.state == RUNNING and bench.appliance.actuators[DRUM] == 5
    bench.tick(100)
    bench.stop()
    bench.tick(1)
    assert bench.runner.state == RUNNING and bench.appliance.actuators[DRUM] == 10
    assert bench.told() == [(BASE, common.OUTCOME_FINISHED), (HOLIDAY, common.OUTCOME_STOPPED)]
    first, holiday = bench.bodies()
    assert common.USAGE_FEATURES not in first and holiday[common.USAGE_FEATURES] == [7, HOLIDAY]


def test_a_programme_with_an_end_gives_way_to_the_base_programme():
    bench = Bench(FaultyFlash())
    bench.tick(10)
    bench.start(CYCLE)
    assert raises(ProtocolError, bench.start, OTHER).code == INVALID_STATE
    bench.tick(40)
    assert bench.runner.programme_id == BASE and bench.runner.state == RUNNING
    bench.start(CYCLE)
    bench.tick(5)
    bench.stop()
    bench.tick(5)
    assert bench.runner.programme_id == BASE
    assert [row[0] for row in bench.told()] == [BASE, CYCLE, BASE, CYCLE]


def test_a_start_that_is_refused_changes_nothing():
    bench = Bench(FaultyFlash(), Features({HOLIDAY: (dumps([HOLIDAY, []]), OWNER)}))
    bench.tick(10)
    assert raises(ProtocolError, bench.start, 77).code == OUT_OF_RANGE
    raises(ProtocolError, bench.start, HOLIDAY)
    bench.tick(10)
    assert bench.runner.programme_id == BASE and bench.bodies() == []


def test_a_feature_that_is_gone_gives_way_at_the_end_of_its_period_and_a_new_version_takes_its_place():
    """EG-USE-023"""
    features = Features({HOLIDAY: (continuous(HOLIDAY, 5), OWNER)})
    bench = Bench(FaultyFlash(), features)
    bench.start(HOLIDAY)
    bench.tick(10)
    features.programmes[HOLIDAY] = (continuous(HOLIDAY, 6), OWNER)
    bench.tick(PERIOD_S)
    assert bench.appliance.actuators[DRUM] == 6
    features.programmes.clear()
    bench.tick(PERIOD_S)
    assert bench.runner.programme_id == BASE and bench.appliance.actuators[DRUM] == 10
    assert [row[0] for row in bench.told()] == [BASE, HOLIDAY, HOLIDAY]


def test_without_a_base_programme_a_feature_that_is_gone_leaves_the_appliance_at_rest():
    """EG-USE-023"""
    features = Features({HOLIDAY: (continuous(HOLIDAY, 5), OWNER)})
    bench = Bench(FaultyFlash(), features, base=0)
    bench.start(HOLIDAY)
    features.programmes.clear()
    bench.tick(PERIOD_S + 5)
    assert bench.runner.state == IDLE and bench.appliance.actuators[DRUM] == 0
    assert bench.told() == [(HOLIDAY, common.OUTCOME_STOPPED)]


def test_an_unlock_counts_in_the_periods_in_which_it_is_used():
    """EG-USE-005"""
    unlock = Features(unlocks=[(DRUM, 1400, (7, 1002))])
    bench = Bench(FaultyFlash(), unlock)
    bench.appliance.programmes[OTHER] = continuous(OTHER, 1200)
    bench.start(OTHER)
    bench.tick(2 * PERIOD_S + 10)
    bench.start(BASE)
    bench.tick(PERIOD_S + 10)
    assert [body.get(common.USAGE_FEATURES) for body in bench.bodies()] == [None, [7, 1002], [7, 1002], [7, 1002], None]


def test_what_ran_when_power_was_lost_goes_on_if_it_is_continuous_and_still_there():
    """EG-USE-020, EG-USE-003"""
    there = Features({HOLIDAY: (continuous(HOLIDAY, 5), OWNER)})
    rows = ((HOLIDAY, there, HOLIDAY), (HOLIDAY, None, BASE), (OTHER, None, OTHER), (CYCLE, None, BASE))
    for programme, features, then in rows:
        flash = FaultyFlash()
        bench = Bench(flash, there)
        bench.start(programme)
        bench.tick(5)
        again = Bench(FaultyFlash(flash.files), features, boot=2)
        assert again.runner.programme_id == then
        assert again.told()[-1] == (programme, common.OUTCOME_POWER_LOST)
        again.stop()
        again.tick(2)
        assert again.runner.programme_id == BASE


def test_a_fault_is_no_flood_of_records():
    """EG-USE-022: the base programme comes back, after a pause."""
    bench = Bench(FaultyFlash())
    bench.tick(10)
    bench.appliance.broken = True
    bench.tick(3000)
    assert 1 <= len(bench.bodies()) <= 6
    assert bench.bodies()[0][common.USAGE_OUTCOME] == common.OUTCOME_FAULT
    bench.appliance.broken = False
    bench.tick(700)
    assert bench.runner.state == RUNNING and bench.runner.programme_id == BASE


def test_a_continuous_programme_that_would_never_rest_in_a_step_is_refused():
    skipped = {0: 4, 3: [[ENERGY, 0, 0]], 5: 10}
    for steps, options, code in (
        ([skipped, skipped], {1: PERIOD_S}, MALFORMED),
        ([{0: 4, 4: 5, 5: 10}], {1: 599}, OUT_OF_RANGE),
        ([{0: 4, 4: 5, 5: 10}], {1: 86401}, OUT_OF_RANGE),
    ):
        data = dumps([1001, steps, options])
        assert raises(ProgrammeError, Programme, data, (ENERGY,), (DRUM,)).code == code
    programme = Programme(dumps([1001, [skipped, {0: 4, 4: 5, 5: 10}], {1: PERIOD_S}]), (ENERGY,), (DRUM,))
    steps = programme.steps()
    assert [next(steps).hold_ms for _ in range(5)] == [0, 5000, 0, 5000, 0]


def test_power_cut_at_every_flash_operation_counts_each_period_once():
    """EG-USE-003, EG-USE-021: a period that had begun is reported once, and a second reboot changes nothing."""
    assert cut_everywhere(_live_through_cut) > 12


def _live_through_cut(mode, cut_at):
    flash = FaultyFlash(cut_at=cut_at, mode=mode)
    begun = 0
    try:
        bench = Bench(flash)
        bench.tick(1)
        begun = 1
        for programme in (OTHER, BASE, OTHER):
            bench.tick(5)
            bench.start(programme)
            begun += 1
        bench.tick(PERIOD_S - 5)
        bench.tick(10)
        return False
    except PowerCut:
        pass
    told = None
    for _ in range(2):
        again = FaultyFlash(flash.files)
        ledger = Ledger(again)
        guard = Guard(Steady())
        cycle = Cycle(Runner(guard), guard, ledger, again, Timebase(Clock()))
        ledger.load()
        ledger.adopt(0)
        cycle.recover()
        rows = bodies(ledger)
        assert begun <= len(rows) <= begun + 1, (mode, cut_at, begun, rows)
        assert told is None or rows == told, (mode, cut_at)
        told = rows
    return True
