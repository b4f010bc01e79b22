"""Sums of usage records: evergrow_agent.merged."""

from evergrow_agent import chain, merged
from evergrow_agent.journal import RECORD_MAX
from evergrow_protocol.cbor import dumps, loads

METERS = (4, 5)


def cycle(energy, *owners, **more):
    body = {0: 1, 2: 60, 4: energy, 5: 10 * energy, 6: 600, 7: 1000}
    if owners:
        body[3] = [number for owner in owners for number in owner]
    return body


def summed(*bodies):
    totals = {}
    for body in bodies:
        merged.add(totals, body, METERS)
    return totals


def test_sums_are_exact_for_all_cycles_and_for_each_feature_and_publisher():
    """EG-USE-006, EG-USE-009"""
    totals = summed(cycle(1), cycle(2, (1, 1001)), cycle(4, (1, 1001), (2, 1001)), cycle(8, (2, 1001)))
    assert totals == {
        2: 240, 4: 15, 5: 150, 9: 4,
        16: [1, 1001, {2: 120, 4: 6, 5: 60, 9: 2}, 2, 1001, {2: 120, 4: 12, 5: 120, 9: 2}],
    }  # fmt: skip


def test_without_features_there_is_nothing_about_them():
    assert summed(cycle(1), cycle(2)) == {2: 120, 4: 3, 5: 30, 9: 2}


def test_merged_records_merge_to_the_sums_of_their_cycles():
    """EG-USE-009"""
    cycles = [cycle(1 << n, (1, 1001 + n % 3), (2, 1001 + n % 2)) for n in range(12)]
    whole = summed(*cycles)
    assert summed(summed(*cycles[:5]), summed(*cycles[5:])) == whole
    assert summed(*cycles[:7], summed(*cycles[7:])) == whole


def test_what_is_taken_away_again_was_never_there():
    before = summed(cycle(1), cycle(2, (1, 1001)))
    totals = summed(cycle(1), cycle(2, (1, 1001)))
    for body in (cycle(4, (1, 1001), (3, 1003)), cycle(8)):
        merged.add(totals, body, METERS)
        merged.add(totals, body, METERS, -1)
        assert totals == before


def test_of_features_beyond_the_bound_the_uses_are_counted():
    """EG-USE-009"""
    cycles = [cycle(1, (1, 1000 + n)) for n in range(merged.PAIRS_MAX + 3)] * 2
    totals = summed(*cycles)
    assert len(totals[16]) == 3 * merged.PAIRS_MAX
    assert totals[17] == 6 and totals[4] == len(cycles)
    assert summed(totals, totals)[17] == 12
    for body in cycles:
        merged.add(totals, body, METERS, -1)
    assert totals == {2: 0, 4: 0, 5: 0, 9: 0}


def test_the_largest_record_of_sums_fits():
    """EG-USE-009"""
    most = 0xFFFFFFFF
    sums = {2: most, 4: most, 5: most, 9: most, 18: most}
    body = dict(sums)
    body[16] = []
    for _ in range(merged.PAIRS_MAX):
        body[16] += [most, most, sums]
    body[17] = most
    envelope = dumps([most, most, [1 << 52], body])
    assert len(envelope) + chain.ROOM <= RECORD_MAX
    assert loads(envelope, items=256)[3] == body


def test_sums_tell_how_many_cycles_were_under_a_trial():
    """EG-ENT-011"""
    first = cycle(1, (1, 1002), (2, 1001))
    first[18] = 2
    second = cycle(2, (2, 1001))
    totals = summed(first, second, first)
    assert totals[16][2].get(18) is None and totals[16][5][18] == 2 and totals[16][5][9] == 3
    assert summed(totals, totals)[16][5][18] == 4
    merged.add(totals, first, METERS, -1)
    merged.add(totals, first, METERS, -1)
    assert totals == summed(second)
