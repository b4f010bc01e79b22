"""An asyncio event loop whose time is virtual: it jumps to the next timer as soon as nobody has anything left to do.

Real asyncio code runs on it unchanged: tasks, Event, Lock, sleep, wait_for, timeout. There is no I/O, there are no threads, and
nothing depends on the wall clock, on hashes or on addresses: callbacks run in the order in which they became due, timers of
the same instant in the order in which they were made, and one timer is followed by all that it causes before the next.

Time is an integer number of microseconds, so that no rounding accumulates. `time()` is what asyncio wants of it.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from evergrow_sim.world.groups import CURRENT, close, surface
from evergrow_sim.world.groups import Group as Group
from evergrow_sim.world.timers import Sleep
from evergrow_sim.world.timers import Timer as Timer

T = TypeVar("T")

_MANY = 64


class WorldError(Exception):
    """The simulation itself is at fault, or can go no further."""


class Stuck(WorldError):
    """Nothing is ready and no timer is set, yet somebody still waits: they would wait for ever."""


class Spinning(WorldError):
    """Callbacks follow one another without end, and time stands still."""


class TimeLimit(WorldError):
    """The work was not done when its time was up."""


_Base: Any = asyncio.AbstractEventLoop  # Any: type checkers would ask for its 60 methods of I/O


class VirtualLoop(_Base):
    """`now_us`: virtual microseconds since the world began. `events`: callbacks run so far, a finer clock for faults.
    `spin_limit`: so many callbacks in one instant are a fault.

    What a plain callback raises (not a task, which keeps its exception) ends `run` and is raised there: the world is broken.
    """

    def __init__(self) -> None:
        self.now_us = 0
        self.events = 0
        self.spin_limit = 1_000_000
        self.root = Group(self, "world")
        self._ready: "deque[Timer]" = deque()
        self._timers: "list[tuple[int, int, Timer]]" = []
        self._made = 0
        self._cancelled = 0
        self._running = False
        self._closed = False
        self._stopping = False
        self._alarm = -1
        self._alarms: "list[tuple[int, int, Callable[[], object]]]" = []

    # -- time

    def time(self) -> float:
        return self.now_us / 1_000_000

    @property
    def now_ms(self) -> int:
        """Virtual milliseconds since the world began."""
        return self.now_us // 1000

    def sleep_us(self, duration_us: int) -> Awaitable[None]:
        """To be awaited at once: let others run, for that long."""
        return self.sleep_until_us(self.now_us + duration_us)

    def sleep_until_us(self, when_us: int) -> Awaitable[None]:
        """To be awaited at once: let others run until then; once, if that is past."""
        return Sleep(self, when_us) if when_us > self.now_us else asyncio.sleep(0)

    # -- callbacks

    def call_soon(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Timer:
        timer = Timer(self, 0, callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(timer)
        return timer

    def call_at_us(
        self, when_us: int, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Timer:
        """Call back at that time, or as soon as possible after it."""
        timer = Timer(self, when_us, callback, args, contextvars.copy_context() if context is None else context)
        self.push(timer)
        return timer

    def push(self, timer: Timer) -> None:
        """For Sleep alone: set a timer."""
        self._made += 1
        heappush(self._timers, (timer.when_us, self._made, timer))

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Timer:
        return self.call_at_us(round(when * 1_000_000), callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Timer:
        return self.call_at_us(self.now_us + round(delay * 1_000_000), callback, *args, context=context)

    def at_event(self, number: int, callback: Callable[[], object]) -> None:
        """Call back before the callback with that number (see `events`) runs: the way to cut power between any two."""
        self._made += 1
        heappush(self._alarms, (number, self._made, callback))
        self._alarm = self._alarms[0][0]

    def timer_cancelled(self) -> None:
        """For Timer alone: a heap that is mostly cancelled timers is cleaned."""
        self._cancelled += 1
        if self._cancelled > _MANY and 2 * self._cancelled > len(self._timers):
            self._timers[:] = [entry for entry in self._timers if entry[2].callback is not None]
            heapify(self._timers)
            self._cancelled = 0

    # -- tasks

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: "Coroutine[Any, Any, T]",
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> "asyncio.Task[T]":
        group = CURRENT.get(self.root) if context is None else context.get(CURRENT, self.root)
        task = asyncio.Task(coro, loop=self, name=name or group.next_name(), context=context, **options)
        group.add(task)
        return task

    def start(self, work: "Coroutine[Any, Any, T]") -> "asyncio.Task[T]":
        """Create a task that nobody awaits. An Exception that it raises is a fault of the simulation, and ends `run`."""
        task = self.create_task(work)
        task.add_done_callback(surface)
        return task

    # -- running

    def run(self, work: "Coroutine[Any, Any, T] | None" = None, until_ms: int | None = None) -> "T | None":
        """Let time pass until `work` is done, and return its result; without work, until `until_ms` (of `now_ms`).

        Raises what the work or a plain callback raised; TimeLimit when `until_ms` came first; Stuck; Spinning. What else is
        under way stays so, and goes on in the next `run`.
        """
        self._check_closed()
        if self._running:
            raise WorldError("the loop is running")
        main = None if work is None else self.root.call(self.create_task, work)
        if main is not None:
            main.add_done_callback(self._stop)
        self._stopping = False
        until_us = None if until_ms is None else 1000 * until_ms
        self._running = True
        asyncio._set_running_loop(self)
        try:
            self._turn(until_us)
        finally:
            asyncio._set_running_loop(None)
            self._running = False
        if main is None:
            return None
        if not main.done():
            main.remove_done_callback(self._stop)
            if self._timers:
                raise TimeLimit(f"not done after {self.now_ms} ms: {_where(main)}")
            raise Stuck(f"nothing will ever happen again, at {self.now_ms} ms: {_where(main)}")
        result: T = main.result()
        return result

    def _stop(self, _: object) -> None:
        self._stopping = True

    def _turn(self, until_us: int | None) -> None:
        ready, timers = self._ready, self._timers
        events = spins_from = self.events
        while True:
            if ready:
                timer = ready.popleft()
            elif timers and (until_us is None or timers[0][0] <= until_us):
                when_us, _, timer = heappop(timers)
                if timer.callback is None:
                    self._cancelled -= self._cancelled > 0
                    continue
                if when_us > self.now_us:
                    self.now_us = when_us
                    spins_from = events
            else:
                if until_us is not None and until_us > self.now_us:
                    self.now_us = until_us
                return
            callback = timer.callback
            if callback is None:
                continue
            self.events = events = events + 1
            if events == self._alarm:
                self._ring()
                if timer.callback is None:  # cancelled just now
                    continue
            if type(timer) is Sleep:
                timer.context.run(callback, timer)
            else:
                timer.context.run(callback, *timer.args)
            if self._stopping:
                return
            if events - spins_from > self.spin_limit:
                raise Spinning(f"time stands still at {self.now_ms} ms for {self.spin_limit} callbacks; now {callback!r}")

    def _ring(self) -> None:
        while self._alarms and self._alarms[0][0] <= self.events:
            heappop(self._alarms)[2]()
        self._alarm = self._alarms[0][0] if self._alarms else -1

    # -- the rest of what asyncio asks for

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What asyncio tells when a forgotten task is collected comes at any time, so nothing may follow from it."""

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End all tasks, of all groups, as `Group.kill` does."""
        if self._closed:
            return
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for task in sorted(asyncio.all_tasks(self), key=lambda task: task.get_name()):
            close(task)

    def _check_closed(self) -> None:
        if self._closed:
            raise WorldError("the loop is closed")


def _where(task: "asyncio.Task[Any]") -> str:
    """The chain of coroutines that a task waits in, outermost first."""
    names = []
    work: Any = task.get_coro()
    while work is not None and hasattr(work, "cr_code"):
        frame = work.cr_frame
        names.append(f"{work.cr_code.co_qualname}:{frame.f_lineno if frame else 0}")
        work = work.cr_await
    return f"{task.get_name()} waits in " + " > ".join(names)
