"""A tap in the broker: every message is read by the other side's decoder, and noted in the trace in words.

What devices send is read by the cloud's decoder, what the cloud sends by the protocol package that devices use. Beyond the
grammar it holds devices to what a broker can see of EG-ENV-001..003: boot numbers rise, and no (boot, seq) names two messages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from evergrow_cloud import wire
from evergrow_cloud.errors import WireError
from evergrow_cloud.messages import Birth, BlockRequest, Event, FeatureReport, Message, Response, State, Sync
from evergrow_protocol import messages, topics
from evergrow_protocol.errors import ProtocolError
from evergrow_sim.world.broker_packets import Publish
from evergrow_sim.world.world import World


def _entitlement(data: bytes) -> tuple[Any, ...]:
    return (messages.parse_entitlement(data),)


_DN: dict[str, Callable[[bytes], Any]] = {
    "welcome": messages.parse_welcome,
    "ack": messages.parse_ack,
    "cmd": messages.parse_command,
    "cfg": messages.parse_config,
    "busy": messages.parse_busy,
    "offer": messages.parse_offer,
    "cancel": lambda data: (messages.parse_cancel(data),),
    "block": messages.parse_block,
    "ent": _entitlement,
    "heard": messages.parse_heard,
}


@dataclass
class Heard:
    """What is remembered of a device. `said`: {(kind, seq): payload} of its current boot; `births`: how often it was born.

    `unnumbered`: it was born with a new or erased flash, and no welcome has gone out since (EG-ENV-005).
    """

    boot: int = 0
    counted_boot: int = 0
    births: int = 0
    unnumbered: bool = False
    said: dict[tuple[str, int], bytes] = field(default_factory=dict)
    features: tuple[tuple[int | str, int, int], ...] = ()


class Tap:
    """To be the broker's `observe`. `report(device, what)` is called with what may not be.

    `on_birth(device, birth)`: called with each birth; `on_response(device, response)`: with each answer;
    `on_state(device, state)`, `on_report(device, report)`, `on_message(device, kind)` and `on_publish(publish)` may be set: for
    each of those.
    `heard`: by device.
    """

    def __init__(
        self,
        world: World,
        report: Callable[[str, str], None],
        on_birth: Callable[[str, Birth], None],
        on_response: Callable[[str, Response], None],
    ) -> None:
        self.heard: dict[str, Heard] = {}
        self.on_message: Callable[[str, str], None] | None = None
        self.on_state: Callable[[str, State], None] | None = None
        self.on_report: Callable[[str, FeatureReport], None] | None = None
        self.no_retained = False  # the broker says that it has none: then nobody may ask for it
        self.on_publish: Callable[[Publish], None] | None = None
        self._world = world
        self._report = report
        self._on_birth = on_birth
        self._on_response = on_response

    def __call__(self, client_id: str, publish: Publish) -> None:
        if self.on_publish is not None:
            self.on_publish(publish)
        try:
            _, device, direction, kind = topics.parse(publish.topic)
        except ProtocolError as error:
            self._report(client_id, f"published to {publish.topic!r}: {error.text}")
            return
        payload = bytes(publish.payload)
        if self.on_message is not None:
            self.on_message(device, kind)
        if direction == "home":
            self._home(device, kind, payload)
        elif direction == "up":
            self._up(device, kind, payload, publish)
        else:
            self._dn(device, kind, payload)

    def _up(self, device: str, kind: str, payload: bytes, publish: Publish) -> None:
        qos, retain = topics.UP.get(kind, (0, False))
        spared = self.no_retained and not publish.retain
        if publish.qos != qos or (publish.retain != bool(retain) and not spared):
            self._report(device, f"up/{kind} with QoS {publish.qos} and retain {publish.retain}")
        try:
            message = wire.decode(kind, payload)
        except WireError as error:
            self._report(device, f"up/{kind} outside the grammar: {error}: {payload.hex()}")
            return
        heard = self.heard.setdefault(device, Heard())
        if heard.unnumbered and kind not in ("birth", "state"):
            self._report(device, f"up/{kind} by a flash that is new or erased, before any welcome")
        if isinstance(message, tuple):
            self._world.note(device, "says usage", " ".join(f"{one.header.boot}/{one.header.seq}" for one in message))
            return  # old boots are told of, too; the ledger finds what is told twice in two ways
        header = message.header
        self._world.note(device, f"says {kind}", header.boot, header.seq, *_words(message))
        if isinstance(message, Birth):
            self._born(device, heard, message)
        elif isinstance(message, Response):
            self._on_response(device, message)
        elif isinstance(message, State) and self.on_state is not None:
            self.on_state(device, message)
        elif isinstance(message, FeatureReport) and self.on_report is not None:
            self.on_report(device, message)
        if header.seq and header.boot == heard.boot and heard.said.setdefault((kind, header.seq), payload) != payload:
            self._report(device, f"two messages up/{kind} {header.boot}/{header.seq}")

    def _born(self, device: str, heard: Heard, birth: Birth) -> None:
        boot = birth.header.boot
        if birth.is_fresh and heard.boot == boot and birth.header.seq == 1:
            heard.said.clear()  # Its flash was erased: the number is not that of before.
        if boot != heard.boot:
            if not birth.boot_is_random and not birth.is_fresh:
                if boot <= heard.counted_boot:
                    self._report(device, f"boot {boot} after boot {heard.counted_boot}")
                heard.counted_boot = boot
            heard.boot = boot
            heard.said.clear()
        heard.births += 1
        heard.unnumbered = birth.is_fresh
        heard.features = tuple(birth.features)
        self._on_birth(device, birth)

    def _home(self, home: str, kind: str, payload: bytes) -> None:
        try:
            if kind == "event":
                device, _, event, _ = messages.parse_home_event(payload)
                wire.home_event(payload)
                self._world.note(home, "hears", device, event)
            else:
                self._world.note(home, "becomes", messages.parse_scene(payload)[0])
        except (ProtocolError, WireError) as error:
            self._report(home, f"home/{kind} outside the grammar: {error}: {payload.hex()}")

    def _dn(self, device: str, kind: str, payload: bytes) -> None:
        parse = _DN.get(kind)
        if parse is None:
            self._report(device, f"is sent dn/{kind}")
            return
        try:
            read = parse(payload)
            found: tuple[Any, ...] = read if isinstance(read, tuple) else (read,)
            if kind == "cmd":
                messages.command_fields(found[1])
        except ProtocolError as error:
            self._report(device, f"is sent dn/{kind} outside the grammar: {error.text}: {payload.hex()}")
            return
        if kind == "welcome" and device in self.heard:
            self.heard[device].unnumbered = False
        self._world.note(device, f"is sent {kind}", *[one for one in found if isinstance(one, int)])


def _words(message: Message) -> list[int | str]:
    """What is of interest of a message, for the trace."""
    match message:
        case State():
            return [f"link={message.link}", f"operation={message.operation}", f"programme={message.programme}"]
        case Birth():
            return [f"flags={message.flags}", *[f"{one.publisher}:{one.feature}@{one.sequence}" for one in message.features]]
        case Event():
            return [f"event={message.event}", f"what={message.what}", f"value={message.value}"]
        case Response():
            return [f"command={message.id}", f"code={message.code}"]
        case FeatureReport():
            return [f"transfer={message.transfer}", f"code={message.code}", f"state={message.state}"]
        case BlockRequest():
            return [f"transfer={message.transfer}", f"payload={message.payload}", f"first={message.first}"]
        case Sync():
            return [f"utc={message.utc_s}"]
    return []
