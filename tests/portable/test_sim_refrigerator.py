"""The simulated refrigerator as physics: balances are exact, magnitudes real, and time may come in any pieces."""

from evergrow_protocol import registry_refrigerator as ids
from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError
from evergrow_sim.appliances.catalogue import CLASSES, make
from evergrow_sim.appliances.refrigerator import Refrigerator
from scramble import Noise, scramble
from support import raises


def test_heat_is_only_moved():
    fridge = Refrigerator()
    heat_mj = fridge.heat_mj
    for dt_ms in scramble(fridge, 300, 1, lambda shut: fridge.act("door", shut)):
        fridge.step(dt_ms)
        assert fridge.heat_mj == heat_mj + fridge.leaked_mj + fridge.door_mj + fridge.inside_mj - fridge.pumped_mj
    assert fridge.door_mj > 0 and fridge.pumped_mj > 0 and fridge.inside_mj > 0 and fridge.door_openings > 10


def test_energy_is_the_sum_of_power_over_time():
    fridge = Refrigerator()
    used_mj = 0
    for dt_ms in scramble(fridge, 200, 2, lambda shut: fridge.act("door", shut)):
        for _ in range(dt_ms // 1000):
            fridge.step(1000)
            used_mj += fridge.read(ids.SIGNAL_POWER_W) * 1000
        assert fridge.energy_mj == used_mj
    assert fridge.read(ids.SIGNAL_ENERGY_WH) == used_mj // 3600000


def test_time_may_come_in_any_pieces():
    one, other = Refrigerator(Noise(3)), Refrigerator(Noise(3))
    for fridge in (one, other):
        fridge.write(ids.ACTUATOR_COMPRESSOR, 1)
        fridge.write(ids.ACTUATOR_FAN, 1)
    one.step(3600000)
    for piece in range(3600):
        other.step(700 if piece % 2 else 1300)
    for signal in one.signals:
        assert one.read(signal) == other.read(signal)


def test_an_open_door_warms_the_air_at_once_and_the_food_slowly():
    fridge = Refrigerator()
    before = fridge.read(ids.SIGNAL_FRIDGE_TEMP)
    fridge.act("door", 0)
    fridge.step(120000)
    assert fridge.read(ids.SIGNAL_FRIDGE_TEMP) > before + 30
    assert fridge.food.temp_mc < 5500
    assert fridge.read(ids.SIGNAL_DOOR_OPEN_S) == 120 and fridge.read(ids.SIGNAL_DOOR_CLOSED) == 0
    fridge.act("door", 1)
    assert fridge.read(ids.SIGNAL_DOOR_OPEN_S) == 0


def test_compressor_tells_how_long_it_must_rest_and_counts_who_does_not_wait():
    fridge = Refrigerator()
    assert fridge.read(ids.SIGNAL_COMPRESSOR_WAIT_S) == 300  # as nobody knows how long it was off
    fridge.step(300000)
    fridge.write(ids.ACTUATOR_COMPRESSOR, 1)
    fridge.step(60000)
    assert fridge.read(ids.SIGNAL_COMPRESSOR_S) == 60 and fridge.compressor.stalls == 0
    fridge.write(ids.ACTUATOR_COMPRESSOR, 0)
    fridge.step(100000)
    assert fridge.read(ids.SIGNAL_COMPRESSOR_WAIT_S) == 200
    fridge.write(ids.ACTUATOR_COMPRESSOR, 1)
    assert fridge.compressor.stalls == 1


def test_what_is_not_there_or_broken_is_a_typed_error():
    for name in CLASSES:
        appliance = make(name)
        assert raises(ProtocolError, appliance.read, 999).code == OUT_OF_RANGE
        assert raises(ProtocolError, appliance.write, 999, 1).code == OUT_OF_RANGE
        signal, actuator = appliance.signals[0], sorted(appliance.limits)[0]
        appliance.dead_signals.add(signal)
        appliance.dead_actuators.add(actuator)
        raises(OSError, appliance.read, signal)
        raises(OSError, appliance.write, actuator, 1)
        raises(ValueError, appliance.act, "dance", 1)
        assert "energy_wh" in appliance.counters()
        for signal in appliance.signals[1:]:
            assert isinstance(appliance.read(signal), int)
    raises(ValueError, make, "toaster")


def test_power_off_stops_everything():
    for name in CLASSES:
        appliance = make(name)
        appliance.step(400000)
        for actuator, (_, high) in appliance.limits.items():
            appliance.write(actuator, high)
        appliance.power_off()
        appliance.step(2000)
        before_wh = appliance.counters()["energy_wh"]
        appliance.step(600000)
        assert appliance.counters()["energy_wh"] - before_wh <= 1
