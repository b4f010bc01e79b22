"""Outgoing PUBLISH packets in order, from "queued" to "acknowledged", in one buffer that is allocated once.

A record keeps topic and payload, not the packet's bytes: each sending writes a header of its own, because a later connection
may speak another version, and neither DUP nor a topic alias survives into it.
"""

from struct import pack_into, unpack_from

from .codec import QOS1_FLAG

# States of a record, in an order that lets `find` ask for a range of them.
QUEUED = 0  # never sent in this session
AGAIN = 1  # sent over a link that broke before the acknowledgement: goes out with DUP if the session is resumed
SENT = 2  # QoS 1, waits for its PUBACK
DONE = 3  # room is freed when it becomes the oldest

_HEAD = ">HHHBBI"  # topic size, payload size, packet id, flags, state, expiry in s (all ones: none)
_HEAD_SIZE = 12
_ID_AT = 4
_FLAGS_AT = 6
_STATE_AT = 7


class Ring:
    """A queue of records in `size` bytes. A record is addressed by its offset; -1 means none.

    Records are contiguous, so that a payload can be written to a socket as it lies there. When the end of the buffer
    is too short for the next one, it goes to the start and `_wrap` marks where the upper part ends.
    """

    def __init__(self, size: int) -> None:
        self._buf = bytearray(size)
        self._view = memoryview(self._buf)
        self._head = 0
        self._tail = 0
        self._wrap = size
        self.count = 0

    def fits(self, topic_size: int, payload_size: int) -> bool:
        """True if such a record fits at all, once the ring is empty."""
        return payload_size <= 0xFFFF and _HEAD_SIZE + topic_size + payload_size <= len(self._buf)

    def put(self, topic: bytes, payload: "bytes | bytearray | memoryview", packet_id: int, flags: int, expiry_s: int) -> bool:
        """Append a record, or return False when there is no room now."""
        size = _HEAD_SIZE + len(topic) + len(payload)
        at = self._place(size)
        if at < 0:
            return False
        pack_into(_HEAD, self._buf, at, len(topic), len(payload), packet_id, flags, QUEUED, expiry_s)
        start = at + _HEAD_SIZE + len(topic)
        self._view[at + _HEAD_SIZE : start] = topic
        self._view[start : at + size] = payload
        self._tail = at + size
        self.count += 1
        return True

    def _place(self, size: int) -> int:
        if self.count == 0 or self._tail > self._head:
            if len(self._buf) - self._tail >= size:
                return self._tail
            if self._head < size:
                return -1
            self._wrap = self._tail
            return 0
        return self._tail if self._head - self._tail >= size else -1

    def _size(self, at: int) -> int:
        topic_size, payload_size = unpack_from(">HH", self._buf, at)
        return int(_HEAD_SIZE + topic_size + payload_size)

    def _next(self, at: int) -> int:
        at += self._size(at)
        return 0 if at >= self._wrap else at

    def find(self, lowest: int, highest: int, packet_id: int = 0) -> int:
        """The oldest record with a state in lowest..highest and, unless it is 0, with this packet id."""
        at = self._head
        for _ in range(self.count):
            if lowest <= self._buf[at + _STATE_AT] <= highest and packet_id in (0, self.packet_id(at)):
                return at
            at = self._next(at)
        return -1

    def packet_id(self, at: int) -> int:
        return self._buf[at + _ID_AT] << 8 | self._buf[at + _ID_AT + 1]

    def flags(self, at: int) -> int:
        return self._buf[at + _FLAGS_AT]

    def state(self, at: int) -> int:
        return self._buf[at + _STATE_AT]

    def expiry_s(self, at: int) -> int:
        return int(unpack_from(_HEAD, self._buf, at)[5])

    def topic(self, at: int) -> memoryview:
        start = at + _HEAD_SIZE
        return self._view[start : start + (self._buf[at] << 8 | self._buf[at + 1])]

    def payload(self, at: int) -> memoryview:
        topic_size, payload_size = unpack_from(">HH", self._buf, at)
        start = at + _HEAD_SIZE + topic_size
        return self._view[start : start + payload_size]

    def mark(self, at: int, state: int) -> None:
        """Change a record's state; the room of the oldest ones that are DONE becomes free."""
        self._buf[at + _STATE_AT] = state
        self._free()

    def _free(self) -> None:
        while self.count and self._buf[self._head + _STATE_AT] == DONE:
            self._head = self._next(self._head)
            self.count -= 1
            if self._head == 0:
                self._wrap = len(self._buf)
        if self.count == 0:
            self._head = self._tail = 0
            self._wrap = len(self._buf)

    def link_lost(self) -> None:
        """QoS 0 is gone (at most once); what was sent with QoS 1 and not acknowledged has to go out again."""
        at = self._head
        for _ in range(self.count):
            if not self.flags(at) & QOS1_FLAG:
                self._buf[at + _STATE_AT] = DONE
            elif self.state(at) == SENT:
                self._buf[at + _STATE_AT] = AGAIN
            at = self._next(at)
        self._free()

    def unsent(self) -> "list[int]":
        """The records that still have to go out, oldest first."""
        found = []
        at = self._head
        for _ in range(self.count):
            if self.state(at) < SENT:
                found.append(at)
            at = self._next(at)
        return found

    def session_lost(self) -> None:
        """The server knows nothing of what we sent before: it all goes out as new packets, without DUP."""
        for at in self.unsent():
            self._buf[at + _STATE_AT] = QUEUED
