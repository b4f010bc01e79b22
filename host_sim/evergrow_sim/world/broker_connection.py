"""One client's connection to the simulated broker: bytes in, bytes and a close out, no I/O and no clock of its own."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from evergrow_mqtt import codec
from evergrow_mqtt.errors import ProtocolViolation
from evergrow_mqtt.wire import Reader
from evergrow_sim.world import broker_packets as packets
from evergrow_sim.world import broker_reasons as reasons
from evergrow_sim.world.broker_frames import Frames
from evergrow_sim.world.broker_session import Delivery, Session

if TYPE_CHECKING:
    from evergrow_sim.world.broker import Broker

_NEW, _OPEN, _CLOSED = "new", "open", "closed"


class Transport(Protocol):
    """The way back to the client, as asyncio's transports have it. No method waits or raises, and none calls the broker or a
    connection, except that `write` may pause its own.
    """

    def write(self, data: bytes) -> None:
        """Send these bytes after those before."""

    def close(self) -> None:
        """Send what was written, then end the connection."""

    def abort(self) -> None:
        """End the connection now; what was not sent yet is lost."""


class Connection:
    """Made by `Broker.accept`. Whoever owns the stream calls `receive`, `lost`, `pause_writing` and `resume_writing`.

    While writing is paused no message is sent: QoS 1 waits in the session, QoS 0 is dropped. `who`: the client id, or the
    peer's name before there is one. `version`: 5 or 4 after CONNECT.
    """

    def __init__(self, broker: "Broker", transport: Transport, who: str) -> None:
        self.who = who
        self.version = 0
        self.session: Session | None = None
        self.transport = transport
        self._broker = broker
        self._frames = Frames(broker.limits.packet_bytes)
        self._state = _NEW
        self._paused = False
        self._backlog_bytes = 0
        self._aliases: dict[int, str] = {}
        self._aliases_out: dict[str, int] = {}
        self._aliases_out_max = 0
        self._silence_ms: int | None = broker.limits.connect_timeout_ms  # that is too long, None for never
        self._last_rx_ms = broker.now_ms()
        self._receive_maximum = 0
        self._maximum_packet: int | None = None
        self._acks: deque[tuple[int, bytes]] = deque()  # (when, PUBACK), those that are delayed
        self._handlers: dict[int, Callable[[int, Reader], None]] = {
            codec.PUBLISH: self._on_publish,
            codec.PUBACK: self._on_puback,
            codec.SUBSCRIBE: self._on_subscribe,
            codec.UNSUBSCRIBE: self._on_unsubscribe,
            codec.PINGREQ: self._on_pingreq,
            codec.DISCONNECT: self._on_disconnect,
        }

    @property
    def closed(self) -> bool:
        """True from the moment on at which nothing more is read or written."""
        return self._state == _CLOSED

    # --- what the owner of the stream tells ---

    def receive(self, data: "bytes | bytearray | memoryview") -> None:
        """Bytes from the client, split anywhere. Whatever they are, nothing is raised: the answer to nonsense is the end."""
        if self.closed:
            return
        self._frames.feed(data)
        try:
            while not self.closed:
                frame = self._frames.next()
                if frame is None:
                    break
                self._last_rx_ms = self._broker.now_ms()
                self._dispatch(*frame)
        except ProtocolViolation as error:
            self.fail(error.code)

    def lost(self) -> None:
        """The client closed the stream, or it broke. Without a DISCONNECT before, the will is due."""
        self._end("lost", 0)

    def pause_writing(self) -> None:
        """The transport has as much to send as it should."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport has room again."""
        if self._paused:
            self._paused = False
            self._backlog_bytes = 0
            self.pump()

    # --- packets ---

    def _dispatch(self, kind: int, flags: int, body: Reader) -> None:
        if self._state == _NEW:
            if kind != codec.CONNECT:
                raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"packet type {kind} before CONNECT")
            self._on_connect(body)
            return
        handler = self._handlers.get(kind)
        if handler is None:
            raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"packet type {kind} on an open connection")
        handler(flags, body)

    def _on_connect(self, body: Reader) -> None:
        level = packets.read_version(body)
        if level not in self._broker.switches.versions:
            self.version = 4  # the refusal that clients of any version understand
            raise ProtocolViolation(reasons.UNSUPPORTED_VERSION, f"protocol level {level}")
        self.version = level
        request = packets.read_connect(body, self.version)
        limits = self._broker.limits
        self._maximum_packet = request.maximum_packet
        self._aliases_out_max = min(limits.aliases_out, request.topic_aliases)
        self._receive_maximum = min(limits.inflight, request.receive_maximum)
        if self._broker.switches.ignore_receive_maximum:
            self._receive_maximum = limits.inflight
        self._silence_ms = request.keepalive_s * 1500 or None
        session, present, properties = self._broker.attach(self, request)
        self._state = _OPEN
        self.who = session.client_id
        self.session = session
        self._control(packets.connack(self.version, present, reasons.SUCCESS, properties))
        session.resume()
        self.pump()

    def _on_publish(self, flags: int, body: Reader) -> None:
        publish = packets.read_publish(body, flags, self.version)
        topic = self._resolve(publish.topic, publish.alias)
        if len(self._acks) >= self._broker.limits.receive_maximum and publish.qos and self.version == 5:
            raise ProtocolViolation(reasons.RECEIVE_MAXIMUM_EXCEEDED, f"{len(self._acks)} messages are not acknowledged yet")
        code = self._broker.publish(self._open_session(), publish, topic)
        denied = self._broker.switches.on_denied
        if code == reasons.NOT_AUTHORISED and publish.qos and denied == "drop":
            self._end("denied", code)
            return
        if publish.qos:
            self._acknowledge(packets.puback(publish.packet_id, code, self.version))
        if code == reasons.NOT_AUTHORISED and publish.qos and denied == "answer and drop" and self.version == 5:
            self._end("denied", code)

    def _resolve(self, topic: str, alias: int) -> str:
        """The topic that an alias stands for, or from now on stands for (§3.3.2.3.4)."""
        limit = self._broker.limits.topic_aliases
        if alias > limit:
            raise ProtocolViolation(reasons.TOPIC_ALIAS_INVALID, f"topic alias {alias}, at most {limit}")
        if not topic:
            if alias not in self._aliases:
                raise ProtocolViolation(reasons.PROTOCOL_ERROR, f"topic alias {alias} stands for nothing")
            return self._aliases[alias]
        if alias:
            self._aliases[alias] = topic
        return topic

    def _acknowledge(self, puback: bytes) -> None:
        delay_ms = self._broker.switches.puback_delay_ms
        if not delay_ms and not self._acks:
            self._control(puback)
            return
        # In the order of the messages (§4.6), also when the delay has just become shorter.
        due_ms = max(self._broker.now_ms() + delay_ms, self._acks[-1][0] if self._acks else 0)
        self._acks.append((due_ms, puback))
        self._broker.due(due_ms)

    def _on_puback(self, flags: int, body: Reader) -> None:
        packet_id, _ = codec.read_ack(body, codec.PUBACK, self.version)
        self._open_session().acknowledged(packet_id)
        self.pump()

    def _on_subscribe(self, flags: int, body: Reader) -> None:
        packet_id, wanted = packets.read_subscribe(body, self.version)
        session = self._open_session()
        made = [self._broker.subscribe(session, subscription) for subscription in wanted]
        self._control(packets.suback(packet_id, [code for code, _ in made], self.version))
        for subscription, (code, is_new) in zip(wanted, made, strict=True):
            if code < 0x80:
                self._broker.send_retained(session, subscription, is_new)

    def _on_unsubscribe(self, flags: int, body: Reader) -> None:
        packet_id, filters = packets.read_unsubscribe(body, self.version)
        session = self._open_session()
        codes = [self._broker.unsubscribe(session, topic_filter) for topic_filter in filters]
        self._control(packets.unsuback(packet_id, codes, self.version))

    def _on_pingreq(self, flags: int, body: Reader) -> None:
        packets.read_nothing(body)
        self._control(packets.PINGRESP)

    def _on_disconnect(self, flags: int, body: Reader) -> None:
        code, expiry_s = packets.read_disconnect(body, self.version)
        session = self._open_session()
        if expiry_s is not None:
            if expiry_s and not session.expiry_s:
                raise ProtocolViolation(reasons.PROTOCOL_ERROR, "session expiry of a session that has none")
            session.expiry_s = expiry_s
        if code == reasons.SUCCESS:
            session.will = None
        self._end("disconnect", code)

    def _open_session(self) -> Session:
        assert self.session is not None, "only an open connection takes packets but CONNECT"
        return self.session

    # --- messages to the client ---

    def deliver(self, delivery: Delivery) -> bool:
        """Send a message, or keep it for later if it is QoS 1; False if it had to be dropped."""
        if delivery.qos:
            kept = self._open_session().offer(delivery, self._broker.now_ms())
            self.pump()
            return kept
        return not self._paused and self._send(0, delivery, dup=False)

    def pump(self) -> None:
        """Send what waits in the session, as far as the client's receive maximum and the transport allow."""
        session = self.session
        while session is not None and not self._paused and not self.closed and session.inflight < self._receive_maximum:
            found = session.next(self._broker.now_ms())
            if found is None:
                return
            packet_id, delivery, dup = found
            if not self._send(packet_id, delivery, dup):
                session.acknowledged(packet_id)  # what must not be sent counts as delivered (§3.1.2.11.4)

    def _send(self, packet_id: int, delivery: Delivery, dup: bool) -> bool:
        """False if the client said that it does not take a packet of this size."""
        message = delivery.message
        left_s = message.left_s(self._broker.now_ms())
        topic = message.publish.topic
        alias = self._aliases_out.get(topic, 0)
        named = not alias
        if named and len(self._aliases_out) < self._aliases_out_max:  # the first topics get them, as mosquitto does it
            alias = self._aliases_out[topic] = len(self._aliases_out) + 1
        packet = packets.publish(
            message.publish, packet_id, delivery.qos, delivery.retain, dup, left_s, self.version, (alias, named)
        )
        if self._maximum_packet is not None and len(packet) > self._maximum_packet:
            if alias and named:
                del self._aliases_out[topic]
            return False
        self.transport.write(packet)
        return True

    def _control(self, packet: bytes) -> None:
        """Send an answer, also while paused: a client may have to read it before it can read anything else."""
        if self.closed:
            return
        if self._maximum_packet is not None and len(packet) > self._maximum_packet:
            self._end("packet too large for the client", reasons.PACKET_TOO_LARGE)
            return
        if self._paused:
            self._backlog_bytes += len(packet)
            if self._backlog_bytes > self._broker.limits.backlog_bytes:
                self._end("backlog", reasons.QUOTA_EXCEEDED, abort=True)
                return
        self.transport.write(packet)

    # --- time, and the end ---

    def deadline_ms(self) -> int | None:
        """When `tick` has something to do: an overdue client, or a delayed PUBACK."""
        times = []
        if self._silence_ms is not None:
            times.append(self._last_rx_ms + self._silence_ms)
        if self._acks:
            times.append(self._acks[0][0])
        return min(times, default=None)

    def tick(self, now_ms: int) -> None:
        """Send what is due; end a connection whose client was silent for 1.5 times the keepalive (§3.1.2.10)."""
        while self._acks and self._acks[0][0] <= now_ms and not self.closed:
            self._control(self._acks.popleft()[1])
        if not self.closed and self._silence_ms is not None and now_ms - self._last_rx_ms >= self._silence_ms:
            self.fail(reasons.KEEPALIVE_TIMEOUT)

    def fail(self, code: int) -> None:
        """End the connection, and tell the client why as far as its version can."""
        if self._state == _NEW and (self.version == 5 or (self.version == 4 and code in reasons.V4_CONNACK)):
            self._control(packets.connack(self.version, False, code))
        elif self._state == _OPEN and self.version == 5:
            self._control(packets.disconnect(code))
        self._end("failed", code)

    def crash(self) -> None:
        """The broker is gone in this instant: no word, and no will."""
        if not self.closed:
            self._state = _CLOSED
            self.transport.abort()

    def _end(self, why: str, code: int, abort: bool = False) -> None:
        if self.closed:
            return
        self._state = _CLOSED
        if abort:
            self.transport.abort()
        else:
            self.transport.close()
        self._broker.detach(self, why, code)
