"""The simulated air conditioner and its room as physics: heat and water are only moved, the window and the weather matter."""

from evergrow_protocol import registry_air_conditioner as ids
from evergrow_sim.appliances.air_conditioner import AirConditioner, saturated
from scramble import Noise, scramble


def test_heat_and_water_are_only_moved():
    climate = AirConditioner()
    heat_mj, water_mg = climate.heat_mj, climate.water_mg
    for dt_ms in scramble(climate, 300, 1, lambda open_: climate.act("window", open_)):
        climate.step(dt_ms)
        assert climate.heat_mj == heat_mj + climate.gained_mj + climate.people_mj - climate.pumped_mj
        assert climate.water_mg == water_mg + climate.damp_mg - climate.condensed_mg > 0
        assert 0 <= climate.humidity <= 1000
    assert climate.pumped_mj > 0 and climate.condensed_mg > 0


def test_energy_is_the_sum_of_power_over_time():
    climate = AirConditioner()
    used_mj = 0
    for dt_ms in scramble(climate, 200, 2, lambda open_: climate.act("window", open_)):
        for _ in range(dt_ms // 1000):
            climate.step(1000)
            used_mj += climate.read(ids.SIGNAL_POWER_W) * 1000
        assert climate.energy_mj == used_mj


def test_time_may_come_in_any_pieces():
    one, other = AirConditioner(Noise(3)), AirConditioner(Noise(3))
    for climate in (one, other):
        climate.write(ids.ACTUATOR_FAN, 2)
        climate.write(ids.ACTUATOR_COMPRESSOR, 1)
    one.step(3600000)
    for piece in range(3600):
        other.step(700 if piece % 2 else 1300)
    for signal in one.signals:
        assert one.read(signal) == other.read(signal)


def test_weather_of_a_day():
    climate = AirConditioner(hour=0)
    warmest, coldest = -1000, 1000
    for _ in range(48):
        climate.step(1800000)
        outdoor = climate.read(ids.SIGNAL_OUTDOOR_TEMP)
        warmest, coldest = max(warmest, outdoor), min(coldest, outdoor)
    assert (coldest, warmest) == (210, 330)
    assert climate.outdoor_mc == AirConditioner(hour=0).outdoor_mc


def test_an_open_window_shows_in_the_room_within_minutes():
    """What the feature `open-window` looks for: a room that warms while it is cooled."""
    rooms = []
    for open_ in (0, 1):
        climate = AirConditioner(room_mc=22000, hour=15)
        climate.act("window", open_)
        climate.write(ids.ACTUATOR_FAN, 2)
        climate.step(180000)
        climate.write(ids.ACTUATOR_COMPRESSOR, 1)
        climate.step(600000)
        rooms.append(climate.read(ids.SIGNAL_ROOM_TEMP))
    assert rooms[1] > rooms[0] + 15


def test_little_air_freezes_the_evaporator_and_dries_better():
    slow, fast = AirConditioner(), AirConditioner()
    for climate, fan in ((slow, 1), (fast, 3)):
        climate.write(ids.ACTUATOR_FAN, fan)
        climate.step(180000)
        climate.write(ids.ACTUATOR_COMPRESSOR, 1)
        climate.step(900000)
    assert slow.read(ids.SIGNAL_COIL_TEMP) < 0 < fast.read(ids.SIGNAL_COIL_TEMP)
    assert slow.condensed_mg > fast.condensed_mg > 0


def test_saturation_is_the_table_and_straight_between():
    assert saturated(20000) == 17300 and saturated(21000) == (17300 + 19430) // 2
    assert saturated(-30000) == 4850 and saturated(90000) == saturated(50000)
