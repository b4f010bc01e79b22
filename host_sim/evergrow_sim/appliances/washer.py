"""A washing machine as physics: 5 kg of laundry, a 2 kW heater, a drum that could always do 1400 rpm. An `appliance` port.

Water (ul), heat (mJ) and energy (mJ) are integers and are only ever moved, so their balances are exact for every pattern of
steps. Time advances in whole sub-steps of 500 ms, or 10 s at rest, and what is left is carried over: `step(60000)` and 60 times
`step(1000)` end in the same state. Magnitudes are those of a European 7 kg front loader.
"""

from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError
from evergrow_sim.appliances.washer_programmes import ENDING, PROGRAMMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUB_STEP_MS = 500
_REST_STEP_MS = 10000  # the same for the heat of one that rests: thousandths of the hours that it takes
_WATER_HEAT = 4186  # mJ per K and ml
_LOAD_HEAT = 1300  # mJ per K and g of cotton
_DRUM_HEAT = 6000000  # mJ per K: drum, tub and what moves with them
_LOSS_MW_PER_K = 2500
_FUSE_MC = 110000  # the thermal fuse beside the heater, in thousandths of a degC
_DRUM_MAX_RPM = 1400
_TUB_UL = 40000000
_SILL_UL = 12000000  # above this, water runs out of an open door

_INLET = ids.ACTUATOR_INLET
_DRAIN = ids.ACTUATOR_DRAIN
_HEATER = ids.ACTUATOR_HEATER
_DRUM_RPM = ids.ACTUATOR_DRUM_RPM
_DOOR_LOCK = ids.ACTUATOR_DOOR_LOCK
_WATER_ML = ids.SIGNAL_WATER_ML
_TEMP = ids.SIGNAL_TEMP
_DOOR_LOCKED = ids.SIGNAL_DOOR_LOCKED
_DRUM_RPM_NOW = ids.SIGNAL_DRUM_RPM
_ENERGY_WH = ids.SIGNAL_ENERGY_WH
_WATER_IN_ML = ids.SIGNAL_WATER_IN_ML

_GE = 0
_LE = 1


class Washer:
    """The appliance port of a washer. Faults and conditions are plain attributes that a test or a fault plan may set.

    `random`: None for ideal sensors, or an object with `bytes(n)`: the seed of the sensors' noise, which changes each second.
    `on_change()`, may be set: see the Board. Whoever sets one of those attributes calls it.
    """

    class_id = ids.CLASS_ID
    signals = (
        ids.SIGNAL_WATER_ML,
        ids.SIGNAL_TEMP,
        ids.SIGNAL_DRUM_RPM,
        ids.SIGNAL_POWER_W,
        ids.SIGNAL_DOOR_LOCKED,
        ids.SIGNAL_DOOR_CLOSED,
        ids.SIGNAL_ENERGY_WH,
        ids.SIGNAL_WATER_IN_ML,
    )
    limits = {
        ids.ACTUATOR_INLET: (0, 1),
        ids.ACTUATOR_DRAIN: (0, 1),
        ids.ACTUATOR_HEATER: (0, 1),
        ids.ACTUATOR_DRUM_RPM: (0, 1000),
        ids.ACTUATOR_DOOR_LOCK: (0, 1),
    }
    unlockable = {ids.ACTUATOR_DRUM_RPM: _DRUM_MAX_RPM}
    safe_state = {
        ids.ACTUATOR_INLET: 0,
        ids.ACTUATOR_DRAIN: 0,
        ids.ACTUATOR_HEATER: 0,
        ids.ACTUATOR_DRUM_RPM: 0,
        ids.ACTUATOR_DOOR_LOCK: 1,
    }
    rest_state = {ids.ACTUATOR_DOOR_LOCK: 0}
    interlocks = (
        # The door stays locked while it holds water, is above 40 degC, or the drum turns.
        (ids.ACTUATOR_DOOR_LOCK, 0, 0, ids.SIGNAL_WATER_ML, _GE, 3000, common.ERROR_NONE),
        (ids.ACTUATOR_DOOR_LOCK, 0, 0, ids.SIGNAL_TEMP, _GE, 401, common.ERROR_NONE),
        (ids.ACTUATOR_DOOR_LOCK, 0, 0, ids.SIGNAL_DRUM_RPM, _GE, 1, common.ERROR_NONE),
        (ids.ACTUATOR_DOOR_LOCK, 0, 0, -ids.ACTUATOR_DRUM_RPM, _GE, 1, common.ERROR_NONE),
        (ids.ACTUATOR_DOOR_LOCK, 0, 0, -ids.ACTUATOR_HEATER, _GE, 1, common.ERROR_NONE),
        (ids.ACTUATOR_DOOR_LOCK, 0, 0, -ids.ACTUATOR_INLET, _GE, 1, common.ERROR_NONE),
        # Nothing that could hurt starts or goes on behind an unlocked door.
        (ids.ACTUATOR_DRUM_RPM, 1, _DRUM_MAX_RPM, ids.SIGNAL_DOOR_LOCKED, _LE, 0, common.ERROR_DOOR_OPEN),
        (ids.ACTUATOR_HEATER, 1, 1, ids.SIGNAL_DOOR_LOCKED, _LE, 0, common.ERROR_DOOR_OPEN),
        (ids.ACTUATOR_INLET, 1, 1, ids.SIGNAL_DOOR_LOCKED, _LE, 0, common.ERROR_DOOR_OPEN),
        # A full drum is not spun.
        (ids.ACTUATOR_DRUM_RPM, 151, _DRUM_MAX_RPM, ids.SIGNAL_WATER_ML, _GE, 5000, common.ERROR_INTERLOCK),
        # The heater only with water over it; it comes back when laundry that soaked the water up has been topped up.
        (ids.ACTUATOR_HEATER, 1, 1, ids.SIGNAL_WATER_ML, _LE, 2999, common.ERROR_NONE),
        # Overflow: shut the valve; if it does not shut, or the heater does not, keep the pump running.
        (ids.ACTUATOR_INLET, 1, 1, ids.SIGNAL_WATER_ML, _GE, 30000, common.ERROR_OVERFLOW),
        (ids.ACTUATOR_DRAIN, 0, 0, ids.SIGNAL_WATER_ML, _GE, 32000, common.ERROR_OVERFLOW),
        (ids.ACTUATOR_HEATER, 1, 1, ids.SIGNAL_TEMP, _GE, 950, common.ERROR_OVERHEAT),
        (ids.ACTUATOR_DRAIN, 0, 0, ids.SIGNAL_TEMP, _GE, 980, common.ERROR_OVERHEAT),
    )
    meters = (
        (common.USAGE_ENERGY_WH, ids.SIGNAL_ENERGY_WH, 0),
        (common.USAGE_WATER_ML, ids.SIGNAL_WATER_IN_ML, 0),
        (common.USAGE_TEMP_MAX, ids.SIGNAL_TEMP, 1),
        (common.USAGE_SPIN_MAX_RPM, ids.SIGNAL_DRUM_RPM, 1),
    )
    programmes = PROGRAMMES
    ending = ENDING

    def __init__(self, random: "Any" = None, load_g: int = 5000) -> None:
        self._random = random and int.from_bytes(random.bytes(4), "big") | 1  # 0 or None: no noise
        self._noise_ml = self._noise_temp = self._noise_w = 0
        self._commands = {actuator: 0 for actuator in self.limits}
        self._elapsed_ms = 0
        self._carry_ms = 0
        self._bolt_ms = 0
        self._cooling_ms = 0  # for so long it has rested and its heat has not yet gone

        self.on_change = _nothing
        self.load_g = load_g
        self.imbalance_g = 100
        self.ambient_mc = 21000  # thousandths of a degC
        self.inlet_mc = 15000
        self.inlet_ml_s = 150  # falls with the pressure of the mains
        self.drain_ml_s = 250
        self.heater_w = 2000

        self.inlet_blocked = False
        self.inlet_stuck = False  # open, whatever it is told
        self.drain_blocked = False
        self.heater_dead = False
        self.heater_stuck = False  # on, whatever it is told
        self.door_forced = False
        self.dead_signals: "set[int]" = set()  # sensors that raise OSError
        self.dead_actuators: "set[int]" = set()  # actuators that raise OSError and keep doing what they did

        self.remote_enable = False  # whether a person allowed it to be started from afar
        self.door_closed = True
        self.door_locked = False
        self.drum_rpm = 0
        self.power_w = 2
        self.water_ul = 0  # free in the tub
        self.absorbed_ul = 0  # held by the laundry
        self.water_in_ul = 0
        self.drained_ul = 0
        self.spilled_ul = 0
        self.energy_mj = 0
        self.heated_mj = 0
        self.lost_mj = 0
        self.carried_mj = 0  # heat brought by water in, less heat taken by water out
        self.heat_mj = self.ambient_mc * self._capacity() // 1000  # above 0 degC

    @property
    def temp_mc(self) -> int:
        """Temperature of drum, laundry and water, in thousandths of a degC."""
        return self.heat_mj * 1000 // self._capacity()

    def read(self, signal: int) -> int:
        """The sensor or counter `signal`, in the units of the registry. OSError if it is broken, code 5 if there is none."""
        if signal in self.dead_signals:
            raise OSError(5)
        if signal == _TEMP:
            capacity = (self.water_ul + self.absorbed_ul) * _WATER_HEAT // 1000 + self.load_g * _LOAD_HEAT + _DRUM_HEAT
            return self.heat_mj * 10 // capacity + self._noise_temp
        if signal == _WATER_ML:
            water_ml = self.water_ul // 1000 + self._noise_ml
            return water_ml if water_ml > 0 and self.water_ul else 0
        if signal == _DOOR_LOCKED:
            held = self.door_locked and self._commands[_DOOR_LOCK] > 0  # in, and not about to be withdrawn
            return 1 if held and not self.door_forced else 0
        if signal == _DRUM_RPM_NOW:
            return self.drum_rpm
        if signal == _ENERGY_WH:
            return self.energy_mj // 3600000
        if signal == _WATER_IN_ML:
            return self.water_in_ul // 1000
        if signal == ids.SIGNAL_POWER_W:
            return max(0, self.power_w + self._noise_w)
        if signal == ids.SIGNAL_DOOR_CLOSED:
            return int(self.door_closed and not self.door_forced)
        raise ProtocolError(OUT_OF_RANGE, f"this washer has no signal {signal}")

    def _draw(self) -> None:
        """The noise of this second, from its number and the seed: it does not matter which seconds are asked for."""
        if self._random:
            mixed = (self._elapsed_ms // 1000 + 1) * self._random & 0x3FFFFFFF
            mixed = (mixed >> 15 ^ mixed) * 0x2C1B & 0x3FFFFFFF
            self._noise_ml = ((mixed >> 6 & 255) - 128) // 4
            self._noise_temp = ((mixed >> 14 & 255) - 128) // 60
            self._noise_w = ((mixed >> 22 & 255) - 128) // 64

    def write(self, actuator: int, value: int) -> None:
        """Drive an actuator, unguarded. OSError if it is broken, code 5 if there is none."""
        if actuator in self.dead_actuators:
            raise OSError(5)
        if actuator not in self._commands:
            raise ProtocolError(OUT_OF_RANGE, f"this washer has no actuator {actuator}")
        self._commands[actuator] = value

    def open_door(self) -> bool:
        """A person pulls at the door; False if it is locked. Who opens it allows remote starts anew: the load may be another."""
        if not self.door_locked:
            self.door_closed = False
            self.remote_enable = False
            self.on_change()
        return not self.door_closed

    def act(self, word: str, number: int) -> None:
        """What a person does: `door 0` opens it, if it is not locked, `door 1` shuts it."""
        if word != "door":
            raise ValueError(f"a washer has no {word!r}, only a door")
        self.close_door() if number else self.open_door()

    def counters(self) -> "dict[str, int]":
        return {"energy_wh": self.energy_mj // 3600000, "water_ml": self.water_in_ul // 1000}

    def close_door(self) -> None:
        self.door_closed = True
        self.on_change()

    def power_off(self) -> None:
        """The mains fail: relays drop, the bolt stays where it is."""
        lock = self._commands[ids.ACTUATOR_DOOR_LOCK]
        for actuator in self._commands:
            self._commands[actuator] = 0
        self._commands[ids.ACTUATOR_DOOR_LOCK] = lock

    def step(self, dt_ms: int) -> None:
        """Let `dt_ms` pass."""
        self._carry_ms += dt_ms
        while self._carry_ms >= _SUB_STEP_MS:
            if not self.water_ul and self._rests():
                self._rest(self._carry_ms // _SUB_STEP_MS * _SUB_STEP_MS)
                self._carry_ms %= _SUB_STEP_MS
                return
            self._carry_ms -= _SUB_STEP_MS
            self._sub_step(_SUB_STEP_MS)

    def _rests(self) -> bool:
        return self.quiet

    def _sub_step(self, dt_ms: int) -> None:
        if self._cooling_ms:
            self._lose_heat(self._cooling_ms)
            self._cooling_ms = 0
        self._elapsed_ms += dt_ms
        if not self._elapsed_ms % 1000:
            self._draw()
        commands = self._commands
        if self._bolt_ms or self.door_locked != (commands[_DOOR_LOCK] > 0):
            self._move_bolt(dt_ms)
        power_w = 2 + self._turn_drum(dt_ms) if self.drum_rpm or commands[_DRUM_RPM] > 0 else 2
        power_w += self._move_water(dt_ms) + self._heat(dt_ms)
        self.power_w = power_w
        self.energy_mj += power_w * dt_ms

    @property
    def quiet(self) -> bool:
        """Whether nothing happens for as long as nobody acts, but that it cools down."""
        if self.water_ul or self.drum_rpm or self.inlet_stuck or self.heater_stuck or self._bolt_ms:
            return False
        commands = self._commands
        if commands[_INLET] or commands[_DRAIN] or commands[_HEATER] or commands[_DRUM_RPM]:
            return False
        wanted = commands[_DOOR_LOCK] > 0
        still = wanted == self.door_locked or (wanted and not self.door_closed)
        return still and self.absorbed_ul <= self.load_g * 1500 and self.temp_mc < _FUSE_MC

    def _rest(self, dt_ms: int) -> None:
        """So much time of one that rests; its heat goes in longer steps, the last of them when it rests no more."""
        self._elapsed_ms += dt_ms
        self._draw()
        self.power_w = 2
        self.energy_mj += 2 * dt_ms
        self._cooling_ms += dt_ms
        while self._cooling_ms >= _REST_STEP_MS:
            self._cooling_ms -= _REST_STEP_MS
            self._lose_heat(_REST_STEP_MS)

    def _lose_heat(self, dt_ms: int) -> None:
        lost = (self.temp_mc - self.ambient_mc) * _LOSS_MW_PER_K // 1000 * dt_ms // 1000
        self.heat_mj -= lost
        self.lost_mj += lost

    def _move_bolt(self, dt_ms: int) -> None:
        wanted = self._commands[ids.ACTUATOR_DOOR_LOCK] > 0
        if wanted == self.door_locked or (wanted and not self.door_closed):
            self._bolt_ms = 0
            return
        self._bolt_ms += dt_ms
        if self._bolt_ms >= 1500:
            self.door_locked = wanted
            self._bolt_ms = 0

    def _turn_drum(self, dt_ms: int) -> int:
        """Follows the set point, 40 rpm/s up (less out of balance) and 60 down. Returns W."""
        target = self._commands[_DRUM_RPM]
        rpm = self.drum_rpm
        rising = rpm < target
        if rpm != target:
            target = min(max(target, 0), _DRUM_MAX_RPM)
            rising = rpm < target
            if rising:
                rpm = min(target, rpm + max(1, 40 * dt_ms // (1000 + 2 * self.imbalance_g)))
            else:
                rpm = max(target, rpm - 60 * dt_ms // 1000)
            self.drum_rpm = rpm
        if not rpm or rpm > target:  # standing, or braking on the motor's resistance
            return 0
        power_w = 20 + rpm * 15 // 100 + self.imbalance_g * rpm // 5000
        if rpm < 100:  # laundry is lifted and falls
            power_w += (self.load_g + self.absorbed_ul // 1000) * 4 // 1000
        elif rising:
            power_w += 250
        return power_w

    def _move_water(self, dt_ms: int) -> int:
        """Inlet, laundry, pump, overflow. Returns W."""
        commands = self._commands
        power_w = 0
        water_ul = self.water_ul
        if commands[_INLET] > 0:
            power_w = 6
        if (power_w or self.inlet_stuck) and not self.inlet_blocked:
            moved = self.inlet_ml_s * dt_ms
            water_ul += moved
            self.water_in_ul += moved
            self._carry_heat(moved * _WATER_HEAT // 1000 * self.inlet_mc // 1000)

        # Laundry holds 150 % of its weight at rest, 55 % at 1000 rpm, 48 % at 1400 rpm.
        rpm = self.drum_rpm
        excess = self.absorbed_ul - self.load_g * (1500 if not rpm else 400 + 17600000 // (160000 + rpm * rpm) * 10)
        if excess > 0:
            moved = excess * dt_ms // 30000
        else:
            moved = -excess * dt_ms // 40000
            moved = -moved if moved < water_ul else -water_ul
        self.absorbed_ul -= moved
        self.water_ul = water_ul = water_ul + moved

        if commands[_DRAIN] > 0:
            power_w += 30
            if not self.drain_blocked:
                self.drained_ul += self._take_out(self.drain_ml_s * dt_ms)
                water_ul = self.water_ul
        if water_ul > _SILL_UL:
            over = water_ul - (_SILL_UL if self.door_forced or not self.door_closed else _TUB_UL)
            if over > 0:
                self.spilled_ul += self._take_out(min(over, 1000 * dt_ms))
        return power_w

    def _take_out(self, most_ul: int) -> int:
        moved = min(self.water_ul, most_ul)
        self._carry_heat(-(moved * _WATER_HEAT // 1000 * self.temp_mc // 1000))
        self.water_ul -= moved
        return moved

    def _heat(self, dt_ms: int) -> int:
        """Heater and losses to the room. Returns W."""
        capacity = (self.water_ul + self.absorbed_ul) * _WATER_HEAT // 1000 + self.load_g * _LOAD_HEAT + _DRUM_HEAT
        temp_mc = self.heat_mj * 1000 // capacity  # as `temp_mc`, but for the calls: nothing is done as often
        lost = (temp_mc - self.ambient_mc) * _LOSS_MW_PER_K // 1000 * dt_ms // 1000
        self.heat_mj -= lost
        self.lost_mj += lost
        if temp_mc >= _FUSE_MC:
            self.heater_dead = True
        if self.heater_dead or not (self._commands[_HEATER] > 0 or self.heater_stuck):
            return 0
        heat_mj = self.heater_w * dt_ms
        self.heat_mj += heat_mj
        self.heated_mj += heat_mj
        return self.heater_w

    def _carry_heat(self, heat_mj: int) -> None:
        self.heat_mj += heat_mj
        self.carried_mj += heat_mj

    def _capacity(self) -> int:
        """mJ per K of all that has the temperature of the water."""
        return (self.water_ul + self.absorbed_ul) * _WATER_HEAT // 1000 + self.load_g * _LOAD_HEAT + _DRUM_HEAT


def _nothing() -> None:
    pass
