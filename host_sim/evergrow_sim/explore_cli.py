"""`evergrow sim explore`, `replay` and `cuts`: looking for failures, and looking at them. See docs/testing.md."""

import json
import os
from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from evergrow_sim.world.run import Result

FaultLevel = StrEnum("FaultLevel", {"none": "none", "light": "light", "heavy": "heavy"})
"""How much goes wrong in a run."""

Appliance = StrEnum("Appliance", {"washer": "washer", "refrigerator": "refrigerator", "air_conditioner": "air-conditioner"})

_FAILURES_SHOWN = 5
_COUNTED = {"cuts": "power cuts"}

Level = Annotated[FaultLevel, typer.Option("--fault-level", help="How much goes wrong.")]
Hours = Annotated[float, typer.Option(min=0, max=24 * 366, help="Virtual hours per run; 0: as the seed says.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]


def explore(
    seeds: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 100,
    first: Annotated[int, typer.Option("--from", min=0, help="The first.")] = 0,
    fault_level: Level = FaultLevel.light,
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Processes; 0: one per core.")] = 0,
    hours: Hours = 0,
    appliance: Annotated[Appliance, typer.Option(help="Homes with washers; or one that never ends a cycle.")] = Appliance.washer,
    as_json: Json = False,
) -> None:
    """Run many seeds of the deterministic world and check everything that must always be so.

    Exit code 1 when something was not. What is printed then replays it, on any machine.
    """
    from evergrow_sim.world import continuous
    from evergrow_sim.world.explore import explore as homes
    from evergrow_sim.world.explore import lives

    chosen, level, kind = range(first, first + seeds), str(fault_level), str(appliance).replace("-", " ")
    if appliance == Appliance.washer:
        found = homes(chosen, level, jobs, hours)
    elif 0 < hours < continuous.LEAST_HOURS:
        raise typer.BadParameter(f"a life has {continuous.LEAST_HOURS:g} hours or more", param_hint="--hours")
    else:
        found = lives(chosen, kind, level, jobs, hours)
    console = Console(highlight=False, quiet=as_json)
    failed = []
    virtual_s = 0
    counts: Counter[str] = Counter()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"{seeds} seeds", total=seeds)
        for outcome in found:
            virtual_s += outcome.virtual_s
            counts.update(outcome.counts)
            if outcome.violations:
                failed.append(outcome)
                if len(failed) <= _FAILURES_SHOWN:
                    console.print(outcome.report, markup=False, soft_wrap=True)
            progress.update(bar, advance=1, description=f"{len(failed)} failed")
    failed.sort(key=lambda outcome: outcome.seed)
    if as_json:
        keys = ("seed", "violations", "replay")
        failures = [{key: getattr(outcome, key) for key in keys} for outcome in failed]
        report = {"appliance": str(appliance), "seeds": seeds, "from": first, "fault_level": level, "virtual_s": virtual_s}
        print(json.dumps({**report, **counts, "failed": failures}))
    what = "seeds" if appliance == Appliance.washer else f"lives of one {kind}"
    counted = ", ".join(f"{count} {_COUNTED.get(name, name)}" for name, count in counts.items())
    console.print(f"{seeds} {what} from {first}, faults {level}: {virtual_s / 3600:.0f} virtual hours, {counted}", soft_wrap=True)
    if failed:
        console.print(f"{len(failed)} failed: {' '.join(str(outcome.seed) for outcome in failed)}", soft_wrap=True)
        raise typer.Exit(1)


def replay(
    seed: Annotated[int, typer.Argument(min=0)],
    fault_level: Level = FaultLevel.light,
    story: Annotated[str, typer.Option(metavar="DEVICE", help="Print what happened to this device, say w1.")] = "",
    shrink: Annotated[bool, typer.Option("--shrink", help="Leave out faults for as long as it still fails.")] = False,
    faults: Annotated[str, typer.Option(help="Only these faults, by number: 3,7 or none.")] = "",
    hours: Hours = 0,
    record: Annotated[
        Path | None, typer.Option(help="Write every message to this file, for `evergrow decode` and `validate`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one seed again: the same events in the same order, which the digest shows.

    Exit code 1 when something was not as it must be.
    """
    from evergrow_protocol import traffic
    from evergrow_sim.world import explore as explored
    from evergrow_sim.world.run import run
    from evergrow_sim.world.shrink import shrink as smallest
    from evergrow_sim.world.story import Story

    console = Console(highlight=False, quiet=as_json)
    chosen = _numbers(faults)
    told = Story(story) if story and not shrink else None
    messages: list[str] = []
    recorder = (lambda message: messages.append(traffic.to_line(message))) if record else None
    try:
        result = run(seed, str(fault_level), chosen, sink=told, hours=hours, record=recorder)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--faults") from None
    if record:
        try:
            record.write_text("\n".join([*messages, ""]), encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{record} cannot be written: {error.strerror}", param_hint="--record") from None
    if shrink and not result.ok:
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(f"{len(result.chosen)} faults", total=None)

            def tried(numbers: object, fails: bool) -> None:
                if fails:
                    progress.update(bar, description=f"{len(numbers)} faults")  # type: ignore[arg-type]

            result = smallest(result, hours, tried)
        chosen = result.chosen
        if story:
            told = Story(story)
            result = run(seed, str(fault_level), chosen, sink=told, hours=hours)
    if told is not None and story not in told.seen:
        others = ", ".join(sorted(told.seen))
        raise typer.BadParameter(f"seed {seed} has no device {story!r}; there are stories of {others}", param_hint="--story")
    if as_json:
        _print_replay(result, explored.command(seed, str(fault_level), hours, chosen), told.lines if told else [])
    if told is not None:
        console.print("\n".join(told.lines), markup=False, soft_wrap=True)
    for number, fault in enumerate(result.faults):
        if number in result.chosen:
            console.print(f"fault {number}: {fault}", markup=False, soft_wrap=True)
    console.print(f"digest {result.digest}", soft_wrap=True)
    if result.ok:
        console.print("nothing was violated" + (": there is nothing to shrink" if shrink else ""))
        return
    console.print(explored.report(result, hours, chosen), markup=False, soft_wrap=True)
    raise typer.Exit(1)


def cuts(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Which; `all` for all. Without one they are listed.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Cut at about one operation of so many.")] = 1,
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Processes; 0: one per core.")] = 0,
    as_json: Json = False,
) -> None:
    """Cut the power at every flash operation of the agent, on MicroPython with the real LittleFS2, and in the boot after it.

    Exit code 1 when something was lost, told twice or left half.
    """
    from evergrow_sim import cuts as power_cuts

    console = Console(highlight=False, quiet=as_json)
    if not scenarios:
        if as_json:
            print(json.dumps(power_cuts.SCENARIOS))
        for name, text in power_cuts.SCENARIOS.items():
            console.print(f"{name:<14} {text}", markup=False)
        return
    names = list(power_cuts.SCENARIOS) if "all" in scenarios else scenarios
    failed = False
    total = 0
    found = []
    for name in names:
        with console.status(f"{name} ..."):
            try:
                result = power_cuts.run(name, jobs or os.cpu_count() or 1, every)
            except power_cuts.CutsError as error:
                raise typer.BadParameter(str(error), param_hint="SCENARIO") from None
        points = f"{result.cut_points} cuts, {result.recovery_cut_points} more in the boot after one"
        console.print(f"{name}: {result.operations} operations, {points}, {result.points_per_s:.0f} a second")
        for failure in result.failures:
            console.print(f"  {failure}", markup=False, soft_wrap=True)
        failed = failed or bool(result.failures)
        total += result.cut_points + result.recovery_cut_points
        found.append(asdict(result))
    if as_json:
        print(json.dumps({"cut_points": total, "scenarios": found}))
    if len(names) > 1:
        console.print(f"{len(names)} scenarios: {total} cut points")
    if failed:
        raise typer.Exit(1)


def _print_replay(result: "Result", command: str, story: list[str]) -> None:
    report = {
        "seed": result.seed,
        "fault_level": result.level,
        "digest": result.digest,
        "faults": [{"number": number, "text": str(result.faults[number])} for number in result.chosen],
        "violations": [str(violation) for violation in result.violations],
        "replay": command,
    }
    print(json.dumps(report | ({"story": story} if story else {})))


def _numbers(text: str) -> list[int] | None:
    """The numbers in `3,7`; [] for `none`; None for all."""
    if not text:
        return None
    try:
        return [] if text == "none" else [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of numbers", param_hint="--faults") from None
