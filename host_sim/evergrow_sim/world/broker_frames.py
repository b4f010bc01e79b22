"""A client's byte stream cut into control packets, with no more kept of it than one packet and what came in one read."""

from evergrow_mqtt import codec
from evergrow_mqtt.errors import ProtocolViolation
from evergrow_mqtt.wire import Reader, malformed
from evergrow_sim.world import broker_reasons as reasons
from evergrow_sim.world.broker_packets import AUTH

# Flags that the fixed header must have (§2.1.3), by packet type, for what a client may send; None where the packet decides.
_FLAGS = {
    codec.CONNECT: 0,
    codec.PUBLISH: None,
    codec.PUBACK: 0,
    codec.SUBSCRIBE: 2,
    codec.UNSUBSCRIBE: 2,
    codec.PINGREQ: 0,
    codec.DISCONNECT: 0,
    AUTH: 0,
}


class Frames:
    """`feed` bytes, then take packets with `next` until it returns None. `limit_bytes`: the largest packet that is let in."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: "bytes | bytearray | memoryview") -> None:
        """More bytes have come."""
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    def next(self) -> tuple[int, int, Reader] | None:
        """(type, flags, reader of the rest) of the next packet, or None when more bytes are needed.

        A header that is wrong is reported as soon as it is there: ProtocolViolation, after which this object is of no more use.
        """
        buffer, start = self._buffer, self._start
        if start == len(buffer):
            return None
        kind, flags = buffer[start] >> 4, buffer[start] & 0x0F
        if kind not in _FLAGS:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"packet type {kind} from a client")
        wanted = _FLAGS[kind]
        if wanted is not None and flags != wanted:
            raise malformed(f"packet type {kind} with flags 0x{flags:x}")
        at, rest, shift = start + 1, 0, 0
        while True:
            if at == len(buffer):
                return None
            byte = buffer[at]
            rest |= (byte & 0x7F) << shift
            at += 1
            shift += 7
            if byte < 0x80:
                break
            if shift == 28:
                raise malformed("remaining length is longer than 4 bytes")
        if byte == 0 and shift > 7:
            raise malformed("remaining length is longer than needed")
        end = at + rest
        if end - start > self._limit_bytes:
            raise ProtocolViolation(reasons.PACKET_TOO_LARGE, f"packet of {end - start} bytes, at most {self._limit_bytes}")
        if end > len(buffer):
            return None
        self._start = end
        body = Reader(memoryview(bytes(buffer[at:end])))
        body.over(0, rest)
        return kind, flags, body
