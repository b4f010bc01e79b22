"""The programme runner on a simulated washer: every way a cycle can go ends with the drum drained, cool and unlocked, or with
the door locked over what could not be made safe, and with a usage record that says what happened."""

import gc

from evergrow_agent.guard import Guard
from evergrow_agent.programme import Programme
from evergrow_agent.runner import ENDING, IDLE, RUNNING, Runner
from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BUSY, ProtocolError
from evergrow_sim.appliances.washer import Washer
from support import raises

COTTON, ECO, QUICK, RINSE_SPIN = ids.PROGRAMME_COTTON, ids.PROGRAMME_ECO, ids.PROGRAMME_QUICK, ids.PROGRAMME_RINSE_SPIN


class Bench:
    """A washer, its guard and its runner, ticked together."""

    def __init__(self, load_g=2000, tick_ms=1000, random=None):
        self.washer = Washer(random, load_g)
        self.tick_ms = tick_ms
        self.boot()

    def boot(self):
        self.guard = Guard(self.washer)
        self.runner = Runner(self.guard)
        self.now_ms = 0
        self.events = []
        self.tick()

    def tick(self):
        self.washer.step(self.tick_ms)
        self.now_ms += self.tick_ms
        event = self.runner.tick(self.now_ms)
        if event:
            self.events.append(event)
        return event

    def start(self, programme, features=()):
        if isinstance(programme, int):
            programme = self.washer.programmes[programme]
        self.runner.start(Programme(programme, self.washer.signals, self.washer.limits), self.now_ms, features)

    def run_for(self, seconds):
        end_ms = self.now_ms + seconds * 1000
        while self.now_ms < end_ms:
            self.tick()

    def run_to_end(self, limit_s=20000):
        """Tick until the cycle's record is ready; returns it."""
        end_ms = self.now_ms + limit_s * 1000
        while self.tick() != common.EVENT_CYCLE_ENDED:
            assert self.now_ms < end_ms, "the cycle does not end"
        assert self.runner.state == IDLE
        return self.runner.record()

    def assert_at_rest(self):
        """Drained, cool, still and unlocked within a few seconds of the end."""
        self.run_for(6)
        washer = self.washer
        assert washer.water_ul <= 300000 and washer.temp_mc <= 40100 and washer.drum_rpm == 0
        assert not washer.door_locked
        for actuator in (ids.ACTUATOR_INLET, ids.ACTUATOR_DRAIN, ids.ACTUATOR_HEATER, ids.ACTUATOR_DRUM_RPM):
            assert self.guard.value(actuator) == 0


def test_base_programmes_finish_within_what_such_a_machine_needs():
    """Wh, ml, s, 0.1 degC and rpm of each, with the load it is meant for."""
    expected = (
        (COTTON, 5000, (900, 1100), (45000, 60000), (6600, 7800), (595, 620), 1000),
        (ECO, 5000, (600, 850), (30000, 45000), (9600, 12000), (425, 445), 1000),
        (QUICK, 2000, (150, 350), (20000, 35000), (1500, 1900), (295, 315), 800),
        (RINSE_SPIN, 5000, (20, 80), (14000, 22000), (1000, 1500), (100, 230), 1000),
    )
    for programme, load_g, energy_wh, water_ml, duration_s, temp, spin_rpm in expected:
        bench = Bench(load_g, tick_ms=2000)
        bench.start(programme)
        record = bench.run_to_end()
        assert record[common.USAGE_PROGRAMME] == programme
        assert record[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED
        assert energy_wh[0] <= record[common.USAGE_ENERGY_WH] <= energy_wh[1], record
        assert water_ml[0] <= record[common.USAGE_WATER_ML] <= water_ml[1], record
        assert duration_s[0] <= record[common.USAGE_DURATION_S] <= duration_s[1], record
        assert temp[0] <= record[common.USAGE_TEMP_MAX] <= temp[1], record
        assert record[common.USAGE_SPIN_MAX_RPM] == spin_rpm
        assert common.USAGE_ERROR not in record and common.USAGE_FEATURES not in record
        assert common.EVENT_FAULT not in bench.events
        bench.assert_at_rest()
        assert bench.events[-1] == common.EVENT_RELEASED


def test_record_is_small_and_agrees_with_the_counters():
    bench = Bench()
    bench.start(QUICK, [[2, 1001]])
    before = (bench.washer.read(ids.SIGNAL_ENERGY_WH), bench.washer.read(ids.SIGNAL_WATER_IN_ML))
    record = bench.run_to_end()
    assert record[common.USAGE_ENERGY_WH] == bench.washer.read(ids.SIGNAL_ENERGY_WH) - before[0]
    assert record[common.USAGE_WATER_ML] == bench.washer.read(ids.SIGNAL_WATER_IN_ML) - before[1]
    assert record[common.USAGE_FEATURES] == [[2, 1001]]
    assert len(dumps(record)) <= 34


def test_cycles_add_up_to_the_counters():
    """Nothing is lost to rounding between cycles, and nothing counted twice."""
    bench = Bench(load_g=1000, tick_ms=2000)
    energy_wh = water_ml = 0
    for _ in range(4):
        bench.start(RINSE_SPIN)
        record = bench.run_to_end()
        energy_wh += record[common.USAGE_ENERGY_WH]
        water_ml += record[common.USAGE_WATER_ML]
    assert energy_wh == bench.washer.read(ids.SIGNAL_ENERGY_WH)
    assert water_ml == bench.washer.read(ids.SIGNAL_WATER_IN_ML)


def test_ticks_may_be_coarse():
    for tick_ms in (500, 5000, 10000):
        bench = Bench(tick_ms=tick_ms)
        bench.start(QUICK)
        record = bench.run_to_end()
        assert record[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED, tick_ms
        assert 1500 <= record[common.USAGE_DURATION_S] <= 1900


def test_sensor_noise_does_not_disturb_a_cycle():
    class Noise:
        state = 1

        def bytes(self, count):
            out = bytearray()
            for _ in range(count):
                self.state = (self.state * 1103515245 + 12345) % 2147483648
                out.append(self.state // 65536 % 256)
            return bytes(out)

    bench = Bench(random=Noise())
    bench.start(QUICK)
    assert bench.run_to_end()[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED
    bench.assert_at_rest()


def test_phases_and_remaining_time_can_be_followed():
    bench = Bench()
    bench.run_for(6)
    bench.start(QUICK)
    assert bench.runner.remaining_s == 1800
    phases = []
    while bench.runner.state == RUNNING:
        if bench.tick() == common.EVENT_PHASE_CHANGED:
            phases.append(bench.runner.phase)
        assert 0 <= bench.runner.remaining_s <= 1800
    rinse = [common.PHASE_DRAIN, common.PHASE_SPIN, common.PHASE_RINSE]
    begin = [common.PHASE_LOCK, common.PHASE_FILL, common.PHASE_HEAT, common.PHASE_WASH]
    assert phases == begin + rinse * 2 + [common.PHASE_DRAIN, common.PHASE_SPIN]
    bench.run_to_end()
    assert bench.runner.phase == common.PHASE_DONE and bench.runner.remaining_s == 0


def test_start_is_refused_while_something_runs_and_before_the_first_tick():
    runner = Runner(Guard(Washer()))
    quick = Programme(Washer.programmes[QUICK], Washer.signals, Washer.limits)
    assert raises(ProtocolError, runner.start, quick, 0).code == BUSY
    bench = Bench()
    bench.start(QUICK)
    bench.run_for(60)
    assert raises(ProtocolError, bench.start, QUICK).code == BUSY
    bench.runner.stop(bench.now_ms)
    assert raises(ProtocolError, bench.start, QUICK).code == BUSY
    bench.run_to_end()
    bench.start(QUICK)
    assert bench.run_to_end()[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED


def test_spin_follows_the_limit_in_force():
    bench = Bench()
    bench.start(RINSE_SPIN)
    assert bench.run_to_end()[common.USAGE_SPIN_MAX_RPM] == 1000
    assert not bench.guard.over_base
    bench.guard.unlock(ids.ACTUATOR_DRUM_RPM, 1400)
    bench.start(RINSE_SPIN)
    assert bench.run_to_end()[common.USAGE_SPIN_MAX_RPM] == 1400
    assert ids.ACTUATOR_DRUM_RPM in bench.guard.over_base
    bench.start(QUICK)  # asks for 800: the unlock is not used
    assert bench.run_to_end()[common.USAGE_SPIN_MAX_RPM] == 800
    assert not bench.guard.over_base
    bench.guard.relock(ids.ACTUATOR_DRUM_RPM)
    bench.start(RINSE_SPIN)
    assert bench.run_to_end()[common.USAGE_SPIN_MAX_RPM] == 1000


def test_stop_at_any_time_ends_safe_and_unlocked():
    for at_s in range(0, 1640, 80):
        bench = Bench(tick_ms=2000)
        bench.start(QUICK)
        bench.run_for(at_s)
        bench.runner.stop(bench.now_ms)
        bench.runner.stop(bench.now_ms)
        record = bench.run_to_end(1500)
        assert record[common.USAGE_OUTCOME] in (common.OUTCOME_STOPPED, common.OUTCOME_FINISHED), at_s
        assert (record[common.USAGE_OUTCOME] == common.OUTCOME_STOPPED) == (at_s < 1630), at_s
        assert bench.events.count(common.EVENT_CYCLE_ENDED) == 1
        bench.assert_at_rest()


def test_stop_of_a_hot_wash_cools_the_laundry_before_the_door_opens():
    bench = Bench(load_g=5000)
    bench.start(COTTON)
    bench.run_for(3000)
    assert bench.washer.temp_mc > 59000
    bench.runner.stop(bench.now_ms)
    record = bench.run_to_end(1500)
    assert record[common.USAGE_OUTCOME] == common.OUTCOME_STOPPED and common.USAGE_ERROR not in record
    bench.assert_at_rest()


def test_each_fault_ends_with_its_error_within_its_limit():
    """EG-PROG-003: (fault, when it happens, error, the step's limit in s)."""
    faults = (
        ("inlet_blocked", 0, common.ERROR_FILL_TIMEOUT, 910),
        ("inlet_blocked", 800, common.ERROR_FILL_TIMEOUT, 1100),
        ("heater_dead", 0, common.ERROR_HEATER_TIMEOUT, 2200),
        ("drain_blocked", 0, common.ERROR_DRAIN_TIMEOUT, 1800),
        ("door_forced", 0, common.ERROR_DOOR_OPEN, 12),
        ("door_forced", 60, common.ERROR_DOOR_OPEN, 20),
        ("door_forced", 700, common.ERROR_DOOR_OPEN, 20),
        ("inlet_stuck", 60, common.ERROR_OVERFLOW, 300),
        ("heater_stuck", 200, common.ERROR_OVERHEAT, 3600),
    )
    for fault, at_s, error, limit_s in faults:
        bench = Bench()
        # A hot programme, so that a stuck heater has the time to show.
        bench.start(COTTON if fault == "heater_stuck" else QUICK)
        bench.run_for(at_s)
        setattr(bench.washer, fault, True)
        started_ms = bench.now_ms
        while common.EVENT_FAULT not in bench.events:
            bench.tick()
            assert bench.now_ms - started_ms <= limit_s * 1000, fault
        assert bench.runner.state == ENDING
        record = bench.run_to_end(1600)
        assert record[common.USAGE_OUTCOME] == common.OUTCOME_FAULT
        assert record[common.USAGE_ERROR] == error, (fault, record)
        assert bench.events.count(common.EVENT_CYCLE_ENDED) == 1
        assert bench.guard.value(ids.ACTUATOR_HEATER) == 0 and bench.guard.value(ids.ACTUATOR_DRUM_RPM) == 0
        if fault in ("inlet_blocked", "heater_dead"):
            bench.assert_at_rest()
        if fault == "drain_blocked":
            bench.run_for(60)
            assert bench.washer.door_locked  # over the water that is still in it
            bench.washer.drain_blocked = False
            bench.runner.stop(bench.now_ms)  # somebody cleans the filter and tries again
            bench.run_for(300)
            bench.assert_at_rest()


def test_hot_drum_that_cannot_be_cooled_stays_locked_until_it_is():
    bench = Bench(load_g=5000, tick_ms=2000)
    bench.start(COTTON)
    bench.run_for(3000)
    bench.washer.inlet_blocked = True
    bench.runner.stop(bench.now_ms)
    record = bench.run_to_end(1600)
    assert record[common.USAGE_OUTCOME] == common.OUTCOME_STOPPED
    bench.run_for(600)
    assert bench.washer.door_locked and bench.washer.temp_mc > 40000 and bench.washer.water_ul == 0
    bench.washer.heat_mj = 39 * bench.washer._capacity()
    bench.assert_at_rest()


def test_open_door_at_start_is_a_fault_before_anything_moves():
    bench = Bench()
    bench.run_for(5)
    assert bench.washer.open_door()
    bench.start(QUICK)
    record = bench.run_to_end(60)
    assert record[common.USAGE_ERROR] == common.ERROR_DOOR_OPEN
    assert record[common.USAGE_WATER_ML] == 0 and record[common.USAGE_SPIN_MAX_RPM] == 0


def test_dead_parts_end_the_cycle_safely():
    """EG-PROG-004"""
    for kind, parts in (("dead_signals", Washer.signals), ("dead_actuators", Washer.limits)):
        for part in parts:
            for at_s in (60, 500):
                bench = Bench(tick_ms=2000)
                bench.start(QUICK)
                bench.run_for(at_s)
                getattr(bench.washer, kind).add(part)
                record = bench.run_to_end(8000)
                assert bench.washer.temp_mc < 60000 and bench.washer.spilled_ul == 0
                if part == ids.ACTUATOR_HEATER and kind == "dead_actuators":
                    assert record[common.USAGE_OUTCOME] == common.OUTCOME_FAULT or at_s == 500
                if kind == "dead_signals" and part in (ids.SIGNAL_WATER_ML, ids.SIGNAL_TEMP):
                    assert record[common.USAGE_ERROR] == common.ERROR_APPLIANCE_IO, (part, record)
                    # Without the sensor it still drains, for as long as it may.
                    assert bench.washer.water_ul < 3000000, (part, bench.washer.water_ul)


def test_power_cut_at_any_time_is_followed_by_a_recovery():
    for at_s in range(10, 1640, 180):
        bench = Bench(tick_ms=2000)
        bench.start(QUICK)
        bench.run_for(at_s)
        bench.washer.power_off()
        bench.washer.step(30000)
        bench.boot()
        if bench.washer.water_ul > 200000:
            assert bench.events == [common.EVENT_RECOVERY_STARTED], at_s
            assert raises(ProtocolError, bench.start, QUICK).code == BUSY
        bench.run_for(300)
        assert common.EVENT_CYCLE_ENDED not in bench.events  # a recovery is no cycle: it leaves no record
        assert bench.runner.state == IDLE
        bench.assert_at_rest()
        bench.start(RINSE_SPIN)
        assert bench.run_to_end()[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED


def test_water_that_rises_while_idle_is_pumped_out():
    bench = Bench(tick_ms=2000)
    bench.washer.inlet_stuck = True
    bench.run_for(3600)
    assert common.EVENT_RECOVERY_STARTED in bench.events
    assert bench.washer.spilled_ul == 0


def test_idle_door_locks_over_a_dead_sensor_and_is_released_when_it_answers():
    bench = Bench()
    bench.run_for(6)
    assert not bench.washer.door_locked
    bench.washer.dead_signals.add(ids.SIGNAL_TEMP)
    bench.run_for(10)
    assert bench.washer.door_locked
    bench.washer.dead_signals.clear()
    bench.run_for(10)
    assert not bench.washer.door_locked


def test_a_door_that_somebody_locks_at_rest_is_released_again():
    bench = Bench()
    bench.run_for(5)
    assert not bench.washer.door_locked
    bench.guard.write(ids.ACTUATOR_DOOR_LOCK, 1)
    bench.run_for(5)
    assert not bench.washer.door_locked


def test_record_of_a_running_cycle_is_there_for_a_power_cut():
    bench = Bench()
    bench.start(QUICK)
    bench.run_for(600)
    record = bench.runner.record(common.OUTCOME_POWER_LOST)
    assert record[common.USAGE_OUTCOME] == common.OUTCOME_POWER_LOST
    assert record[common.USAGE_DURATION_S] == 600 and record[common.USAGE_WATER_ML] > 0


def test_regulator_can_lower_as_well_as_raise():
    """EG-PROG-002: a negative band turns it round, as a compressor needs it; here the pump keeps the level down."""
    bench = Bench(load_g=0)
    bench.washer.water_ul = 9000000
    bench.boot()
    bench.runner.stop(bench.now_ms)
    bench.run_for(300)
    bench.washer.water_ul = 9000000
    bench.start(dumps([1001, [{0: 8, 2: [[2, 1, 5000, -500]], 4: 60, 5: 100}]]))
    bench.run_for(60)
    assert 4500 <= bench.washer.water_ul // 1000 <= 5000
    assert bench.guard.value(ids.ACTUATOR_DRAIN) == 0


def test_what_has_held_once_need_not_go_on_and_what_holds_already_is_passed_over():
    """EG-PROG-003"""
    lock = {0: 1, 3: [[5, 0, 1]], 5: 10}
    fill = {0: 2, 1: {1: 1}, 3: [[1, 0, 3000]], 5: 300}
    drain = {0: 6, 1: {2: 1}, 3: [[1, 0, 2000]], 4: 60, 5: 100}  # from 3 l: it holds at once, and not for long
    bench = Bench(load_g=0)
    bench.start(dumps([1001, [lock, fill, fill, drain]]))
    steps = []
    while bench.tick() != common.EVENT_CYCLE_ENDED:
        steps.append(bench.runner.step)
    assert bench.runner.outcome == common.OUTCOME_FINISHED
    assert 2 not in steps and 60 <= steps.count(3) <= 62


def test_actuator_that_a_step_does_not_name_is_safe_in_it():
    """EG-PROG-002"""
    bench = Bench()
    bench.run_for(6)
    bench.start(dumps([1001, [{0: 2, 1: {1: 1, 4: 45}, 4: 20, 5: 30}, {0: 8, 1: {2: 1}, 4: 20, 5: 30}]]))
    bench.run_for(4)
    # The door is not locked yet at the first tick: a programme that does not wait for the bolt is refused by it.
    assert bench.runner.error == common.ERROR_DOOR_OPEN and bench.runner.state == IDLE
    lock = {0: 1, 3: [[5, 0, 1]], 5: 10}
    bench.start(dumps([1001, [lock, {0: 2, 1: {1: 1, 4: 45}, 4: 20, 5: 30}, {0: 8, 1: {2: 1}, 4: 20, 5: 30}]]))
    bench.run_for(15)
    assert bench.guard.value(ids.ACTUATOR_INLET) == 1 and bench.guard.value(ids.ACTUATOR_DRUM_RPM) == 45
    bench.run_for(20)
    assert bench.guard.value(ids.ACTUATOR_INLET) == 0 and bench.guard.value(ids.ACTUATOR_DRUM_RPM) == 0
    assert bench.guard.value(ids.ACTUATOR_DRAIN) == 1
    assert bench.run_to_end()[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED


def test_programme_that_asks_for_danger_gets_a_fault_and_not_its_way():
    """EG-PROG-004"""
    lock = {0: 1, 3: [[5, 0, 1]], 5: 10}
    fill = {0: 2, 2: [[1, 1, 20000, 0]], 3: [[1, 0, 20000]], 5: 600}
    cases = (
        ({0: 7, 1: {4: 1000}, 4: 60, 5: 90}, common.ERROR_INTERLOCK),  # spin a full drum
        ({0: 2, 1: {1: 1}, 4: 3000, 5: 3600}, common.ERROR_OVERFLOW),  # fill for ever
        ({0: 3, 1: {3: 1}, 4: 9000, 5: 14400}, common.ERROR_OVERHEAT),  # boil
        ({0: 3, 1: {5: 0}, 4: 9000, 5: 14400}, common.ERROR_INTERLOCK),  # unlock over 20 l
        ({0: 3, 3: [[2, 0, 900]], 5: 60}, common.ERROR_STEP_TIMEOUT),  # wait for what does not come
    )
    for step, error in cases:
        bench = Bench(load_g=0, tick_ms=2000)
        bench.start(dumps([1001, [lock, fill, step]]))
        assert bench.run_to_end()[common.USAGE_ERROR] == error, step
        bench.assert_at_rest()


def test_heater_that_needs_water_is_held_back_and_comes_on_when_there_is_some():
    lock = {0: 1, 3: [[5, 0, 1]], 5: 10}
    heat = {0: 3, 2: [[3, 2, 300, 10], [1, 1, 5000, 300]], 3: [[2, 0, 300]], 5: 3000}
    bench = Bench(load_g=0)
    bench.start(dumps([1001, [lock, heat]]))
    bench.run_for(20)
    assert bench.runner.state == RUNNING and bench.guard.value(ids.ACTUATOR_HEATER) == 0
    assert bench.run_to_end()[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED


def test_no_programme_data_gets_past_the_guard():
    """Damaged programmes that still parse are run: whatever they ask for, the drum stays safe and the cycle ends."""
    state = 7
    ran = 0
    while ran < 12:
        data = bytearray(Washer.programmes[RINSE_SPIN])
        for _ in range(2):
            state = (state * 1103515245 + 12345) % 2147483648
            data[state // 65536 % len(data)] = state // 256 % 256
        bench = Bench(tick_ms=5000)
        try:
            bench.start(data)
        except ProtocolError:
            continue
        ran += 1
        while bench.tick() != common.EVENT_CYCLE_ENDED:
            washer = bench.washer
            assert washer.spilled_ul == 0 and washer.temp_mc < 96000 and washer.drum_rpm <= 1000
            assert washer.door_locked or (washer.drum_rpm == 0 and washer.water_ul < 3000000)
            assert bench.now_ms < 50000000
        bench.assert_at_rest()


def test_meter_leaves_out_what_it_could_not_read():
    bench = Bench()
    bench.washer.dead_signals.add(ids.SIGNAL_ENERGY_WH)
    bench.start(RINSE_SPIN)
    record = bench.run_to_end()
    assert record[common.USAGE_OUTCOME] == common.OUTCOME_FINISHED  # a dead meter does not stop a wash
    assert common.USAGE_ENERGY_WH not in record and record[common.USAGE_WATER_ML] > 0


def test_tick_allocates_nothing_in_the_middle_of_a_step():
    """The washer's physics are not counted."""
    if not hasattr(gc, "mem_alloc"):
        return
    bench = Bench()
    bench.start(QUICK)
    bench.run_for(700)
    assert bench.runner.phase == common.PHASE_WASH
    gc.collect()
    used = [0] * 8
    for index in range(8):
        bench.washer.step(1000)
        bench.now_ms += 1000
        now_ms = bench.now_ms
        before = gc.mem_alloc()
        bench.runner.tick(now_ms)
        used[index] = gc.mem_alloc() - before
    assert max(used) == 0, used


def test_a_counter_that_stops_to_answer_costs_the_record_what_it_counted_since_it_was_last_looked_at():
    bench = Bench()
    bench.start(QUICK)
    bench.run_for(600)
    energy_wh = bench.washer.read(ids.SIGNAL_ENERGY_WH)
    bench.runner._meter.look(0)
    first_wh = energy_wh - bench.runner.record()[common.USAGE_ENERGY_WH]
    bench.run_for(300)
    alive_wh = bench.washer.read(ids.SIGNAL_ENERGY_WH) - first_wh
    bench.washer.dead_signals.add(ids.SIGNAL_ENERGY_WH)
    bench.run_for(300)
    told_wh = bench.runner.record()[common.USAGE_ENERGY_WH]
    assert alive_wh - 4 <= told_wh <= alive_wh, (told_wh, alive_wh)  # 2 kW for 5 s are 3 Wh


def test_unexpected_error_leaves_the_appliance_safe():
    class Broken(Washer):
        def read(self, signal):
            if self.broken:
                raise ValueError("not an OSError")
            return Washer.read(self, signal)

        broken = False

    bench = Bench()
    washer = Broken(None, 2000)
    bench.washer = washer
    bench.boot()
    bench.start(QUICK)
    bench.run_for(120)
    washer.broken = True
    raises(ValueError, bench.tick)
    assert washer._commands == washer.safe_state
