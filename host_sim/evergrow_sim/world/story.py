"""What happened to one device, as a timeline for people: the events of a trace that are about it, without the bytes."""

from evergrow_sim.world.trace import Event, line

_BYTES = ("up", "dn")
_OTHERS = ("broker", "cloud", "world")


class Story:
    """A sink for `run`: collects the lines of `device`, and those of broker and cloud that name it.

    `seen`: whose events there were: devices, homes, the broker, the cloud, the world.
    """

    def __init__(self, device: str) -> None:
        self.lines: list[str] = []
        self.seen: set[str] = set()
        self._device = device

    def __call__(self, event: Event) -> None:
        _, who, what, details = event
        self.seen.add(who)
        if who == self._device:
            told = what not in _BYTES
        else:
            told = who in _OTHERS and (what in ("fault", "healed", "crash", "start", "faults are over") or self._named(details))
        if told:
            self.lines.append(line(event))

    def _named(self, details: tuple[int | str | bytes, ...]) -> bool:
        return bool(details) and details[0] == self._device and not any("/up/" in str(one) for one in details)
