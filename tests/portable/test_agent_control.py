"""Base control: a refrigerator and an air conditioner hold their set points, safely, whatever is asked and whatever breaks."""

from evergrow_agent.control import free
from evergrow_agent.guard import Guard, GuardError
from evergrow_agent.programme import Programme, ProgrammeError
from evergrow_agent.runner import IDLE, RUNNING, Runner
from evergrow_protocol import registry_air_conditioner as ac
from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_refrigerator as ids
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import OUT_OF_RANGE
from evergrow_sim.appliances.air_conditioner import AirConditioner
from evergrow_sim.appliances.refrigerator import Refrigerator
from scramble import Noise
from support import raises

HOUR_S = 3600


class Bench:
    def __init__(self, appliance, programme=None):
        self.appliance = appliance
        self.now_ms = 0
        self.boot()
        if programme is not None:
            self.start(programme)

    def boot(self):
        self.guard = Guard(self.appliance)
        self.runner = Runner(self.guard)
        self.runner.tick(self.now_ms)

    def start(self, programme):
        data = self.appliance.programmes.get(programme) if isinstance(programme, int) else programme
        self.runner.start(Programme(data, self.appliance.signals, self.guard.free), self.now_ms)

    def run(self, seconds, tick_s=2):
        for _ in range(seconds // tick_s):
            self.now_ms += 1000 * tick_s
            self.appliance.step(1000 * tick_s)
            self.runner.tick(self.now_ms)

    def range(self, signal, seconds):
        low, high = 9999, -9999
        for _ in range(seconds // 60):
            self.run(60)
            value = self.appliance.read(signal)
            low, high = min(low, value), max(high, value)
        return low, high


def test_refrigerator_holds_both_set_points_for_a_day_at_the_power_of_a_real_one():
    bench = Bench(Refrigerator(Noise(1)), ids.PROGRAMME_FRIDGE_NORMAL)
    bench.run(4 * HOUR_S)
    fridge = bench.range(ids.SIGNAL_FRIDGE_TEMP, 10 * HOUR_S)
    assert fridge[0] >= 35 and fridge[1] <= 56
    assert bench.appliance.read(ids.SIGNAL_FREEZER_TEMP) <= -155
    bench.run(10 * HOUR_S)
    assert 600 < bench.appliance.read(ids.SIGNAL_ENERGY_WH) < 1000  # 220 to 360 kWh a year
    assert bench.appliance.compressor.stalls == 0
    assert bench.runner.state == RUNNING and bench.runner.error == 0


def test_base_control_needs_no_programme():
    """EG-USE-024: the base function goes on when nothing runs."""
    bench = Bench(Refrigerator())
    bench.run(6 * HOUR_S)
    assert bench.runner.state == IDLE
    assert 30 <= bench.appliance.read(ids.SIGNAL_FRIDGE_TEMP) <= 55
    assert bench.appliance.read(ids.SIGNAL_FREEZER_TEMP) <= -155


def test_programme_may_not_name_what_the_base_control_drives():
    """EG-USE-024"""
    appliance = Refrigerator()
    assert ids.ACTUATOR_COMPRESSOR not in free(appliance) and ids.ACTUATOR_FRIDGE_SET in free(appliance)
    for actuator in (ids.ACTUATOR_COMPRESSOR, ids.ACTUATOR_FAN):
        greedy = dumps([1001, [{0: 8, 1: {actuator: 0}, 4: 60, 5: 90}]])
        error = raises(ProgrammeError, Programme, greedy, appliance.signals, free(appliance))
        assert error.code == OUT_OF_RANGE


def test_no_set_point_leaves_what_is_safe_for_food():
    """The limits of the set points are limits for a person and for a feature alike."""
    warm = dumps([1001, [{0: 8, 1: {ids.ACTUATOR_FRIDGE_SET: 150, ids.ACTUATOR_FREEZER_SET: 0}, 4: 14000, 5: 14400}], {1: 86400}])
    bench = Bench(Refrigerator(), warm)
    assert bench.guard.preset(ids.ACTUATOR_FRIDGE_SET, 200) == 80
    bench.run(14 * HOUR_S)
    assert bench.guard.value(ids.ACTUATOR_FRIDGE_SET) == 80 and bench.guard.value(ids.ACTUATOR_FREEZER_SET) == -160
    assert bench.appliance.food.temp_mc < 9000 and bench.appliance.freezer.temp_mc < -13500


def test_dial_is_obeyed_unless_a_programme_sets_the_point_itself():
    bench = Bench(Refrigerator(), ids.PROGRAMME_FRIDGE_NORMAL)
    bench.run(10)
    assert raises(GuardError, bench.guard.preset, ids.ACTUATOR_COMPRESSOR, 1).code == OUT_OF_RANGE
    assert bench.guard.preset(ids.ACTUATOR_FRIDGE_SET, 60) == 60
    assert bench.guard.value(ids.ACTUATOR_FRIDGE_SET) == 60
    bench.start(ids.PROGRAMME_SUPER_COOL)
    bench.run(10)
    assert bench.guard.value(ids.ACTUATOR_FRIDGE_SET) == 20
    bench.guard.preset(ids.ACTUATOR_FRIDGE_SET, 70)
    assert bench.guard.value(ids.ACTUATOR_FRIDGE_SET) == 20
    bench.runner.stop(bench.now_ms)
    bench.run(10)
    assert bench.runner.state == IDLE and bench.guard.value(ids.ACTUATOR_FRIDGE_SET) == 70


def test_change_of_programme_does_not_stop_the_compressor():
    bench = Bench(Refrigerator(freezer_mc=-10000), ids.PROGRAMME_FRIDGE_NORMAL)
    bench.run(HOUR_S)
    assert bench.appliance.compressor.on
    for programme in (ids.PROGRAMME_SUPER_FREEZE,):
        bench.start(programme)
        for _ in range(10):
            bench.run(2)
            assert bench.appliance.compressor.on
    bench.runner.stop(bench.now_ms)
    for _ in range(10):
        bench.run(2)
        assert bench.appliance.compressor.on
    assert bench.guard.trips == 0


def test_without_its_sensor_the_compressor_runs_by_the_clock():
    bench = Bench(Refrigerator(), ids.PROGRAMME_FRIDGE_NORMAL)
    bench.appliance.dead_signals.update((ids.SIGNAL_FREEZER_TEMP, ids.SIGNAL_FRIDGE_TEMP))
    bench.run(24 * HOUR_S)
    assert bench.runner.state == RUNNING
    assert bench.appliance.compressor.stalls == 0
    assert 9 * HOUR_S < bench.appliance.read(ids.SIGNAL_COMPRESSOR_S) < 13 * HOUR_S
    assert bench.appliance.freezer.temp_mc < -12000 and -2000 < bench.appliance.food.temp_mc < 9000


def test_actuator_that_failed_is_written_again():
    bench = Bench(Refrigerator(freezer_mc=-10000))
    bench.appliance.dead_actuators.add(ids.ACTUATOR_COMPRESSOR)
    bench.run(HOUR_S)
    assert not bench.appliance.compressor.on
    bench.appliance.dead_actuators.clear()
    bench.run(10)
    assert bench.appliance.compressor.on


def wild(bench, signals, opening, seed, minutes):
    """Random writes to every actuator through the guard, random presets, doors, broken sensors; yields every 30 s."""
    noise = Noise(seed)
    actuators = sorted(bench.appliance.limits)
    for _ in range(2 * minutes):
        which, value, kind, more = noise.bytes(4)
        actuator = actuators[which % len(actuators)]
        wanted = value * 256 + more - 32768 if kind % 3 else value % 4
        try:
            (bench.guard.preset if kind % 7 == 0 else bench.guard.write)(actuator, wanted)
        except (GuardError, OSError):
            pass
        if kind < 40:
            bench.appliance.act(opening, kind % 2)
        if kind > 250:
            bench.appliance.dead_signals.add(signals[which % len(signals)])
        elif kind > 230:
            bench.appliance.dead_signals.clear()
        if kind == 200:
            bench.appliance.power_off()
            bench.boot()
        for _ in range(15):
            bench.run(2)
            yield


def test_refrigerator_stays_safe_under_random_commands():
    for seed in range(4):
        bench = Bench(Refrigerator(Noise(seed)), ids.PROGRAMME_FRIDGE_NORMAL)
        appliance = bench.appliance
        signals = (ids.SIGNAL_FRIDGE_TEMP, ids.SIGNAL_FREEZER_TEMP, ids.SIGNAL_ROOM_TEMP)
        for _ in wild(bench, signals, "door", seed, 240):
            assert appliance.compressor.stalls == 0
            for actuator, (low, high) in appliance.limits.items():
                if actuator not in (ids.ACTUATOR_COMPRESSOR, ids.ACTUATOR_FAN):
                    assert low <= bench.guard.value(actuator) <= high
        appliance.dead_signals.clear()
        appliance.act("door", 1)
        appliance.safe_state.update(Refrigerator.safe_state)
        for actuator in (ids.ACTUATOR_FRIDGE_SET, ids.ACTUATOR_FREEZER_SET):
            bench.guard.write(actuator, Refrigerator.safe_state[actuator])
        bench.run(24 * HOUR_S)
        assert appliance.read(ids.SIGNAL_FRIDGE_TEMP) <= 60, seed
        assert appliance.read(ids.SIGNAL_FREEZER_TEMP) <= -150, seed


def test_air_conditioner_stays_safe_under_random_commands():
    for seed in range(4):
        bench = Bench(AirConditioner(Noise(seed)), ac.PROGRAMME_CLIMATE_COOL)
        appliance = bench.appliance
        signals = (ac.SIGNAL_ROOM_TEMP, ac.SIGNAL_OUTDOOR_TEMP, ac.SIGNAL_COIL_TEMP, ac.SIGNAL_COMPRESSOR_WAIT_S)
        without_air = 0
        for _ in wild(bench, signals, "window", seed, 240):
            assert appliance.compressor.stalls == 0
            airless = appliance.compressor.on and bench.guard.value(ac.ACTUATOR_FAN) == 0
            without_air = without_air + 1 if airless else 0
            assert without_air <= 1  # the next tick sees to it
            assert appliance.coil.temp_mc > -3000


def test_air_conditioner_cools_while_its_mode_says_so():
    bench = Bench(AirConditioner(room_mc=30000), ac.PROGRAMME_CLIMATE_COOL)
    bench.run(6 * HOUR_S)
    assert 235 <= bench.appliance.read(ac.SIGNAL_ROOM_TEMP) <= 248
    ran_s = bench.appliance.read(ac.SIGNAL_COMPRESSOR_S)
    assert ran_s > 0
    bench.start(ac.PROGRAMME_CLIMATE_FAN)
    bench.run(2 * HOUR_S)
    assert bench.appliance.read(ac.SIGNAL_COMPRESSOR_S) <= ran_s + 2
    bench.runner.stop(bench.now_ms)
    bench.run(10)
    assert bench.runner.state == IDLE and bench.guard.value(ac.ACTUATOR_FAN) == 0
    assert bench.runner.outcome == common.OUTCOME_STOPPED


def test_drying_takes_more_water_out_than_cooling():
    dried = []
    for programme in (ac.PROGRAMME_CLIMATE_DRY, ac.PROGRAMME_CLIMATE_COOL):
        bench = Bench(AirConditioner(room_mc=26000), programme)
        bench.run(4 * HOUR_S)
        dried.append(bench.appliance.condensed_mg)
    assert dried[0] > dried[1]
