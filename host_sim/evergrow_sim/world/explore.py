"""Runs many seeds on all cores. A seed's result does not depend on which process runs it, nor on what ran there before."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evergrow_sim.world.run import Result, run
from evergrow_sim.world.trace import line

_LAST_EVENTS = 25


@dataclass(frozen=True)
class Outcome:
    """A run, as it comes back from another process. `violations` are texts; `report` what a person wants to see of a failure."""

    seed: int
    digest: str
    violations: tuple[str, ...]
    report: str
    virtual_s: int
    cycles: int


def explore(seeds: Sequence[int], level: str, jobs: int = 0, hours: float = 0) -> Iterator[Outcome]:
    """The outcomes of these seeds as they come. `jobs`: processes, 0 for one per core. Close it to end them."""
    count = min(jobs or os.cpu_count() or 1, max(1, len(seeds)))
    work = [(seed, level, hours) for seed in seeds]
    if count == 1:
        yield from map(_run, work)
        return
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        yield from pool.imap_unordered(_run, work, chunksize=max(1, min(8, len(work) // (4 * count))))


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


def _run(work: tuple[int, str, float]) -> Outcome:
    seed, level, hours = work
    try:
        result = run(seed, level, hours=hours)
    except Exception as error:  # of the simulation itself, not of what runs in it: also something to see again
        text = f"seed {seed}, faults {level}: the simulation failed: {type(error).__name__}: {error}"
        return Outcome(seed, "", (text,), f"{text}\nreplay: {command(seed, level, hours)}", 0, 0)
    violations = tuple(str(violation) for violation in result.violations)
    shown = report(result, hours) if violations else ""
    return Outcome(seed, result.digest, violations, shown, result.stats["virtual_s"], result.stats["cycles"])
