"""What the simulated broker is told: its bounds, and the switches that make it a poorer broker."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that a client could make grow, and how far. Sizes in bytes, times in ms.

    `packet_bytes`, `receive_maximum` and `topic_aliases` are announced to MQTT 5 clients; `inflight` bounds the QoS 1 messages
    under way to one client that allows more, or cannot say (3.1.1). A full queue drops what is newest, as mosquitto does.
    `aliases_out`: so many topics it shortens to a client that allows it; mosquitto does so from 2.1 on.
    `backlog_bytes`: answers that wait for a client which sends but does not read.
    """

    packet_bytes: int = 0x1_0000 + 512  # EG-LIM-001, and some for the topic
    receive_maximum: int = 20
    topic_aliases: int = 10
    aliases_out: int = 0
    inflight: int = 20
    queue_messages: int = 1000
    queue_bytes: int = 1 << 20
    sessions: int = 10_000
    subscriptions: int = 100
    retained_messages: int = 20_000
    retained_bytes: int = 8 << 20
    client_id_bytes: int = 128
    topic_levels: int = 64
    backlog_bytes: int = 0x1_0000
    connect_timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Switches:
    """How this broker differs from a good one. Replace `Broker.switches` at any time; what was accepted before stays.

    `no_will`, `no_retained`, `no_sessions`: it has none of them. An MQTT 5 client is told what the standard has words for, unless
    `announce` is off: then retained messages are delivered and forgotten, and sessions end, without a word.
    `ignore_receive_maximum`: it sends `Limits.inflight` QoS 1 messages at once to clients that want fewer.
    `deny`: topic filters (`%c` is the client id) which nobody may publish or subscribe to, whatever the ACL says.
    `on_denied`: a QoS 1 publish that is not allowed is answered (0x87; 3.1.1 has no word for it), as mosquitto 2.0.11 does; or
    answered and the link of a version 5 client dropped; or the link is dropped without an answer, as AWS IoT does.
    `refuse_connect`: reason code for every CONNECT, 0 for none.
    `puback_delay_ms`: a message is routed at once, and acknowledged only so much later.
    `versions`: the protocol levels it speaks, 5 and 4 (3.1.1).
    """

    no_will: bool = False
    no_retained: bool = False
    no_sessions: bool = False
    announce: bool = True
    ignore_receive_maximum: bool = False
    deny: tuple[str, ...] = ()
    on_denied: Literal["answer", "answer and drop", "drop"] = "answer"
    refuse_connect: int = 0
    puback_delay_ms: int = 0
    versions: tuple[int, ...] = (5, 4)
