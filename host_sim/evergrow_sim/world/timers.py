"""What waits for its time on the virtual loop."""

import asyncio
import contextvars
from collections.abc import Callable, Generator
from heapq import heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evergrow_sim.world.loop import VirtualLoop


class Timer:
    """A callback to come. Stands for both of asyncio's handles."""

    __slots__ = ("_loop", "args", "callback", "context", "when_us")

    def __init__(
        self,
        loop: "VirtualLoop",
        when_us: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        self._loop = loop
        self.when_us = when_us
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context

    def cancel(self) -> None:
        """It will not be called. Harmless when it was."""
        if self.callback is not None:
            self.callback = None
            self.args = ()
            self._loop.timer_cancelled()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        """On the loop's `time()`."""
        return self.when_us / 1_000_000


class Sleep(Timer):
    """Wakes the task that awaits it, once, at its time: what a future and a timer do together, in a third of the steps.

    asyncio takes any object for a future that has `_asyncio_future_blocking` and these methods. The loop calls back with the
    object itself.
    """

    __slots__ = ("_asyncio_future_blocking", "_was_cancelled")

    def __init__(self, loop: "VirtualLoop", when_us: int) -> None:
        self._loop = loop
        self.when_us = when_us
        self.callback = None
        self._was_cancelled = False
        self._asyncio_future_blocking = False

    def __await__(self) -> "Generator[Any, None, None]":
        self._asyncio_future_blocking = True
        try:
            yield self
        finally:
            if self.callback is not None:  # Its coroutine is being closed.
                super().cancel()

    def get_loop(self) -> "VirtualLoop":
        return self._loop

    def add_done_callback(self, callback: Callable[..., object], *, context: contextvars.Context) -> None:
        """The task goes to sleep."""
        self.callback = callback
        self.context = context
        loop = self._loop  # as its `push`, but for the call: nothing is done as often
        loop._made += 1
        heappush(loop._timers, (self.when_us, loop._made, self))

    def result(self) -> None:
        """For the task that was woken."""
        self.callback = None
        if self._was_cancelled:
            raise asyncio.CancelledError

    def cancel(self, msg: object = None) -> bool:  # type: ignore[override]
        """The task is cancelled: it wakes as soon as possible, to hear of it."""
        if self.callback is None or self._was_cancelled:
            return False
        self._was_cancelled = True
        self._loop.call_soon(self.callback, self, context=self.context)
        self.callback = None
        self._loop.timer_cancelled()
        return True
