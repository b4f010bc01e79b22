"""Every message that devices send, as the cloud reads it (SPEC sections 3 to 9); `wire_down` has what they get.

This is the second implementation of the wire format, on cbor2, and knows nothing of the device's. It is strict about encoding
(EG-ENC-001, 002) and lenient about what a newer device may add: unknown keys >= 0 and elements at the end of arrays are ignored
(EG-ENC-003, 006), unknown negative keys are refused. A message is refused whole or accepted whole (EG-ENC-004).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

from evergrow_cloud import columns, strict
from evergrow_cloud.errors import WireError
from evergrow_cloud.fields import MAX_UINT32, array, integer, mapping, maybe, need, text, uint
from evergrow_cloud.messages import (
    Birth,
    BlockRequest,
    ConfigReport,
    EntitlementAnswer,
    Event,
    Feature,
    FeatureReport,
    FeatureVersion,
    Header,
    Message,
    Response,
    State,
    Sync,
    Telemetry,
    Usage,
    Use,
    Voice,
)
from evergrow_protocol import errors as codes

MAX_FEATURES = 256
MAX_GRANTS = 64
MAX_RECORDS = 1024
MAX_SIGNALS = 64
MAX_BITMAP_BYTES = 128
MAX_ALARMS = 16
MAX_NAME_BYTES = 64
MAX_REMARK_BYTES = 80  # EG-ERR-001
MAX_VOICE_BYTES = 140
MAX_PUBLISHER = 2**16 - 1
MAX_MS = 2**53 - 1
TAG_BYTES = 8

_ID = re.compile("[a-z0-9-]{1,32}").fullmatch


def decode(kind: str, data: bytes) -> Message:
    """One message of `up/{kind}`; usage as a tuple, since it may be a bundle. Raises WireError with the protocol's code."""
    if kind == "usage":
        return _usage(data)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise WireError(codes.UNKNOWN_KIND, f"no kind up/{kind[:32]}")
    header, body, _ = _envelope(strict.loads(data))
    return decoder(header if kind == "state" else _counted(header), body)


def without_text(voice: bytes) -> bytes:
    """A valid up/voice without the words of the user."""
    boot, seq, time, body, *rest = strict.loads(voice)
    return strict.dumps([boot, seq, time, {key: value for key, value in body.items() if key != 4}, *rest])


def home_event(data: bytes) -> tuple[str, Event]:
    """home/event -> (the device that says it, its event). Raises WireError."""
    device, event = array(strict.loads(data), 2, "a home event")[:2]
    header, body, _ = _envelope(event)
    if not _ID(text(device, "device", strict.MAX_BYTES)):
        raise WireError(codes.OUT_OF_RANGE, f"{device!r} is no id of a device")
    return device, _event(_counted(header), body)


def to_bitmap(offsets: Iterable[int]) -> bytes:
    """Bit i, least significant first, byte 0 first, is set for each i of `offsets` (EG-ACK-001). No trailing zero bytes."""
    number = 0
    for offset in offsets:
        number |= 1 << offset
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def from_bitmap(bitmap: bytes) -> Iterator[int]:
    """The inverse of `to_bitmap`, ascending."""
    return (8 * i + bit for i, byte in enumerate(bitmap) for bit in range(8) if byte >> bit & 1)


def _envelope(item: Any) -> tuple[Header, Any, int]:
    """(header, body, how many bytes at the end are not under the tag): 0 without a tag."""
    boot, seq, time, body, *rest = array(item, 4, "an envelope")
    behind = 0
    if rest and isinstance(rest[0], bytes):
        if len(rest[0]) != TAG_BYTES:
            raise WireError(codes.OUT_OF_RANGE, f"a tag has {TAG_BYTES} bytes, not {len(rest[0])}")
        behind = 1 + TAG_BYTES + sum(len(strict.dumps(element)) for element in rest[1:])
        rest = rest[1:]
    if rest:
        mapping(rest[0], "ext")
    utc_s = mono_ms = doubtful_s = None
    if isinstance(time, list):
        mono_ms = uint(array(time, 1, "t")[0], "mono_ms", MAX_MS)
        if len(time) > 1:
            doubtful_s = uint(array(time, 3, "t")[1], "utc_s", MAX_UINT32)
            uint(time[2], "quality", MAX_UINT32)
    else:
        utc_s = uint(time, "t", MAX_UINT32)
    return Header(uint(boot, "boot", MAX_UINT32, least=1), uint(seq, "seq", MAX_UINT32), utc_s, mono_ms, doubtful_s), body, behind


def _counted(header: Header) -> Header:
    """`header`, if it is not that of a will."""
    if not header.seq:
        raise WireError(codes.OUT_OF_RANGE, "seq 0 is for wills")
    return header


def _birth(header: Header, body: Any) -> Birth:
    fields = mapping(body, "birth", range(14))
    return Birth(
        header,
        minor=uint(need(fields, 0, "minor"), "minor", MAX_UINT32),
        registry_version=uint(need(fields, 1, "registry version"), "registry version", MAX_UINT32),
        device_class=uint(need(fields, 2, "class"), "class", MAX_UINT32),
        model=text(need(fields, 3, "model"), "model", MAX_NAME_BYTES),
        firmware=text(need(fields, 4, "firmware version"), "firmware version", MAX_NAME_BYTES),
        interpreter=tuple(
            text(part, "interpreter", MAX_NAME_BYTES) for part in array(need(fields, 5, "interpreter"), 0, "interpreter", 8)
        ),
        features=tuple(_feature_version(item) for item in array(need(fields, 6, "features"), 0, "features", MAX_FEATURES)),
        max_packet_bytes=uint(need(fields, 7, "max packet"), "max packet", strict.MAX_BYTES),
        block_bytes=uint(need(fields, 8, "block bytes"), "block bytes", strict.MAX_BYTES),
        flags=uint(need(fields, 9, "flags"), "flags", MAX_UINT32),
        heap_free_bytes=maybe(fields, 10, "heap free", MAX_UINT32),
        grants=None if 11 not in fields else tuple(_grant(item) for item in array(fields[11], 0, "grants", MAX_GRANTS)),
        revocations=maybe(fields, 12, "revocations", MAX_UINT32),
        damage=_damage(fields[13]) if 13 in fields else (0, 0, 0),
    )


def _damage(item: Any) -> tuple[int, int, int]:
    places, unread, lost = array(item, 3, "damage")[:3]
    return uint(places, "places", MAX_UINT32), uint(unread, "unread", MAX_UINT32), uint(lost, "lost", MAX_UINT32)


def _state(header: Header, body: Any) -> State:
    fields = mapping(body, "state", range(8))
    remote = fields.get(5)
    if 5 in fields and not isinstance(remote, bool):
        raise WireError(codes.BAD_TYPE, "remote enable is true or false")
    return State(
        header,
        link=uint(need(fields, 0, "link"), "link", 1),
        operation=maybe(fields, 1, "operation", MAX_UINT32),
        programme=maybe(fields, 2, "programme", MAX_UINT32),
        phase=maybe(fields, 3, "phase", MAX_UINT32),
        remaining_s=maybe(fields, 4, "remaining_s", MAX_UINT32),
        remote_enable=remote,
        error=maybe(fields, 6, "error", MAX_UINT32),
        config=None if 7 not in fields else _config_report(fields[7]),
        alarms=tuple(uint(item, "alarm", MAX_UINT32) for item in array(fields.get(8, []), 0, "alarms", MAX_ALARMS)),
    )


def _config_report(item: Any) -> ConfigReport:
    version, code, *rest = array(item, 2, "a report of the configuration")
    return ConfigReport(
        uint(version, "version", MAX_UINT32),
        uint(code, "code", MAX_UINT32),
        uint(rest[0], "refused version", MAX_UINT32) if rest else None,
    )


def _event(header: Header, body: Any) -> Event:
    fields = mapping(body, "event", range(5))
    return Event(
        header,
        event=uint(need(fields, 0, "event"), "event", MAX_UINT32),
        what=uint(need(fields, 1, "what"), "what", 3),
        value=integer(fields[2], "value", -MAX_MS, MAX_MS) if 2 in fields else None,
        feature=_feature(fields[3]) if 3 in fields else None,
        dropped=maybe(fields, 4, "dropped", MAX_UINT32) or 0,
    )


def _voice(header: Header, body: Any) -> Voice:
    fields = mapping(body, "voice", range(5))
    kind = uint(need(fields, 0, "kind"), "kind", 2, least=1)
    usage = None
    words = fields.get(4)
    if 1 in fields:
        boot, seq = array(fields[1], 2, "usage")[:2]
        usage = (uint(boot, "boot", MAX_UINT32, least=1), uint(seq, "seq", MAX_UINT32, least=1))
    if 4 in fields and len(text(words, "text", MAX_VOICE_BYTES)) == 0:
        raise WireError(codes.OUT_OF_RANGE, "a text that is empty is left out")
    value = uint(need(fields, 3, "value"), "value", MAX_UINT32)
    if kind == 1 and not 1 <= value <= 5:
        raise WireError(codes.OUT_OF_RANGE, f"a rating is 1 to 5, not {value}")
    feature = _feature(fields[2]) if 2 in fields else None
    return Voice(header, kind, value, usage, feature, words)


def _sync(header: Header, body: Any) -> Sync:
    mono_ms, utc_s = array(body, 2, "sync")[:2]
    return Sync(header, uint(mono_ms, "mono_ms", MAX_MS), uint(utc_s, "utc_s", MAX_UINT32))


def _usage(data: bytes) -> tuple[Usage, ...]:
    item, starts = strict.parse(data)
    if not (isinstance(item, list) and item and isinstance(item[0], list)):
        return (_usage_record(item, data),)
    if len(item) > MAX_RECORDS:
        raise WireError(codes.TOO_LARGE, f"a bundle of {len(item)} records, {MAX_RECORDS} at most")
    ends = [*starts[1:], len(data)]
    return tuple(_usage_record(record, data[start:end]) for record, start, end in zip(item, starts, ends, strict=True))


def _usage_record(item: Any, raw: bytes) -> Usage:
    header, body, behind = _envelope(item)
    _counted(header)
    fields = mapping(body, "usage", range(19))
    features = _features(fields[3]) if 3 in fields else ()
    if 0 in fields and 9 in fields:
        raise WireError(codes.MALFORMED, "usage has either a programme (key 0) or stands for several cycles (key 9)")
    if 0 in fields:
        programme = uint(fields[0], "programme", MAX_UINT32)
    elif 9 in fields:
        programme = 0
    elif features:
        programme = features[0].feature  # EG-USE-010
    else:
        raise WireError(codes.MALFORMED, "usage has no programme (key 0), and no feature that it could be of (key 3)")
    return Usage(
        header,
        programme=programme,
        outcome=uint(fields.get(1, 0), "outcome", MAX_UINT32),
        duration_s=uint(need(fields, 2, "duration_s"), "duration_s", MAX_UINT32),
        features=features,
        energy_wh=maybe(fields, 4, "energy_wh", MAX_UINT32),
        water_ml=maybe(fields, 5, "water_ml", MAX_UINT32),
        temp_max=integer(fields[6], "temp_max", -MAX_UINT32, MAX_UINT32) if 6 in fields else None,
        spin_max_rpm=maybe(fields, 7, "spin_max_rpm", MAX_UINT32),
        error=maybe(fields, 8, "error", MAX_UINT32),
        merged_cycles=maybe(fields, 9, "merged cycles", MAX_UINT32),
        uses=_uses(fields[16]) if 16 in fields else (),
        unlisted=uint(fields.get(17, 0), "unlisted", MAX_UINT32),
        trials=uint(fields.get(18, 0), "trials", MAX_UINT32),
        meters={key: value for key, value in fields.items() if key > 9 and key not in (16, 17, 18) and type(value) is int},
        raw=raw,
        tag=item[4] if behind else None,
        tagged=b"\x84" + raw[1:-behind] if behind else b"",
    )


def _features(items: Any) -> tuple[Feature, ...]:
    """`[publisher, feature, publisher, feature, ...]`."""
    numbers = array(items, 0, "features", 2 * MAX_FEATURES)
    if len(numbers) % 2:
        raise WireError(codes.MALFORMED, "a feature without its number")
    return tuple(
        Feature(uint(publisher, "publisher", MAX_PUBLISHER), uint(feature, "feature", MAX_UINT32))
        for publisher, feature in zip(numbers[::2], numbers[1::2], strict=True)
    )


def _uses(items: Any) -> tuple[Use, ...]:
    """`[publisher, feature, sums, ...]` of a merged record."""
    parts = array(items, 0, "uses of features", 3 * MAX_FEATURES)
    if len(parts) % 3:
        raise WireError(codes.MALFORMED, "a feature without its sums")
    return tuple(_use(*parts[at : at + 3]) for at in range(0, len(parts), 3))


def _use(publisher: Any, feature: Any, sums: Any) -> Use:
    fields = mapping(sums, "sums")
    return Use(
        uint(publisher, "publisher", MAX_PUBLISHER),
        uint(feature, "feature", MAX_UINT32),
        cycles=uint(need(fields, 9, "cycles"), "cycles", MAX_UINT32),
        duration_s=uint(fields.get(2, 0), "duration_s", MAX_UINT32),
        energy_wh=uint(fields.get(4, 0), "energy_wh", MAX_UINT32),
        water_ml=uint(fields.get(5, 0), "water_ml", MAX_UINT32),
        trials=uint(fields.get(18, 0), "trials", MAX_UINT32),
    )


def _telemetry(header: Header, body: Any) -> Telemetry:
    fields = mapping(body, "telemetry", range(4))
    encoded = mapping(need(fields, 1, "columns"), "columns")
    for signal in encoded:
        uint(signal, "signal", MAX_UINT32)
    if len(encoded) > MAX_SIGNALS:
        raise WireError(codes.TOO_LARGE, f"{len(encoded)} signals, {MAX_SIGNALS} at most")
    if not encoded:
        raise WireError(codes.MALFORMED, "no columns")
    found = {signal: columns.values(column, f"column {signal}") for signal, column in encoded.items()}
    samples = len(next(iter(found.values())))
    if any(len(values) != samples for values in found.values()):
        raise WireError(codes.OUT_OF_RANGE, "columns of different lengths")
    dt_s, offsets_s = _times(fields, samples)
    return Telemetry(header, dt_s, offsets_s, found, maybe(fields, 3, "lost", MAX_UINT32) or 0)


def _times(fields: dict[int, Any], samples: int) -> tuple[int | None, tuple[int, ...]]:
    """`dt_s` and `offsets_s` of a batch."""
    if (0 in fields) == (2 in fields):
        raise WireError(codes.MALFORMED, "telemetry has either dt_s (key 0) or gaps (key 2)")
    if 0 in fields:
        dt_s = uint(fields[0], "dt_s", MAX_UINT32, least=1)
        return dt_s, tuple(range(0, dt_s * samples, dt_s))
    gaps_s = columns.numbers(fields[2], "gaps")
    if len(gaps_s) != samples:
        raise WireError(codes.OUT_OF_RANGE, f"{len(gaps_s)} gaps for {samples} samples")
    if gaps_s[0] or max(gaps_s) > MAX_UINT32:
        raise WireError(codes.OUT_OF_RANGE, f"the first gap is 0, and none above {MAX_UINT32}")
    return None, tuple(accumulate(gaps_s))


def _response(header: Header, body: Any) -> Response:
    id, code, *rest = array(body, 2, "a response")
    return Response(header, uint(id, "id", MAX_UINT32), uint(code, "code", MAX_UINT32), rest[0] if rest else None)


def _block_request(header: Header, body: Any) -> BlockRequest:
    transfer, payload, block_bytes, first, wanted, *rest = array(body, 5, "a request")
    if not isinstance(wanted, bytes):
        raise WireError(codes.BAD_TYPE, "wanted is a byte string")
    if len(wanted) > MAX_BITMAP_BYTES:
        raise WireError(codes.TOO_LARGE, f"{len(wanted)} bytes of bitmap, {MAX_BITMAP_BYTES} at most")
    return BlockRequest(
        header,
        uint(transfer, "transfer", MAX_UINT32),
        uint(payload, "payload", MAX_UINT32),
        uint(block_bytes, "block bytes", strict.MAX_BYTES, least=1),
        uint(first, "first", MAX_UINT32),
        tuple(from_bitmap(wanted)),
        uint(rest[0], "run", MAX_UINT32, least=1) if rest else 1,
    )


def _feature_report(header: Header, body: Any) -> FeatureReport:
    fields = mapping(body, "a feature report", range(10))
    return FeatureReport(
        header,
        transfer=uint(need(fields, 0, "transfer"), "transfer", MAX_UINT32),
        code=uint(need(fields, 1, "code"), "code", MAX_UINT32),
        state=uint(need(fields, 2, "state"), "state", MAX_UINT32),
        feature=_feature_version(fields[3]) if 3 in fields else None,
        bytes=maybe(fields, 4, "bytes", MAX_UINT32),
        blocks=maybe(fields, 5, "blocks", MAX_UINT32),
        ms=maybe(fields, 6, "ms", MAX_MS),
        verify_ms=maybe(fields, 7, "verify ms", MAX_MS),
        hash_calls=maybe(fields, 8, "hash calls", MAX_UINT32),
        text=text(fields[9], "text", MAX_REMARK_BYTES) if 9 in fields else None,
    )


def _feature(item: Any) -> Feature:
    publisher, feature = array(item, 2, "a feature")[:2]
    return Feature(uint(publisher, "publisher", MAX_PUBLISHER), uint(feature, "feature", MAX_UINT32))


def _feature_version(item: Any) -> FeatureVersion:
    publisher, feature, sequence = array(item, 3, "a feature")[:3]
    return FeatureVersion(
        uint(publisher, "publisher", MAX_PUBLISHER), uint(feature, "feature", MAX_UINT32), uint(sequence, "sequence", MAX_UINT32)
    )


def _grant(item: Any) -> tuple[int, int]:
    publisher, sequence = array(item, 2, "a grant")[:2]
    return uint(publisher, "publisher", MAX_PUBLISHER), uint(sequence, "sequence", MAX_UINT32)


def _entitlement_answer(header: Header, body: Any) -> EntitlementAnswer:
    publisher, feature, sequence, code = array(body, 4, "an answer")[:4]
    return EntitlementAnswer(
        header,
        uint(publisher, "publisher", MAX_PUBLISHER),
        uint(feature, "feature", MAX_UINT32),
        uint(sequence, "sequence", MAX_UINT32),
        uint(code, "code", MAX_UINT32),
    )


_DECODERS: dict[str, Callable[[Header, Any], Message]] = {
    "birth": _birth,
    "state": _state,
    "sync": _sync,
    "tele": _telemetry,
    "rsp": _response,
    "get": _block_request,
    "feat": _feature_report,
    "ent": _entitlement_answer,
    "event": _event,
    "voice": _voice,
}
