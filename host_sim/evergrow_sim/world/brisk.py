"""Programmes that take minutes instead of hours, so that a run of an hour sees many cycles. The steps are those of real ones."""

from typing import Any

from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.cbor import dumps

SHORT_WASH = 11
SHORT_SPIN = 12

_GE, _LE = 0, 1
_TUMBLE = [[ids.ACTUATOR_DRUM_RPM, 45, 12, 4]]

LOCK: dict[int, Any] = {
    0: common.PHASE_LOCK, 3: [[ids.SIGNAL_DOOR_LOCKED, _GE, 1]], 5: 10, 6: common.ERROR_DOOR_OPEN
}  # fmt: skip
DRAIN: dict[int, Any] = {
    0: common.PHASE_DRAIN, 1: {ids.ACTUATOR_DRAIN: 1}, 3: [[ids.SIGNAL_WATER_ML, _LE, 200]], 4: 5, 5: 120,
    6: common.ERROR_DRAIN_TIMEOUT,
}  # fmt: skip


def fill(water_ml: int) -> dict[int, Any]:
    return {
        0: common.PHASE_FILL,
        2: [[ids.ACTUATOR_INLET, ids.SIGNAL_WATER_ML, water_ml, 300]],
        3: [[ids.SIGNAL_WATER_ML, _GE, water_ml]],
        5: 120,
        6: common.ERROR_FILL_TIMEOUT,
        7: _TUMBLE,
    }


def heat(water_ml: int, temp: int, hold_s: int) -> dict[int, Any]:
    """`temp` in 0.1 degC."""
    return {
        0: common.PHASE_HEAT,
        2: [[ids.ACTUATOR_INLET, ids.SIGNAL_WATER_ML, water_ml, 300], [ids.ACTUATOR_HEATER, ids.SIGNAL_TEMP, temp, 10]],
        3: [[ids.SIGNAL_TEMP, _GE, temp]],
        4: hold_s,
        5: 600,
        6: common.ERROR_HEATER_TIMEOUT,
        7: _TUMBLE,
    }


def spin(rpm: int, hold_s: int) -> dict[int, Any]:
    return {0: common.PHASE_SPIN, 1: {ids.ACTUATOR_DRAIN: 1, ids.ACTUATOR_DRUM_RPM: rpm}, 4: hold_s, 5: hold_s + 30}


def programme(number: int, steps: list[dict[int, Any]], nominal_s: int) -> bytes:
    """A programme, encoded."""
    return dumps([number, steps, {0: nominal_s}])


PROGRAMMES = {
    SHORT_WASH: programme(SHORT_WASH, [LOCK, fill(3600), heat(3600, 240, 30), DRAIN, spin(32767, 50)], 240),
    SHORT_SPIN: programme(SHORT_SPIN, [LOCK, DRAIN, spin(600, 20)], 60),
}
