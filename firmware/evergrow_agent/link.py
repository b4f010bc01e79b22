"""The link to the cloud: one MQTT client, what it says after each connect, and the pump for all that has to go up.

After every CONNACK: subscribe, birth, state (EG-BIRTH-001), then whatever is due, in this order: answers to commands, state,
sync, events, usage, sayings, telemetry. Usage is repeated until the cloud itself has acked it, birth and state until it has
welcomed the birth. All time here is the network's.
"""

import asyncio

from evergrow_agent import pacing
from evergrow_agent.journal import RECORD_MAX
from evergrow_agent.pacing import Pacing
from evergrow_agent.transfer import RUN_BLOCKS
from evergrow_mqtt.client import Client
from evergrow_mqtt.config import Config as MqttConfig
from evergrow_mqtt.errors import LinkError, MqttError, Refused
from evergrow_mqtt.reasons import PACKET_TOO_LARGE, RETAIN_NOT_SUPPORTED
from evergrow_protocol import messages, topics
from evergrow_protocol.cbor import Encoder
from evergrow_protocol.errors import BUSY, UNKNOWN_KIND, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evergrow_agent.board import Board, Config, Identity
    from evergrow_agent.events import Events
    from evergrow_agent.home import Home
    from evergrow_agent.ledger import Ledger
    from evergrow_agent.telemetry import Telemetry
    from evergrow_agent.timebase import Timebase
    from evergrow_agent.voice import Voice

RETRY_MS = 10_000  # without an ack for usage, or a welcome for birth; doubled each time, up to
_RETRY_MAX_MS = 300_000
_VOICE_RETRY_MS = 300_000

_POLL_MS = 1_000  # while something is left to say; what comes up wakes the link by itself
_BUSY_RETRY_S = 10
_GOODBYE_MS = 2_000
_MESSAGE_BYTES = 640  # birth is the longest message but a bundle
_BUNDLE_BYTES = 768
_BUNDLE_MAX = 23  # envelopes: their count takes one byte
_ANSWERS_MAX = 8


class Link:
    """Publishes for one boot of the device, and hands on what arrives.

    To be set before `run`: `birth()` and `state()` make the bodies of these; `on_connected()` is called after both are out,
    `on_welcomed()` when the cloud has answered the last birth; `adopt(least boot)` when it has and the flash was new or erased:
    it says whether the ledger now has numbers to announce by (EG-ENV-006), before which only birth and state are said;
    `receive(kind, payload)` is called with each message, whose payload is valid only during the call; `receive_part(part, left,
    whether it is the first)` with the parts of blocks whose message is larger than the receive buffer.
    Counters: `connects`; `dropped`, messages of no use; `errors`, exceptions of `receive`. `last_error`: the last reason for
    either, or for having no connection, as text.
    """

    def __init__(
        self,
        config: "Config",
        identity: "Identity",
        board: "Board",
        boot: int,
        timebase: "Timebase",
        ledger: "Ledger",
        telemetry: "Telemetry",
        events: "Events",
        voice: "Voice",
        home: "Home",
    ) -> None:
        self.birth: "Callable[[], dict[int, Any]]" = dict
        self.state: "Callable[[], dict[int, Any]]" = dict
        self.on_connected: "Callable[[], None]" = _nothing
        self.on_welcomed: "Callable[[], None]" = _nothing
        self.adopt: "Callable[[int], bool]" = ledger.adopt
        self.receive: "Callable[[str, memoryview], None]" = _ignore
        self.receive_part: "Callable[[memoryview, int, bool], None]" = _ignore
        self.connects = 0
        self.dropped = 0
        self.errors = 0
        self.last_error = ""
        self._clock = board.net.clock
        self._boot = boot
        self.pacing = Pacing(board.net.clock)
        self._timebase = timebase
        self._ledger = ledger
        self._telemetry = telemetry
        self._events = events
        self._voice = voice
        self._home = home
        self._tenant = identity.tenant
        self._home_id = ""
        self._home_filter = ""
        self._home_left = ""  # the filter of the home that it belonged to, while the broker may still hold it
        self._home_due = False
        self._voice_due_ms = 0  # when what is said and not heard is said again
        self._filter = topics.dn_filter(identity.tenant, identity.device)
        self._dn = self._filter[:-1]
        self._up = {kind: topics.up(identity.tenant, identity.device, kind) for kind in topics.UP}
        self._seqs = {kind: 0 for kind in topics.UP}
        self._encoder = Encoder(bytearray(_MESSAGE_BYTES))
        self._bundle = memoryview(bytearray(_BUNDLE_BYTES))
        self._bundle_bytes = _BUNDLE_BYTES
        self._answers: "list[tuple[str, list[Any]]]" = []  # (kind, body)
        self._in_blocks = False  # parts of them come
        self._work = asyncio.Event()
        self._left = asyncio.Event()  # something is left to say, or to be acked
        self._online = asyncio.Event()  # birth and state are out
        self._closing = False
        self._renumbered = False  # the connection is of another boot number
        self._unheard = False  # the cloud has answered the last birth, and knows no boot of this number
        self._birth_due = False
        self._state_due = False
        self._retry_ms = RETRY_MS
        self._retry_due_ms = -1  # when the announced usage is announced again, -1: nothing is
        self._birth_retry_ms = RETRY_MS
        self._birth_retry_due_ms = -1  # when birth is said again, -1: the cloud has heard it
        settings = {
            "tls": config.tls,
            "username": config.username,
            "password": config.password,
            "keepalive_s": config.keepalive_s,
            "version": 0,  # MQTT 5, or 3.1.1 where the broker knows no other
            "rx_bytes": config.rx_bytes,
            "packet_bytes": RUN_BLOCKS * config.block_bytes + 128,
            "tx_bytes": config.tx_bytes,
            "will": self._will(),
        }
        settings.update(config.mqtt)
        self._keepalive_s = self._next_keepalive_s = config.keepalive_s
        self._mqtt = MqttConfig(identity.device, config.host, config.port, **settings)
        self._client = Client(
            self._mqtt,
            board.net,
            board.random,
            self._on_message,
            self._on_oversized,
            self._on_part,
        )

    @property
    def online(self) -> bool:
        """Connected, and the cloud was told so."""
        return self._online.is_set()

    @property
    def busy(self) -> bool:
        """Whether something is left to say, or to be acked."""
        due = self._birth_due or self._birth_retry_due_ms >= 0 or self._state_due or self._home_due
        waiting = self._telemetry.ready or self._events.pending or self._voice.pending or self._ledger.pending
        return bool(self._answers or due or waiting)

    def wake(self) -> None:
        """Something may be due."""
        self._work.set()

    def publish_state(self) -> None:
        """State has changed; the newest one is published."""
        self._state_due = True
        self._work.set()

    def publish_birth(self) -> None:
        """Say everything again, as after a connect (command rebirth)."""
        self._birth_due = True
        self._work.set()

    def answer(self, command_id: int, code: int) -> None:
        """Queue an answer to a command."""
        retry_s = _BUSY_RETRY_S if code == BUSY else None  # EG-BUSY-005
        self._answer("rsp", messages.command_result(command_id, code, retry_s))

    def answer_entitlement(self, body: "list[int]") -> None:
        """Queue `up/ent`."""
        self._answer("ent", body)

    def join(self, home_id: str) -> None:
        """Belong to this home from now on, "" for none (EG-HOME-001). ProtocolError for an id that cannot be."""
        if home_id != self._home_id:
            left = self._home_filter
            self._home_filter = topics.home_filter(self._tenant, home_id) if home_id else ""
            self._home_left = self._home_left or left
            self._home_id = home_id
            self._home_due = True
            self._work.set()

    def hold(self, kind: int, retry_s: int) -> None:
        """The cloud is busy (EG-BUSY-001): what it did not take of usage is announced again when that is over."""
        self.pacing.hold(kind, retry_s)
        if self.pacing.held(pacing.USAGE) and self._ledger.announced:
            self._retry_ms = RETRY_MS
            self._retry_due_ms = self._clock.ticks_ms()

    def set_keepalive(self, keepalive_s: int) -> None:
        """The keepalive from the next connect on; 0: the one that the link was made with."""
        self._next_keepalive_s = keepalive_s or self._keepalive_s
        if not self._client.connected:
            self._mqtt.keepalive_s = self._next_keepalive_s

    def is_current_birth(self, boot: int, seq: int) -> bool:
        """Whether a welcome is the first for the last birth of this connection: any other brings an old time (EG-TIME-007)."""
        return boot == self._boot and seq == self._seqs["birth"] and self._birth_retry_due_ms >= 0

    def renumber(self, boot: int) -> None:
        """The boot has another number from now on, under which all begins anew with the next connection."""
        self._boot = boot
        self._seqs = {kind: 0 for kind in topics.UP}
        self._mqtt.will = self._will()
        self._renumbered = True
        self._work.set()

    def welcomed(self, least_boot: int = 0) -> None:
        """The cloud has heard the last birth of this boot, and knows no boot number of this device above `least_boot`."""
        if self._ledger.fresh and not self.adopt(least_boot):
            self._unheard = least_boot < self._boot
            self._work.set()
            return  # The flash does not take it: birth is said again, and brings another welcome.
        self._birth_retry_ms = RETRY_MS
        self._birth_retry_due_ms = -1
        self.on_welcomed()
        self._work.set()

    def acked(self) -> None:
        """The cloud acked usage: the window has moved, so go on without delay."""
        self._retry_ms = RETRY_MS
        self._retry_due_ms = self._clock.ticks_ms() + RETRY_MS
        self._work.set()

    async def run(self) -> None:
        """Keep the link up until `close`."""
        poll = asyncio.create_task(self._poll())
        try:
            await self._client.run(self._serve, self._on_disconnect)
        finally:
            poll.cancel()

    async def close(self) -> None:
        """A planned end: say that we are offline (EG-STATE-001), if that is possible soon, and disconnect."""
        if self.online:
            self._online.clear()
            self._closing = True
            goodbye = asyncio.create_task(self._say_goodbye())
            until_ms = self._clock.ticks_ms() + _GOODBYE_MS
            while not goodbye.done() and self._clock.ticks_ms() < until_ms:
                await self._clock.sleep_ms(20)
            goodbye.cancel()
        await self._client.close()

    async def send_get(self, transfer: int, payload: int, block_bytes: int, first: int, wanted: bytes) -> bool:
        """Ask for blocks (`up/get`); False when there is no link."""
        if not self.online or self._ledger.fresh or self.pacing.held(pacing.GET):
            return False
        try:
            await self._send("get", (transfer, payload, block_bytes, first, wanted, RUN_BLOCKS))
        except LinkError:
            return False
        return True

    async def send_report(self, fields: "dict[int, Any]") -> bool:
        """Publish `up/feat`; returns when the broker has it, False when there is no link. Raises MqttError."""
        if not self.online or self._ledger.fresh:
            return False
        await self._send("feat", fields)
        return True

    # -- up

    def _answer(self, kind: str, body: "list[Any]") -> None:
        """Of more than a few the oldest is dropped: its sender asks again."""
        if len(self._answers) >= _ANSWERS_MAX:
            self._answers.pop(0)
            self.dropped += 1
        self._answers.append((kind, body))
        self._work.set()

    async def _poll(self) -> None:
        while True:
            await self._left.wait()
            self._left.clear()
            await self._clock.sleep_ms(_POLL_MS)
            self._work.set()

    async def _serve(self, session_present: bool) -> None:
        """The life of one connection; cancelled with it."""
        self.connects += 1
        self._renumbered = False
        await self._client.subscribe(self._filter, 1)
        self._birth_retry_ms = RETRY_MS
        self._home_due = bool(self._home_filter or self._home_left)
        await self._say_birth()
        while True:
            self._work.clear()
            if not self._closing:
                await self._flush()
            if self.busy:
                self._left.set()
            await self._work.wait()

    async def _say_birth(self) -> None:
        self._birth_due = self._unheard = False
        self._birth_retry_due_ms = self._clock.ticks_ms() + self._birth_retry_ms
        await self._send("birth", self.birth())
        await self._say_state()
        if self._birth_retry_due_ms >= 0:  # The welcome has not overtaken the PUBACKs.
            self._birth_retry_due_ms = self._clock.ticks_ms() + self._birth_retry_ms
        self._ledger.rewind()
        self._voice.rewind()
        self._retry_ms = RETRY_MS
        self._retry_due_ms = -1
        self._online.set()
        self.on_connected()

    async def _say_goodbye(self) -> None:
        try:
            await self._send("state", messages.state(messages.LINK_OFFLINE))
        except MqttError:
            pass  # Then the will says it.

    async def _say_state(self) -> None:
        self._state_due = False
        await self._send("state", self.state())

    async def _flush(self) -> None:
        if self._renumbered:
            raise LinkError("another boot number")
        if 0 <= self._birth_retry_due_ms <= self._clock.ticks_ms():  # EG-BIRTH-005: the broker had it, and may have lost it
            self._birth_retry_ms = min(2 * self._birth_retry_ms, _RETRY_MAX_MS)
            self._birth_due = True
        if self._ledger.fresh and self._birth_retry_due_ms < 0:
            self._birth_due = True  # The flash could not be read until now.
        if self._birth_due:
            await self._say_birth()
        if self._ledger.fresh:
            if self._state_due:
                await self._say_state()
            if not self._unheard:
                return  # Else what is lossy is said: it needs no number that stays (EG-ENV-007).
        else:
            while self._answers:
                first = self._answers[0]
                await self._send(first[0], first[1])
                if self._answers and self._answers[0] is first:
                    self._answers.pop(0)
            if self._state_due:
                await self._say_state()
            await self._say_sync()
            await self._move_home()
            await self._say_events()
            await self._say_usage()
            await self._say_voice()
        while self._telemetry.ready and self.pacing.take():
            await self._publish("tele", self._telemetry.take() or b"")

    async def _say_sync(self) -> None:
        pair = self._timebase.sync()
        if pair:
            await self._send("sync", pair)
            self._timebase.synced()

    async def _move_home(self) -> None:
        if not self._home_due:
            return
        self._home_due = False
        if self._home_left:  # A broker that keeps the session would go on with it.
            await self._try(self._client.unsubscribe(self._home_left))
            self._home_left = ""
        if self._home_filter:
            await self._try(self._client.subscribe(self._home_filter))

    async def _try(self, request: "Any") -> None:
        try:
            await request
        except Refused as exc:
            self.last_error = str(exc)  # A broker whose rules know nothing of homes; all else goes on.

    async def _say_events(self) -> None:
        while True:
            envelope = self._events.first()
            if envelope is None:
                return
            await self._publish("event", envelope)
            if self._home_id:
                topic = topics.home(self._tenant, self._home_id, "event")
                await self._try(self._client.publish(topic, self._home.announce(envelope), topics.HOME["event"][0], False))
            self._events.sent(envelope)

    async def _say_voice(self) -> None:
        now_ms = self._clock.ticks_ms()
        if self._voice.pending and not self._voice.unsaid and now_ms >= self._voice_due_ms:
            self._voice.rewind()
        while self._voice.unsaid:
            self._voice_due_ms = now_ms + _VOICE_RETRY_MS
            await self._publish("voice", self._voice.next() or b"")

    async def _say_usage(self) -> None:
        if self.pacing.held(pacing.USAGE):
            return
        now_ms = self._clock.ticks_ms()
        if not self._ledger.announced:
            self._retry_due_ms = -1
        elif 0 <= self._retry_due_ms <= now_ms:
            self._retry_ms = min(2 * self._retry_ms, _RETRY_MAX_MS)
            self._ledger.rewind()
        size = self._fill_bundle()
        while size:
            self.pacing.spend()
            self._retry_due_ms = self._clock.ticks_ms() + self._retry_ms
            try:
                await self._publish("usage", self._bundle[:size] if self._bundle[0] != 0x81 else self._bundle[1:size])
            except Refused as exc:
                if exc.code == PACKET_TOO_LARGE:
                    self._bundle_bytes = max(self._bundle_bytes // 2, RECORD_MAX + 1)
                raise
            size = 0 if self.pacing.held(pacing.USAGE) else self._fill_bundle()

    def _fill_bundle(self) -> int:
        """Put what the ledger wants to announce behind an array header of one byte; returns the size, 0 for nothing."""
        count, end = 0, 1
        while count < _BUNDLE_MAX:
            size = self._ledger.next_into(self._bundle[end : self._bundle_bytes])
            if not size:
                break
            count += 1
            end += size
        self._bundle[0] = 0x80 | count
        return end if count else 0

    def _will(self) -> "tuple[str, bytes, int, bool]":
        body = messages.state(messages.LINK_OFFLINE)
        return self._up["state"], bytes(messages.encode(self._encoder, self._boot, 0, self._timebase.t(), body)), 1, True

    async def _send(self, kind: str, body: "Any") -> None:
        if self._renumbered:
            raise LinkError("another boot number")
        seq = self._seqs[kind] + 1
        # A copy: the encoder is shared, and the client may have to wait before it takes the bytes.
        data = bytes(messages.encode(self._encoder, self._boot, seq, self._timebase.t(), body))
        self._seqs[kind] = seq
        await self._publish(kind, data)

    async def _publish(self, kind: str, data: "bytes | memoryview") -> None:
        qos, retain = topics.UP[kind]
        try:
            await self._client.publish(self._up[kind], data, qos, retain)
        except Refused as exc:
            if exc.code != RETAIN_NOT_SUPPORTED or not retain:
                raise
            await self._client.publish(self._up[kind], data, qos, False)  # EG-BRK-001: nothing depends on it

    def _on_disconnect(self, error: Exception) -> None:
        self._online.clear()
        self._birth_retry_due_ms = -1  # A welcome that waits at the broker is old by then.
        self._mqtt.keepalive_s = self._next_keepalive_s
        will = self._mqtt.will
        if isinstance(error, Refused) and error.code == RETAIN_NOT_SUPPORTED and will is not None:
            self._mqtt.will = (will[0], will[1], will[2], False)
        self.last_error = str(error)

    # -- down

    def _on_part(self, topic: str, part: memoryview, left: int, retain: bool) -> None:
        """Only blocks come in larger messages."""
        if topic:
            self._in_blocks = topic == self._dn + "block" and not retain
            self.dropped += not self._in_blocks
        if self._in_blocks:
            self._in_blocks = self._take(self.receive_part, part, left, bool(topic))

    def _on_message(self, topic: str, payload: memoryview, retain: bool, dup: bool) -> None:
        self._take(self._route, topic, payload, retain)

    def _route(self, topic: str, payload: memoryview, retain: bool) -> None:
        # Nothing below `dn` is ever retained: a start that a broker hands out at every connect is no command.
        if retain:
            raise ProtocolError(UNKNOWN_KIND, "retained")
        if topic.startswith(self._dn):
            self.receive(topic[len(self._dn) :], payload)
        elif self._home_filter and topic.startswith(self._home_filter[:-1]):
            self.receive("home/" + topic[len(self._home_filter) - 1 :], payload)
        else:
            raise ProtocolError(UNKNOWN_KIND, "not for us")

    def _take(self, what: "Callable[..., None]", *args: "Any") -> bool:
        """Nothing that arrives may end the connection or the agent. False: it was of no use."""
        try:
            what(*args)
            return True
        except ProtocolError as exc:
            self.dropped += 1
            self.last_error = exc.text
        except Exception as exc:
            self.errors += 1
            self.last_error = repr(exc)
        return False

    def _on_oversized(self, topic: "str | None", size_bytes: int) -> None:
        self.dropped += 1


def _ignore(*message: "Any") -> None:
    pass


def _nothing() -> None:
    pass
