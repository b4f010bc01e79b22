"""What the tables hold, for people and for `--json`: plain dictionaries with the registry's names in them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from evergrow_cloud import events, offers, voices
from evergrow_cloud.devices import Device
from evergrow_cloud.entitlements import Issued
from evergrow_cloud.failures import Failure
from evergrow_cloud.messages import FeatureVersion, State
from evergrow_cloud.naming import Names
from evergrow_cloud.offers import Transfer
from evergrow_cloud.soundness import Soundness
from evergrow_cloud.usage import Record, Share
from evergrow_protocol import cose, grant
from evergrow_protocol import errors as codes
from evergrow_protocol.registry import FEATURE_IDS, Registry

OPERATIONS = ("idle", "running", "ending", "fault")
CODE_NAMES = {
    value: name.lower().replace("_", " ") for name, value in vars(codes).items() if name.isupper() and isinstance(value, int)
}


def device(row: Device, registry: Registry) -> dict[str, Any]:
    """`birth` and `state` are None before the first."""
    return {
        "device": row.name,
        "link": "online" if row.online else "offline",
        "first_seen": iso(row.first_seen_s),
        "last_seen": iso(row.last_seen_s),
        "birth": _birth(row, registry),
        "state": _state(row.state, registry),
        "rejected": row.rejected,
        "last_rejection": row.last_rejection,
        "conflicts": row.conflicts,
    }


def soundness(found: Soundness) -> dict[str, Any]:
    """`sound`: nothing is missing, broken or lost, and nothing came under the number of another record."""
    return {
        "sound": found.sound,
        "conflicts": found.conflicts,
        "missing": found.missing,
        "gaps": found.gaps,
        "missing_since": iso(found.since_s),
        "unchained": found.unchained,
        "device_damaged": found.damaged,
        "device_unread": found.unread,
        "device_lost": found.lost,
    }


def transfer(row: Transfer) -> dict[str, Any]:
    report = row.report
    return {
        "transfer": row.transfer,
        "open": row.open,
        "state": None if row.state is None else offers.STATE_NAMES.get(row.state, str(row.state)),
        "code": row.code,
        "code_name": None if row.code is None else code_name(row.code),
        "feature": None if report is None or report.feature is None else report.feature._asdict(),
        "bytes": report and report.bytes,
        "blocks": report and report.blocks,
        "ms": report and report.ms,
        "verify_ms": report and report.verify_ms,
        "hash_calls": report and report.hash_calls,
        "text": report and report.text,
        "created": iso(row.created_s),
        "updated": iso(row.updated_s),
    }


def failure(row: Failure) -> dict[str, Any]:
    named = {"publisher": row.publisher, "feature": row.feature, "sequence": row.sequence}
    return {**named, "code": row.code, "code_name": code_name(row.code), "text": row.text, "told": iso(row.utc_s)}


def record(row: Record, registry: Registry, names: Names) -> dict[str, Any]:
    usage = row.usage
    merged = usage.merged_cycles is not None
    programme = registry.programmes.name(usage.programme)
    if usage.programme >= FEATURE_IDS and usage.features:  # the first one is whose programme it was (section 6)
        programme = names.get(usage.features[0][:2], programme)
    return {
        "boot": usage.header.boot,
        "seq": usage.header.seq,
        "time": iso(row.utc_s),
        "time_source": row.time_source,
        "time_earliest": iso(row.bounds.earliest_s) if row.bounds else None,
        "time_latest": iso(row.bounds.latest_s) if row.bounds else None,
        "received": iso(row.received_s),
        "programme": None if merged else programme,
        "outcome": None if merged else registry.outcomes.name(usage.outcome),
        "cycles": usage.merged_cycles if merged else 1,
        "duration_s": usage.duration_s,
        "features": [{**feature._asdict(), "name": names.get(feature[:2])} for feature in usage.features],
        "uses": [use._asdict() for use in usage.uses],
        "unlisted": usage.unlisted or None,
        "energy_wh": usage.energy_wh,
        "water_ml": usage.water_ml,
        "temp_max_c": None if usage.temp_max is None else usage.temp_max / 10,
        "spin_max_rpm": usage.spin_max_rpm,
        "error": None if usage.error is None else registry.errors.name(usage.error),
        "meters": {registry.usage.name(meter): value for meter, value in usage.meters.items()},
        "payload_hex": usage.raw.hex(),
    }


def share(row: Share) -> dict[str, Any]:
    return {
        "publisher": row.publisher,
        "feature": row.feature,
        "cycles": row.cycles,
        "finished": row.finished,
        "energy_wh": row.energy_wh,
        "water_ml": row.water_ml,
        "trials": row.trials,
    }


def event(row: events.Record, registry: Registry) -> dict[str, Any]:
    message = row.event
    return {
        "boot": message.header.boot,
        "seq": message.header.seq,
        "time": iso(row.utc_s),
        "time_source": row.time_source,
        "event": registry.events.name(message.event),
        "what": events.WHAT_NAMES[message.what],
        "value": message.value,
        "feature": None if message.feature is None else message.feature._asdict(),
        "dropped": message.dropped,
    }


def saying(row: voices.Saying, registry: Registry) -> dict[str, Any]:
    voice = row.voice
    return {
        "device": row.device,
        "received": iso(row.received_s),
        "kind": voices.KIND_NAMES[voice.kind],
        "value": registry.wishes.name(voice.value) if voice.kind == voices.WISH else voice.value,
        "feature": None if voice.feature is None else voice.feature._asdict(),
        "usage": None if voice.usage is None else list(voice.usage),
        "text": row.text,
    }


def entitlement(row: Issued) -> dict[str, Any]:
    return {
        "publisher": row.publisher,
        "feature": row.feature,
        "sequence": row.sequence,
        "uses": row.uses,
        "expires": iso(row.expires_utc_s),
        "trial": row.trial,
        "tier": row.tier,
        "issued": iso(row.issued_s),
        "answer": None if row.code is None else code_name(row.code),
    }


def trusted(data: bytes, registry: Registry) -> dict[str, Any]:
    """What a signed grant or revocation list says, not verified. Raises ProtocolError for what is neither."""
    block = cose.Sign1(data, True)
    payload, signer = block.payload, bytes(block.kid or b"").hex()
    if grant.what(payload) == grant.REVOCATIONS:
        found = grant.parse_revocations(payload)
        return {
            "kind": "revocation list",
            "sequence": found.sequence,
            "signed_by": signer,
            "keys": [kid.hex() for kid in found.kids],
            "publishers": list(found.publishers),
            "features": [f"{row[0]}/{row[1]}:{row[2]}-{row[3]}" for row in found.features],
        }
    rights = grant.parse_grant(payload)
    return {
        "kind": "grant",
        "publisher": rights.publisher,
        "sequence": rights.sequence,
        "signed_by": signer,
        "key": rights.key.kid.hex(),
        "prefix": rights.key.prefix.decode(errors="replace"),
        "signals": [registry.signals.name(number) for number in rights.signals],
        "actuators": [registry.actuators.name(number) for number in rights.actuators],
        "meters": [registry.usage.name(number) for number in rights.meters],
        "flash_bytes": rights.flash_bytes,
        "heap_bytes": rights.heap_bytes,
        "not_before": iso(rights.not_before or None),
        "not_after": iso(rights.not_after),
    }


def code_name(code: int) -> str:
    """`11` -> "invalid state"."""
    return CODE_NAMES.get(code, f"code {code}")


def features(versions: Iterable[FeatureVersion]) -> str:
    """`publisher/feature` and the sequence number of each."""
    return ", ".join(f"{publisher}/{feature} #{sequence}" for publisher, feature, sequence in versions)


def iso(utc_s: int | None) -> str | None:
    """UTC in ISO 8601; None for None and for what no calendar holds (a device may claim any second)."""
    try:
        return None if utc_s is None else datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return None


def clean(value: object) -> str:
    """Text of a device for a terminal: without control characters, so that it cannot move the cursor or forge a line."""
    return "".join(char if char.isprintable() else "?" for char in str(value))


def _birth(row: Device, registry: Registry) -> dict[str, Any] | None:
    birth = row.birth
    if birth is None:
        return None
    return {
        "boot": birth.header.boot,
        "boot_is_random": birth.boot_is_random,
        "storage_fails": birth.storage_fails,
        "flash_is_new": birth.is_fresh,
        "rights_damaged": birth.rights_damaged,
        "registry_version": birth.registry_version,
        "class": registry.classes.name(birth.device_class),
        "model": birth.model,
        "firmware": birth.firmware,
        "interpreter": list(birth.interpreter),
        "features": [version._asdict() for version in birth.features],
        "max_packet_bytes": birth.max_packet_bytes,
        "block_bytes": birth.block_bytes,
        "heap_free_bytes": birth.heap_free_bytes,
        "grants": None if birth.grants is None else ", ".join(f"{publisher} #{sequence}" for publisher, sequence in birth.grants),
        "revocations": birth.revocations,
    }


def _state(state: State | None, registry: Registry) -> dict[str, Any] | None:
    if state is None or state.operation is None:
        return None
    known = state.operation < len(OPERATIONS)
    return {
        "operation": OPERATIONS[state.operation] if known else str(state.operation),
        "programme": registry.programmes.name(state.programme) if state.programme else None,
        "phase": None if state.phase is None else registry.phases.name(state.phase),
        "remaining_s": state.remaining_s,
        "remote_enable": state.remote_enable,
        "error": registry.errors.name(state.error) if state.error else None,
        "alarms": [registry.events.name(alarm) for alarm in state.alarms],
    }
