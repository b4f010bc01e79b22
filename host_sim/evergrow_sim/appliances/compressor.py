"""A compressor and its protection timer: between two runs it must rest until the pressure has evened out. Portable."""


class Compressor:
    """`on`; `rest_ms` it still has to rest; `run_ms` since manufacture; `stalls`: starts against pressure, which wear it out."""

    def __init__(self, off_ms: int) -> None:
        self._off_ms = off_ms
        self.on = False
        self.rest_ms = off_ms  # After power on nobody knows how long it was off.
        self.run_ms = 0
        self.stalls = 0

    def command(self, on: bool) -> None:
        """The relay. Whoever starts it too early stalls it; it is not this class that prevents that."""
        if on and not self.on and self.rest_ms > 0:
            self.stalls += 1
        if self.on and not on:
            self.rest_ms = self._off_ms
        self.on = on

    def step(self, dt_ms: int) -> None:
        if self.on:
            self.run_ms += dt_ms
            self.rest_ms = 0
        else:
            self.rest_ms = max(0, self.rest_ms - dt_ms)

    @property
    def wait_s(self) -> int:
        """Seconds until it may start, rounded up."""
        return (self.rest_ms + 999) // 1000
