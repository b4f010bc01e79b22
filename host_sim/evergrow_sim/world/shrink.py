"""Leaves out faults, as long as the run still fails in the same way, until every one that is left is needed.

This is delta debugging (Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input", 2002): large parts first, then
one by one. It works because faults happen at the same times in the same way whatever others do.
"""

from collections.abc import Callable, Sequence

from evergrow_sim.world.run import Result, run

Test = Callable[[Sequence[int]], bool]


def shrink(result: Result, hours: float = 0, tried: Callable[[Sequence[int], bool], None] | None = None) -> Result:
    """The same failure with as few faults as possible. `tried(faults, whether it still fails)` is called for each attempt.

    A run fails in the same way if it violates the first rule that `result` violates. ValueError if that violates none.
    """
    if result.ok:
        raise ValueError(f"seed {result.seed} does not fail")
    rule = result.violations[0].rule
    best = result

    def fails(chosen: Sequence[int]) -> bool:
        nonlocal best
        again = run(result.seed, result.level, chosen, hours=hours)
        same = any(violation.rule == rule for violation in again.violations)
        if same:
            best = again
        if tried is not None:
            tried(chosen, same)
        return same

    minimal(result.chosen, fails)
    return best


def minimal(numbers: Sequence[int], fails: Test) -> list[int]:
    """A subset that still fails, and of which no single one can be left out. `fails(numbers)` is known to be true."""
    kept = list(numbers)
    if not kept or fails([]):
        return []
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if rest and fails(rest):
                kept = rest
                parts = max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), 2 * parts)
    return kept
