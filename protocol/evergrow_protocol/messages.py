"""The messages of SPEC sections 4 to 9, from the device's side: bodies to publish, and parsers for what arrives.

What is published is `[boot, seq, t, body]`: `encode` writes it into the caller's encoder. Parsers take the payload as it
arrived, check it whole (deterministic, bounded, nothing behind it), and give tuples of checked values; elements and keys
that this version does not know are ignored (EG-ENC-003, EG-ENC-006). They raise ProtocolError: 1 malformed, 2 not
deterministic, 4 bad type, 5 out of range, 6 unknown critical key, 8 too large.
"""

from evergrow_protocol.cbor import ARRAY, Decoder, Encoder, dumps, loads
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, OUT_OF_RANGE, TOO_LARGE, UNSUPPORTED, ProtocolError
from evergrow_protocol.topics import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

MINOR = 0  # of the protocol version, in birth

FLAG_RANDOM_BOOT = 1  # The boot number was drawn: there is no flash to count on.
FLAG_STORAGE = 2  # Storage for usage fails: what happens now may not survive a power cut.
FLAG_FRESH = 4  # The flash is new or erased: the boot number may be one that the cloud knows.
FLAG_RIGHTS = 8  # Of grants, revocations and entitlements something is damaged, or could not be read.

LINK_OFFLINE = 0
LINK_ONLINE = 1

OPERATION_IDLE = 0
OPERATION_RUNNING = 1
OPERATION_ENDING = 2
OPERATION_FAULT = 3

COMMAND_START = 1
COMMAND_STOP = 2
COMMAND_REBIRTH = 3
COMMAND_ACKNOWLEDGE = 4
COMMAND_CONSENT = 5
COMMAND_REMOVE = 6

EVENT_NOTE = 0
EVENT_RAISED = 1
EVENT_CLEARED = 2
EVENT_ACKNOWLEDGED = 3

VOICE_RATING = 1
VOICE_WISH = 2
VOICE_TEXT_MAX = 140  # bytes of UTF-8

CONTENT_FEATURE = 0  # What an offer is about.
CONTENT_GRANT = 1
CONTENT_REVOCATIONS = 2

ENTITLEMENT_MAX = 512  # bytes

WELCOME_LEAST_BOOT = 0  # Extensions of a welcome.
WELCOME_CREDITS = 1
BUSY_KIND_MAX = 3

CONFIG_TELEMETRY = 1
CONFIG_KEEPALIVE = 2
CONFIG_HOME = 3
CONFIG_FEATURES = 4

_UINT_MAX = 0xFFFFFFFF
_BITMAP_MAX = 128  # bytes
_DEPTH_MAX = 8

_ITEMS_MAX = 64
_RECORD_ITEMS_MAX = 256  # a merged record
_CONFIG_ITEMS_MAX = 192

# -- up


def encode(encoder: Encoder, boot: int, seq: int, t: "int | list[int]", body: "Any") -> memoryview:
    """Write `[boot, seq, t, body]` at the start of `encoder`; returns it as a view of the encoder's buffer.

    `t`: UTC seconds, or [milliseconds since boot]. Raises CborError, as when it does not fit.
    """
    encoder.rewind()
    encoder.encode((boot, seq, t, body))
    return encoder.result()


def birth(
    registry: int,
    class_id: int,
    model: str,
    firmware: str,
    machine: "list[str]",
    features: "list[tuple[int, int, int]]",
    packet_bytes: int,
    block_bytes: int,
    flags: int,
    heap_free: int,
    grants: "list[tuple[int, int]] | None" = None,
    revocations: int = 0,
    damage: "tuple[int, int, int]" = (0, 0, 0),
) -> "dict[int, Any]":
    """Body of `up/birth`. `machine`: [interpreter, version, machine]; `features`: [(publisher, feature, sequence), ...]. Of a
    device with a root key: `grants` [(publisher, sequence), ...], and the sequence of its revocation list. `damage` to usage
    records, as EG-USE-011: (bad places, parts that cannot be read, records lost).
    """
    body: "dict[int, Any]" = {
        0: MINOR,
        1: registry,
        2: class_id,
        3: model,
        4: firmware,
        5: machine,
        6: features,
        7: packet_bytes,
        8: block_bytes,
        9: flags,
        10: heap_free,
    }
    if grants is not None:
        body[11] = grants
        body[12] = revocations
    if any(damage):
        body[13] = damage
    return body


def state(
    link: int,
    operation: int = 0,
    programme: int = 0,
    phase: int = 0,
    remaining_s: int = 0,
    remote: bool = False,
    error: int = 0,
    alarms: "list[int] | None" = None,
    config: "list[int] | None" = None,
) -> "dict[int, Any]":
    """Body of `up/state`; an offline one says nothing but that. `alarms`: ids of those that are raised, ascending.

    `config`: [version in force, code, ? refused version].
    """
    if link == LINK_OFFLINE:
        return {0: LINK_OFFLINE}
    body: "dict[int, Any]" = {0: link, 1: operation, 2: programme, 3: phase, 4: remaining_s, 5: remote, 6: error}
    if config:
        body[7] = config
    if alarms:
        body[8] = alarms
    return body


def event(
    event_id: int, what: int, value: "int | None" = None, owner: "tuple[int, int] | None" = None, dropped: int = 0
) -> "dict[int, Any]":
    """Body of `up/event`. `owner`: (publisher, feature); `dropped`: events that went before this one for want of room."""
    body: "dict[int, Any]" = {0: event_id, 1: what}
    if value is not None:
        body[2] = value
    if owner:
        body[3] = owner
    if dropped:
        body[4] = dropped
    return body


def voice(
    kind: int, value: int, text: str = "", usage: "tuple[int, int] | None" = None, feature: "tuple[int, int] | None" = None
) -> "dict[int, Any]":
    """Body of `up/voice`. ProtocolError 5 for another kind or value, 8 for a longer text."""
    if kind not in (VOICE_RATING, VOICE_WISH):
        raise ProtocolError(OUT_OF_RANGE, f"kind {kind} is neither a rating nor a wish")
    if kind == VOICE_RATING and not 1 <= value <= 5:
        raise ProtocolError(OUT_OF_RANGE, f"a rating is 1 to 5, not {value}")
    if not 0 <= value <= _UINT_MAX:
        raise ProtocolError(OUT_OF_RANGE, f"value {value} is not between 0 and {_UINT_MAX}")
    size = len(text.encode())
    if size > VOICE_TEXT_MAX:
        raise ProtocolError(TOO_LARGE, f"text of {size} bytes, limit {VOICE_TEXT_MAX}")
    body: "dict[int, Any]" = {0: kind, 3: value}
    if usage:
        body[1] = usage
    if feature:
        body[2] = feature
    if text:
        body[4] = text
    return body


def command_result(command_id: int, code: int, result: "Any" = None) -> "list[Any]":
    """Body of `up/rsp`."""
    return [command_id, code] if result is None else [command_id, code, result]


# -- dn


def parse_welcome(data: "Buffer") -> "tuple[int, int, int, dict[int, Any]]":
    """`dn/welcome` -> (boot, seq of the birth it answers, utc_s, extensions)."""
    fields = _array(data, 3)
    ext = check_map(fields[3]) if len(fields) > 3 else {}
    if WELCOME_LEAST_BOOT in ext:
        _uint(ext[WELCOME_LEAST_BOOT], "least boot")
    if WELCOME_CREDITS in ext:
        credits = ext[WELCOME_CREDITS]
        if not isinstance(credits, list):
            raise ProtocolError(BAD_TYPE, "credits are an array")
        if len(credits) < 2:
            raise ProtocolError(MALFORMED, "credits are [at once, per hour]")
        ext[WELCOME_CREDITS] = (_uint(credits[0], "credits"), _uint(credits[1], "credits per hour"))
    return _uint(fields[0], "boot"), _uint(fields[1], "seq"), _uint(fields[2], "utc_s"), ext


def parse_busy(data: "Buffer") -> "tuple[int, int]":
    """`dn/busy` -> (kind to hold back, retry_s)."""
    fields = _array(data, 2)
    kind, retry_s = _uint(fields[0], "kind"), _uint(fields[1], "retry_s")
    if kind > BUSY_KIND_MAX or not retry_s:
        raise ProtocolError(OUT_OF_RANGE, f"busy {kind} for {retry_s} s")
    return kind, retry_s


def parse_ack(data: "Buffer") -> "tuple[int, int, Buffer]":
    """`dn/ack` -> (boot, seq, bitmap), see EG-ACK-001. The bitmap may be a view of `data`."""
    fields = _array(data, 2)
    bitmap = fields[2] if len(fields) > 2 else b""
    if not isinstance(bitmap, (bytes, memoryview)):
        raise ProtocolError(BAD_TYPE, "the bitmap of an ack is bytes")
    if len(bitmap) > _BITMAP_MAX:
        raise ProtocolError(TOO_LARGE, f"a bitmap has at most {_BITMAP_MAX} bytes, not {len(bitmap)}")
    return _uint(fields[0], "boot"), _uint(fields[1], "seq"), bitmap


def parse_command(data: "Buffer") -> "tuple[int, list[Any]]":
    """`dn/cmd` -> (id, [command, args, ? deadline]). Only the id is checked: with it, what else is wrong can be answered."""
    fields = _array(data, 1)
    return _uint(fields[0], "id"), fields[1:]


def command_fields(fields: "list[Any]") -> "tuple[int, dict[int, Any], int | None]":
    """The rest of a command -> (command, args, deadline in UTC seconds or None)."""
    if len(fields) < 2:
        raise ProtocolError(MALFORMED, "a command is [id, command, args, ? deadline]")
    deadline_s = _uint(fields[2], "deadline") if len(fields) > 2 else None
    return _uint(fields[0], "command"), check_map(fields[1]), deadline_s


def parse_config(data: "Buffer") -> "tuple[int, Any]":
    """`dn/cfg` -> (version, map of values). The map is not checked: with the version, what is wrong in it can be reported."""
    fields = _array(data, 2, _CONFIG_ITEMS_MAX)
    version = _uint(fields[0], "version")
    if not version:
        raise ProtocolError(OUT_OF_RANGE, "versions of a configuration count from 1")
    return version, fields[1]


def need(fields: "dict[int, Any]", key: int, what: str) -> int:
    """A number that a map must have, as the arguments of a command: 1 it is not there, 4 no integer, 5 not of 32 bits."""
    if key not in fields:
        raise ProtocolError(MALFORMED, f"no {what}")
    return _uint(fields[key], what)


def parse_heard(data: "Buffer") -> "tuple[int, int]":
    """`dn/heard` -> (boot, seq) of the saying that the cloud has stored."""
    fields = _array(data, 2)
    return _uint(fields[0], "boot"), _uint(fields[1], "seq")


def parse_offer(data: "Buffer") -> "tuple[int, int, int]":
    """`dn/offer` -> (transfer, size of payload 0 in bytes, content)."""
    fields = _array(data, 2)
    content = _uint(fields[2], "content") if len(fields) > 2 else CONTENT_FEATURE
    return _uint(fields[0], "transfer"), _uint(fields[1], "size"), content


def parse_cancel(data: "Buffer") -> int:
    """`dn/cancel` -> transfer."""
    return _uint(_array(data, 1)[0], "transfer")


def parse_blocks_begin(data: memoryview, left: int) -> "tuple[int, int, int, int, memoryview]":
    """The beginning of a `dn/block` of which `left` bytes are still to come -> (transfer, payload, block, size, bytes that are
    here already, of `size`).

    What follows can be nothing but the rest of the bytes, and elements to ignore.
    """
    decoder = Decoder(data, deterministic=True)
    count = decoder.read_array_header()
    if count < 4:
        raise ProtocolError(MALFORMED, f"{count} elements, at least 4 expected")
    transfer, payload, block = [_uint(decoder.read_int(), what) for what in ("transfer", "payload", "block")]
    size = decoder.read_bytes_header()
    here = data[decoder.offset :]
    behind = len(here) + left - size
    if behind < 0 or (behind and count == 4) or size < len(here):
        raise ProtocolError(MALFORMED, f"{size} bytes of blocks in a message with {behind} more")
    return transfer, payload, block, size, here


def parse_block(data: "Buffer") -> "tuple[int, int, int, Buffer]":
    """`dn/block` -> (transfer, payload, block, bytes). The bytes are a view of `data`."""
    fields = _array(data, 4)
    block = fields[3]
    if not isinstance(block, (bytes, memoryview)):
        raise ProtocolError(BAD_TYPE, "a block is bytes")
    return _uint(fields[0], "transfer"), _uint(fields[1], "payload"), _uint(fields[2], "block"), block


def parse_entitlement(data: "Buffer") -> "Buffer":
    """`dn/ent` -> the entitlement as it was issued, a view of `data`."""
    token = _array(data, 1)[0]
    if not isinstance(token, (bytes, memoryview)):
        raise ProtocolError(BAD_TYPE, "an entitlement is bytes")
    if not 1 <= len(token) <= ENTITLEMENT_MAX:
        code = TOO_LARGE if len(token) else OUT_OF_RANGE
        raise ProtocolError(code, f"an entitlement of {len(token)} bytes, not 1..{ENTITLEMENT_MAX}")
    return token


# -- home


def parse_home_event(data: "Buffer") -> "tuple[str, int | list[int], int, int | None]":
    """`home/event` -> (device that says it, t, event id, value or None)."""
    fields = _array(data, 2)
    _, seq, t, body = _envelope(fields[1])
    if not seq:
        raise ProtocolError(OUT_OF_RANGE, "seq")
    value = body.get(2)
    if value is not None and type(value) is not int:
        raise ProtocolError(BAD_TYPE, "the value of an event is an integer")
    return check_id(fields[0]), t, need(body, 0, "event"), value


def parse_scene(data: "Buffer") -> "tuple[int, int]":
    """`home/scene` -> (scene, UTC seconds at which it was set)."""
    fields = _array(data, 2)
    return _uint(fields[0], "scene"), _uint(fields[1], "utc_s")


# -- what the device reads back from its own flash


def record_id(envelope: "Buffer") -> "tuple[int, int]":
    """(boot, seq) of an encoded envelope; the rest is not looked at."""
    decoder = Decoder(envelope)
    if decoder.read_array_header() < 4:
        raise ProtocolError(MALFORMED, "no envelope")
    return _uint(decoder.read_int(), "boot"), _uint(decoder.read_int(), "seq")


def with_boot(envelope: "Buffer", boot: int) -> bytes:
    """An encoded envelope of 4 elements under another boot number."""
    return b"\x84" + dumps(boot) + bytes(envelope[1 + len(dumps(record_id(envelope)[0])) :])


def decode_envelope(envelope: "Buffer") -> "tuple[int, int, int | list[int], dict[int, Any]]":
    """(boot, seq, t, body) of an encoded envelope whose body is a map."""
    return _envelope(_array(envelope, 4, _RECORD_ITEMS_MAX))


def _envelope(fields: "Any") -> "tuple[int, int, int | list[int], dict[int, Any]]":
    if not isinstance(fields, list):
        raise ProtocolError(BAD_TYPE, "an envelope is an array")
    if len(fields) < 4:
        raise ProtocolError(MALFORMED, "an envelope is [boot, seq, t, body, ? tag, ? ext]")
    t = fields[2]
    if type(t) is not int and not (isinstance(t, list) and t and type(t[0]) is int):
        raise ProtocolError(BAD_TYPE, "t is UTC seconds or [mono_ms]")
    return _uint(fields[0], "boot"), _uint(fields[1], "seq"), t, check_map(fields[3])


def is_bundle(data: "Buffer") -> bool:
    """Whether a usage payload is an array of envelopes rather than one (EG-USE-004). CborError if it is no array."""
    decoder = Decoder(data)
    return decoder.read_array_header() != 0 and decoder.peek() == ARRAY


def check_map(value: "Any") -> "dict[int, Any]":
    """`value` if it is a map with integer keys of 64 bits, none of them critical: this version knows no such (EG-ENC-003)."""
    if not isinstance(value, dict):
        raise ProtocolError(BAD_TYPE, "expected a map")
    for key in value:
        if type(key) is not int:
            raise ProtocolError(BAD_TYPE, "keys are integers")
        if key >> 63 not in (0, -1):
            raise ProtocolError(OUT_OF_RANGE, f"key {key}")  # EG-ENC-002
        if key < 0:
            raise ProtocolError(UNSUPPORTED, f"critical key {key}")
    return value


def _array(data: "Buffer", least: int, items: int = _ITEMS_MAX) -> "list[Any]":
    fields = loads(data, depth=_DEPTH_MAX, items=items, deterministic=True, copy=False)
    if not isinstance(fields, list):
        raise ProtocolError(BAD_TYPE, "expected an array")
    if len(fields) < least:
        raise ProtocolError(MALFORMED, f"{len(fields)} elements, at least {least} expected")
    return fields


def _uint(value: "Any", what: str) -> int:
    if type(value) is not int:
        raise ProtocolError(BAD_TYPE, f"{what} is not an integer")
    if not 0 <= value <= _UINT_MAX:
        raise ProtocolError(OUT_OF_RANGE, f"{what} {value} is not between 0 and {_UINT_MAX}")
    return value
