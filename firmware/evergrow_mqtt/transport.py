"""A byte stream over asyncio's transports: what `stream.open_stream` gives on CPython. It is not shipped to boards."""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tls import Tls

_IPPROTO_TCP = 6
_TCP_NODELAY = 1


class TransportStream:
    """A stream on CPython, over asyncio's transports."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        # drain() then means: all of it is out of our hands. Not 0: TLS transports would pause with nothing to write.
        writer.transport.set_write_buffer_limits(high=1, low=0)

    async def readinto(self, buf: memoryview) -> int:
        """See stream.SocketStream."""
        data = await self._reader.read(len(buf))
        buf[: len(data)] = data
        return len(data)

    async def write(self, buf: memoryview) -> None:
        """See stream.SocketStream. The transport may keep what it is given beyond drain(), hence the copy."""
        self._writer.write(bytes(buf))
        await self._writer.drain()

    async def close(self) -> None:
        """See stream.SocketStream. A polite close would wait for a peer that may be gone."""
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # how it broke was told to the reader


async def open_transport(host: str, port: int, tls: "Tls | None") -> TransportStream:
    """Connect; see stream.open_stream."""
    context = None if tls is None else tls.context
    name = None if tls is None else tls.server_hostname or host
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name, limit=8192)
    writer.get_extra_info("socket").setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
    return TransportStream(reader, writer)
