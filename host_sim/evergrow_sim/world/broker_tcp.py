"""The simulated broker on a real TCP port, to try it with real clients. The world itself never does this."""

import asyncio
from typing import Any

from evergrow_sim.world.broker_serve import BrokerServer


class TcpStream:
    """A stream of the `net` port's shape, from the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = "tcp"
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(0)  # drain() then means: all of it is out of our hands

    async def readinto(self, buf: Any) -> int:
        data = await self._reader.read(len(buf))
        buf[: len(data)] = data
        return len(data)

    async def write(self, buf: Any) -> None:
        self._writer.write(bytes(buf))
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


async def listen_tcp(server: BrokerServer, host: str = "127.0.0.1", port: int = 0) -> tuple[asyncio.Server, int]:
    """(listening server, its port). Raises OSError."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = server.accept(TcpStream(reader, writer))
        if serving is not None:
            await serving

    listening = await asyncio.start_server(accept, host, port)
    return listening, int(listening.sockets[0].getsockname()[1])
