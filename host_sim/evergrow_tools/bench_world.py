"""How fast the deterministic world is: device-days per second with the real agent, memory, where the time goes, cut points.

Each figure of the virtual tier comes from a process of its own, on one core, and counts that process's CPU seconds. Everything
of a run is there but its checkers: agents, physics, flash, network, broker and the reference cloud. Each washer runs *quick*
once a day, which is more than households do (220 times a year, by the EU's energy label of 2010), or four times, as in a shared
laundry; the starts of many are spread evenly, so that at any moment one in 48 is busy, or one in twelve. A day is measured whole,
since no shorter time has all of it: nothing is extrapolated. A washer at rest wakes its agent when something changes; otherwise
the agent looks every REST_MS, which its watchdog lets it. All are connected, with a keepalive of a minute.
"""

import cProfile
import gc
import json
import os
import pstats
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from evergrow_agent.board import Config
from evergrow_protocol import registry_washer as ids
from evergrow_sim import cuts
from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.cloud import CloudEnd
from evergrow_sim.world.device import WorldDevice
from evergrow_sim.world.world import World

SPEEDS = ((1, 24.0, 4), (100, 24.0, 4), (100, 24.0, 1))
"""Washers, simulated hours and washes a day for the speed."""
SPAN = (1, 720.0, 4)
"""The same over which memory is watched: a month."""
GOAL_FACTOR = 3000
"""Over real time, for 100 washers. That can be read in two ways, and both are said: summed over the washers, and of the fleet."""
PROFILED = (10, 6.0, 4)
REST_MS = 60_000
"""How often the agent looks at a washer that is at rest; while it runs, every half second."""
WATCHDOG_MS = 90_000
"""After which the watchdog bites: a board that rests for a minute has one that lets it."""
CUTS = ("usage", 1)
"""A scenario of `evergrow_sim.cuts`, and of how many of its operations one is cut."""

_HOUR_MS = 3_600_000
_BOOTED_MS = 60_000
_DAY_MS = 24 * _HOUR_MS
_SAMPLES = 8
_TOP = 3


class BenchError(Exception):
    """A process of the benchmark did not do what it was measured for. The message is what it said."""


EXPECTED = (BenchError, cuts.CutsError)


def run(
    speeds: tuple[tuple[int, float, int], ...] = SPEEDS,
    span: tuple[int, float, int] = SPAN,
    profiled: tuple[int, float, int] = PROFILED,
    cut: tuple[str, int] = CUTS,
) -> dict[str, Any]:
    """`speeds`: a list of `measure`; `span`: one of many hours; `profile`: see `profile`; `cuts`: points per second."""
    scenario, every = cut
    measured = [_child("measure", *size) for size in speeds]
    result: dict[str, Any] = {
        "speeds": measured,
        "span": _child("measure", *span),
        "profile": {"washers": profiled[0], "hours": profiled[1], "groups": _child("profile", *profiled)},
    }
    few, many = measured[0], max(measured, key=lambda speed: int(speed["washers"]))
    if many["washers"] > few["washers"]:
        extra_kb = (many["made_kb"] - few["made_kb"]) / (many["washers"] - few["washers"])
        result["kb_per_washer"] = round(extra_kb, 1)
    found = cuts.run(scenario, jobs=1, every=every)
    if found.failures:
        raise BenchError(f"cuts of {scenario}: {found.failures[0]}")
    points = found.cut_points + found.recovery_cut_points
    seconds, per_s = round(found.seconds, 2), round(found.points_per_s)
    result["cuts"] = {"scenario": scenario, "points": points, "seconds": seconds, "per_s": per_s}
    return result


def format(result: dict[str, Any]) -> str:
    """The figures of `run` as lines of text."""
    lines = [
        "virtual tier, real agent, one core, CPU time; a device-day is a day in the life of one washer, which is looked at every"
        f" half second while it runs; at rest when something changes, and every {REST_MS // 1000} s:"
    ]
    many = max(speed["washers"] for speed in result["speeds"])
    for speed in result["speeds"]:
        size = f"{speed['washers']:3} for {speed['hours']:4g} h, washes a day: {speed['washes']}, in {speed['seconds']:.1f} s"
        factors = f"{speed['device_factor']:,} x real time summed over the washers, {speed['fleet_factor']:,} x for all together"
        lines.append(f"  {size}  {speed['device_days_per_s']:.3f} device-days/s, {factors}")
    lines += [_goal(speed) for speed in result["speeds"] if speed["washers"] == many]
    if "kb_per_washer" in result:
        lines.append(f"memory, resident: {result['kb_per_washer']} KB more for each further washer, once all are connected")
    span = result["span"]
    life = f"{span['washers']} washers for {span['hours']:g} h, {span['records']} cycles"
    lines.append(f"resident memory in MB over the life of {life}, at equal distances:")
    lines.append("  " + " ".join(f"{kb / 1024:.1f}" for kb in span["resident_kb"]))
    profile_of = result["profile"]
    lines.append(f"where the time goes, {profile_of['washers']} washers for {profile_of['hours']:g} h, own time under cProfile:")
    for group, share, functions in profile_of["groups"]:
        top = ", ".join(f"{name} {part:.0f} %" for name, part in functions)
        lines.append(f"  {group:28} {share:4.0f} %  {top}")
    cut = result["cuts"]
    lines.append(
        f"power cuts on MicroPython with LittleFS2, one core: {cut['per_s']} points/s"
        f" ({cut['points']} points of {cut['scenario']!r} in {cut['seconds']} s, reboots and checks included)"
    )
    return "\n".join(lines)


def _goal(speed: dict[str, Any]) -> str:
    def met(factor: int) -> str:
        return f"{'met' if factor >= GOAL_FACTOR else 'NOT met'} ({factor:,} x)"

    return (
        f"  goal of {GOAL_FACTOR:,} x for {speed['washers']}, washes a day: {speed['washes']}:"
        f" {met(speed['device_factor'])} as washer-seconds in a CPU second,"
        f" {met(speed['fleet_factor'])} as seconds in the life of the whole fleet in a CPU second"
    )


def measure(washers: int, hours: float, washes: int) -> dict[str, Any]:
    """Live through it, in this process. `made_kb`: memory once all washers are connected and have begun their first cycle."""
    span_ms = int(hours * _HOUR_MS)
    resident_kb = []
    with World(1) as world:
        home = _Home(world, washers, span_ms, _DAY_MS // washes)
        world.run(until_ms=_BOOTED_MS)
        gc.collect()
        made_kb = _resident_kb()
        started_s, started_ms = time.process_time(), world.loop.now_ms
        for sample in range(1, _SAMPLES + 1):
            world.run(until_ms=started_ms + (span_ms - started_ms) * sample // _SAMPLES)
            resident_kb.append(_resident_kb())
        seconds = time.process_time() - started_s
        simulated_s = (world.loop.now_ms - started_ms) / 1000
        if home.cloud.failures or any(washer.agent.link.connects != 1 or washer.failures for washer in home.washers):
            raise BenchError("a device or the cloud did not stay connected")
        records = home.records()
    return {
        "washers": washers,
        "hours": hours,
        "washes": washes,
        "seconds": round(seconds, 2),
        "device_days_per_s": round(washers * simulated_s / 86_400 / seconds, 4),
        "device_factor": round(washers * simulated_s / seconds),
        "fleet_factor": round(simulated_s / seconds),
        "records": records,
        "made_kb": made_kb,
        "resident_kb": resident_kb,
    }


def profile(washers: int, hours: float, washes: int) -> list[tuple[str, float, list[tuple[str, float]]]]:
    """(group, percent of the time spent in its own code, [(function, percent), ...]) of each group of modules, largest first."""
    span_ms = int(hours * _HOUR_MS)
    with World(1) as world:
        _Home(world, washers, span_ms, _DAY_MS // washes)
        world.run(until_ms=_BOOTED_MS)
        profiler = cProfile.Profile()
        profiler.enable()
        world.run(until_ms=span_ms)
        profiler.disable()
    groups: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    total_s = 0.0
    for (file, _, name), (_, _, own_s, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        groups[_group(file)][f"{Path(file).stem}.{name}" if file != "~" else name] += own_s
        total_s += own_s
    found = []
    for group, functions in groups.items():
        largest = sorted(functions.items(), key=lambda item: -item[1])[:_TOP]
        top = [(name, round(100 * own_s / total_s, 1)) for name, own_s in largest]
        found.append((group, round(100 * sum(functions.values()) / total_s, 1), top))
    return sorted(found, key=lambda row: -row[1])


class _Home:
    """A broker, the reference cloud, and washers that are switched on within half a minute; nothing that checks anything.

    Every washer runs *quick* once in `every_ms`, and their starts are spread evenly over it.
    """

    def __init__(self, world: World, washers: int, span_ms: int, every_ms: int) -> None:
        loop = world.loop
        broker = Broker(lambda: loop.now_ms)
        world.network.listen("broker", 1883, BrokerServer(broker, loop).accept)
        self.cloud = CloudEnd(world, "broker", 1883)
        loop.call_at_us(0, self.cloud.start)
        self.washers = []
        for number in range(washers):
            config = Config("broker", 1883, rest_ms=REST_MS)
            washer = WorldDevice(world, f"w{number}", config, watchdog_ms=WATCHDOG_MS)
            self.washers.append(washer)
            loop.call_at_us(1_000_000 + 29_000_000 * number // washers, washer.power_on)
            first_ms = _BOOTED_MS + every_ms * number // washers
            for at_ms in range(first_ms, span_ms, every_ms):
                loop.call_at_us(1000 * at_ms, self._start, washer)

    def records(self) -> int:
        """How many usage records the cloud has."""
        ((count,),) = self.cloud.store.rows("SELECT count(*) FROM usage")
        return int(count)

    def _start(self, washer: WorldDevice) -> None:
        washer.plant.cycles.clear()  # what it would otherwise keep for those who check
        code = washer.start_programme(ids.PROGRAMME_QUICK)
        if code:
            raise BenchError(f"{washer.name} refuses to start with code {code}")


def _group(file: str) -> str:
    parts = Path(file).with_suffix("").parts
    for package in ("evergrow_agent", "evergrow_mqtt", "evergrow_protocol", "evergrow_cloud"):
        if package in parts:
            return package
    if "evergrow_sim" in parts:
        return "evergrow_sim.appliances" if "appliances" in parts or parts[-1] in ("plant", "safety") else "evergrow_sim.world"
    return "Python" if file == "~" or "asyncio" not in parts else "asyncio"


def _resident_kb() -> int:
    """Memory of this process: what it has now where the system tells, else the most it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak


def _child(what: str, washers: int, hours: float, washes: int) -> Any:
    """`measure` or `profile` in a process of its own, whose memory nobody else has used. Raises BenchError."""
    command = [sys.executable, "-m", __name__, what, str(washers), str(hours), str(washes)]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode:
        raise BenchError(ran.stderr or f"status {ran.returncode}")
    return json.loads(ran.stdout)


if __name__ == "__main__":
    if sys.argv[1:]:
        asked = {"measure": measure, "profile": profile}[sys.argv[1]]
        print(json.dumps(asked(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))))
    else:
        print(format(run()))
