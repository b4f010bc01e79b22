"""Sums of usage records: what one record says of many cycles when there is no room for each of them (EG-USE-006).

`totals` is the body of such a record, `{duration, meters that add up, 9: cycles, ? 16: [publisher, feature, sums, ...],
? 17: uses}`. `sums` is a map of the same fields, of the cycles that used the feature, and `? 18`, how many of them were under a
trial. There is room for PAIRS_MAX features; of those beyond only the uses are counted, so that whoever shares revenue by it
knows how many are missing.
"""

from evergrow_protocol.registry_common import (
    USAGE_BY_FEATURE,
    USAGE_DURATION_S,
    USAGE_FEATURES,
    USAGE_MERGED,
    USAGE_TRIALS,
    USAGE_UNLISTED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Body = dict[int, Any]

PAIRS_MAX = 8


def add(totals: "Body", body: "Body", meters: "Sequence[int]", sign: int = 1) -> None:
    """Add a record to `totals`, or take it away again: of a cycle, or merged itself. `meters`: the fields that add up."""
    _sum(totals, body, meters, sign)
    merged = USAGE_MERGED in body
    row: "list[Any]" = body.get(USAGE_BY_FEATURE if merged else USAGE_FEATURES, [])
    width = 3 if merged else 2
    for i in range(0, len(row), width):
        used = row[i + 2] if merged else body
        sums = _sums_of(totals, row[i], row[i + 1], sign > 0)
        if sums is None:
            totals[USAGE_UNLISTED] = totals.get(USAGE_UNLISTED, 0) + sign * used.get(USAGE_MERGED, 1)
        else:
            _sum(sums, used, meters, sign)
            trials = used.get(USAGE_TRIALS, 0)
            if not merged:
                trials = trials >> i // 2 & 1
            if trials:
                sums[USAGE_TRIALS] = sums.get(USAGE_TRIALS, 0) + sign * trials
    if body.get(USAGE_UNLISTED):
        totals[USAGE_UNLISTED] = totals.get(USAGE_UNLISTED, 0) + sign * body[USAGE_UNLISTED]
    _tidy(totals)


def _sum(totals: "Body", body: "Body", meters: "Sequence[int]", sign: int) -> None:
    for key in meters:
        totals[key] = totals.get(key, 0) + sign * body.get(key, 0)
    totals[USAGE_DURATION_S] = totals.get(USAGE_DURATION_S, 0) + sign * body.get(USAGE_DURATION_S, 0)
    totals[USAGE_MERGED] = totals.get(USAGE_MERGED, 0) + sign * body.get(USAGE_MERGED, 1)


def _sums_of(totals: "Body", publisher: "Any", feature: int, make: bool) -> "Body | None":
    """The sums of a feature, new if need be; None: it has no place."""
    rows: "list[Any]" = totals.setdefault(USAGE_BY_FEATURE, [])
    for i in range(0, len(rows), 3):
        if rows[i] == publisher and rows[i + 1] == feature:
            sums: "Body" = rows[i + 2]
            return sums
    if not make or len(rows) >= 3 * PAIRS_MAX:
        return None
    sums = {}
    rows.extend((publisher, feature, sums))
    return sums


def _tidy(totals: "Body") -> None:
    """Without features of which nothing is left, and without what is empty."""
    rows: "list[Any]" = totals.get(USAGE_BY_FEATURE, [])
    kept: "list[Any]" = []
    for i in range(0, len(rows), 3):
        if rows[i + 2].get(USAGE_MERGED):
            kept.extend(rows[i : i + 3])
            if not rows[i + 2].get(USAGE_TRIALS, 1):
                del rows[i + 2][USAGE_TRIALS]
    if kept:
        totals[USAGE_BY_FEATURE] = kept
    elif USAGE_BY_FEATURE in totals:
        del totals[USAGE_BY_FEATURE]
    if not totals.get(USAGE_UNLISTED, 1):
        del totals[USAGE_UNLISTED]
