"""An air conditioner and its room as physics: walls, a window, the weather of a summer's day, damp air. An `appliance` port.

    outdoors --walls--> walls <--> room <--window-- outdoors      room <-- fan --> evaporator --compressor--> outdoors

All heat (mJ) and all water in the air (mg) is only ever moved, so that both balances are exact for every pattern of steps.
Magnitudes are those of a 2.5 kW split unit in a room of 20 m2.
"""

from evergrow_protocol import registry_air_conditioner as ids
from evergrow_protocol import registry_common as common
from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError
from evergrow_sim.appliances.air_conditioner_programmes import ENDING, PROGRAMMES
from evergrow_sim.appliances.compressor import Compressor
from evergrow_sim.appliances.heat import Body, exchange, flow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUB_STEP_MS = 1000
_DAY_MS = 86400000
_WALL_OUT = 30000  # mW per K
_WALL_ROOM = 80000
_DRAUGHT = 20000
_WINDOW = 300000  # more of it, wide open: 900 m3 of air in an hour
_COIL = (5000, 90000, 150000, 220000)  # by step of the fan
_FAN_W = (0, 20, 35, 60)
_COOLING_W = 2500
_COMPRESSOR_W = 800
_VOLUME_M3 = 50
_AIR_MJ_PER_K_M3 = 1200000  # mJ per K and m3

# Outdoors by the hour from midnight, in degC.
_DAY = (23, 22, 22, 21, 21, 21, 22, 23, 25, 27, 29, 30, 31, 32, 33, 33, 33, 32, 31, 29, 27, 26, 25, 24)
# The most water that air can hold at 0, 2, 4 ... 50 degC, in mg per m3.
_SATURATED = (
    4850, 5570, 6370, 7280, 8280, 9410, 10670, 12080, 13640, 15370, 17300, 19430, 21780, 24380, 27240,
    30370, 33820, 37580, 41680, 46140, 51000, 56300, 62000, 68300, 75000, 82300,
)  # fmt: skip

_GE = 0
_LE = 1


class AirConditioner:
    """The appliance port of an air conditioner. Faults and conditions are plain attributes that a test or a fault plan may set.

    `random`: None for ideal sensors, or an object with `bytes(n)`, from which sensor noise is drawn once a second.
    """

    class_id = ids.CLASS_ID
    signals = (
        ids.SIGNAL_POWER_W,
        ids.SIGNAL_ENERGY_WH,
        ids.SIGNAL_ROOM_TEMP,
        ids.SIGNAL_OUTDOOR_TEMP,
        ids.SIGNAL_HUMIDITY,
        ids.SIGNAL_COMPRESSOR_WAIT_S,
        ids.SIGNAL_COIL_TEMP,
        ids.SIGNAL_COMPRESSOR_S,
    )
    limits = {
        ids.ACTUATOR_COMPRESSOR: (0, 1),
        ids.ACTUATOR_FAN: (0, 3),
        ids.ACTUATOR_BUZZER: (0, 1),
        ids.ACTUATOR_CLIMATE_MODE: (0, 3),
        ids.ACTUATOR_ROOM_SET: (160, 320),
    }
    unlockable: "dict[int, int]" = {}
    safe_state = {
        ids.ACTUATOR_COMPRESSOR: 0,
        ids.ACTUATOR_FAN: 0,
        ids.ACTUATOR_BUZZER: 0,
        ids.ACTUATOR_CLIMATE_MODE: 0,
        ids.ACTUATOR_ROOM_SET: 240,
    }
    rest_state: "dict[int, int]" = {}
    control = (
        (ids.ACTUATOR_COMPRESSOR, ids.SIGNAL_ROOM_TEMP, ids.ACTUATOR_ROOM_SET, -5, ids.ACTUATOR_CLIMATE_MODE, 1, 2, 0, 0),
    )
    interlocks = (
        # Pressure must even out, air must pass over the evaporator, and no ice may grow on it.
        (ids.ACTUATOR_COMPRESSOR, 1, 1, ids.SIGNAL_COMPRESSOR_WAIT_S, _GE, 1, common.ERROR_NONE),
        (ids.ACTUATOR_COMPRESSOR, 1, 1, -ids.ACTUATOR_FAN, _LE, 0, common.ERROR_NONE),
        (ids.ACTUATOR_COMPRESSOR, 1, 1, ids.SIGNAL_COIL_TEMP, _LE, 0, common.ERROR_NONE),
    )
    meters = (
        (common.USAGE_ENERGY_WH, ids.SIGNAL_ENERGY_WH, 0),
        (common.USAGE_COMPRESSOR_S, ids.SIGNAL_COMPRESSOR_S, 0),
        (common.USAGE_ROOM_MAX, ids.SIGNAL_ROOM_TEMP, 1),
    )
    programmes = PROGRAMMES
    ending = ENDING
    dials = {"room": ids.ACTUATOR_ROOM_SET}

    def __init__(self, random: "Any" = None, room_mc: int = 27000, hour: int = 12) -> None:
        self._random = random
        self._noise = b"\x80\x80"
        self._carry_ms = 0
        self._commands = dict.fromkeys(self.limits, 0)
        self.safe_state = dict(self.safe_state)  # its own: a person turns the dials
        self.time_ms = hour * 3600000  # of the day
        self.people_w = 150
        self.remote_enable = True  # Nothing that it does is a hazard.
        self.window_open = False
        self.dead_signals: "set[int]" = set()  # sensors that raise OSError
        self.dead_actuators: "set[int]" = set()  # actuators that raise OSError and keep doing what they did

        self.room = Body(400000000, room_mc)
        self.walls = Body(4000000000, 26000)
        self.coil = Body(8000000, room_mc)
        self.compressor = Compressor(180000)
        self.water_mg = _VOLUME_M3 * 13000  # in the air of the room
        self.power_w = 2
        self.energy_mj = 0
        self.gained_mj = 0  # from outdoors
        self.people_mj = 0
        self.pumped_mj = 0  # out, by the compressor
        self.damp_mg = 0  # brought in by air, less taken out by it
        self.condensed_mg = 0

    @property
    def heat_mj(self) -> int:
        """All the heat that is in room, walls and evaporator."""
        return self.room.heat_mj + self.walls.heat_mj + self.coil.heat_mj

    @property
    def outdoor_mc(self) -> int:
        hour, rest_ms = divmod(self.time_ms % _DAY_MS, 3600000)
        now, later = _DAY[hour] * 1000, _DAY[(hour + 1) % 24] * 1000
        return now + (later - now) * (rest_ms // 1000) // 3600

    @property
    def humidity(self) -> int:
        """Relative humidity in tenths of a percent."""
        return min(1000, self.water_mg * 1000 // (_VOLUME_M3 * saturated(self.room.temp_mc)))

    def read(self, signal: int) -> int:
        """The sensor or counter `signal`, in the units of the registry. OSError if it is broken, code 5 if there is none."""
        if signal in self.dead_signals:
            raise OSError(5)
        if signal == ids.SIGNAL_ROOM_TEMP:
            return self.room.temp_mc // 100 + (self._noise[0] - 128) // 60
        if signal == ids.SIGNAL_COMPRESSOR_WAIT_S:
            return self.compressor.wait_s
        if signal == ids.SIGNAL_COIL_TEMP:
            return self.coil.temp_mc // 100
        if signal == ids.SIGNAL_OUTDOOR_TEMP:
            return self.outdoor_mc // 100 + (self._noise[1] - 128) // 60
        if signal == ids.SIGNAL_HUMIDITY:
            return self.humidity
        if signal == ids.SIGNAL_POWER_W:
            return self.power_w
        if signal == ids.SIGNAL_ENERGY_WH:
            return self.energy_mj // 3600000
        if signal == ids.SIGNAL_COMPRESSOR_S:
            return self.compressor.run_ms // 1000
        raise ProtocolError(OUT_OF_RANGE, f"an air conditioner has no signal {signal}")

    def write(self, actuator: int, value: int) -> None:
        """Command an actuator. OSError if it is broken, code 5 if there is none."""
        if actuator not in self._commands:
            raise ProtocolError(OUT_OF_RANGE, f"an air conditioner has no actuator {actuator}")
        if actuator in self.dead_actuators:
            raise OSError(5)
        self._commands[actuator] = value
        if actuator == ids.ACTUATOR_COMPRESSOR:
            self.compressor.command(value > 0)

    def act(self, word: str, number: int) -> None:
        """What a person does: `window 1` opens it, `people 3` come in."""
        if word == "window":
            self.window_open = bool(number)
        elif word == "people":
            self.people_w = 75 * number
        else:
            raise ValueError(f"an air conditioner has no {word!r}, only window and people")

    def counters(self) -> "dict[str, int]":
        return {"energy_wh": self.energy_mj // 3600000}

    def power_off(self) -> None:
        """The mains fail: all stops; the protection timer begins anew when power returns."""
        for actuator in self._commands:
            self._commands[actuator] = 0
        self.compressor.command(False)

    def step(self, dt_ms: int) -> None:
        """Let `dt_ms` pass."""
        self._carry_ms += dt_ms
        while self._carry_ms >= _SUB_STEP_MS:
            self._carry_ms -= _SUB_STEP_MS
            self._sub_step(_SUB_STEP_MS)

    def _sub_step(self, dt_ms: int) -> None:
        if self._random is not None:
            self._noise = self._random.bytes(2)
        self.time_ms += dt_ms
        fan = min(max(self._commands[ids.ACTUATOR_FAN], 0), 3)
        room, coil, outdoor_mc = self.room, self.coil, self.outdoor_mc
        air_mw_per_k = _DRAUGHT + (_WINDOW if self.window_open else 0)

        through = flow(outdoor_mc, room.temp_mc, air_mw_per_k, dt_ms)
        room.heat_mj += through + self.people_w * dt_ms
        self.people_mj += self.people_w * dt_ms
        warmed = flow(outdoor_mc, self.walls.temp_mc, _WALL_OUT, dt_ms)
        self.walls.heat_mj += warmed
        self.gained_mj += through + warmed
        exchange(self.walls, room, _WALL_ROOM, dt_ms)
        exchange(room, coil, _COIL[fan], dt_ms)
        self._move_water(air_mw_per_k, fan, dt_ms)

        power_w = 2 + _FAN_W[fan]
        if self.compressor.on:
            coil.heat_mj -= _COOLING_W * dt_ms
            self.pumped_mj += _COOLING_W * dt_ms
            power_w += _COMPRESSOR_W
        self.compressor.step(dt_ms)
        self.power_w = power_w
        self.energy_mj += power_w * dt_ms

    def _move_water(self, air_mw_per_k: int, fan: int, dt_ms: int) -> None:
        """Air brings damp in (outdoors has 60 % humidity at 24 degC), and leaves it on an evaporator below the dew point."""
        density = self.water_mg // _VOLUME_M3
        moved = (13000 - density) * air_mw_per_k // (_AIR_MJ_PER_K_M3 // 1000) * dt_ms // 1000000
        self.water_mg += moved
        self.damp_mg += moved
        over = density - saturated(self.coil.temp_mc)
        if fan and over > 0:
            condensed = over * _COIL[fan] // (_AIR_MJ_PER_K_M3 // 1000) * dt_ms // 2000000
            self.water_mg -= condensed
            self.condensed_mg += condensed


def saturated(temp_mc: int) -> int:
    """The most water that air can hold at a temperature, in mg per m3, from the table; its ends hold beyond it."""
    temp_mc = min(max(temp_mc, 0), 49999)
    at, rest_mc = divmod(temp_mc, 2000)
    return _SATURATED[at] + (_SATURATED[at + 1] - _SATURATED[at]) * rest_mc // 2000
