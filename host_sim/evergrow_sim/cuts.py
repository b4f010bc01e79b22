"""Exhaustive power cuts of the agent's flash use: each scenario on real MicroPython processes with the real LittleFS2.

    result = run("usage", jobs=2)
    result.failures == []

The work is split over `jobs` processes by the number of the flash operation that is cut.
"""

import json
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evergrow_agent
import evergrow_protocol
import evergrow_sim

SCENARIOS = {
    "usage": "append, announce, ack, rotate, free and merge usage records",
    "usage-blocks": "the same with segments that take blocks of their own",
    "erased": "an erased flash takes its records above the boot numbers that the cloud knows",
    "boot": "the boot counter",
    "cycle": "cycles with their checkpoints, and what a boot makes of them",
    "feature": "upgrade, install and remove features",
    "life": "features on trial, confirmed, reverted, staged until consent, removed",
    "failing": "code that is stopped in one boot after the other, until it is out of use",
    "transfer": "a transfer of several erase blocks that goes on after the cut, until it is confirmed",
    "install": "a feature that is new here, from the offer to its confirmation",
    "delta": "an upgrade by a patch on what is installed, from the offer to its confirmation",
    "revert": "a crash loop and code that fails, until the version before is in force again",
    "uninstall": "a manifest that removes a feature, from the offer to the report",
    "features-many": "the same with a directory of more than one pair of blocks",
    "voice": "take what users say, and let go of what the cloud has heard",
    "config": "configurations that arrive and are replaced",
    "trust": "update grants, revoke features and publishers",
    "entitlement": "issue, use, renew and end entitlements",
    "rights": "cycles of a feature that is entitled for a number of uses, renewed, and revoked; what the cloud is told of them",
}
"""Name: what is done while power is cut. The scenarios themselves are in `evergrow_sim.cutscenarios`."""

BLOCK_COUNT = 32
HEAP = "8M"

_SCRIPT = "import sys; sys.path[:] = {path!r}; from evergrow_sim.cutpoints import main; main(*{arguments!r})"
_REPORT = "\x1e"


class CutsError(Exception):
    """A scenario that does not exist, or a process that did not finish. The message says what it said last."""


@dataclass
class Result:
    """`operations` of the flash chip in the scenario; cuts in it, and cuts in the boot after one; `failures` of `cutpoints`."""

    scenario: str
    operations: int = 0
    cut_points: int = 0
    recovery_cut_points: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def points_per_s(self) -> float:
        return (self.cut_points + self.recovery_cut_points) / self.seconds if self.seconds else 0.0


def run(
    scenario: str,
    jobs: int = 2,
    every: int = 1,
    kinds: Sequence[str] = (),
    code: Sequence[Path] = (),
    module: str = "evergrow_sim.cutscenarios",
) -> Result:
    """Cut power in the scenario at every operation, or at about one of `every`; in all kinds of `cutpoints.KINDS`, or in `kinds`.

    `code`: folders of modules, compiled or not, that are found before the sources here; `module` has the scenario in its
    SCENARIOS. Raises CutsError, OSError.
    """
    if scenario not in SCENARIOS:
        raise CutsError(f"no scenario {scenario!r}; there are {', '.join(SCENARIOS)}")
    path = [*(str(folder) for folder in code), *_sources()]
    started_s = time.monotonic()
    processes = []
    try:
        for job in range(jobs):
            arguments = (module, scenario, str(job * every), str(jobs * every), str(BLOCK_COUNT), ",".join(kinds))
            script = _SCRIPT.format(path=[*path, ".frozen"], arguments=arguments)
            command = [str(Path(sysconfig.get_path("scripts")) / "micropython"), "-X", f"heapsize={HEAP}", "-c", script]
            processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
        reports = [_report(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    result = Result(scenario, seconds=time.monotonic() - started_s)
    for report in reports:
        result.operations = max(result.operations, report["operations"])
        result.cut_points += report["cut_points"]
        result.recovery_cut_points += report["recovery_cut_points"]
        result.failures += [failure for failure in report["failures"] if failure not in result.failures]
    return result


def _sources() -> list[str]:
    folders = [Path(str(package.__file__)).parents[1] for package in (evergrow_protocol, evergrow_agent, evergrow_sim)]
    return [str(folder) for folder in dict.fromkeys(folders)]


def _report(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, _ = process.communicate()
    _, mark, line = output.rpartition(_REPORT)
    if not mark or process.returncode:
        last = "\n".join(output.splitlines()[-20:])
        raise CutsError(f"the process ended with status {process.returncode}:\n{last}")
    report: dict[str, Any] = json.loads(line)
    return report
