"""The simulated washer as physics: balances are exact, magnitudes are those of the real thing, time may come in any pieces."""

from evergrow_protocol import registry_washer as ids
from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError
from evergrow_sim.appliances.washer import Washer
from scramble import Noise
from support import raises


def drive(washer, **actuators):
    for name, value in actuators.items():
        washer.write(getattr(ids, f"ACTUATOR_{name.upper()}"), value)


def scramble(washer, steps, seed=1):
    """Random writes, as nobody guards them here; yields after each step."""
    noise = Noise(seed)
    for _ in range(steps):
        actuator, value, duration, _ = noise.bytes(4)
        actuator = actuator % 5 + 1
        washer.write(actuator, value % 2 * (1400 if actuator == ids.ACTUATOR_DRUM_RPM else 1))
        washer.step(duration * 100)
        yield


def test_water_and_heat_are_only_moved():
    washer = Washer()
    heat_mj = washer.heat_mj
    for _ in scramble(washer, 200):
        assert washer.water_in_ul == washer.water_ul + washer.absorbed_ul + washer.drained_ul + washer.spilled_ul
        assert washer.heat_mj == heat_mj + washer.heated_mj - washer.lost_mj + washer.carried_mj
        assert washer.water_ul >= 0 and washer.absorbed_ul >= 0
        assert washer.read(ids.SIGNAL_WATER_IN_ML) == washer.water_in_ul // 1000
    assert washer.drained_ul > 0 and washer.heated_mj > 0


def test_energy_is_the_sum_of_power_over_time():
    washer = Washer()
    energy_mj = 0
    drive(washer, inlet=1, heater=1, drum_rpm=45)
    for second in range(600):
        for _ in range(2):
            washer.step(500)
            energy_mj += washer.read(ids.SIGNAL_POWER_W) * 500
        if second == 120:
            drive(washer, inlet=0, drain=1)
    assert washer.energy_mj == energy_mj
    assert washer.read(ids.SIGNAL_ENERGY_WH) == energy_mj // 3600000


def test_time_may_come_in_any_pieces():
    states = []
    for pieces, count in (((1800000,), 1), ((1000,), 1800), ((7, 993), 1800), ((249, 151), 4500)):
        washer = Washer()
        drive(washer, inlet=1, drum_rpm=400, heater=1)
        for _ in range(count):
            for dt_ms in pieces:
                washer.step(dt_ms)
        states.append((washer.water_ul, washer.heat_mj, washer.energy_mj, washer.drum_rpm))
    for state in states:
        assert state == states[0]


def test_hours_in_one_step_are_stable():
    washer = Washer()
    washer.water_ul = 10000000
    washer.heat_mj = 60 * washer._capacity()
    washer.step(5 * 3600000)
    assert 36000 < washer.temp_mc < 44000  # about 100 W lost at 60 degC
    assert washer.power_w == 2


def test_two_kilowatts_heat_ten_litres_by_about_two_degrees_a_minute():
    washer = Washer()
    washer.water_ul = 10000000
    washer.absorbed_ul = 7500000
    washer.heat_mj = 20 * washer._capacity()
    drive(washer, heater=1)
    washer.step(10 * 60000)
    rise_mc = washer.temp_mc - 20000
    assert 12500 < rise_mc < 14500, rise_mc
    assert washer.heated_mj == 2000 * 600 * 1000


def test_fill_and_drain_take_about_what_they_take():
    washer = Washer(load_g=0)
    drive(washer, inlet=1)
    washer.step(60000)
    assert washer.water_ul == 9000000
    drive(washer, inlet=0, drain=1)
    washer.step(36000)
    assert washer.water_ul == 0 and washer.drained_ul == 9000000


def test_laundry_soaks_water_up_and_gives_it_back_when_spun():
    washer = Washer(load_g=5000)
    drive(washer, inlet=1)
    washer.step(120000)
    drive(washer, inlet=0)
    washer.step(300000)
    assert 7400000 < washer.absorbed_ul <= 7500000
    held = []
    for rpm in (400, 1000, 1400):
        drive(washer, drain=1, drum_rpm=rpm)
        washer.step(600000)
        held.append(washer.absorbed_ul // 50000)
    assert held == [95, 55, 48], held


def test_drum_takes_time_and_more_of_it_out_of_balance():
    times = []
    for imbalance_g in (0, 500):
        washer = Washer()
        washer.imbalance_g = imbalance_g
        drive(washer, drum_rpm=1000)
        passed_ms = 0
        while washer.drum_rpm < 1000:
            washer.step(500)
            passed_ms += 500
        times.append(passed_ms)
    assert 20000 <= times[0] < 30000 and times[1] > times[0]


def test_drum_never_passes_what_the_hardware_can_do():
    washer = Washer()
    drive(washer, drum_rpm=5000)
    washer.step(120000)
    assert washer.drum_rpm == 1400
    drive(washer, drum_rpm=0)
    washer.step(30000)
    assert washer.drum_rpm == 0


def test_bolt_takes_its_time_and_needs_a_shut_door():
    washer = Washer()
    drive(washer, door_lock=1)
    washer.step(1000)
    assert washer.read(ids.SIGNAL_DOOR_LOCKED) == 0
    washer.step(1000)
    assert washer.read(ids.SIGNAL_DOOR_LOCKED) == 1 and not washer.open_door()
    drive(washer, door_lock=0)
    assert washer.read(ids.SIGNAL_DOOR_LOCKED) == 0  # about to be withdrawn
    washer.step(2000)
    assert washer.open_door() and washer.read(ids.SIGNAL_DOOR_CLOSED) == 0
    drive(washer, door_lock=1)
    washer.step(5000)
    assert washer.read(ids.SIGNAL_DOOR_LOCKED) == 0
    washer.close_door()
    washer.step(5000)
    assert washer.read(ids.SIGNAL_DOOR_LOCKED) == 1


def test_same_seed_gives_the_same_noise_and_reading_changes_nothing():
    readings = []
    for reads in (1, 3):
        washer = Washer(Noise(7))
        drive(washer, inlet=1, heater=1, drum_rpm=45)
        seen = []
        for _ in range(100):
            washer.step(1000)
            for _ in range(reads):
                last = [washer.read(signal) for signal in washer.signals]
            seen.append(last)
        readings.append(seen)
    assert readings[0] == readings[1]
    assert Noise(7).bytes(9) != Noise(8).bytes(9)


def test_noise_is_small_and_spares_the_counters():
    washer, ideal = Washer(Noise(3)), Washer()
    noisy = set()
    for _ in range(300):
        for one in (washer, ideal):
            drive(one, inlet=1, heater=1, drum_rpm=45)
            one.step(1000)
        assert abs(washer.read(ids.SIGNAL_TEMP) - ideal.read(ids.SIGNAL_TEMP)) <= 3
        assert abs(washer.read(ids.SIGNAL_WATER_ML) - ideal.read(ids.SIGNAL_WATER_ML)) <= 32
        noisy.add(washer.read(ids.SIGNAL_WATER_ML) - ideal.read(ids.SIGNAL_WATER_ML))
        for counter in (ids.SIGNAL_ENERGY_WH, ids.SIGNAL_WATER_IN_ML, ids.SIGNAL_DRUM_RPM):
            assert washer.read(counter) == ideal.read(counter)
    assert len(noisy) > 20


def test_faults_do_what_they_say():
    washer = Washer()
    washer.inlet_blocked = washer.heater_dead = washer.drain_blocked = True
    washer.water_ul = 9000000
    washer.heat_mj = 21 * washer._capacity()
    washer.absorbed_ul = 7500000
    drive(washer, inlet=1, heater=1, drain=1)
    washer.step(600000)
    assert washer.water_in_ul == 0 and washer.heated_mj == 0 and washer.drained_ul == 0


def test_thermal_fuse_ends_a_heater_that_runs_dry():
    washer = Washer(load_g=1000)
    washer.heater_stuck = True
    washer.step(3600000)
    assert washer.heater_dead and washer.temp_mc < 112000


def test_tub_overflows_only_above_its_rim_and_an_open_door():
    for opened, rim_ml in ((False, 40000), (True, 12000)):
        washer = Washer(load_g=0)
        washer.door_closed = not opened
        drive(washer, inlet=1)
        washer.step(600000)
        assert washer.water_ul == rim_ml * 1000
        assert washer.spilled_ul == washer.water_in_ul - washer.water_ul


def test_power_cut_drops_everything_but_the_bolt():
    washer = Washer()
    drive(washer, door_lock=1, inlet=1, heater=1, drum_rpm=45)
    washer.step(60000)
    energy_mj = washer.energy_mj
    washer.power_off()
    washer.step(60000)
    assert washer.door_locked and washer.drum_rpm == 0
    assert washer.energy_mj - energy_mj == 2 * 60000
    assert washer.read(ids.SIGNAL_ENERGY_WH) == washer.energy_mj // 3600000


def test_unknown_ids_are_typed_errors():
    washer = Washer()
    assert raises(ProtocolError, washer.read, ids.SIGNAL_PHASE).code == OUT_OF_RANGE
    assert raises(ProtocolError, washer.write, 99, 1).code == OUT_OF_RANGE


def test_broken_parts_are_os_errors():
    washer = Washer()
    washer.dead_signals.add(ids.SIGNAL_TEMP)
    washer.dead_actuators.add(ids.ACTUATOR_INLET)
    raises(OSError, washer.read, ids.SIGNAL_TEMP)
    raises(OSError, washer.write, ids.ACTUATOR_INLET, 1)


def test_a_washer_at_rest_ends_where_one_ends_that_is_stepped_finely():
    """Steps of a rest are taken together: heat, energy and the noise of sensors are the same."""

    coarse, fine = Washer(Noise(5)), Washer(Noise(5))
    for washer in (coarse, fine):
        washer.heat_mj += 50_000_000
    for dt_ms in (700, 5000, 300, 60_000, 1250, 5000, 500):
        coarse.step(dt_ms)
        for _ in range(dt_ms // 50):
            fine.step(50)
        assert (coarse.heat_mj, coarse.lost_mj, coarse.energy_mj) == (fine.heat_mj, fine.lost_mj, fine.energy_mj)
        assert [coarse.read(signal) for signal in coarse.signals] == [fine.read(signal) for signal in fine.signals]
    assert coarse.lost_mj > 0
