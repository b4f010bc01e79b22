"""Time, randomness, watchdog and flash of a simulated board."""

import asyncio
import os
import time

from evergrow_sim import lfs
from evergrow_sim.board import Random, SimBoard, Watchdog, open_flash
from evergrow_sim.clock import MAX_STEP_MS, ElasticClock, RealClock, WorkClock

HEAP = "512K"


class Hand:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.now_ms = 0

    def ticks_ms(self):
        return self.now_ms


class Pond:
    """An appliance whose only physics is to count the time."""

    def __init__(self):
        self.steps = []

    def step(self, dt_ms):
        self.steps.append(dt_ms)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_sleepers_wake_in_the_order_of_their_time_and_not_before():
    clock = ElasticClock(RealClock(), 1)
    woken = []

    async def sleeper(ms):
        await clock.sleep_ms(ms)
        woken.append((ms, clock.ticks_ms()))

    tasks = [asyncio.create_task(sleeper(ms)) for ms in (300, 100, 200, 100)]
    await settle()
    for _ in range(3):
        clock.advance(100)
        await settle()
    assert woken == [(100, 100), (100, 100), (200, 200), (300, 300)]
    for task in tasks:
        await task


def test_work_is_what_was_done_here_and_not_how_long_the_host_took():
    """A host that is busy, or asleep, makes no call of a feature too long."""
    clock = WorkClock(RealClock())
    before_ms = clock.ticks_ms()
    time.sleep(0.3)
    assert clock.ticks_ms() - before_ms < 150
    while clock.ticks_ms() - before_ms < 20:
        sum(range(1000))


async def test_a_sleeper_that_is_cancelled_is_forgotten():
    clock = ElasticClock(RealClock(), 1)
    task = asyncio.create_task(clock.sleep_ms(100))
    await settle()
    task.cancel()
    await settle()
    assert clock._sleepers == []


async def test_a_controller_at_absurd_speed_sees_every_step_of_the_physics():
    pond = Pond()
    board = SimBoard(pond, None, speed=100000)
    seen = []
    enough = asyncio.Event()

    async def controller():
        while True:
            seen.append(board.clock.ticks_ms())
            if len(seen) == 100:
                enough.set()
            await board.clock.sleep_ms(MAX_STEP_MS)

    tasks = [asyncio.create_task(controller()), asyncio.create_task(board.run())]
    await enough.wait()
    for task in tasks:
        task.cancel()
    assert max(pond.steps) <= MAX_STEP_MS
    gaps = [seen[i + 1] - seen[i] for i in range(len(seen) - 1)]
    assert max(gaps) <= MAX_STEP_MS, "the host fell behind, the controller did not"
    assert sum(pond.steps) == board.clock.ticks_ms()


async def test_time_at_a_tenth_of_real_time_does_not_lose_its_fractions():
    board = SimBoard(Pond(), None, speed=0.1)
    task = asyncio.create_task(board.run())
    real = board.net.clock
    while board.clock.ticks_ms() < 10:
        await real.sleep_ms(10)
    task.cancel()
    assert real.ticks_ms() >= 100


def test_utc_is_unknown_at_boot_and_runs_with_the_clock():
    clock = ElasticClock(RealClock(), 1)
    assert clock.utc_s() is None
    clock.advance(500)
    clock.set_utc_s(1795339200)
    clock.advance(1500)
    assert clock.utc_s() == 1795339201
    clock.set_utc_s(1795339100)
    assert clock.utc_s() == 1795339100


def test_real_time_never_runs_backwards():
    clock = RealClock()
    last_ms = 0
    for _ in range(1000):
        now_ms = clock.ticks_ms()
        assert now_ms >= last_ms
        last_ms = now_ms


def test_randomness_with_a_seed_repeats_itself_and_without_one_it_does_not():
    assert Random(7).bytes(40) == Random(7).bytes(40)
    assert Random(7).bytes(40) != Random(8).bytes(40)
    assert Random().bytes(16) != Random().bytes(16)
    assert len(set(Random(1).bytes(1000))) > 200


def test_a_watchdog_counts_each_time_it_was_not_fed_and_starts_with_the_first_feed():
    clock = Hand()
    watchdog = Watchdog(clock, 8000)
    clock.now_ms = 100_000
    watchdog.check()
    watchdog.feed()
    clock.now_ms += 8000
    watchdog.feed()
    assert watchdog.missed == 0
    clock.now_ms += 8001
    watchdog.check()
    watchdog.check()
    assert watchdog.missed == 1
    clock.now_ms += 8001
    watchdog.feed()
    assert watchdog.missed == 2


def test_flash_outlives_a_boot_of_the_board():
    path = f"/tmp/evergrow-test-{Random().bytes(6).hex()}"
    try:
        open_flash(path).write("trust", b"keys")
        assert open_flash(path).read("trust") == b"keys"
    finally:
        if lfs.AVAILABLE:
            lfs.unmount("/flash")
            os.remove(path)
        else:
            os.remove(path + "/trust")
            os.rmdir(path)
