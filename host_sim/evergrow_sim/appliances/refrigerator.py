"""A refrigerator as physics: two compartments, one compressor, a fan that takes the cold to the fridge. An `appliance` port.

    room --walls--> fridge air <--> food      evaporator <--> freezer <--walls-- room
    room --door---> fridge air <--- fan ----> evaporator --compressor--> out

All heat (mJ) is only ever moved, so that the balance is exact for every pattern of steps. Magnitudes are those of a 300 l
fridge-freezer: 50 W of losses at 22 degC, 110 W of cooling for 70 W, about 290 kWh a year.
"""

from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_refrigerator as ids
from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError
from evergrow_sim.appliances.compressor import Compressor
from evergrow_sim.appliances.heat import Body, exchange, flow
from evergrow_sim.appliances.refrigerator_programmes import ENDING, PROGRAMMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUB_STEP_MS = 1000
_FRIDGE_WALL = 1200  # mW per K
_FREEZER_WALL = 700
_DOOR = 9000  # air that changes places while the door is open
_SPILL_MJ = 120000  # per K: air that falls out when it is opened
_AIR_FOOD = 10000
_COIL_FREEZER = 12000
_COIL_FRIDGE = 2500  # while the fan runs
_COOLING_W = 110
_COMPRESSOR_W = 70
_FAN_W = 3
_LAMP_W = 5

_GE = 0
_LE = 1


class Refrigerator:
    """The appliance port of a refrigerator. Faults and conditions are plain attributes that a test or a fault plan may set.

    `random`: None for ideal sensors, or an object with `bytes(n)`, from which sensor noise is drawn once a second.
    """

    class_id = ids.CLASS_ID
    signals = (
        ids.SIGNAL_POWER_W,
        ids.SIGNAL_DOOR_CLOSED,
        ids.SIGNAL_ENERGY_WH,
        ids.SIGNAL_FRIDGE_TEMP,
        ids.SIGNAL_FREEZER_TEMP,
        ids.SIGNAL_ROOM_TEMP,
        ids.SIGNAL_COMPRESSOR_WAIT_S,
        ids.SIGNAL_DOOR_OPEN_S,
        ids.SIGNAL_COIL_TEMP,
        ids.SIGNAL_COMPRESSOR_S,
        ids.SIGNAL_DOOR_OPENINGS,
    )
    # Food is safe up to 8 degC, and for months at -16: nobody sets it warmer, no person and no feature.
    limits = {
        ids.ACTUATOR_COMPRESSOR: (0, 1),
        ids.ACTUATOR_FAN: (0, 1),
        ids.ACTUATOR_FRIDGE_SET: (10, 80),
        ids.ACTUATOR_FREEZER_SET: (-280, -160),
        ids.ACTUATOR_LIGHT: (0, 1),
        ids.ACTUATOR_BUZZER: (0, 1),
    }
    unlockable: "dict[int, int]" = {}
    safe_state = {
        ids.ACTUATOR_COMPRESSOR: 0,
        ids.ACTUATOR_FAN: 0,
        ids.ACTUATOR_FRIDGE_SET: 40,
        ids.ACTUATOR_FREEZER_SET: -180,
        ids.ACTUATOR_LIGHT: 0,
        ids.ACTUATOR_BUZZER: 0,
    }
    rest_state: "dict[int, int]" = {}
    control = (
        (ids.ACTUATOR_COMPRESSOR, ids.SIGNAL_FREEZER_TEMP, ids.ACTUATOR_FREEZER_SET, -20, 0, 0, 0, 1200, 1200),
        (ids.ACTUATOR_FAN, ids.SIGNAL_FRIDGE_TEMP, ids.ACTUATOR_FRIDGE_SET, -10, 0, 0, 0, 600, 1200),
    )
    interlocks = (
        (ids.ACTUATOR_COMPRESSOR, 1, 1, ids.SIGNAL_COMPRESSOR_WAIT_S, _GE, 1, common.ERROR_NONE),
        (ids.ACTUATOR_FAN, 1, 1, ids.SIGNAL_DOOR_CLOSED, _LE, 0, common.ERROR_NONE),
    )
    alarms = (
        (common.EVENT_DOOR_LEFT_OPEN, ids.SIGNAL_DOOR_OPEN_S, _GE, 90, 0),
        (common.EVENT_FRIDGE_WARM, ids.SIGNAL_FRIDGE_TEMP, _GE, 90, 1800),
        (common.EVENT_FREEZER_WARM, ids.SIGNAL_FREEZER_TEMP, _GE, -120, 3600),
    )
    meters = (
        (common.USAGE_ENERGY_WH, ids.SIGNAL_ENERGY_WH, 0),
        (common.USAGE_FRIDGE_MAX, ids.SIGNAL_FRIDGE_TEMP, 1),
        (common.USAGE_FREEZER_MAX, ids.SIGNAL_FREEZER_TEMP, 1),
        (common.USAGE_DOOR_OPENINGS, ids.SIGNAL_DOOR_OPENINGS, 0),
        (common.USAGE_COMPRESSOR_S, ids.SIGNAL_COMPRESSOR_S, 0),
    )
    programmes = PROGRAMMES
    base_programme = ids.PROGRAMME_FRIDGE_NORMAL
    ending = ENDING
    dials = {"fridge": ids.ACTUATOR_FRIDGE_SET, "freezer": ids.ACTUATOR_FREEZER_SET}

    def __init__(self, random: "Any" = None, fridge_mc: int = 5000, freezer_mc: int = -18000) -> None:
        self._random = random
        self._noise = b"\x80\x80"
        self._carry_ms = 0
        self._commands = dict.fromkeys(self.limits, 0)
        self.safe_state = dict(self.safe_state)  # its own: a person turns the dials
        self.room_mc = 22000  # thousandths of a degC
        self.remote_enable = True  # Nothing that it does is a hazard.
        self.dead_signals: "set[int]" = set()  # sensors that raise OSError
        self.dead_actuators: "set[int]" = set()  # actuators that raise OSError and keep doing what they did

        self.air = Body(3500000, fridge_mc)
        self.food = Body(40000000, fridge_mc)
        self.freezer = Body(30000000, freezer_mc)
        self.coil = Body(2000000, freezer_mc)
        self.compressor = Compressor(300000)
        self.door_closed = True
        self.door_open_ms = 0
        self.door_openings = 0
        self.power_w = 1
        self.energy_mj = 0
        self.leaked_mj = 0  # through the walls
        self.door_mj = 0  # through the open door
        self.inside_mj = 0  # of lamp and fan
        self.pumped_mj = 0  # out, by the compressor

    @property
    def heat_mj(self) -> int:
        """All the heat that is in it."""
        return self.air.heat_mj + self.food.heat_mj + self.freezer.heat_mj + self.coil.heat_mj

    def read(self, signal: int) -> int:
        """The sensor or counter `signal`, in the units of the registry. OSError if it is broken, code 5 if there is none."""
        if signal in self.dead_signals:
            raise OSError(5)
        if signal == ids.SIGNAL_FRIDGE_TEMP:
            return self.air.temp_mc // 100 + (self._noise[0] - 128) // 60
        if signal == ids.SIGNAL_FREEZER_TEMP:
            return self.freezer.temp_mc // 100 + (self._noise[1] - 128) // 60
        if signal == ids.SIGNAL_COMPRESSOR_WAIT_S:
            return self.compressor.wait_s
        if signal == ids.SIGNAL_DOOR_CLOSED:
            return int(self.door_closed)
        if signal == ids.SIGNAL_DOOR_OPEN_S:
            return min(self.door_open_ms // 1000, 65535)
        if signal == ids.SIGNAL_POWER_W:
            return self.power_w
        if signal == ids.SIGNAL_ENERGY_WH:
            return self.energy_mj // 3600000
        if signal == ids.SIGNAL_ROOM_TEMP:
            return self.room_mc // 100
        if signal == ids.SIGNAL_COIL_TEMP:
            return self.coil.temp_mc // 100
        if signal == ids.SIGNAL_COMPRESSOR_S:
            return self.compressor.run_ms // 1000
        if signal == ids.SIGNAL_DOOR_OPENINGS:
            return self.door_openings
        raise ProtocolError(OUT_OF_RANGE, f"a refrigerator has no signal {signal}")

    def write(self, actuator: int, value: int) -> None:
        """Command an actuator. OSError if it is broken, code 5 if there is none."""
        if actuator not in self._commands:
            raise ProtocolError(OUT_OF_RANGE, f"a refrigerator has no actuator {actuator}")
        if actuator in self.dead_actuators:
            raise OSError(5)
        self._commands[actuator] = value
        if actuator == ids.ACTUATOR_COMPRESSOR:
            self.compressor.command(value > 0)

    def act(self, word: str, number: int) -> None:
        """What a person does: `door 0` opens it, `door 1` shuts it, `room 25` makes the kitchen that warm (degC)."""
        if word == "door":
            self.close_door() if number else self.open_door()
        elif word == "room":
            self.room_mc = number * 1000
        else:
            raise ValueError(f"a refrigerator has no {word!r}, only door and room")

    def counters(self) -> "dict[str, int]":
        return {"energy_wh": self.energy_mj // 3600000}

    def open_door(self) -> bool:
        if self.door_closed:
            self.door_closed = False
            self.door_openings += 1
            spilled = (self.room_mc - self.air.temp_mc) * (_SPILL_MJ // 1000)
            self.air.heat_mj += spilled
            self.door_mj += spilled
        return True

    def close_door(self) -> None:
        self.door_closed = True
        self.door_open_ms = 0

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
        fan = self._commands[ids.ACTUATOR_FAN] > 0
        lamp = not self.door_closed or self._commands[ids.ACTUATOR_LIGHT] > 0
        air, coil, room_mc = self.air, self.coil, self.room_mc

        leak = flow(room_mc, air.temp_mc, _FRIDGE_WALL, dt_ms)
        freezer_leak = flow(room_mc, self.freezer.temp_mc, _FREEZER_WALL, dt_ms)
        self.leaked_mj += leak + freezer_leak
        self.freezer.heat_mj += freezer_leak
        if not self.door_closed:
            self.door_open_ms += dt_ms
            through = flow(room_mc, air.temp_mc, _DOOR, dt_ms)
            self.door_mj += through
            leak += through
        inside_w = (_FAN_W if fan else 0) + (_LAMP_W if lamp else 0)
        self.inside_mj += inside_w * dt_ms
        air.heat_mj += leak + inside_w * dt_ms

        exchange(air, self.food, _AIR_FOOD, dt_ms)
        exchange(self.freezer, coil, _COIL_FREEZER, dt_ms)
        if fan:
            exchange(air, coil, _COIL_FRIDGE, dt_ms)
        power_w = 1 + inside_w
        if self.compressor.on:
            coil.heat_mj -= _COOLING_W * dt_ms
            self.pumped_mj += _COOLING_W * dt_ms
            power_w += _COMPRESSOR_W
        self.compressor.step(dt_ms)
        self.power_w = power_w
        self.energy_mj += power_w * dt_ms
