"""What the cloud desires of a device (`dn/cfg`), drawn from a number, and whether the device has it: the rule `config`."""

from typing import Any

from evergrow_cloud.configs import HOME, KEEPALIVE, TELEMETRY, Desired
from evergrow_protocol import errors as codes
from evergrow_sim.world.rand import Rand, derive

_TOO_SHORT_S = 5  # no keepalive may be
_SIGNALS = (1, 2, 3, 4, 8, 9, 10, 999)


def draw(number: int) -> tuple[dict[int, Any], int]:
    """(values, the code with which a device must answer) of the configuration with that number; some must be refused."""
    rand = derive(number, "configuration")
    values: dict[int, Any] = {}
    if rand.chance(0.6):
        values[TELEMETRY] = [_set(rand) for _ in range(rand.between(0, 3))]
    if rand.chance(0.5):
        values[KEEPALIVE] = rand.choice((30, 45, 60, 120))
    if rand.chance(0.5):
        values[HOME] = rand.choice(("h1", "h2"))
    if not rand.chance(0.2):
        return values, codes.OK
    # What is right in it comes first, and may not be applied either.
    if rand.chance(0.5):
        return {**values, TELEMETRY: [_set(rand), [5, 4, 1, {1: 0}]]}, codes.OUT_OF_RANGE
    return {**values, KEEPALIVE: _TOO_SHORT_S}, codes.OUT_OF_RANGE


def _set(rand: Rand) -> list[Any]:
    """[min_s, max_s, always, {signal: band}, samples]"""
    least_s = rand.between(2, 20)
    most_s = rand.choice((least_s, least_s + rand.between(1, 60)))
    bands = {signal: rand.choice((0, 5, 50)) for signal in (rand.choice(_SIGNALS) for _ in range(2))}
    return [least_s, most_s, rand.below(2), bands, rand.between(5, 20)]


class Desires:
    """Of one device. `report(what)` is called with what may not be; `may_lose()`: its flash may have lost things."""

    def __init__(self, report: Any, may_lose: Any) -> None:
        self._report = report
        self._may_lose = may_lose
        self._wanted: dict[int, tuple[dict[int, Any], int]] = {}  # by version
        self._newest = 0
        self._shown = 0

    def want(self, version: int, values: dict[int, Any], code: int) -> None:
        """The cloud desires this from now on, and the device must answer it with this code."""
        self._wanted[version] = values, code
        self._newest = version

    def told(self, version: int) -> None:
        """The device says that this version is in force (EG-CFG-001: no older one than before, whatever happened)."""
        if version < self._shown and not self._may_lose():
            self._report(f"configuration {version} is in force, and {self._shown} was")
        if version and self._wanted.get(version, ({}, -1))[1] != codes.OK:
            self._report(f"configuration {version} is in force, which nobody may take")
        self._shown = version

    def missing(self, desired: Desired | None, agent: Any) -> str:
        """"" if the device has what is desired, does it, and the cloud knows, else what is wrong (EG-CFG-002, 004, 008)."""
        if desired is None:
            return ""
        values, code = self._wanted[self._newest]
        if code == codes.OK:
            if desired.applied != self._newest:
                return f"configuration {self._newest} is desired, {desired.applied} in force, with code {desired.code}"
        elif (desired.code, desired.refused) != (code, self._newest):
            return f"configuration {self._newest} got code {desired.code} as {desired.refused}, it must be {code}"
        settings = agent.settings
        if settings.version != desired.applied:
            return f"configuration {settings.version} is in force, and the cloud believes {desired.applied}"
        values = self._wanted[settings.version][0] if settings.version else {}
        if (settings.keepalive_s, settings.home) != (values.get(KEEPALIVE, 0), values.get(HOME, "")):
            return f"keepalive and home are {settings.keepalive_s} and {settings.home!r}, desired are {values}"
        if TELEMETRY in values and (rows := _rows(agent.telemetry.sets)) != values[TELEMETRY]:
            return f"telemetry is {rows}, desired is {values[TELEMETRY]}"
        return ""


def _rows(sets: Any) -> list[list[Any]]:
    """What the device samples, in the words of a configuration."""
    found = []
    for one in sets:
        bands = dict(zip(one._signals, one._bands, strict=True))
        found.append([one._min_ms // 1000, one._max_ms // 1000, int(one.always), bands, one.columns.size // len(bands)])
    return found
