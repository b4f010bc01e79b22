"""What random people and random software do to a simulated appliance. Portable."""


class Noise:
    """A seeded source of bytes."""

    def __init__(self, seed):
        self.state = seed

    def bytes(self, count):
        out = bytearray()
        for _ in range(count):
            self.state = (self.state * 1103515245 + 12345) % 2147483648
            out.append(self.state // 65536 % 256)
        return bytes(out)


def scramble(appliance, steps, seed, doors):
    """Random writes, as nobody guards them here, and `doors(0 or 1)`; yields the ms of each step before it is taken."""
    noise = Noise(seed)
    actuators = sorted(appliance.limits)
    for _ in range(steps):
        actuator, value, duration, door = noise.bytes(4)
        actuator = actuators[actuator % len(actuators)]
        low, high = appliance.limits[actuator]
        appliance.write(actuator, low + value % (high - low + 1))
        if door < 60:
            doors(door % 2)
        yield duration * 100
