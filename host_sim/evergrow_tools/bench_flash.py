"""Flash wear of a washer's day: three cycles, telemetry on, everything acked, one boot.

The day is lived by the real agent in virtual time; what it asks of its flash is written down, and done again, day after day, on
the real LittleFS2 of MicroPython, whose block device counts what it is made to program and to erase, block by block.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import evergrow_agent
import evergrow_protocol
import evergrow_sim
from evergrow_protocol import registry_washer as ids
from evergrow_sim.lfs import BLOCK_BYTES
from evergrow_sim.world.house import House
from evergrow_sim.world.scenario import Act, DeviceSpec, Scenario
from evergrow_sim.world.world import World
from evergrow_tools import bench_micropython
from evergrow_tools.bench_micropython import BenchError

EXPECTED = bench_micropython.EXPECTED

BLOCKS = 64
"""Of the file system: 256 KiB."""
DAYS = 30
ENDURANCE = 100_000
"""Erases that a block of NOR flash is specified for."""

_NAME = "w1"
_HOUR_MS = 3_600_000
_STARTS = ((7, ids.PROGRAMME_QUICK), (12, ids.PROGRAMME_COTTON), (19, ids.PROGRAMME_ECO))
_SIGNALS = (ids.SIGNAL_WATER_ML, ids.SIGNAL_TEMP, ids.SIGNAL_DRUM_RPM, ids.SIGNAL_POWER_W)

_PROGRAM = """
import sys
import json
case = json.load(open(sys.argv[1]))
sys.path[:0] = case["path"]
from evergrow_agent.fsflash import FsFlash
from evergrow_sim import lfs

class Blocks(lfs.RamBlocks):
    def __init__(self, count):
        self.erased = [0] * count
        lfs.RamBlocks.__init__(self, count)

    def erase(self, block):
        self.erased[block] += 1
        lfs.RamBlocks.erase(self, block)

def do(operations):
    for operation, name, argument in operations:
        if operation == "rename":
            flash.rename(name, argument)
        elif operation == "remove":
            flash.remove(name)
        else:
            getattr(flash, operation)(name, bytes(argument))

blocks = Blocks(case["blocks"])
chip = lfs.Chip(blocks)
lfs.mount(chip, "/wear")
flash = FsFlash("/wear")
do(case["before"])
for block in range(case["blocks"]):
    blocks.erased[block] = 0
erases, programmed = chip.erases, chip.programmed_bytes
for _ in range(case["days"]):
    do(case["day"])
print(json.dumps({"erases": chip.erases - erases, "bytes": chip.programmed_bytes - programmed, "worst": max(blocks.erased)}))
"""


@dataclass
class Day:
    """Operations of the flash port, as (operation, name, size of the data or new name): of the factory, and of the day."""

    before: list[tuple[str, str, Any]] = field(default_factory=list)
    day: list[tuple[str, str, Any]] = field(default_factory=list)
    records: int = 0


def run() -> dict[str, Any]:
    """Figures of one day: {file: [operations, bytes given]}, what the file system made of them, and when a block is worn out."""
    lived = day()
    files: dict[str, list[int]] = {}
    for operation, name, argument in lived.day:
        row = files.setdefault(_kind(name), [0, 0])
        row[0] += 1
        row[1] += argument if operation in ("write", "append") else 0
    chip = _replay(lived)
    worst = chip["worst"] / DAYS
    return {
        "records": lived.records,
        "operations": len(lived.day),
        "bytes": sum(row[1] for row in files.values()),
        "files": files,
        "programmed_bytes": round(chip["bytes"] / DAYS),
        "erases": round(chip["erases"] / DAYS, 1),
        "worst_block_erases": round(worst, 1),
        "years": round(ENDURANCE / worst / 365) if worst else None,
    }


@cache
def day() -> Day:
    """The same every time. Raises BenchError."""
    spec = DeviceSpec(_NAME, 1000, 3000, 0, "none", 5, 120, _SIGNALS, 20, 0, 65536, 0, "")
    acts = tuple(Act(hour * _HOUR_MS, _NAME, "start", programme) for hour, programme in _STARTS)
    found = Day()
    with World(1) as world:
        house = House(world, Scenario((spec,), acts, 24 * _HOUR_MS), _refuse)
        resident = house.residents[_NAME]
        flash = resident.device.flash
        found.before = [("write", name, len(data)) for name, data in flash.files.items()]
        for operation in ("write", "append", "remove", "rename"):
            setattr(flash, operation, _noted(found.day, operation, getattr(flash, operation)))
        house.open()
        world.run(until_ms=house.scenario.span_ms)
        found.records = len(house.told(resident))
    if found.records != len(_STARTS):
        raise BenchError(f"of {len(_STARTS)} cycles {found.records} were reported")
    return found


def format(result: dict[str, Any]) -> str:
    """What was asked, by file, and what it cost."""
    lines = [f"a day of a washer: {result['records']} cycles, telemetry on, one boot"]
    for name, (count, size) in sorted(result["files"].items(), key=lambda row: -row[1][0]):
        lines.append(f"  {name:<12}{count:>5} changes  {size:>6} B")
    lines.append(f"  {'together':<12}{result['operations']:>5} changes  {result['bytes']:>6} B")
    lines.append(f"on LittleFS2, {BLOCKS} blocks of {BLOCK_BYTES} B, the mean of {DAYS} such days:")
    lines.append(f"  {result['programmed_bytes']} B programmed, {result['erases']} blocks erased in a day")
    years = f": {result['years']} years to {ENDURANCE}" if result["years"] else ""
    lines.append(f"  {result['worst_block_erases']} times a day the block that is erased most{years}")
    return "\n".join(lines)


def _kind(name: str) -> str:
    """Segments of the journal, and the two slots of the boot counter, are one row each."""
    stem, _, number = name.partition(".")
    return f"{stem}.*" if number.isdigit() else name


def _noted(day: list[tuple[str, str, Any]], operation: str, call: Any) -> Any:
    def noting(name: str, *data: Any) -> None:
        argument = data[0] if data and operation == "rename" else len(data[0]) if data else 0
        call(name, *data)
        day.append((operation, name, argument))

    return noting


def _replay(lived: Day) -> dict[str, int]:
    sources = [str(Path(str(package.__file__)).parents[1]) for package in (evergrow_protocol, evergrow_agent, evergrow_sim)]
    case = {"path": sources, "blocks": BLOCKS, "days": DAYS, "before": lived.before, "day": lived.day}
    found: dict[str, int] = bench_micropython.run(_PROGRAM, case, "8M")
    return found


def _refuse(rule: str, device: str, what: str) -> None:
    raise BenchError(f"{rule}: {device}: {what}")
