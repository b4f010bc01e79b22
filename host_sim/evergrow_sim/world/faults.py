"""Faults: what goes wrong in a run, as a list that is planned from the seed, printed, and carried out.

Each fault begins at `at_ms`, and most are over after `for_ms`. Faults know nothing of one another, so that any part of the
list can be left out (see `shrink`): the rest still happens at the same times in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evergrow_sim.world.rand import Rand, derive
from evergrow_sim.world.scenario import Scenario

LEVELS = ("none", "light", "heavy")

CLOUD = "cloud"
BROKER = "broker"
DID_COMMAND = "did cmd"
"""As a moment: the device has just handled a command, and its broker does not know yet."""


@dataclass(frozen=True)
class Fault:
    """`kind` and `target` (a device, "cloud" or "broker"), and what the kind wants to know."""

    at_ms: int
    kind: str
    target: str
    for_ms: int = 0
    parameters: tuple[tuple[str, int | str], ...] = ()

    def __getitem__(self, name: str) -> int:
        value = dict(self.parameters)[name]
        assert isinstance(value, int)
        return value

    def text(self, name: str) -> str:
        """A parameter that is a word."""
        return str(dict(self.parameters)[name])

    def __str__(self) -> str:
        seconds, ms = divmod(self.at_ms, 1000)
        words = [f"{name}={value}" for name, value in self.parameters]
        lasting = [f"for {self.for_ms / 1000:g} s"] if self.for_ms else []
        return " ".join([f"{seconds // 60}:{seconds % 60:02d}.{ms:03d}", self.target, self.kind, *words, *lasting])


def plan(seed: int, level: str, scenario: Scenario) -> list[Fault]:
    """The faults of a run, in order of time. `level`: one of LEVELS. ValueError for another."""
    if level not in LEVELS:
        raise ValueError(f"fault level {level!r} is not one of {', '.join(LEVELS)}")
    rand = derive(seed, "faults", level)
    hours = max(1, round(scenario.span_ms / 3_600_000))
    count = 0 if level == "none" else rand.between(1, 4) * hours if level == "light" else rand.between(6, 16) * hours
    kinds = _LIGHT if level == "light" else _HEAVY
    found = []
    for number in range(count):
        draw = rand.derive(number)
        kind = draw.choice(kinds)
        at_ms = draw.between(1_000, scenario.span_ms)
        target = CLOUD if kind.startswith("cloud") else BROKER if kind.startswith("broker") else _target(draw, kind, scenario)
        found.append(_fault(draw, kind, target, at_ms))
    busy = rand.derive("busy")  # apart from the others, whose draws it leaves as they are
    if level == "heavy" and busy.chance(0.1):
        share = (("burst", busy.between(1, 5)), ("per_min", busy.between(1, 6)))
        found.append(Fault(busy.between(1_000, scenario.span_ms), "cloud busy", CLOUD, busy.between(60_000, 240_000), share))
    erased = rand.derive("erased")
    if level == "heavy" and erased.chance(0.1):
        found.append(_fault(erased, "flash erased", _target(erased, "", scenario), erased.between(1_000, scenario.span_ms)))
    return sorted(found, key=lambda fault: (fault.at_ms, fault.kind, fault.target))


def select(faults: Sequence[Fault], numbers: Sequence[int] | None) -> list[Fault]:
    """Those with these numbers, counted from 0; all for None. ValueError for a number that there is not."""
    if numbers is None:
        return list(faults)
    for number in numbers:
        if not 0 <= number < len(faults):
            raise ValueError(f"there is no fault {number}: this run has {len(faults)}, counted from 0")
    return [faults[number] for number in numbers]


_LIGHT = (
    "power", "power", "flash cut", "flash cut", "link down", "link slow", "link reset", "link lossy", "broker restart",
    "cloud crash", "appliance", "echo", "clock",
)  # fmt: skip
_HEAVY = (
    *_LIGHT, "power", "flash cut", "link half open", "link refuse", "link dns", "link split", "link jumpy", "broker poor",
    "broker slow", "cloud crash", "stall", "flash full", "flash rot", "flash fails", "flash unreadable", "hold", "clock",
    "broker refuses", "appliance", "appliance", "lose", "lose", "flash back",
)  # fmt: skip
_APPLIANCE = ("door forced", "inlet blocked", "heater dead", "drain blocked", "door forced", "dead sensor", "dead actuator")
_JUMPS_S = (-86_400, -3600, -5, 5, 3600, 400 * 86_400, -1_795_339_200)  # the last one: back to 1970
_MOMENTS = ("", "", "usage", "usage", "ack", "birth", "feat", "cmd", DID_COMMAND, "rsp")
"""After the next message of which kind it happens, so many events later; "" for at once."""
_POOR = ("no will", "no retained", "no sessions", "silent", "ignore receive maximum")


def _target(rand: Rand, kind: str, scenario: Scenario) -> str:
    names = [spec.name for spec in scenario.devices]
    if kind.startswith("link") and rand.chance(0.2):
        return CLOUD
    return rand.choice(names)


def _fault(rand: Rand, kind: str, target: str, at_ms: int) -> Fault:
    def made(for_ms: int = 0, /, **parameters: int | str) -> Fault:
        return Fault(at_ms, kind, target, for_ms, tuple(parameters.items()))

    lasting_ms = rand.between(1_000, 240_000)
    off_ms = rand.choice((0, 1, 500, rand.between(0, 20_000), rand.between(0, 180_000)))
    match kind:
        case "power":
            return made(off_ms, **_moment(rand))
        case "flash cut":
            return made(off_ms, operation=rand.between(1, 8), how=rand.below(3))
        case "stall":
            return made()
        case "link slow":
            return made(lasting_ms, bytes_per_s=rand.between(50, 2000), delay_ms=rand.between(0, 4000))
        case "link lossy":
            return made(lasting_ms, percent=rand.between(5, 60))
        case "link jumpy":
            return made(lasting_ms, delay_ms=rand.between(0, 1000), jitter_ms=rand.between(500, 9000), percent=rand.below(8))
        case "broker restart":
            return made(off_ms, memory=rand.below(2))
        case "broker poor":
            return made(lasting_ms, how=rand.choice(_POOR))
        case "broker slow":
            return made(lasting_ms, puback_ms=rand.between(100, 20_000))
        case "broker refuses":
            return made(lasting_ms, code=rand.choice((0x88, 0x89, 0x97, 0x87)))
        case "cloud crash":
            return made(off_ms, **_moment(rand), machine=rand.below(2))
        case "link reset":
            return made(**_moment(rand))
        case "clock":
            return made(jump_s=rand.choice(_JUMPS_S), drift_ppm=rand.between(-500, 500))
        case "appliance":
            how, after = rand.choice(_APPLIANCE), rand.choice(("", "state", "state"))
            return made(lasting_ms, how=how, signal=rand.between(1, 8), after=after)
        case "lose":
            return made(lasting_ms * rand.between(1, 5), percent=rand.choice((100, rand.between(30, 100))))
        case "flash full":
            return made(lasting_ms, left_bytes=rand.choice((0, 4096, 8192, 12288)))
        case "flash rot":
            return made(bit=rand.below(1 << 16))
        case "flash back":
            return made(off_ms, operations=rand.between(1, 4))
        case "flash erased":
            return made(off_ms)
        case "flash fails":
            return made(lasting_ms, percent=rand.choice((20, 50, 100)), how=rand.below(3))
        case "flash unreadable":
            return made(lasting_ms, name=rand.choice(("", "cycle", "use.ack", "features", "commands", "boot.0", "trust", "use.")))
        case "echo" | "hold":
            return made(lasting_ms, late_ms=rand.between(1, 30_000))
    return made(lasting_ms)


def _moment(rand: Rand) -> dict[str, int | str]:
    """Any time, or soon after a message."""
    after = rand.choice(_MOMENTS)
    return {"after": after, "event": rand.between(1, 12 if after else 60)}
