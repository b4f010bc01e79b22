"""Tasks that die together."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from evergrow_sim.world.loop import VirtualLoop

T = TypeVar("T")

_CLOSE_LIMIT = 32
_MANY = 64


class Unending(Exception):
    """A task that awaits something new however often it is closed."""


class Group:
    """Tasks that die together, say those of one boot of a device. Whatever a task of a group creates belongs to the group.

    `name`: begins the names of its tasks.
    """

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.context = contextvars.copy_context()
        self.context.run(CURRENT.set, self)
        self._loop = loop
        self._tasks: "list[asyncio.Task[Any]]" = []
        self._numbered = 0
        self._prune_at = _MANY

    def spawn(self, work: "Coroutine[Any, Any, T]") -> "asyncio.Task[T]":
        """Start a task of this group, whoever asks, as `VirtualLoop.start` does."""
        return self.call(self._loop.start, work)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function as if a task of this group did: what it creates belongs to the group."""
        return self.context.copy().run(function, *args)

    def tasks(self) -> "list[asyncio.Task[Any]]":
        """Those that are not done, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def kill(self) -> None:
        """All tasks end here and now, in the order in which they were made.

        They are closed, not cancelled: no `except` of theirs sees it, and what their `finally` awaits never comes. What these
        do on the way out is for the owner of the ports to ignore. The running task cannot be closed from within: it goes on
        to its next `await`, and needs another `kill` then.
        """
        running = asyncio.current_task(self._loop)
        kept = []
        for task in self._tasks:
            if task is running:
                kept.append(task)
            elif not task.done():
                close(task)
        self._tasks = kept

    def add(self, task: "asyncio.Task[Any]") -> None:
        """For the loop alone."""
        self._tasks.append(task)
        if len(self._tasks) >= self._prune_at:
            self._tasks = self.tasks()
            self._prune_at = max(_MANY, 2 * len(self._tasks))

    def next_name(self) -> str:
        """For the loop alone."""
        self._numbered += 1
        return f"{self.name}-{self._numbered}"


CURRENT: "contextvars.ContextVar[Group]" = contextvars.ContextVar("evergrow_world_group")
"""The group of the task that runs."""


def close(task: "asyncio.Task[Any]") -> None:
    """End a task now: see `Group.kill`."""
    setattr(task, "_log_destroy_pending", False)  # noqa: B010 - asyncio's own way to say that this is meant
    task.remove_done_callback(surface)  # What wakes it later finds it closed, which is an error of no interest.
    work: Any = task.get_coro()
    for _ in range(_CLOSE_LIMIT):
        try:
            work.close()
            return
        except RuntimeError:
            continue  # A `finally` awaits something: it is closed there in turn.
        except BaseException:
            return  # Where it ended does not matter: it did.
    raise Unending(f"task {task.get_name()} cannot be ended")


def surface(task: "asyncio.Task[Any]") -> None:
    """As a callback of a task: what it raised is a fault of the simulation."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, Exception):
        raise error
