"""Recorded traffic, one JSON object a line.

    {"time": 1795339200.123, "topic": "eg1/acme/washer-1/up/usage", "payload": "8401...", "qos": 1, "retain": false}

`evergrow tap --record`, the demo and the simulations write it; `evergrow decode` and `validate` read it. `payload` is hex; `time`
(UTC seconds), `qos` and `retain` may be left out, other keys are ignored.
"""

import json
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evergrow_protocol import topics
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.message_reader import Reading, find_kind, read
from evergrow_protocol.message_table import MessageTable
from evergrow_protocol.message_tree import Flaw

_TOPIC_RULES = {1: "EG-TOP-001", 3: "EG-TOP-005"}


class TrafficError(Exception):
    """A line that is no message; the text says what is wrong with it."""


@dataclass(frozen=True)
class Message:
    """One PUBLISH. `time_s`: UTC, or None."""

    topic: str
    payload: bytes
    time_s: float | None = None
    qos: int | None = None
    retain: bool | None = None


@dataclass(frozen=True)
class Heard:
    """A message with what its topic says, and its reading."""

    message: Message
    tenant: str
    device: str
    reading: Reading


def to_line(message: Message) -> str:
    """One line, without its end."""
    fields = {"time": message.time_s, "topic": message.topic, "payload": message.payload.hex()}
    fields |= {"qos": message.qos, "retain": message.retain}  # type: ignore[dict-item]
    return json.dumps({key: value for key, value in fields.items() if value is not None})


def from_line(line: str) -> Message:
    """A line of recorded traffic. Raises TrafficError."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise TrafficError(f"not JSON: {error}") from None
    except RecursionError:
        raise TrafficError("JSON that is nested too deeply") from None
    if not isinstance(fields, dict):
        raise TrafficError("not a JSON object")
    topic, payload = fields.get("topic"), fields.get("payload")
    if not isinstance(topic, str) or not isinstance(payload, str):
        raise TrafficError('"topic" and "payload" are strings')
    time_s = fields.get("time")
    if time_s is not None and (isinstance(time_s, bool) or not isinstance(time_s, int | float)):
        raise TrafficError('"time" is UTC seconds')
    return Message(topic, from_hex(payload), time_s, _integer(fields, "qos"), bool(fields.get("retain")))


def from_hex(text: str) -> bytes:
    """Raises TrafficError."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        wrong = next((char for char in text if char not in string.hexdigits and not char.isspace()), None)
        raise TrafficError("an odd number of hex digits" if wrong is None else f"{wrong!r} is no hex digit") from None


def lines(source: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that are not empty."""
    return ((number, text.strip()) for number, text in enumerate(source, 1) if text.strip())


def hear(table: MessageTable, message: Message) -> Heard:
    """Read a message by its topic. Raises Flaw when the topic is none of the protocol."""
    try:
        tenant, device, direction, kind = topics.parse(message.topic)
    except ProtocolError as error:
        raise Flaw(
            error.code, _TOPIC_RULES.get(error.code, "EG-TOP-001"), f"topic {message.topic[:80]!r}: {error.text}", 0
        ) from None
    found = find_kind(table, f"{direction}/{kind}")
    return Heard(message, tenant, device, read(table, found, message.payload))


def _integer(fields: dict[str, object], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TrafficError(f'"{name}" is a number')
    return value
