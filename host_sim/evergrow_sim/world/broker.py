"""A deterministic MQTT 5 and 3.1.1 broker for the simulated world: sessions, retained messages, wills, QoS 0 and 1, an ACL.

    broker = Broker(now_ms)
    connection = broker.accept(transport)       # then connection.receive(data), connection.lost()
    due_ms = broker.tick()                      # call again then; `wake` is called when it has become earlier

It exists for simulation only. It does no I/O, has no clock and no randomness of its own, and goes through everything in the
order in which it came, so that a run repeats exactly. The standard is followed unless `switches` say otherwise; what MQTT
leaves open is done as mosquitto does it. Not offered, and said so to clients: QoS 2, shared subscriptions, subscription
identifiers, extended authentication. It hands out no topic aliases.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from evergrow_mqtt import props
from evergrow_mqtt.errors import ProtocolViolation
from evergrow_sim.world import broker_packets as packets
from evergrow_sim.world import broker_reasons as reasons
from evergrow_sim.world.broker_acl import Acl, fill
from evergrow_sim.world.broker_connection import Connection, Transport
from evergrow_sim.world.broker_packets import Connect, Publish
from evergrow_sim.world.broker_retained import RetainedStore
from evergrow_sim.world.broker_session import Delivery, Message, Session
from evergrow_sim.world.broker_settings import Limits, Switches
from evergrow_sim.world.broker_topics import Subscription, SubscriptionTree, covers, matches


class EventSink(Protocol):
    """What the broker needs of a trace."""

    def add(self, t_ms: int, who: str, what: str, *details: "int | str | bytes") -> None:
        """Note that something happened."""


class Broker:
    """`now_ms`: monotonic ms. `acl`: None allows everything. `wake`: called when `tick` is wanted earlier than it last said.

    `authenticate(client id, user name, password or None)` returns 0 or the reason code to refuse with. `observe(client id,
    message)` sees each message that was let in, wills too. `switches`, `acl`, `authenticate` and `observe` may be replaced at
    any time. `due_ms`: when `tick` is wanted next, None for not yet.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        *,
        switches: Switches = Switches(),  # noqa: B008  # immutable
        limits: Limits = Limits(),  # noqa: B008
        acl: Acl | None = None,
        authenticate: Callable[[str, str, bytes | None], int] | None = None,
        trace: EventSink | None = None,
        observe: Callable[[str, Publish], None] | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self.now_ms = now_ms
        self.switches = switches
        self.limits = limits
        self.acl = acl
        self.authenticate = authenticate
        self.observe = observe
        self.running = True
        self._trace = trace
        self.wake = wake
        self.due_ms: int | None = None
        self._assigned_ids = 0
        self._connections: dict[Connection, None] = {}  # a set that keeps its order
        self._forget()

    def _forget(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._tree = SubscriptionTree()
        self._retained = RetainedStore(self.limits)

    # --- to look at ---

    @property
    def sessions(self) -> dict[str, Session]:
        """By client id, those of absent clients too."""
        return self._sessions

    @property
    def retained(self) -> RetainedStore:
        return self._retained

    @property
    def connections(self) -> list[Connection]:
        return list(self._connections)

    # --- power ---

    def stop(self, polite: bool = False) -> None:
        """All connections end, and none is accepted until `start`. No will is published: there is nobody left to do it.

        `polite`: with DISCONNECT 0x8B for version 5 clients, and what was written before is still sent.
        """
        self._note("stop", int(polite))
        self.running = False
        for connection in self.connections:
            session = connection.session
            if session is not None:
                session.will = None
            if polite:
                connection.fail(reasons.SHUTTING_DOWN)
            else:
                connection.crash()
                self.detach(connection, "crash", 0)
        for session in self._sessions.values():
            session.will = session.will_due_ms = None

    def start(self, with_memory: bool = True) -> None:
        """Accept connections again. Sessions and retained messages are as they were, or gone."""
        if not with_memory:
            self._forget()
        self.running = True
        self._note("start", int(with_memory))

    def restart(self, with_memory: bool = True) -> None:
        """As a crash does, then start again."""
        self.stop()
        self.start(with_memory)

    # --- connections ---

    def accept(self, transport: Transport, peer: str = "") -> Connection:
        """A client has opened a stream. While stopped, that is aborted at once."""
        connection = Connection(self, transport, peer)
        if not self.running:
            connection.crash()
            return connection
        self._connections[connection] = None
        self._due_again(connection)
        return connection

    def attach(self, connection: Connection, request: Connect) -> tuple[Session, bool, list[tuple[int, int | str]]]:
        """(session, whether it was there, CONNACK properties) for a CONNECT.

        Called by the connection, as are the methods below. Takes over the session from a connection that still has it.
        Raises ProtocolViolation with the code to refuse with.
        """
        switches = self.switches
        client_id, properties = self._client_id(request, connection.version)
        code = switches.refuse_connect
        if not code and self.authenticate is not None:
            code = self.authenticate(client_id, request.username, request.password)
        if code:
            raise ProtocolViolation(code, f"{client_id!r} may not connect")
        if request.will is not None and request.will.retain and switches.no_retained and switches.announce:
            raise ProtocolViolation(reasons.RETAIN_NOT_SUPPORTED, "retained will")
        if client_id not in self._sessions and len(self._sessions) >= self.limits.sessions:
            raise ProtocolViolation(reasons.QUOTA_EXCEEDED, f"there are {len(self._sessions)} sessions")
        session, present = self._session(client_id, request.clean_start)
        session.username = request.username
        session.expiry_s = request.session_expiry_s
        session.ends_ms = None
        session.will = request.will
        session.will_delay_s = request.will_delay_s
        session.will_due_ms = None
        if switches.no_sessions and session.expiry_s:
            session.expiry_s = 0
            if switches.announce:
                properties.append((props.SESSION_EXPIRY, 0))
        session.connection = connection
        self._note("connect", client_id, connection.version, int(present), request.keepalive_s, session.expiry_s)
        self._due_again(connection)
        return session, present, [*properties, *self._announcement()]

    def _client_id(self, request: Connect, version: int) -> tuple[str, list[tuple[int, int | str]]]:
        """The client's id, or an assigned one, with what is to be said about it (§3.1.3.1)."""
        client_id = request.client_id
        if len(client_id.encode()) > self.limits.client_id_bytes or (not client_id and version == 4 and not request.clean_start):
            raise ProtocolViolation(reasons.CLIENT_ID_NOT_VALID, f"client id of {len(client_id)} characters")
        if client_id:
            return client_id, []
        while not client_id or client_id in self._sessions:
            self._assigned_ids += 1
            client_id = f"auto-{self._assigned_ids}"
        return client_id, [(props.ASSIGNED_CLIENT_ID, client_id)]

    def _session(self, client_id: str, clean_start: bool) -> tuple[Session, bool]:
        session = self._sessions.get(client_id)
        if session is not None and session.connection is not None:
            self._note("takeover", client_id)
            session.connection.fail(reasons.SESSION_TAKEN_OVER)
            session = self._sessions.get(client_id)
        if session is not None and clean_start:
            self._end_session(session)
            session = None
        if session is not None:
            return session, True
        made = self._sessions[client_id] = Session(client_id, self.limits)
        return made, False

    def _announcement(self) -> list[tuple[int, int | str]]:
        limits = self.limits
        said: list[tuple[int, int | str]] = [
            (props.RECEIVE_MAXIMUM, limits.receive_maximum),
            (props.MAXIMUM_QOS, 1),
            (props.MAXIMUM_PACKET_SIZE, limits.packet_bytes),
            (props.TOPIC_ALIAS_MAXIMUM, limits.topic_aliases),
            *packets.NOT_AVAILABLE,
        ]
        if self.switches.no_retained and self.switches.announce:
            said.append((props.RETAIN_AVAILABLE, 0))
        return said

    def detach(self, connection: Connection, why: str, code: int) -> None:
        """A connection has ended. Its session waits, or ends with it; the will, if it is still set, is due after its delay."""
        self._connections.pop(connection, None)
        session = connection.session
        self._note("end", connection.who, why, code)
        if session is None:
            return
        session.connection = None
        now_ms = self.now_ms()
        if session.expiry_s != packets.NEVER:
            session.ends_ms = now_ms + session.expiry_s * 1000
        if self.switches.no_will:
            session.will = None
        if session.will is not None:
            session.will_due_ms = now_ms + session.will_delay_s * 1000
        self._look_after(session, now_ms)
        for due_ms in (session.ends_ms, session.will_due_ms):
            if due_ms is not None:
                self.due(due_ms)

    # --- time ---

    def tick(self) -> int | None:
        """Do what is due: keepalive, delayed PUBACKs, wills, the end of sessions. Returns when to call again."""
        now_ms = self.now_ms()
        for connection in self.connections:
            connection.tick(now_ms)
        for session in list(self._sessions.values()):
            if session.connection is None:
                self._look_after(session, now_ms)
        times = [connection.deadline_ms() for connection in self._connections]
        for session in self._sessions.values():
            if session.connection is None:
                times += (session.ends_ms, session.will_due_ms)
        self.due_ms = min((time for time in times if time is not None), default=None)
        return self.due_ms

    def due(self, due_ms: int) -> None:
        """`tick` is wanted at this time, or before."""
        if self.due_ms is None or due_ms < self.due_ms:
            self.due_ms = due_ms
            if self.wake is not None:
                self.wake()

    def _due_again(self, connection: Connection) -> None:
        due_ms = connection.deadline_ms()
        if due_ms is not None:
            self.due(due_ms)

    def _look_after(self, session: Session, now_ms: int) -> None:
        """Publish the will of an absent client, and end its session, when their time has come."""
        if session.will_due_ms is not None and now_ms >= session.will_due_ms:
            self._speak_for(session)
        if session.ends_ms is not None and now_ms >= session.ends_ms:
            self._end_session(session)

    def _end_session(self, session: Session) -> None:
        """Forget it. A will that still waits for its delay is published now (§3.1.3.2.2)."""
        self._note("session end", session.client_id, session.queued)
        if session.will_due_ms is not None:
            self._speak_for(session)
        for topic_filter in session.subscriptions:
            self._tree.remove(session.client_id, topic_filter)
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]

    def _speak_for(self, session: Session) -> None:
        will, session.will, session.will_due_ms = session.will, None, None
        if will is not None:
            code = self._take(session, will)
            self._note("will", session.client_id, will.topic, code)

    # --- messages ---

    def publish(self, session: Session, publish: Publish, topic: str) -> int:
        """Route a message of a client to whoever subscribed; `topic` is what its alias stands for. Returns the reason code.

        Raises ProtocolViolation for a topic that cannot be and for a retained one where the client was told that it must not.
        """
        if not publish.topic:
            publish = replace(publish, topic=topic)
        if topic.count("/") >= self.limits.topic_levels:
            raise ProtocolViolation(reasons.TOPIC_NAME_INVALID, f"topic has over {self.limits.topic_levels} levels")
        version = session.connection.version if session.connection is not None else 5
        if publish.retain and self.switches.no_retained and self.switches.announce and version == 5:
            raise ProtocolViolation(reasons.RETAIN_NOT_SUPPORTED, "retained message")
        code = self._take(session, publish)
        self._note("publish", session.client_id, topic, publish.qos, int(publish.retain), len(publish.payload), code)
        return code

    def _take(self, session: Session, publish: Publish) -> int:
        now_ms = self.now_ms()
        if not self._may_write(session, publish.topic):
            return reasons.NOT_AUTHORISED
        expires_ms = None if publish.expiry_s is None else now_ms + publish.expiry_s * 1000
        message = Message(publish, expires_ms, session.client_id)
        if publish.retain and not self.switches.no_retained and not self._retained.keep(message, now_ms):
            return reasons.QUOTA_EXCEEDED
        if self.observe is not None:
            self.observe(session.client_id, publish)
        return reasons.SUCCESS if self._route(message) else reasons.NO_SUBSCRIBERS

    def _route(self, message: Message) -> bool:
        """Once to each client with a matching subscription, at the highest QoS of them (§3.3.4). False if there is none."""
        publish = message.publish
        found = self._tree.find(publish.topic)
        for client_id, subscriptions in found.items():
            session = self._sessions[client_id]
            if client_id == message.origin:
                subscriptions = [one for one in subscriptions if not one.no_local]
            if subscriptions and self._may_read(session, publish.topic):
                qos = min(publish.qos, max(one.qos for one in subscriptions))
                retain = publish.retain and any(one.retain_as_published for one in subscriptions)
                self._deliver(session, Delivery(message, qos, retain))
        return bool(found)

    def _deliver(self, session: Session, delivery: Delivery) -> None:
        if session.connection is not None:
            kept = session.connection.deliver(delivery)
        else:
            kept = delivery.qos > 0 and session.offer(delivery, self.now_ms())
        if not kept:
            publish = delivery.message.publish
            self._note("drop", session.client_id, publish.topic, delivery.qos, len(publish.payload))

    # --- subscriptions ---

    def subscribe(self, session: Session, subscription: Subscription) -> tuple[int, bool]:
        """(reason code: the QoS granted or a failure, whether the subscription is new)."""
        wanted = subscription.topic_filter
        code = self._subscribe_refusal(session, wanted)
        self._note("subscribe", session.client_id, wanted, subscription.qos, code)
        if code:
            return code, False
        is_new = wanted not in session.subscriptions
        session.subscriptions[wanted] = subscription
        self._tree.add(session.client_id, subscription)
        return subscription.qos, is_new

    def _subscribe_refusal(self, session: Session, wanted: str) -> int:
        if wanted.startswith("$share/"):
            return reasons.SHARED_NOT_SUPPORTED
        if wanted.count("/") >= self.limits.topic_levels:
            return reasons.TOPIC_FILTER_INVALID
        if not self._may_subscribe(session, wanted):
            return reasons.NOT_AUTHORISED
        if wanted not in session.subscriptions and len(session.subscriptions) >= self.limits.subscriptions:
            return reasons.QUOTA_EXCEEDED
        return reasons.SUCCESS

    def send_retained(self, session: Session, subscription: Subscription, is_new: bool) -> None:
        """The retained messages that a subscription brings (§3.8.3.1)."""
        if subscription.retain_handling == 2 or (subscription.retain_handling == 1 and not is_new):
            return
        if self.switches.no_retained:
            return
        for message in self._retained.find(subscription.topic_filter, self.now_ms()):
            if self._may_read(session, message.publish.topic):
                self._deliver(session, Delivery(message, min(message.publish.qos, subscription.qos), True))

    def unsubscribe(self, session: Session, topic_filter: str) -> int:
        """Reason code. What is queued already is still delivered."""
        if session.subscriptions.pop(topic_filter, None) is None:
            return reasons.NO_SUBSCRIPTION
        self._tree.remove(session.client_id, topic_filter)
        self._note("unsubscribe", session.client_id, topic_filter)
        return reasons.SUCCESS

    # --- rights ---

    def _may_write(self, session: Session, topic: str) -> bool:
        denied = self.switches.deny and any(matches(pattern, topic) for pattern in self._denied(session))
        return not denied and (self.acl is None or self.acl.may_write(session.client_id, session.username, topic))

    def _may_read(self, session: Session, topic: str) -> bool:
        return self.acl is None or self.acl.may_read(session.client_id, session.username, topic)

    def _may_subscribe(self, session: Session, topic_filter: str) -> bool:
        denied = any(covers(pattern, topic_filter) for pattern in self._denied(session))
        return not denied and (self.acl is None or self.acl.may_subscribe(session.client_id, session.username, topic_filter))

    def _denied(self, session: Session) -> list[str]:
        filled = [fill(pattern, session.client_id, session.username) for pattern in self.switches.deny]
        return [pattern for pattern in filled if pattern]

    def _note(self, what: str, *details: "int | str | bytes") -> None:
        if self._trace is not None:
            self._trace.add(self.now_ms(), "broker", what, *details)
