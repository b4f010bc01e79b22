"""Clocks that drift, jump, know nothing, or start in 1970."""

import pytest

from evergrow_sim.world.clocks import Clock
from evergrow_sim.world.loop import VirtualLoop


def test_a_clock_starts_from_zero_at_boot() -> None:
    loop = VirtualLoop()
    loop.run(until_ms=5000)
    clock = Clock(loop)
    assert (clock.ticks_ms(), clock.utc_s()) == (0, None)
    loop.run(until_ms=6500)
    assert clock.ticks_ms() == 1500


@pytest.mark.parametrize("drift_ppm", [0, 1, -1, 100, -100, 30_000, -30_000])
def test_a_sleep_lasts_what_this_clock_says_and_no_more(drift_ppm: int) -> None:
    loop = VirtualLoop()
    clock = Clock(loop, drift_ppm)

    async def work() -> None:
        for ms in (1, 7, 500, 3_600_000):
            before_ms = clock.ticks_ms()
            await clock.sleep_ms(ms)
            assert ms <= clock.ticks_ms() - before_ms <= ms + 1

    loop.run(work())
    assert loop.now_us == pytest.approx(3_600_508_000 * 1e6 / (1e6 + drift_ppm), abs=5)


def test_drift_may_change_without_a_jump() -> None:
    loop = VirtualLoop()
    clock = Clock(loop)
    loop.run(until_ms=1000)
    clock.drift_ppm = 500_000
    assert (clock.ticks_ms(), clock.drift_ppm) == (1000, 500_000)
    loop.run(until_ms=3000)
    assert clock.ticks_ms() == 4000


def test_no_sleep_lets_the_others_have_a_turn() -> None:
    loop = VirtualLoop()
    seen = []

    async def work() -> None:
        for ms in (0, -5):
            loop.call_soon(seen.append, ms)
            await Clock(loop).sleep_ms(ms)
            assert seen[-1] == ms

    loop.run(work())
    assert loop.now_us == 0


def test_utc_starts_in_1970_is_set_and_jumps_both_ways() -> None:
    loop = VirtualLoop()
    clock = Clock(loop, utc_s=0)
    loop.run(until_ms=2000)
    assert clock.utc_s() == 2
    clock.set_utc_s(1_800_000_000)
    loop.run(until_ms=12_000)
    assert clock.utc_s() == 1_800_000_010
    for seconds, utc_s in ((3600, 1_800_003_610), (-7200, 1_799_996_410)):
        clock.jump_s(seconds)
        assert (clock.utc_s(), clock.ticks_ms()) == (utc_s, 12_000)


def test_a_clock_that_knows_no_utc_cannot_jump() -> None:
    clock = Clock(VirtualLoop())
    clock.jump_s(5)
    assert clock.utc_s() is None
