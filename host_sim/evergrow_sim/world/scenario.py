"""What people and the cloud do in a run, all of it from the seed: who there is, and who does what when.

A scenario is data. Faults are planned apart from it (see `faults`), so that the same day can be lived with and without them.
"""

from dataclasses import dataclass

from evergrow_protocol import registry_washer as ids
from evergrow_sim.world import brisk, stories
from evergrow_sim.world.features import WARM_RINSE, catalogue
from evergrow_sim.world.rand import Rand, derive

_MINUTE_MS = 60_000
_LONG_MS = 20 * _MINUTE_MS  # nothing that takes this long is started so late that the run would have to wait for it
_OFFERS_MAX = 4  # to one device


@dataclass(frozen=True)
class DeviceSpec:
    """One appliance and its board. `rtc`: see WorldDevice. `version`: of MQTT. `aliases`: topic aliases that it uses."""

    name: str
    tick_ms: int
    load_g: int
    drift_ppm: int
    rtc: str
    version: int
    keepalive_s: int
    telemetry: tuple[int, ...]
    delay_ms: int
    jitter_ms: int
    usage_bytes: int
    powered_ms: int
    home: str
    rest_ms: int = 0


@dataclass(frozen=True)
class Act:
    """`what`: start or remote start (programme), stop, remote stop, door, close, remote (enabled), say (stars), unplug (for so
    many ms); offer (its name), configure (a number, see `desires`); cancel, agree, decline, remove (name of an offer); entitle
    (uses), lease (see `house.lease`); and for all devices grant (its kind), revoke and attack (see `Root`).
    """

    at_ms: int
    device: str
    what: str
    argument: int | str = 0


@dataclass(frozen=True)
class Scenario:
    """`span_ms`: how long people and faults go on. Acts are in order."""

    devices: tuple[DeviceSpec, ...]
    acts: tuple[Act, ...]
    span_ms: int
    cloud_version: int = 5


def make(seed: int, hours: float = 0) -> Scenario:
    """The scenario of a seed. `hours`: how long it lasts; 0: some twelve to forty minutes, now and then hours."""
    rand = derive(seed, "scenario")
    span_ms = int(hours * 60) * _MINUTE_MS or _span_ms(rand)
    count = rand.choice((1, 1, 1, 1, 1, 1, 2, 2, 3)) if not hours else rand.between(1, 4)
    specs = tuple(_device(rand.derive("device", number), f"w{number}") for number in range(1, count + 1))
    acts = [act for spec in specs for act in _acts(rand.derive("acts", spec.name), spec, span_ms)]
    acts += [act for spec in specs for act in _sayings(rand.derive("sayings", spec.name), spec, span_ms)]
    acts += [act for spec in specs for act in _desires(rand.derive("desires", spec.name), spec, span_ms)]
    acts += [act for spec in specs for act in _story(rand.derive("story", spec.name), spec, span_ms)]
    acts += [act for spec in specs for act in _rights(rand.derive("rights", spec.name), spec, span_ms)]
    acts += _root(rand.derive("root"), specs[0].name, span_ms)
    acts.sort(key=lambda act: (act.at_ms, act.device))
    return Scenario(specs, tuple(acts), span_ms, 4 if rand.chance(0.2) else 5)


def _span_ms(rand: Rand) -> int:
    if rand.chance(0.01):
        return rand.between(120, 240) * _MINUTE_MS
    return rand.between(12, 40) * _MINUTE_MS


def _device(rand: Rand, name: str) -> DeviceSpec:
    telemetry = (ids.SIGNAL_TEMP, ids.SIGNAL_DRUM_RPM) if rand.chance(0.3) else ()
    return DeviceSpec(
        name,
        tick_ms=rand.choice((500, 1000, 1000, 1000, 2000)),
        load_g=rand.between(500, 2000),
        drift_ppm=rand.between(-200, 200),
        rtc=rand.choice(("none", "none", "1970", "kept")),
        version=rand.choice((5, 5, 5, 4)),
        keepalive_s=rand.choice((30, 60, 120)),
        telemetry=telemetry,
        delay_ms=rand.between(1, 200),
        jitter_ms=rand.between(0, 100),
        usage_bytes=rand.choice((65536, 65536, 1024)),
        powered_ms=rand.between(0, 30_000),
        home="h1" if rand.derive("home").chance(0.5) else "",
        rest_ms=rand.derive("rest").choice((0, 0, 5000, 60_000)),
    )


def _acts(rand: Rand, spec: DeviceSpec, span_ms: int) -> list[Act]:
    acts = [Act(spec.powered_ms + 1000, spec.name, "remote", int(rand.chance(0.7)))]
    offers = 0
    at_ms = spec.powered_ms + rand.between(5_000, 60_000)
    while at_ms < span_ms:
        what, argument = _act(rand)
        if argument == ids.PROGRAMME_RINSE_SPIN and at_ms > span_ms - _LONG_MS:
            argument = brisk.SHORT_SPIN
        if what == "offer":
            offers += 1
        if what != "offer" or offers <= _OFFERS_MAX:
            acts.append(Act(at_ms, spec.name, what, argument))
        if what == "door":
            at_ms += rand.between(5_000, 40_000)
            acts.append(Act(at_ms, spec.name, "close"))
            acts.append(Act(at_ms + 2_000, spec.name, "remote", int(rand.chance(0.7))))
        at_ms += rand.between(2_000, 60_000) if rand.chance(0.3) else rand.between(40_000, 300_000)
    return acts


def _sayings(rand: Rand, spec: DeviceSpec, span_ms: int) -> list[Act]:
    """Some say nothing, some much at once."""
    count = rand.choice((0, 0, 1, 2, 3, 12))
    first_ms = rand.between(spec.powered_ms + 5_000, span_ms)
    apart_ms = rand.choice((1_000, 60_000))
    times = [first_ms + number * apart_ms for number in range(count)]
    return [Act(at_ms, spec.name, "say", rand.between(1, 5)) for at_ms in times if at_ms < span_ms]


def _desires(rand: Rand, spec: DeviceSpec, span_ms: int) -> list[Act]:
    """The cloud has its wishes, now and then one soon after another."""
    acts = []
    at_ms = rand.between(0, span_ms // 2)
    for _ in range(rand.choice((0, 0, 1, 1, 2, 3))):
        acts.append(Act(at_ms, spec.name, "configure", rand.below(1 << 32)))
        at_ms += rand.choice((rand.between(0, 3_000), rand.between(10_000, 600_000)))
    return [act for act in acts if act.at_ms < span_ms]


def _story(rand: Rand, spec: DeviceSpec, span_ms: int) -> list[Act]:
    """Half of the devices live through one, half of the others buy something."""
    at_ms = spec.powered_ms + rand.between(5_000, span_ms // 3)
    steps = stories.draw(rand) if rand.chance(0.5) else stories.paid(rand) if rand.chance(0.5) else []
    return _told(steps, at_ms, spec.name, span_ms)


def _rights(rand: Rand, spec: DeviceSpec, span_ms: int) -> list[Act]:
    """A third of the devices are offered what the guest makes, or rent something."""
    steps = stories.guest(rand) if rand.chance(0.15) else stories.rented(rand) if rand.chance(0.25) else []
    return _told(steps, spec.powered_ms + rand.between(5_000, span_ms // 3), spec.name, span_ms)


def _root(rand: Rand, name: str, span_ms: int) -> list[Act]:
    """In a third of the homes, of all devices of the tenant."""
    steps = stories.root(rand, span_ms) if rand.chance(0.4) else []
    return _told(steps, 0, name, span_ms)


def _told(steps: list[stories.Step], at_ms: int, name: str, span_ms: int) -> list[Act]:
    acts = []
    for wait_ms, what, argument in steps:
        at_ms += wait_ms
        acts.append(Act(at_ms, name, what, argument))
    return [act for act in acts if act.at_ms < span_ms]


def _act(rand: Rand) -> tuple[str, int | str]:
    dice = rand.below(100)
    if dice < 62:
        return ("start" if dice < 36 else "remote start"), _programme(rand)
    if dice < 70:
        return ("stop" if dice < 67 else "remote stop"), 0
    if dice < 77:
        return "door", 0
    if dice < 82:
        return "remote", int(dice > 78)
    return "offer", rand.choice(("rinse", "rinse", "rinse-2", "spin", "spin", *catalogue()))


def _programme(rand: Rand) -> int:
    """Mostly a short one."""
    dice = rand.below(100)
    if dice < 55:
        return brisk.SHORT_WASH
    if dice < 80:
        return brisk.SHORT_SPIN
    return WARM_RINSE if dice < 95 else ids.PROGRAMME_RINSE_SPIN
