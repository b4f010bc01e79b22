"""The virtual loop: asyncio as it is, on time that jumps."""

import asyncio
from collections.abc import Iterator

import pytest

from evergrow_sim.world.loop import Group, Spinning, Stuck, TimeLimit, VirtualLoop, WorldError


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_time_jumps_to_the_next_timer(loop: VirtualLoop) -> None:
    async def work() -> float:
        await asyncio.sleep(3600 * 24 * 365)
        await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time()

    assert loop.run(work()) == 31_536_000.25
    assert loop.now_ms == 31_536_000_250


def test_timers_run_in_order_of_time_then_of_their_making(loop: VirtualLoop) -> None:
    seen: list[str] = []
    loop.call_at_us(20, seen.append, "late")
    for name in "abcdefgh":
        loop.call_at_us(10, seen.append, name)
    loop.call_soon(seen.append, "now")
    loop.run()
    assert seen == ["now", *"abcdefgh", "late"]


def test_what_a_timer_causes_comes_before_the_next_timer_of_that_instant(loop: VirtualLoop) -> None:
    seen: list[str] = []
    loop.call_at_us(10, lambda: (seen.append("first"), loop.call_soon(seen.append, "its consequence")))
    loop.call_at_us(10, seen.append, "second")
    loop.run()
    assert seen == ["first", "its consequence", "second"]


def test_ordinary_asyncio_runs_on_it(loop: VirtualLoop) -> None:
    async def work() -> list[str]:
        said = []
        event, lock = asyncio.Event(), asyncio.Lock()

        async def waiter(name: str) -> None:
            await event.wait()
            async with lock:
                await asyncio.sleep(1)
                said.append(name)

        tasks = [asyncio.create_task(waiter(name)) for name in "ab"]
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        except TimeoutError:
            said.append("timeout")
        async with asyncio.timeout(10):
            event.set()
            await asyncio.gather(*tasks)
        return said

    assert loop.run(work()) == ["timeout", "a", "b"]
    assert loop.now_ms == 7000


def test_a_sleeper_can_be_cancelled_and_wakes_no_second_time(loop: VirtualLoop) -> None:
    async def sleeper() -> str:
        try:
            await loop.sleep_us(1_000_000)
        except asyncio.CancelledError:
            await loop.sleep_us(5)
            return f"cancelled, {loop.now_us}"
        return "slept"

    async def work() -> list[str]:
        task, other = loop.create_task(sleeper()), loop.create_task(sleeper())
        await loop.sleep_us(10)
        task.cancel()
        first = await task
        return [first, await other]

    assert loop.run(work()) == ["cancelled, 15", "slept"]


def test_a_sleeper_cancelled_in_the_instant_it_is_due_hears_of_it(loop: VirtualLoop) -> None:
    async def work() -> int:
        async def sleeper() -> None:
            await loop.sleep_us(10)
            await loop.sleep_us(10)

        task = loop.create_task(sleeper())
        await asyncio.sleep(0)
        loop.call_at_us(10, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        return loop.now_us

    assert loop.run(work()) == 10


def test_a_world_in_which_nothing_will_ever_happen_is_reported(loop: VirtualLoop) -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        await asyncio.sleep(1)
        await inner()

    with pytest.raises(Stuck, match=r"1000 ms: .*work:\d+ > .*inner:\d+ > .*wait:"):
        loop.run(work())


def test_time_that_stands_still_is_reported(loop: VirtualLoop) -> None:
    async def work() -> None:
        await asyncio.sleep(1)
        while True:
            await asyncio.sleep(0)

    loop.spin_limit = 1000
    with pytest.raises(Spinning, match="1000 ms"):
        loop.run(work())


def test_timers_that_are_always_due_at_once_are_reported_too(loop: VirtualLoop) -> None:
    def again() -> None:
        loop.call_later(0, again)

    loop.spin_limit = 1000
    again()
    with pytest.raises(Spinning, match="again"):
        loop.run(until_ms=1)


def test_a_time_limit_ends_the_run_and_the_next_run_goes_on(loop: VirtualLoop) -> None:
    seen: list[int] = []

    async def work() -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            seen.append(loop.now_ms)

    with pytest.raises(TimeLimit, match="2500 ms"):
        loop.run(work(), until_ms=2500)
    assert (seen, loop.now_ms) == ([1000, 2000], 2500)
    loop.run(until_ms=3500)
    assert (seen, loop.now_ms) == ([1000, 2000, 3000], 3500)
    loop.run(until_ms=9000)
    assert (seen[-1], loop.now_ms) == (4000, 9000)


def test_what_a_plain_callback_or_a_background_task_raises_ends_the_run(loop: VirtualLoop) -> None:
    async def fails() -> None:
        raise KeyError("deep in the world")

    loop.call_at_us(5, int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        loop.run(until_ms=1)
    loop.start(fails())
    with pytest.raises(KeyError, match="deep"):
        loop.run(until_ms=2)
    loop.run(until_ms=3)


def test_names_of_tasks_do_not_depend_on_other_worlds(loop: VirtualLoop) -> None:
    async def name() -> str:
        task = asyncio.current_task()
        assert task
        return task.get_name()

    other = VirtualLoop()
    assert [other.run(name()), other.run(name()), loop.run(name())] == ["world-1", "world-2", "world-1"]
    other.close()


def test_a_callback_can_be_put_before_any_event(loop: VirtualLoop) -> None:
    seen: list[str] = []
    for n in range(1, 4):
        loop.call_at_us(n, seen.append, f"event {n}")
    loop.at_event(3, lambda: seen.append("now"))
    loop.at_event(2, lambda: seen.append("here"))
    loop.run()
    assert seen == ["event 1", "here", "event 2", "now", "event 3"]


def test_many_cancelled_timers_do_not_pile_up(loop: VirtualLoop) -> None:
    keep = loop.call_at_us(10**12, int)
    for _ in range(10_000):
        loop.call_at_us(10**11, int).cancel()
    assert len(loop._timers) < 500
    keep.cancel()
    loop.run()
    assert loop.now_us == 0


def test_tasks_of_a_group_die_at_once_and_nobody_elses(loop: VirtualLoop) -> None:
    seen: list[str] = []
    group = Group(loop, "w1")

    async def child() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")  # never: it is not asked
        finally:
            seen.append("closed")
            await asyncio.sleep(1)
            seen.append("went on")  # never

    async def parent() -> None:
        task = asyncio.create_task(child())
        await task

    async def other() -> str:
        await asyncio.sleep(20)
        return "lives"

    group.spawn(parent())
    loop.run(until_ms=5000)
    assert [task.get_name() for task in group.tasks()] == ["w1-1", "w1-2"]
    group.kill()
    assert seen == ["closed"]
    assert loop.run(other()) == "lives"
    assert seen == ["closed"] and group.tasks() == []


def test_what_is_created_on_behalf_of_a_group_belongs_to_it(loop: VirtualLoop) -> None:
    group = Group(loop, "w1")

    async def work() -> None:
        await asyncio.sleep(1)

    def from_outside() -> None:
        loop.create_task(work())

    group.call(from_outside)
    assert len(group.tasks()) == 1
    loop.run(until_ms=2000)
    assert group.tasks() == []


def test_a_task_that_kills_its_own_group_dies_at_its_next_await(loop: VirtualLoop) -> None:
    seen: list[str] = []
    group = Group(loop, "w1")

    async def suicide() -> None:
        group.kill()
        seen.append("still here")
        loop.call_soon(group.kill)
        await asyncio.sleep(1)
        seen.append("never")

    group.spawn(suicide())
    loop.run(until_ms=5000)
    assert seen == ["still here"]


def test_a_closed_loop_runs_nothing(loop: VirtualLoop) -> None:
    closed = VirtualLoop()
    closed.close()
    with pytest.raises(WorldError, match="closed"):
        closed.run(until_ms=1)
    loop.run(until_ms=1)
