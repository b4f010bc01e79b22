"""The ports this package stands on, for the type checker alone: there is nothing here to run."""

from typing import Protocol

Payload = bytes | bytearray | memoryview

class Clock(Protocol):
    """Time of the network: monotonic milliseconds that never wrap."""

    def ticks_ms(self) -> int: ...
    async def sleep_ms(self, ms: int, /) -> None: ...

class Stream(Protocol):
    """A connection. Errors are OSError."""

    async def readinto(self, buf: memoryview, /) -> int: ...
    async def write(self, buf: memoryview, /) -> None: ...
    async def close(self) -> None: ...

class Net(Protocol):
    """The way to the world. `connect` may be cancelled; its errors are OSError."""

    @property
    def clock(self) -> Clock: ...
    async def connect(self, host: str, port: int, tls: object, /) -> Stream: ...

class Random(Protocol):
    """A source of random bytes."""

    def bytes(self, n: int, /) -> bytes: ...

class OnMessage(Protocol):
    """`payload` is valid only during the call."""

    def __call__(self, topic: str, payload: memoryview, retain: bool, dup: bool, /) -> None: ...
