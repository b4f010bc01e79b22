"""Runs many seeds on all cores. A seed's result does not depend on which process runs it, nor on what ran there before."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evergrow_sim.world import continuous
from evergrow_sim.world.run import Result, run
from evergrow_sim.world.trace import line

_LAST_EVENTS = 25


@dataclass(frozen=True)
class Outcome:
    """A run, as it comes back from another process. `violations` are texts; `report` what a person wants to see of a failure.

    `replay`: the one command that shows it again. `counts`: of `cycles`, or of `records` and `cuts` in the life of one appliance.
    """

    seed: int
    digest: str
    violations: tuple[str, ...]
    report: str
    replay: str
    virtual_s: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def explore(seeds: Sequence[int], level: str, jobs: int = 0, hours: float = 0) -> Iterator[Outcome]:
    """The outcomes of these seeds as they come. `jobs`: processes, 0 for one per core. Close it to end them."""
    yield from _spread(_run, [(seed, level, hours) for seed in seeds], jobs)


def lives(seeds: Sequence[int], kind: str, level: str, jobs: int = 0, hours: float = 0) -> Iterator[Outcome]:
    """The same of appliances that never end a cycle: lives of one `kind` of `continuous.KINDS`; `hours` 0: as long as usual."""
    yield from _spread(_life, [(seed, kind, level, hours) for seed in seeds], jobs)


def _spread(job: Callable[[Any], Outcome], work: Sequence[Any], jobs: int) -> Iterator[Outcome]:
    count = min(jobs or os.cpu_count() or 1, max(1, len(work)))
    if count == 1:
        yield from map(job, work)
        return
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        yield from pool.imap_unordered(job, work, chunksize=max(1, min(8, len(work) // (4 * count))))


def command(seed: int, level: str, hours: float = 0, chosen: Sequence[int] | None = None) -> str:
    """The one command that replays a run."""
    words = ["evergrow sim replay", str(seed), f"--fault-level {level}"]
    if hours:
        words.append(f"--hours {hours:g}")
    if chosen is not None:
        words.append(f"--faults {','.join(map(str, chosen)) or 'none'}")
    return " ".join(words)


def report(result: Result, hours: float = 0, chosen: Sequence[int] | None = None) -> str:
    """A failed run for people: the seed, what was violated, the last events, and how to see it again."""
    lines = [f"seed {result.seed}, faults {result.level}: {len(result.violations)} violation(s)"]
    lines += [f"  {violation.at_ms / 1000:.1f} s  {violation}" for violation in result.violations]
    lines += ["last events:", *[f"  {line(event)}" for event in result.last[-_LAST_EVENTS:]]]
    return "\n".join([*lines, f"replay: {command(result.seed, result.level, hours, chosen)}"])


def life_command(seed: int, kind: str, level: str, hours: float = 0) -> str:
    """The one command that shows a life again."""
    words = f"evergrow sim explore --appliance {kind.replace(' ', '-')} --seeds 1 --from {seed} --fault-level {level}"
    return f"{words} --hours {hours:g}" if hours else words


def _run(work: tuple[int, str, float]) -> Outcome:
    seed, level, hours = work
    replay = command(seed, level, hours)
    try:
        result = run(seed, level, hours=hours)
    except Exception as error:  # of the simulation itself, not of what runs in it: also something to see again
        return _failed(seed, level, error, replay)
    violations = tuple(str(violation) for violation in result.violations)
    shown = report(result, hours) if violations else ""
    counts = {"cycles": result.stats["cycles"]}
    return Outcome(seed, result.digest, violations, shown, replay, result.stats["virtual_s"], counts)


def _life(work: tuple[int, str, str, float]) -> Outcome:
    seed, kind, level, hours = work
    replay = life_command(seed, kind, level, hours)
    try:
        life = continuous.run(seed, kind, hours or continuous.HOURS, continuous.FAULTS[level])
    except Exception as error:
        return _failed(seed, level, error, replay)
    shown = "\n".join([f"seed {seed}, faults {level}:", *[f"  {text}" for text in life.violations], f"replay: {replay}"])
    counts = {"records": life.records, "cuts": life.cuts}
    return Outcome(seed, life.digest, tuple(life.violations), shown if life.violations else "", replay, life.virtual_s, counts)


def _failed(seed: int, level: str, error: Exception, replay: str) -> Outcome:
    text = f"seed {seed}, faults {level}: the simulation failed: {type(error).__name__}: {error}"
    return Outcome(seed, "", (text,), f"{text}\nreplay: {replay}", replay)
