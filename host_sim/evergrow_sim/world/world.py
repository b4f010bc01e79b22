"""One world: a seed, the time, the network, and the record of what happened. Everything else is put into it."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from evergrow_sim.world.loop import VirtualLoop
from evergrow_sim.world.net import Network
from evergrow_sim.world.rand import Name, Rand, derive
from evergrow_sim.world.trace import Sink, Trace

T = TypeVar("T")

EPOCH_S = 1_795_339_200
"""UTC when a world begins: 2026-11-22T08:00:00Z."""


class World:
    """`seed` decides everything that happens here. Close it when it is done: `with World(7) as world: ...`."""

    def __init__(self, seed: Name, keep: int = 200, sink: Sink | None = None) -> None:
        self.seed = seed
        self.loop = VirtualLoop()
        self.trace = Trace(keep, sink)
        self.network = Network(self.loop, self.rand("network"), self.trace)

    def rand(self, *names: Name) -> Rand:
        """The random stream of these names in this run."""
        return derive(self.seed, *names)

    def utc_s(self) -> int:
        """What time it really is."""
        return EPOCH_S + self.loop.now_ms // 1000

    def note(self, who: str, what: str, *details: int | str | bytes) -> None:
        """Something happened, now."""
        self.trace.add(self.loop.now_ms, who, what, *details)

    def run(self, work: Coroutine[Any, Any, T] | None = None, until_ms: int | None = None) -> T | None:
        """See `VirtualLoop.run`."""
        return self.loop.run(work, until_ms)

    def close(self) -> None:
        self.loop.close()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
