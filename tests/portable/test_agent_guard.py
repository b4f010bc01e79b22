"""The guard on a simulated washer: limits, interlocks and the safe state hold whatever is asked."""

from evergrow_agent.guard import Guard, GuardError
from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.errors import INVALID_STATE, OUT_OF_RANGE
from evergrow_sim.appliances.washer import Washer
from support import raises


def guarded(water_ml=0, temp=21, drum_rpm=0, **conditions):
    """A washer with its door locked, in the conditions given, and its guard."""
    washer = Washer(load_g=0)
    washer.water_ul = water_ml * 1000
    washer.heat_mj = temp * washer._capacity()
    for name, value in conditions.items():
        setattr(washer, name, value)
    guard = Guard(washer)
    washer.step(2000)  # the bolt goes in
    washer.drum_rpm = drum_rpm
    return washer, guard


def let_time_pass(washer, guard, ms, tick_ms=500):
    errors = []
    for _ in range(ms // tick_ms):
        washer.step(tick_ms)
        errors.append(guard.enforce())
    return [error for error in errors if error]


def test_value_above_limit_is_clamped_to_it():
    washer, guard = guarded()
    assert guard.write(ids.ACTUATOR_DRUM_RPM, 1400) == 1000
    let_time_pass(washer, guard, 60000)
    assert washer.drum_rpm == 1000
    assert guard.write(ids.ACTUATOR_DRUM_RPM, -7) == 0


def test_unknown_actuator_is_out_of_range():
    _, guard = guarded()
    error = raises(GuardError, guard.write, 99, 1)
    assert error.code == OUT_OF_RANGE and error.error == 0
    assert raises(GuardError, guard.limit, 99).code == OUT_OF_RANGE


def test_unlock_raises_limit_to_what_the_hardware_can_do_at_most():
    washer, guard = guarded()
    assert guard.unlock(ids.ACTUATOR_DRUM_RPM, 1200) == 1200
    assert guard.unlock(ids.ACTUATOR_DRUM_RPM, 9000) == 1400
    assert guard.limit(ids.ACTUATOR_DRUM_RPM) == (0, 1400)
    assert guard.write(ids.ACTUATOR_DRUM_RPM, 9000) == 1400
    let_time_pass(washer, guard, 60000)
    assert washer.drum_rpm == 1400


def test_unlock_never_lowers_a_limit():
    _, guard = guarded()
    assert guard.unlock(ids.ACTUATOR_DRUM_RPM, 600) == 1000


def test_limit_that_is_not_unlockable_stays():
    _, guard = guarded()
    assert raises(GuardError, guard.unlock, ids.ACTUATOR_HEATER, 2).code == OUT_OF_RANGE


def test_relock_restores_the_base_limit():
    _, guard = guarded()
    guard.unlock(ids.ACTUATOR_DRUM_RPM, 1400)
    guard.relock(ids.ACTUATOR_DRUM_RPM)
    guard.relock(ids.ACTUATOR_DRUM_RPM)
    assert guard.write(ids.ACTUATOR_DRUM_RPM, 1400) == 1000


def test_only_speed_above_the_base_limit_counts_as_use_of_an_unlock():
    _, guard = guarded()
    guard.unlock(ids.ACTUATOR_DRUM_RPM, 1400)
    guard.write(ids.ACTUATOR_DRUM_RPM, 1000)
    assert not guard.over_base
    guard.write(ids.ACTUATOR_DRUM_RPM, 1001)
    assert ids.ACTUATOR_DRUM_RPM in guard.over_base


def test_door_stays_locked_over_water_heat_and_a_turning_drum():
    for conditions in ({"water_ml": 3000}, {"temp": 41}, {"drum_rpm": 5}):
        _, guard = guarded(**conditions)
        error = raises(GuardError, guard.write, ids.ACTUATOR_DOOR_LOCK, 0)
        assert error.code == INVALID_STATE and error.error == 0, conditions


def test_door_is_released_when_drained_cool_and_still():
    washer, guard = guarded(water_ml=100, temp=39)
    assert guard.write(ids.ACTUATOR_DOOR_LOCK, 0) == 0
    washer.step(2000)
    assert not washer.door_locked and washer.open_door()


def test_door_stays_locked_from_the_moment_something_is_told_to_start():
    for actuator in (ids.ACTUATOR_DRUM_RPM, ids.ACTUATOR_INLET):
        _, guard = guarded()
        guard.write(actuator, 1)
        assert raises(GuardError, guard.write, ids.ACTUATOR_DOOR_LOCK, 0).code == INVALID_STATE


def test_door_stays_locked_while_the_heater_is_told_to_heat():
    washer, guard = guarded(water_ml=3000)
    guard.write(ids.ACTUATOR_HEATER, 1)
    washer.water_ul = 2000000  # gone, before enforce() could take the heater back
    assert raises(GuardError, guard.write, ids.ACTUATOR_DOOR_LOCK, 0).code == INVALID_STATE


def test_nothing_starts_while_the_bolt_is_withdrawn():
    _, guard = guarded(water_ml=2000)
    guard.write(ids.ACTUATOR_DOOR_LOCK, 0)
    for actuator in (ids.ACTUATOR_DRUM_RPM, ids.ACTUATOR_INLET, ids.ACTUATOR_HEATER):
        error = raises(GuardError, guard.write, actuator, 1)
        assert error.error == common.ERROR_DOOR_OPEN


def test_heater_needs_water():
    _, guard = guarded(water_ml=2900)
    error = raises(GuardError, guard.write, ids.ACTUATOR_HEATER, 1)
    assert error.code == INVALID_STATE and error.error == 0
    _, guard = guarded(water_ml=9000)
    assert guard.write(ids.ACTUATOR_HEATER, 1) == 1


def test_heater_goes_off_when_the_water_goes():
    washer, guard = guarded(water_ml=20000)
    guard.write(ids.ACTUATOR_HEATER, 1)
    guard.write(ids.ACTUATOR_DRAIN, 1)
    assert let_time_pass(washer, guard, 120000) == []
    assert guard.value(ids.ACTUATOR_HEATER) == 0 and guard.trips == 1


def test_overheating_is_a_fault():
    washer, guard = guarded(water_ml=20000, temp=94)
    guard.write(ids.ACTUATOR_HEATER, 1)
    assert let_time_pass(washer, guard, 600000)[0] == common.ERROR_OVERHEAT
    assert guard.value(ids.ACTUATOR_HEATER) == 0


def test_inlet_is_shut_when_full():
    washer, guard = guarded()
    guard.write(ids.ACTUATOR_INLET, 1)
    assert let_time_pass(washer, guard, 600000)[0] == common.ERROR_OVERFLOW
    assert guard.value(ids.ACTUATOR_INLET) == 0
    assert raises(GuardError, guard.write, ids.ACTUATOR_INLET, 1).error == common.ERROR_OVERFLOW


def test_pump_runs_when_the_inlet_does_not_shut():
    washer, guard = guarded(inlet_stuck=True)
    errors = let_time_pass(washer, guard, 3600000, 1000)
    assert common.ERROR_OVERFLOW in errors
    assert washer.water_ul < 33000000 and washer.spilled_ul == 0
    assert guard.value(ids.ACTUATOR_DRAIN) == 1


def test_stuck_heater_is_drained_before_it_boils():
    washer, guard = guarded(water_ml=10000, temp=90, heater_stuck=True)
    assert common.ERROR_OVERHEAT in let_time_pass(washer, guard, 3600000, 1000)
    assert washer.water_ul == 0 and washer.temp_mc < 115000


def test_full_drum_is_not_spun():
    _, guard = guarded(water_ml=20000)
    assert guard.write(ids.ACTUATOR_DRUM_RPM, 150) == 150
    assert raises(GuardError, guard.write, ids.ACTUATOR_DRUM_RPM, 151).error == common.ERROR_INTERLOCK


def test_forced_door_stops_drum_heater_and_inlet():
    washer, guard = guarded(water_ml=20000)
    for actuator in (ids.ACTUATOR_DRUM_RPM, ids.ACTUATOR_INLET, ids.ACTUATOR_HEATER):
        guard.write(actuator, 1)
    washer.door_forced = True
    assert guard.enforce() == common.ERROR_DOOR_OPEN
    for actuator in (ids.ACTUATOR_DRUM_RPM, ids.ACTUATOR_INLET, ids.ACTUATOR_HEATER):
        assert guard.value(actuator) == 0


def test_sensor_that_does_not_answer_means_the_safe_state():
    washer, guard = guarded(water_ml=20000)
    guard.write(ids.ACTUATOR_HEATER, 1)
    washer.dead_signals.add(ids.SIGNAL_TEMP)
    assert guard.enforce() == common.ERROR_APPLIANCE_IO
    assert washer._commands == washer.safe_state
    raises(OSError, guard.write, ids.ACTUATOR_HEATER, 1)


def test_actuator_that_does_not_answer_is_tried_again():
    washer, guard = guarded(water_ml=20000)
    guard.write(ids.ACTUATOR_DRUM_RPM, 45)
    washer.door_forced = True
    washer.dead_actuators.add(ids.ACTUATOR_DRUM_RPM)
    assert guard.enforce() == common.ERROR_APPLIANCE_IO
    assert not guard.safe()
    washer.dead_actuators.clear()
    assert guard.enforce() == common.ERROR_DOOR_OPEN
    assert washer._commands[ids.ACTUATOR_DRUM_RPM] == 0


def test_write_that_failed_half_way_is_looked_after_all_the_same():
    washer, guard = guarded(water_ml=20000)
    washer.dead_actuators.add(ids.ACTUATOR_HEATER)
    raises(OSError, guard.write, ids.ACTUATOR_HEATER, 1)
    washer.dead_actuators.clear()
    washer.write(ids.ACTUATOR_HEATER, 1)  # it did go on, only the answer was lost
    washer.water_ul = 0
    guard.enforce()
    assert washer._commands[ids.ACTUATOR_HEATER] == 0


def test_one_dead_actuator_does_not_keep_the_others_from_safety():
    for dead in Washer.safe_state:
        washer, guard = guarded(water_ml=20000)
        for actuator in (ids.ACTUATOR_DRUM_RPM, ids.ACTUATOR_INLET, ids.ACTUATOR_HEATER, ids.ACTUATOR_DRAIN):
            guard.write(actuator, 1)
        washer.dead_actuators.add(dead)
        assert not guard.safe()
        for actuator, value in washer.safe_state.items():
            assert actuator == dead or guard.value(actuator) == value


def test_interlocks_hold_under_random_writes():
    washer, guard = guarded()
    guard.unlock(ids.ACTUATOR_DRUM_RPM, 1400)
    state = 1
    moved = set()
    for _ in range(6000):
        state = (state * 1103515245 + 12345) % 2147483648
        actuator = state // 65536 % 5 + 1
        value = 1 if state // 4096 % 3 else 0
        if actuator == ids.ACTUATOR_DRUM_RPM:
            value *= (40, 150, 151, 1400, 2000)[state // 1000000 % 5]
        try:
            guard.write(actuator, value)
            moved.add((actuator, value))
        except GuardError:
            pass
        washer.step((250, 500, 3000, 11000)[state // 30000 % 4])
        guard.enforce()
        if not washer.door_locked:
            assert washer.drum_rpm == 0
            assert washer.water_ul < 3000000
            assert washer.temp_mc <= 40100
        if guard.value(ids.ACTUATOR_HEATER):
            assert washer.water_ul >= 2999000 and washer.temp_mc < 95000
        assert washer.temp_mc < 100000
        assert washer.drum_rpm <= 1400
        assert washer.spilled_ul == 0
    assert len(moved) >= 11  # the writes did go through where they may
