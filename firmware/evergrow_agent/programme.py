"""Programmes: what an appliance does step by step, as data. Base programmes and those of features are the same thing.

A programme is deterministic CBOR, `[id, steps, ? options]`, at most 2048 bytes and 1..64 steps; options `{? 0: nominal_s,
? 1: period_s}`. With period_s (600..86400) it is continuous: it begins again after its last step, and a usage record is due for
each period, with which it begins anew, too.
A step is a map; every actuator that it does not name is in its safe state while it lasts:

    0 phase       registry id
    1 writes      {actuator: value}, written when the step begins
    2 regulators  [[actuator, signal, target, band], ...]: on below target - band, off from target up; band < 0 turns it
                  round: on above target + |band|, off from target down
    3 until       [[signal, op, value], ...]: all must hold; op 0 is >=, 1 is <=
    4 hold_s      how long the step goes on once `until` held; without `until`, how long it lasts
    5 limit_s     1..14400, mandatory: a step that is not over then is a fault
    6 error       registry id of that fault
    7 pulses      [[actuator, value, on_s, off_s], ...]: alternates between value and the safe state, as a drum tumbles

Unknown keys >= 0 are ignored, unknown negative keys refuse the programme. Programmes are checked once, when they are
loaded, and read step by step when they run: a board holds the encoded bytes and one step.
"""

from evergrow_protocol.cbor import Decoder
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, OUT_OF_RANGE, TOO_LARGE, UNSUPPORTED, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from typing import Any

MAX_BYTES = 2048
MAX_STEPS = 64
_MAX_STEP_S = 14400
_MAX_TOTAL_S = 43200
_MIN_PERIOD_S = 600
_MAX_PERIOD_S = 86400
_MAX_ROWS = 4
_MAX_WRITES = 8
_ID_MAX = 65535
_MIN_VALUE = -32768
_MAX_VALUE = 65535


class ProgrammeError(ProtocolError):
    """A programme that no appliance could run, or not this one, or not this publisher's."""


class Step:
    """One step, decoded and checked but for the ids it names. Times in ms; rows are lists of integers, see above."""

    def __init__(self, fields: "Any") -> None:
        _check_keys(fields)
        self.phase = _whole(fields.get(0), 0, _ID_MAX, "phase")
        self.writes: "dict[int, int]" = _typed(fields.get(1, {}), dict, "writes")
        self.regulators = _rows(fields.get(2, []), 4, "regulators")
        self.until = _rows(fields.get(3, []), 3, "until")
        limit_s = _whole(fields.get(5), 1, _MAX_STEP_S, "limit_s")
        self.hold_ms = 1000 * _whole(fields.get(4, 0), 0, limit_s, "hold_s")
        self.limit_ms = 1000 * limit_s
        self.error = _whole(fields.get(6, 0), 0, _ID_MAX, "error")
        self.pulses = _rows(fields.get(7, []), 4, "pulses")
        _at_most(_MAX_WRITES, len(self.writes), "writes")
        for value in self.writes.values():
            _whole(value, _MIN_VALUE, _MAX_VALUE, "value")
        for row in self.until:
            _whole(row[1], 0, 1, "op")
        for row in self.pulses:
            _whole(row[2], 1, _MAX_STEP_S, "on_s")
            _whole(row[3], 0, _MAX_STEP_S, "off_s")

    def actuators(self) -> "list[int]":
        """What this step drives, in whatever way."""
        return list(self.writes) + [row[0] for row in self.regulators] + [row[0] for row in self.pulses]

    def signals(self) -> "list[int]":
        """What this step reads."""
        return [row[1] for row in self.regulators] + [row[0] for row in self.until]


class Programme:
    """A checked programme, which reads from `data` for as long as it lives.

    `signals` and `actuators`: what it may name, the appliance's own or those granted to a publisher.

    Raises ProtocolError: the codec's, or 1 malformed, 4 bad type, 5 out of range (also an id it may not name),
    6 an unknown critical key, 8 too large. Attributes: `id`, `nominal_s` (0 when unknown), `period_s` (0: no continuous one),
    `count` of steps.
    """

    def __init__(self, data: "bytes | bytearray | memoryview", signals: "Container[int]", actuators: "Container[int]") -> None:
        _at_most(MAX_BYTES, len(data), "bytes")
        self._data = data
        decoder = Decoder(data, deterministic=True)
        parts = decoder.read_array_header()
        if parts < 2 or parts > 3:
            raise ProgrammeError(MALFORMED, f"a programme has 2 or 3 parts, not {parts}")
        self.id = _whole(decoder.read_int(), 0, _ID_MAX, "id")
        self.count = decoder.read_array_header()
        _at_most(MAX_STEPS, self.count, "steps")
        self._first_step = decoder.offset
        total_ms = 0
        lasting = False  # Is there a step that is never skipped?
        for _ in range(self.count):
            step = Step(decoder.decode())
            driven = step.actuators()
            if len(set(driven)) != len(driven):
                raise ProgrammeError(MALFORMED, "a step drives an actuator in two ways")
            _allowed(driven, actuators, "actuator")
            _allowed(step.signals(), signals, "signal")
            total_ms += step.limit_ms
            lasting = lasting or step.hold_ms > 0 or not step.until
        _at_most(_MAX_TOTAL_S, total_ms // 1000, "limit_s in all")
        self.nominal_s = self.period_s = 0
        if parts == 3:
            options = decoder.decode()
            _check_keys(options)
            self.nominal_s = _whole(options.get(0, 0), 0, _MAX_TOTAL_S, "nominal_s")
            if 1 in options:
                self.period_s = _whole(options[1], _MIN_PERIOD_S, _MAX_PERIOD_S, "period_s")
                if not lasting:
                    raise ProgrammeError(MALFORMED, "no step of a continuous programme lasts")
        if not self.count or not decoder.at_end():
            raise ProgrammeError(MALFORMED, "no steps, or bytes after the end", decoder.offset)

    def steps(self) -> "Iterator[Step]":
        """The steps in order, each decoded when it is asked for; of a continuous programme again and again."""
        while True:
            decoder = Decoder(memoryview(self._data)[self._first_step :])
            for _ in range(self.count):
                yield Step(decoder.decode())
            if not self.period_s:
                return


def _typed(value: "Any", kind: type, what: str) -> "Any":
    if type(value) is not kind:  # not isinstance: True is no number here
        raise ProgrammeError(BAD_TYPE, f"{what} is missing or no {kind.__name__}")
    return value


def _whole(value: "Any", low: int, high: int, what: str) -> int:
    number: int = _typed(value, int, what)
    if not low <= number <= high:
        raise ProgrammeError(OUT_OF_RANGE, f"{what} {number} is not in {low}..{high}")
    return number


def _at_most(limit: int, count: int, what: str) -> None:
    if count > limit:
        raise ProgrammeError(TOO_LARGE, f"{count} {what} exceed the limit of {limit}")


def _rows(value: "Any", width: int, what: str) -> "list[list[int]]":
    rows: "list[list[int]]" = _typed(value, list, what)
    _at_most(_MAX_ROWS, len(rows), what)
    for row in rows:
        if len(_typed(row, list, what)) != width:
            raise ProgrammeError(MALFORMED, f"{what} come in rows of {width}")
        for number in row:
            _whole(number, _MIN_VALUE, _MAX_VALUE, what)
    return rows


def _check_keys(fields: "Any") -> None:
    for key in _typed(fields, dict, "step"):
        if _typed(key, int, "key") < 0:
            raise ProgrammeError(UNSUPPORTED, f"unknown critical key {key}")


def _allowed(numbers: "list[int]", allowed: "Container[int]", what: str) -> None:
    for number in numbers:
        if type(number) is not int or number not in allowed:
            raise ProgrammeError(OUT_OF_RANGE, f"{what} {number} is not here, or not granted")
