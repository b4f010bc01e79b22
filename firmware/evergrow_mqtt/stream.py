"""A byte stream over TCP or TLS, the same on both interpreters: the `net` port's `connect` for real networks."""

import asyncio
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .tls import Tls
    from .transport import TransportStream

_IPPROTO_TCP = 6
_TCP_NODELAY = 1
X509_CERT_VERIFY_FAILED = -0x2700  # mbedTLS
_EINPROGRESS = (115, 119, 36)  # Linux and lwIP, newlib, BSD


class SocketStream:
    """A stream on MicroPython, where a stream reads straight from its socket."""

    def __init__(self, sock: "Any") -> None:
        self._sock = sock
        self._stream: "Any" = asyncio.StreamReader(sock)

    async def readinto(self, buf: memoryview) -> int:
        """Wait for at least one byte; returns how many there are in `buf` now, 0 at the end of the stream."""
        while True:
            try:
                size = await self._stream.readinto(buf)
            except ValueError as error:
                raise _untrusted(error)
            if size is not None:  # None: TLS has read less than a record
                return int(size)

    async def write(self, buf: memoryview) -> None:
        """Hand all of `buf` to the network."""
        try:
            self._stream.write(buf)
            await self._stream.drain()
        except ValueError as error:
            raise _untrusted(error)

    async def close(self) -> None:
        """Give the socket back. What was written is still sent."""
        self._sock.close()


async def open_stream(host: str, port: int, tls: "Tls | None" = None) -> "SocketStream | TransportStream":
    """Connect, with TCP_NODELAY, and shake hands if `tls` is given (see tls.py).

    Raises OSError. There is no timeout here: the caller cancels, and the socket is closed then. On a board the name
    look-up blocks the event loop, as that is all lwIP offers there.
    """
    if hasattr(asyncio.StreamReader, "readinto"):
        return await _open_socket(host, port, tls)
    try:
        from .transport import open_transport  # for CPython only: no board is to carry it
    except ImportError:
        raise OSError("this interpreter's asyncio has neither readinto nor transports")
    return await open_transport(host, port, tls)


def _untrusted(error: ValueError) -> OSError:
    """The handshake, done on first use, found a bad certificate. MicroPython makes a ValueError of that."""
    return OSError(X509_CERT_VERIFY_FAILED, str(error).strip())


def _switch() -> "Iterator[None]":
    """Gives way to the event loop once: `await` of a generator is what a bare `yield` is in MicroPython's own asyncio."""
    yield


async def _open_socket(host: str, port: int, tls: "Tls | None") -> SocketStream:
    info = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
    sock: "Any" = socket.socket(info[0], info[1], info[2])
    try:
        sock.setblocking(False)
        try:
            sock.connect(info[-1])
        except OSError as error:
            if error.errno not in _EINPROGRESS:
                raise
        asyncio.core._io_queue.queue_write(sock)  # type: ignore[attr-defined]  # as open_connection does there
        await _switch()  # type: ignore[misc]
        sock.write(b"")  # a refused connection shows here, not in the middle of a handshake
        try:
            sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        except OSError:
            pass  # an lwIP port without it is slower, not wrong
        if tls is not None:
            sock = tls.context.wrap_socket(sock, server_hostname=tls.server_hostname or host, do_handshake_on_connect=False)
            sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return SocketStream(sock)
