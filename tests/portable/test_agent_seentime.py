"""The highest time seen: evergrow_agent.seentime."""

from evergrow_agent.seentime import SAVE_S, SeenTime
from faultyflash import FaultyFlash
from stillclock import Clock
from trustkit import DAY, NOW

HEAP = "512K"


def boot(flash, utc, needed=True):
    clock = Clock(utc)
    seen = SeenTime(flash, clock, clock)
    seen.needed = needed
    seen.tick()
    return seen, clock


def run(seen, clock, seconds, step=1):
    for _ in range(seconds // step):
        clock.run(step)
        seen.tick()


def test_it_follows_utc_and_never_goes_back():
    """EG-ENT-007"""
    seen, clock = boot(FaultyFlash(), NOW)
    assert (seen.now_s, seen.offline_s) == (NOW, 0)
    run(seen, clock, 100)
    assert seen.now_s == NOW + 100
    clock.utc = NOW + DAY
    seen.tick()
    assert seen.now_s == NOW + DAY
    clock.utc = NOW
    seen.tick()
    assert seen.now_s == NOW + DAY


def test_without_utc_it_advances_by_running_and_counts_that():
    """EG-ENT-007, EG-ENT-008"""
    seen, clock = boot(FaultyFlash(), NOW)
    clock.utc = None
    run(seen, clock, 10_000)
    assert seen.offline_s == 10_000
    assert 9_900 <= seen.now_s - NOW <= 10_000
    clock.utc = NOW + 20_000
    seen.tick()
    assert (seen.now_s, seen.offline_s) == (NOW + 20_000, 0)


def test_a_clock_that_is_set_back_counts_as_none():
    """EG-ENT-008"""
    seen, clock = boot(FaultyFlash(), NOW)
    clock.utc = NOW - DAY
    run(seen, clock, 1000)
    assert seen.offline_s == 1000 and seen.now_s > NOW + 990


def test_a_small_correction_is_no_rollback_but_cannot_hold_time_back():
    """EG-ENT-007, EG-ENT-008"""
    seen, clock = boot(FaultyFlash(), NOW)
    for _ in range(100):
        clock.utc = seen.now_s - 60
        run(seen, clock, 60)
    assert seen.offline_s == 0
    assert seen.now_s >= NOW + 5_900


def test_both_are_kept_over_a_reboot_at_least_each_hour():
    """EG-ENT-007, EG-ENT-008"""
    flash = FaultyFlash()
    seen, clock = boot(flash, NOW)
    seen.save()
    clock.utc = None
    run(seen, clock, SAVE_S + 20)
    again, _ = boot(flash, None)
    assert again.offline_s >= SAVE_S and again.now_s >= NOW + SAVE_S - 20
    assert flash.count <= 4
    writes = flash.count
    run(*boot(flash, None), 600)
    assert flash.count == writes


def test_nothing_is_written_as_long_as_nothing_needs_it():
    flash = FaultyFlash()
    run(*boot(flash, NOW, needed=False), 10_000, 10)
    assert flash.count == 0


def test_a_damaged_or_unreadable_file_leaves_only_utc():
    """EG-ENT-008"""
    flash = FaultyFlash()
    boot(flash, NOW)[0].save()
    flash.rot("seen", 40)
    assert boot(flash, None)[0].offline_s > 10 * 365 * DAY
    assert boot(flash, NOW)[0].offline_s == 0
    flash.fail_reads = ("seen",)
    assert boot(flash, None)[0].offline_s > 10 * 365 * DAY


def test_a_flash_that_fails_costs_no_more_than_what_was_counted():
    flash = FaultyFlash(fail=lambda number: True)
    seen, clock = boot(flash, NOW)
    run(seen, clock, 3 * SAVE_S, 10)
    assert 1 <= seen.failures <= 4
