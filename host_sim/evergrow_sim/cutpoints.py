"""Cuts power at every operation of the flash chip that a scenario makes, on the real LittleFS2, and looks what a reboot finds.

A scenario is an object, made anew for each run:

    prepare(flash)    what the device has before; power holds
    live(flash)       what it does, in which power is cut once; may keep in `self` what the outside world saw
    recover(flash)    its boot after the cut, in which power is cut again in a second round
    state(flash)      what a further boot must not change, as anything that can be compared
    check(flash)      in the end: None, or what is wrong in words; may change the flash

For each operation of `live` and each kind of cut: prepare, live with the cut, boot and recover, boot and recover again with
the same state as before, check. And the same with a second cut, at each operation of the first `recover`. Portable; `main` is
what `evergrow_sim.cuts` starts.
"""

import gc
import json

from evergrow_agent.fsflash import FsFlash
from evergrow_sim import lfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KINDS = ((lfs.CUT_BEFORE, "before"), (lfs.CUT_TORN, "torn"), (lfs.CUT_AFTER, "after"), (lfs.CUT_NOISE, "noise"))
MAX_FAILURES = 20

_POINT = "/cut"


class CutPoints:
    """Runs the scenarios that `make()` returns on a flash of `block_count` blocks.

    Of the operations of `live`, numbered from 0, those are cut whose number modulo `parts` is `part`. `kinds`: names of KINDS.
    """

    def __init__(self, make: "Callable[[], Any]", block_count: int = 16, part: int = 0, parts: int = 1, kinds: str = "") -> None:
        self.operations = 0
        self.cut_points = 0
        self.recovery_cut_points = 0
        self.failures: "list[dict[str, Any]]" = []
        self._make = make
        self._blocks = lfs.RamBlocks(block_count)
        self._part = part
        self._parts = parts
        self._kinds = [(how, word) for how, word in KINDS if not kinds or word in kinds.split(",")]

    def run(self) -> None:
        """Does it all; what is found is in the attributes. A fault of the scenario itself raises what it raises."""
        self._boot()
        scenario = self._make()
        scenario.prepare(self._flash)
        prepared = bytes(self._blocks.data)
        self._restart()
        before = self._chip.ops
        scenario.live(self._flash)
        self.operations = self._chip.ops - before
        self._restart()
        scenario.recover(self._flash)
        wrong = scenario.check(self._flash)
        if wrong:
            self._fail(0, "none", 0, wrong)
            return
        for at in range(1 + self._part, self.operations + 1, self._parts):
            for how, word in self._kinds:
                self._cut(prepared, at, how, word)
                gc.collect()
        lfs.unmount(_POINT)

    def report(self) -> "dict[str, Any]":
        return {
            "operations": self.operations,
            "cut_points": self.cut_points,
            "recovery_cut_points": self.recovery_cut_points,
            "failures": self.failures,
        }

    def _cut(self, prepared: bytes, at: int, how: int, word: str) -> None:
        """Power goes at operation `at` of `live`; and then at each of `recover`."""
        again = 0
        struck = True
        while struck and len(self.failures) < MAX_FAILURES:
            self._blocks.data[:] = prepared
            scenario = self._make()
            try:
                wrong, struck = self._follow(scenario, at, again, how)
            except Exception as exc:
                wrong = f"{exc!r} after the cut"
            if again:
                self.recovery_cut_points += struck
            else:
                self.cut_points += 1
            if wrong:
                self._fail(at, word, again, wrong)
            again += 1

    def _follow(self, scenario: "Any", at: int, again: int, how: int) -> "tuple[str | None, bool]":
        """What is wrong, and whether the second cut, in operation `again` of the recovery, was reached; 0 for none."""
        self._restart()
        self._chip.cut(self._chip.ops + at, how)
        try:
            scenario.live(self._flash)
        except lfs.PowerCut:
            pass
        else:
            return "the scenario made fewer flash operations than before: it is not deterministic", False
        struck = not again
        self._restart()
        if again:
            self._chip.cut(self._chip.ops + again, how)
            try:
                scenario.recover(self._flash)
            except lfs.PowerCut:
                struck = True
            self._restart()
        if not again or struck:
            scenario.recover(self._flash)
        state = scenario.state(self._flash)
        self._restart()
        scenario.recover(self._flash)
        found = scenario.state(self._flash)
        if found != state:
            return f"a second boot changed {state} to {found}", struck
        wrong = scenario.check(self._flash)
        return (str(wrong) if wrong else None), struck

    def _boot(self) -> None:
        self._chip = lfs.Chip(self._blocks)
        lfs.mount(self._chip, _POINT)
        self._flash = FsFlash(_POINT)

    def _restart(self) -> None:
        lfs.unmount(_POINT)
        self._boot()

    def _fail(self, at: int, kind: str, again: int, text: str) -> None:
        self.failures.append({"operation": at, "kind": kind, "recovery_operation": again, "text": text})


def main(module: str, name: str, part: str, parts: str, block_count: str, kinds: str) -> int:
    """Cut the scenario `name` of the `SCENARIOS` of a module; prints the report as one line of JSON."""
    scenarios = __import__(module, None, None, ["SCENARIOS"]).SCENARIOS
    points = CutPoints(scenarios[name], int(block_count), int(part), int(parts), kinds)
    points.run()
    print("\x1e" + json.dumps(points.report()))
    return 0
