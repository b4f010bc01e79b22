"""The MQTT session as a sans-IO state machine: bytes and wishes in, bytes and events out, time as an argument.

Whoever owns the stream does this, in any order that its tasks need:

    session.begin(version, now_ms)                       # CONNECT is now the first thing to send
    view = session.rx_window(); n = read into it; session.received(n, now_ms)
    event = session.next_event()                         # until it returns None
    chunk = session.next_chunk(); write it; session.chunk_sent(now_ms)
    deadline_ms = session.tick(now_ms)                   # keepalive; call again then
    session.link_lost()                                  # however it ended

Memory: one receive buffer, one transmit ring, one small buffer for control packets; all allocated here, none grows.
"""

import gc

from . import codec, reasons
from .codec import Connack
from .errors import LinkError, ProtocolViolation, Refused
from .inflight import AGAIN, DONE, QUEUED, SENT, Ring
from .wire import Reader, Writer, malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import Config
    from .ports import Payload

# States. In IDLE and CLOSING, received bytes are of no interest any more and thrown away.
IDLE = 0
CONNECTING = 1
CONNECTED = 2
CLOSING = 3

# What a server may send in each state (§3.1.4, §3.2, §4.8): anything else is a protocol error.
_EXPECTED = {
    CONNECTING: (codec.CONNACK,),
    CONNECTED: (codec.PUBLISH, codec.PUBACK, codec.SUBACK, codec.UNSUBACK, codec.PINGRESP, codec.DISCONNECT),
}

# Events: tuples whose first element is one of these.
EV_CONNACK = 1  # Connack
EV_MESSAGE = 2  # topic, payload (valid until the next call of the session), packet id (0: QoS 0), retain, dup
EV_ACK = 3  # packet id, reason code: answers PUBLISH, SUBSCRIBE or UNSUBSCRIBE
EV_OVERSIZED = 4  # topic or None, packet size: a PUBLISH that was drained instead of read
EV_DISCONNECT = 5  # reason code
EV_PART = 6  # topic (then ""), a part of the payload, bytes of it still to come, packet id (with the last), retain

_CONTROL_BYTES = 320  # at least, enough for a topic of 256; more if CONNECT needs it
_ASSIGNED_ID = 64  # room for a client id that the server assigns
_HEADER_RESERVE = 40  # of a PUBLISH header without its topic, and of what must still fit after it
_CONTROL_RESERVE = 16  # kept free of PUBACKs, so that PINGREQ and DISCONNECT always fit
_SOLO_LOSSES = 5


class Session:
    """One MQTT session over any number of connections. `info` is the last CONNACK; `state` one of the states above."""

    def __init__(self, config: "Config") -> None:
        self._config = config
        self._client_id = codec.utf8(config.client_id)
        control = max(_CONTROL_BYTES, codec.connect_size(config, self._client_id) + _ASSIGNED_ID)
        self._rx = memoryview(bytearray(config.rx_bytes))
        self._ring = Ring(config.tx_bytes)
        self._out = bytearray(control)
        self._out_view = memoryview(self._out)
        self._writer = Writer(self._out)
        self._body = Reader(self._rx)
        self._aliases: "list[bytes | None]" = [None] * config.topic_aliases
        self._rx_aliases = [""] * config.rx_aliases
        self._requests: "list[int]" = []
        self._last_id = 0
        self._solo_losses = 0
        self.state = IDLE
        self.version = 5
        self.info = Connack(5, False, reasons.UNSPECIFIED, {})
        self._reset(0)

    def _reset(self, now_ms: int) -> None:
        """Everything that dies with a connection."""
        self._start = 0  # received bytes not yet parsed are _rx[_start:_end]
        self._end = 0
        self._skip = 0  # bytes still to come of an oversized packet, which are drained,
        self._parts = False  # or handed over,
        self._part_id = 0  # by this packet id
        self._out_start = 0  # control bytes still to send are _out[_out_start:_writer.pos]
        self._writer.pos = 0
        self._chunk_end = 0
        self._tail: "memoryview | None" = None  # payload that follows _out[:_tail_after]
        self._tail_after = 0
        self._sending = -1  # ring record that _tail belongs to
        self._requests.clear()
        for i in range(len(self._aliases)):
            self._aliases[i] = None
        for i in range(len(self._rx_aliases)):
            self._rx_aliases[i] = ""
        self._unacked = 0
        self._window = 1
        self._acks = 0
        self._keepalive_ms = 0
        self._leaving = False
        self._last_rx_ms = now_ms
        self._last_tx_ms = now_ms
        self.ping_ms = -1  # when the unanswered PINGREQ was queued
        self._ack_wait_ms = -1  # since when an acknowledgement is owed

    # --- connection ---

    def begin(self, version: int, now_ms: int) -> None:
        """A stream is open: CONNECT comes first."""
        self._reset(now_ms)
        self.version = version
        self.state = CONNECTING
        self._out_start = codec.write_connect(self._writer, self._config, self._client_id, version)

    def link_lost(self) -> int:
        """The connection is over. What is unacknowledged stays in the ring for the next one.

        Returns 0, or the packet id of a PUBLISH given up: the connection broke several times in a row while it alone was under
        way. A 3.1.1 server has no other way to refuse a message than to hang up (3.1.1 §3.3.5), and without a limit one
        such message would block all others for ever.
        """
        given_up = 0
        if self.state == IDLE:
            return 0
        if self._acks:
            self._solo_losses = 0
        elif self._unacked == 1 and self._window == 1:
            self._solo_losses += 1
            if self._solo_losses >= _SOLO_LOSSES:
                self._solo_losses = 0
                at = self._ring.find(SENT, SENT)
                given_up = self._ring.packet_id(at)
                self._ring.mark(at, DONE)
        self.state = IDLE
        self._reset(0)
        self._ring.link_lost()
        return given_up

    def disconnect(self, code: int) -> bool:
        """Make DISCONNECT the last packet; False if there is no connection to say it on, or no word for it in this version.

        Without an error, what is queued and may be sent goes out before it.
        """
        if self.state != CONNECTED or (code and self.version != 5):
            return False
        self._leaving = True
        if code:
            self._say_goodbye(code)
        return True

    def _say_goodbye(self, code: int) -> None:
        self.state = CLOSING
        codec.write_disconnect(self._writer, code, self.version)

    # --- received bytes ---

    def rx_window(self) -> memoryview:
        """Where the next received bytes go; never empty."""
        if self._start:
            held = self._end - self._start
            self._rx[:held] = self._rx[self._start : self._end]
            self._start = 0
            self._end = held
        return self._rx[self._end :]

    def received(self, size: int, now_ms: int) -> None:
        """`size` bytes were put into `rx_window()`. Any byte proves that the link lives."""
        self._end += size
        self._last_rx_ms = now_ms
        self.ping_ms = -1

    def congested(self) -> bool:
        """True while so many PUBACKs wait to be written that no more packets should be taken in.

        This, not a disconnect, is what a server meets that exceeds our receive maximum: there are such servers, and the
        memory is bounded either way.
        """
        return len(self._out) - self._writer.pos < codec.PUBACK_SIZE + _CONTROL_RESERVE

    def next_event(self) -> "tuple[Any, ...] | None":
        """The next event in the received bytes, or None when more are needed. Raises ProtocolViolation."""
        while True:
            if self._skip:
                start = self._start
                self._start = min(self._end, start + self._skip)
                self._skip -= self._start - start
                if self._parts and self._start > start:
                    left = self._skip
                    return EV_PART, "", self._rx[start : self._start], left, 0 if left else self._part_id, False
            if self._start == self._end or self.state not in _EXPECTED:
                self._start = self._end = 0
                return None
            size = self._frame()
            if size == 0:
                return None
            first = self._rx[self._start]
            if size > len(self._rx):
                self._parts = size <= self._config.packet_bytes and first >> 4 == codec.PUBLISH
                if not self._topic_is_there() or (self._parts and self._end - self._start < len(self._rx)):
                    return None
                return self._first_part(first, size) if self._parts else self._oversized(first, size)
            self._start += size
            event = self._dispatch(first >> 4, first & 0x0F)
            if event is not None:
                return event

    def _frame(self) -> int:
        """Size of the packet at _start, 0 if that needs more bytes. `_body` then covers what follows the fixed header."""
        view = self._rx
        kind = view[self._start] >> 4
        if kind not in _EXPECTED[self.state]:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"packet type {kind} in state {self.state}")
        if kind != codec.PUBLISH and view[self._start] & 0x0F:
            raise malformed(f"packet type {kind} with flags 0x{view[self._start] & 0x0F:x}")
        at = self._start + 1
        while at < self._end and view[at] > 0x7F and at - self._start < 4:
            at += 1
        if at == self._end:
            return 0
        body = self._body
        body.over(self._start + 1, at + 1)
        rest = body.varint()
        end = at + 1 + rest
        size = end - self._start
        body.over(at + 1, min(end, self._end))
        if size <= len(view) and end > self._end:
            return 0
        return size

    def _dispatch(self, kind: int, flags: int) -> "tuple[Any, ...] | None":
        body = self._body
        if kind == codec.PUBLISH:
            codec.check_publish_flags(flags)
            topic, packet_id, payload = codec.read_publish(body, flags, self.version, self._rx_aliases)
            return EV_MESSAGE, topic, payload, packet_id, bool(flags & codec.RETAIN_FLAG), bool(flags & codec.DUP_FLAG)
        if kind == codec.PUBACK:
            return self._acked(*codec.read_ack(body, kind, self.version))
        if kind == codec.SUBACK or kind == codec.UNSUBACK:
            packet_id, code = codec.read_ack(body, kind, self.version)
            if packet_id not in self._requests:
                return None
            self._requests.remove(packet_id)
            self._ack_progress()
            return EV_ACK, packet_id, code
        if kind == codec.CONNACK:
            return self._connected(codec.read_connack(body, self.version))
        if kind == codec.PINGRESP:
            if body.left():
                raise malformed("PINGRESP with a body")
            return None
        if self.version != 5:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, "DISCONNECT from a 3.1.1 server")
        return EV_DISCONNECT, codec.read_disconnect(body)

    def _connected(self, info: Connack) -> "tuple[Any, ...]":
        if info.session_present and self._config.clean_start:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, "session present after clean start")
        self.info = info
        if info.code != reasons.SUCCESS:
            self.state = CLOSING
            return EV_CONNACK, info
        self.state = CONNECTED
        self._adopt(codec.utf8(info.assigned_client_id))
        # What broke the last link may have been the oldest message itself (a server may hang up on one it refuses): it
        # goes alone until the first acknowledgement, so that it cannot take others with it.
        alone = self._solo_losses or self._ring.find(AGAIN, AGAIN) >= 0
        self._window = 1 if alone else info.receive_maximum
        if not info.session_present:
            self._ring.session_lost()
        self._keepalive_ms = (info.server_keepalive_s or self._config.keepalive_s) * 1000
        return EV_CONNACK, info

    def _adopt(self, client_id: bytes) -> None:
        """Keep the client id that the server chose, so that the session can be resumed (§3.2.2.3.7). Over-long: stay without."""
        if client_id and codec.connect_size(self._config, client_id) <= len(self._out):
            self._client_id = client_id

    def _acked(self, packet_id: int, code: int) -> "tuple[Any, ...] | None":
        at = self._ring.find(SENT, SENT, packet_id)
        if at < 0:
            return None  # e.g. a second PUBACK for the same packet: harmless
        if at == self._sending:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"PUBACK before packet {packet_id} was sent")
        self._ring.mark(at, DONE)
        self._unacked -= 1
        self._acks = 1
        self._window = self.info.receive_maximum
        self._ack_progress()
        return EV_ACK, packet_id, code

    def _ack_progress(self) -> None:
        self._ack_wait_ms = self._last_rx_ms if self._unacked or self._requests else -1

    def _topic_is_there(self) -> bool:
        """True when enough of an oversized packet has come to name it, or as much as fits."""
        body = self._body
        if body.view[self._start] >> 4 != codec.PUBLISH or self._end - self._start == len(self._rx):
            return True
        return body.left() >= 2 and body.left() >= 4 + (body.view[body.pos] << 8 | body.view[body.pos + 1])

    def _first_part(self, first: int, size: int) -> "tuple[Any, ...]":
        """The beginning, which fills the buffer, of a message that is handed over in parts. It is drained if what stands before
        its payload does not fit."""
        codec.check_publish_flags(first & 0x0F)
        at = self._body.pos
        try:
            topic, self._part_id, payload = codec.read_publish(self._body, first & 0x0F, self.version, self._rx_aliases)
        except ProtocolViolation:
            self._parts = False
            self._body.pos = at
            return self._oversized(first, size)
        self._skip = size - len(self._rx)
        self._start = self._end
        return EV_PART, topic, payload, self._skip, 0, bool(first & codec.RETAIN_FLAG)

    def _oversized(self, first: int, size: int) -> "tuple[Any, ...]":
        """Drain a packet that is larger than the buffer. A QoS 1 one is acknowledged: unread as it is, it would come again
        with every connection, and hold a place in the server's window until then.
        """
        if first >> 4 != codec.PUBLISH:
            raise ProtocolViolation(reasons.PACKET_TOO_LARGE, f"packet type {first >> 4} of {size} bytes")
        codec.check_publish_flags(first & 0x0F)
        topic = None
        body = self._body
        if body.left() >= 4 + (body.view[body.pos] << 8 | body.view[body.pos + 1]):
            topic, packet_id = codec.read_publish_topic(body, first & 0x0F)
            if packet_id:
                self.acknowledge(packet_id, reasons.IMPLEMENTATION_SPECIFIC)
        self._skip = size
        return EV_OVERSIZED, topic, size

    def acknowledge(self, packet_id: int, code: int = 0) -> None:
        """The application has taken the message (and stored it, if it had to): PUBACK may go. There is room: see `congested`."""
        codec.write_puback(self._writer, packet_id, code, self.version)

    # --- wishes ---

    def publish(self, topic: bytes, payload: "Payload", qos: int, retain: bool, expiry_s: "int | None") -> int:
        """Queue a PUBLISH. Returns its packet id (0 with QoS 0), or -1 when there is no room now.

        `topic` has been checked by `codec.topic_name`. With QoS 1 it may be queued before there is a connection; the
        limits of the next server are then checked by `unsendable`. Raises Refused for what can never be sent.
        """
        if len(topic) > len(self._out) - _HEADER_RESERVE:
            raise Refused(reasons.TOPIC_NAME_INVALID, f"topic of {len(topic)} bytes")
        if not self._ring.fits(len(topic), len(payload)):
            raise Refused(reasons.PACKET_TOO_LARGE, f"{len(payload)} bytes, tx_bytes is {self._config.tx_bytes}")
        expiry = 0xFFFF_FFFF if expiry_s is None else expiry_s
        if self.state == CONNECTED:
            code = self._refusal(len(topic), len(payload), qos, retain, expiry)
            if code:
                raise Refused(code, f"QoS {qos}, retain {retain}, {len(payload)} bytes")
        flags = (codec.QOS1_FLAG if qos else 0) | (codec.RETAIN_FLAG if retain else 0)
        packet_id = self._new_id() if qos else 0
        return packet_id if self._ring.put(topic, payload, packet_id, flags, expiry) else -1

    def _refusal(self, topic_size: int, payload_size: int, qos: int, retain: bool, expiry_s: int) -> int:
        size = codec.publish_size(topic_size, payload_size, qos, 0, expiry_s, self.version)
        return self.info.publish_refusal(qos, retain, size)

    def unsendable(self) -> "list[tuple[int, int]]":
        """(packet id, reason code) of each queued message that this server would not take. They are forgotten."""
        ring = self._ring
        refused = []
        for at in ring.unsent():
            retain = bool(ring.flags(at) & codec.RETAIN_FLAG)
            code = self._refusal(len(ring.topic(at)), len(ring.payload(at)), 1, retain, ring.expiry_s(at))
            if code:
                refused.append((ring.packet_id(at), code))
                ring.mark(at, DONE)
        return refused

    def request(self, topic_filter: bytes, qos: "int | None") -> int:
        """Queue SUBSCRIBE, or UNSUBSCRIBE when `qos` is None. Returns its packet id, -1 when there is no room now.

        Raises Refused where the server has no wildcards or the filter is too long for the control buffer.
        """
        if not topic_filter:
            raise Refused(reasons.TOPIC_FILTER_INVALID, "empty topic filter")
        if not self.info.wildcard_available and (b"+" in topic_filter or b"#" in topic_filter):
            raise Refused(reasons.WILDCARD_NOT_SUPPORTED, "no wildcard subscriptions here")
        size = codec.subscribe_size(topic_filter, self.version)
        limit = len(self._out) - _CONTROL_RESERVE
        if self.info.maximum_packet:
            limit = min(limit, self.info.maximum_packet)
        if size > limit:
            raise Refused(reasons.PACKET_TOO_LARGE, f"SUBSCRIBE of {size} bytes, at most {limit}")
        if len(self._out) - _CONTROL_RESERVE - self._writer.pos < size:
            return -1
        packet_id = self._new_id()
        self._requests.append(packet_id)
        codec.write_subscribe(self._writer, packet_id, topic_filter, qos, self.version)
        return packet_id

    def _new_id(self) -> int:
        """A packet id that nothing under way has (§2.2.1). The ring holds far fewer than 65535, so there is one."""
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._requests and self._ring.find(QUEUED, SENT, self._last_id) < 0:
                return self._last_id

    # --- bytes to send ---

    def next_chunk(self) -> "memoryview | None":
        """Bytes to write next, or None. They stay where they are until `chunk_sent`; ask for no other before that."""
        if self._tail is None and self._out_start == self._writer.pos:
            self._out_start = self._writer.pos = 0
            if self.state == CONNECTED and not self._start_publish() and self._leaving:
                self._say_goodbye(reasons.SUCCESS)
        self._chunk_end = self._writer.pos if self._tail is None else self._tail_after
        if self._out_start < self._chunk_end:
            return self._out_view[self._out_start : self._chunk_end]
        return self._tail

    def chunk_sent(self, now_ms: int) -> None:
        """All of the last chunk was written."""
        self._last_tx_ms = now_ms
        if self._ack_wait_ms < 0 and (self._unacked or self._requests):
            self._ack_wait_ms = now_ms
        if self._out_start < self._chunk_end:
            self._out_start = self._chunk_end
            return
        self._tail = None
        if self._sending >= 0:
            at = self._sending
            self._sending = -1
            if not self._ring.flags(at) & codec.QOS1_FLAG:
                self._ring.mark(at, DONE)

    def _start_publish(self) -> bool:
        """Put the header of the next queued PUBLISH into the control buffer, and its payload too if it fits.

        False when there is none, or the server has as many to acknowledge as it wants.
        """
        ring = self._ring
        at = ring.find(QUEUED, AGAIN)
        if at < 0:
            return False
        flags = ring.flags(at)
        if flags & codec.QOS1_FLAG:
            if self._unacked >= self._window:
                return False
            self._unacked += 1
            if ring.state(at) == AGAIN:
                flags |= codec.DUP_FLAG
        topic: "bytes | memoryview" = ring.topic(at)
        payload = ring.payload(at)
        alias, known = self._alias(topic)
        if known:
            topic = b""
        writer = self._writer
        codec.write_publish_head(
            writer, flags, topic, len(payload), ring.packet_id(at), alias, ring.expiry_s(at), self.version
        )
        ring.mark(at, SENT)
        if len(self._out) - writer.pos >= len(payload) + _CONTROL_RESERVE:
            writer.take(payload)
            if not flags & codec.QOS1_FLAG:
                ring.mark(at, DONE)
        else:
            self._tail = payload
            self._tail_after = writer.pos
            self._sending = at
        return True

    def _alias(self, topic: "bytes | memoryview") -> "tuple[int, bool]":
        """(alias or 0, whether the server knows it already) for a topic (§3.3.2.3.4). The first topics get them, for good."""
        for i in range(min(len(self._aliases), self.info.topic_alias_maximum)):
            if self._aliases[i] is None:
                if hasattr(gc, "mem_free"):
                    gc.collect()  # MicroPython: so that what stays takes a hole among what is old
                self._aliases[i] = bytes(topic)
                return i + 1, False
            if self._aliases[i] == topic:
                return i + 1, True
        return 0, False

    # --- time ---

    def tick(self, now_ms: int) -> int:
        """Look after the keepalive (§3.1.2.10) of a connection that is up. Returns when to call again, in ms.

        A PINGREQ goes out when we sent nothing, *or* heard nothing, for the keepalive time: the first keeps the server from
        dropping us, the second finds a half-open link although we send. Raises LinkError when the link is dead.
        """
        config = self._config
        if self._ack_wait_ms >= 0 and now_ms - self._ack_wait_ms >= config.ack_timeout_ms:
            raise LinkError(f"no acknowledgement for {config.ack_timeout_ms} ms")
        if self.ping_ms < 0:
            due_ms = min(self._last_rx_ms, self._last_tx_ms) + self._keepalive_ms
            if now_ms < due_ms:
                return due_ms
            codec.write_pingreq(self._writer)
            self.ping_ms = now_ms
        grace_ms = min(config.ping_grace_ms, self._keepalive_ms)  # or the next PINGREQ would be late
        if now_ms - self.ping_ms >= grace_ms:
            raise LinkError(f"no answer to PINGREQ within {grace_ms} ms")
        return self.ping_ms + grace_ms
