"""The smallest appliance that has all an appliance has: a tank that fills, a drum that turns, meters, an unlock. Portable.

A cycle of programme 1 takes 10 s: fill 3 s (phase 2), wash 4 s (phase 4), spin 2 s (phase 7), then the ending drains.
"""

from evergrow_protocol.cbor import dumps

LEVEL, RPM, ENERGY, WATER = 1, 3, 7, 8
INLET, DRAIN, DRUM = 1, 2, 4

_FILL = {0: 2, 1: {INLET: 1}, 3: [[LEVEL, 0, 3000]], 5: 60, 6: 2}
_WASH = {0: 4, 1: {DRUM: 45}, 4: 4, 5: 10}
_SPIN = {0: 7, 1: {DRAIN: 1, DRUM: 32767}, 4: 2, 5: 10}


def programme(number, steps=(_FILL, _WASH, _SPIN)):
    return dumps([number, list(steps), {0: 9}])


class TinyAppliance:
    class_id = 1
    signals = (LEVEL, RPM, ENERGY, WATER)
    limits = {INLET: (0, 1), DRAIN: (0, 1), DRUM: (0, 1000)}
    unlockable = {DRUM: 1400}
    interlocks = ()
    safe_state = {INLET: 0, DRAIN: 0, DRUM: 0}
    rest_state = {}
    meters = ((4, ENERGY, 0), (5, WATER, 0), (7, RPM, 1))
    ending = dumps([0, [{0: 9, 1: {DRAIN: 1}, 3: [[LEVEL, 1, 0]], 5: 60}]])

    def __init__(self):
        self.programmes = {1: programme(1)}
        self.remote_enable = False
        self.broken = False
        self.quiet = True
        self.values = {LEVEL: 0, RPM: 0, ENERGY: 1000, WATER: 5000}
        self.actuators = dict(self.safe_state)
        self.writes = 0

    def read(self, signal):
        if self.broken:
            raise OSError(5)
        return self.values[signal]

    def write(self, actuator, value):
        if self.broken:
            raise OSError(5)
        self.writes += 1
        self.actuators[actuator] = value

    def step(self, seconds=1):
        """1 l/s in, 2 l/s out; the drum takes 1 Wh each second."""
        values = self.values
        if self.actuators[INLET]:
            values[LEVEL] += 1000 * seconds
            values[WATER] += 1000 * seconds
        if self.actuators[DRAIN]:
            values[LEVEL] = max(0, values[LEVEL] - 2000 * seconds)
        values[RPM] = self.actuators[DRUM]
        if values[RPM]:
            values[ENERGY] += seconds
