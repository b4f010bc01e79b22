"""What passes between one device and its broker, in whole MQTT packets: bytes by kind of message, from the trace of a world."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from evergrow_mqtt import codec
from evergrow_mqtt.wire import Reader
from evergrow_protocol import topics
from evergrow_sim.world.broker_packets import read_publish

_SEGMENT_BYTES = 1460
_IP_TCP_BYTES = 40  # of IPv4 and TCP without options
_TLS_BYTES = 22  # of a record of TLS 1.3: head, type, tag of AES-GCM


@dataclass
class Count:
    """Packets of one kind, the PUBACKs that answer them included. `secured`: bytes with TLS, TCP and IP as well: each packet is
    a record and begins a segment, and every other segment is acknowledged."""

    packets: int = 0
    bytes: int = 0
    secured: int = 0

    def add(self, size: int) -> None:
        self.packets += 1
        self.bytes += size
        record = size + _TLS_BYTES
        self.secured += record + -(-record // _SEGMENT_BYTES) * _IP_TCP_BYTES * 3 // 2


@dataclass
class _Direction:
    bytes: bytearray = field(default_factory=bytearray)
    aliases: dict[int, str] = field(default_factory=dict)
    unanswered: dict[int, str] = field(default_factory=dict)  # packet id: kind


class Wiretap:
    """To be a trace's sink. `counts`: by kind, of those in `kinds`. `on_message(now_ms, kind, payload)`: called with each of
    these as it arrives. One connection of MQTT 5, from its beginning."""

    def __init__(self, who: str, kinds: Collection[str], on_message: Callable[[int, str, bytes], None]) -> None:
        self.counts = {kind: Count() for kind in kinds}
        self._who = who
        self._on_message = on_message
        self._directions = {"up": _Direction(), "dn": _Direction()}

    def __call__(self, event: tuple[int, str, str, tuple[Any, ...]]) -> None:
        now_ms, who, what, details = event
        if who != self._who or what not in self._directions:
            return
        stream = self._directions[what].bytes
        stream += details[1]
        while (size := _packet_size(stream)) and size <= len(stream):
            self._packet(now_ms, what, bytes(stream[:size]))
            del stream[:size]

    def _packet(self, now_ms: int, direction: str, packet: bytes) -> None:
        here = self._directions[direction]
        body = Reader(memoryview(packet))
        body.over(1, len(packet))
        body.varint()
        if packet[0] >> 4 == codec.PUBLISH:
            publish = read_publish(body, packet[0] & 15, 5)
            topic = publish.topic or here.aliases[publish.alias]
            if publish.alias:
                here.aliases[publish.alias] = topic
            kind = topics.parse(topic)[3]
            if kind not in self.counts:
                return
            if publish.packet_id:
                here.unanswered[publish.packet_id] = kind
            self.counts[kind].add(len(packet))
            self._on_message(now_ms, kind, publish.payload)
        elif packet[0] >> 4 == codec.PUBACK:
            asked = self._directions["dn" if direction == "up" else "up"].unanswered
            answered = asked.pop(body.uint(2), "")
            if answered:
                self.counts[answered].add(len(packet))


def _packet_size(stream: bytearray) -> int:
    """Of the packet at the beginning, 0 while that is not known yet (MQTT 5 section 2.1.4)."""
    rest = 0
    for at, byte in enumerate(stream[1:5]):
        rest |= (byte & 127) << 7 * at
        if byte < 128:
            return 2 + at + rest
    return 0
