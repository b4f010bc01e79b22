"""A clock that stands still until a test moves it."""


class Clock:
    """`now_ms` and `utc` are to be set; `utc` None: unknown."""

    def __init__(self, utc=None, now_ms=0):
        self.now_ms = now_ms
        self.utc = utc

    def ticks_ms(self):
        return self.now_ms

    def utc_s(self):
        return self.utc

    def set_utc_s(self, utc_s):
        self.utc = utc_s

    def run(self, seconds):
        """Let time pass."""
        self.now_ms += 1000 * seconds
        if self.utc is not None:
            self.utc += seconds
