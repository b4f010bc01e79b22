"""A SUIT envelope in words: sizes, signatures, manifest and feature body. For people and `--json`; it verifies nothing."""

from collections.abc import Sequence
from typing import Any

from evergrow_protocol import cose, feature, feature_code
from evergrow_protocol.cbor import loads
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.registry import Registry, Table
from evergrow_protocol.suit_envelope import Envelope, parse_digest
from evergrow_protocol.suit_manifest import (
    INSTALL,
    INVOKE,
    LOAD,
    PAYLOAD_FETCH,
    RESOLUTION,
    UNINSTALL,
    VALIDATE,
    VERIFICATION,
    Manifest,
    removes,
)
from evergrow_tools import suit_ways
from evergrow_tools.feature_files import Built
from evergrow_tools.suit_ways import Way

_ENVELOPE = b"\xd8\x6b"  # tag 107

_SECTIONS = {
    RESOLUTION: "dependency-resolution",
    PAYLOAD_FETCH: "payload-fetch",
    VERIFICATION: "candidate-verification",
    INSTALL: "install",
    VALIDATE: "validate",
    LOAD: "load",
    INVOKE: "invoke",
    UNINSTALL: "uninstall",
}
_COMMANDS = {
    1: "condition-vendor-identifier",
    2: "condition-class-identifier",
    3: "condition-image-match",
    4: "condition-use-before",
    5: "condition-component-slot",
    7: "condition-dependency-integrity",
    8: "condition-is-dependency",
    11: "process-dependency",
    12: "set-component-index",
    14: "condition-abort",
    15: "try-each",
    18: "write",
    19: "set-parameters",
    20: "override-parameters",
    21: "fetch",
    22: "copy",
    23: "invoke",
    24: "condition-device-identifier",
    26: "condition-minimum-battery",
    27: "condition-update-authorized",
    28: "condition-version",
    32: "run-sequence",
    33: "unlink",
}
_PARAMETERS = {
    1: "vendor-id",
    2: "class-id",
    3: "image-digest",
    4: "use-before",
    5: "component-slot",
    12: "strict-order",
    13: "soft-failure",
    14: "image-size",
    18: "content",
    21: "uri",
    22: "source-component",
    23: "invoke-args",
    24: "device-id",
    26: "minimum-battery",
    27: "update-priority",
    28: "version",
}
_KINDS = {feature.UNLOCK: "unlock", feature.PROGRAMME: "programme", feature.CODE: "code"}
_ALGORITHMS = {cose.ALG_HSS_LMS: "HSS-LMS", -19: "Ed25519", -9: "ESP256", -8: "EdDSA", -7: "ES256"}


def describe(built: Built, registry: Registry) -> dict[str, Any]:
    """Everything of a built feature, as JSON knows it. Raises ProtocolError for what no device could read."""
    envelope = Envelope(built.envelope)
    manifest = Manifest(envelope)
    sections = {"shared": manifest.shared} | {name: manifest.sections.get(key) for key, name in _SECTIONS.items()}
    ways = _ways(manifest)
    return {
        "name": built.name,
        "bytes": {
            "envelope": len(built.envelope),
            "manifest": len(envelope.manifest),
            "signatures": sum(len(block) for block in envelope.blocks),
            "integrated": {name: len(data) for name, data in envelope.payloads.items()},
            "detached": {f"evergrow:{number}": len(data) for number, data in built.payloads.items()},
        },
        "digest": bytes(envelope.digest).hex(),
        "signatures": [_signature(block) for block in envelope.blocks],
        "sequence": manifest.sequence,
        "components": ["/".join(_segment(part) for part in component) for component in manifest.components],
        "dependencies": ["/".join(_segment(part) for part in manifest.components[index]) for index in manifest.dependencies],
        "removes": removes(manifest),
        "ways": [_way(way) for way in ways],
        "commands": {name: _sequence(bytes(data)) for name, data in sections.items() if data is not None},
        "features": [_feature(body, registry) for body in bodies(built)],
    }


def bodies(built: Built) -> list[bytes]:
    """The feature bodies of a built feature, in all their forms; not those of features that it brings. ProtocolError."""
    envelope = Envelope(built.envelope)
    patches = {way.number for way in _ways(Manifest(envelope)) if way.patch}
    detached = [data for number, data in built.payloads.items() if number not in patches]
    return [*(bytes(data) for data in envelope.payloads.values() if bytes(data[:2]) != _ENVELOPE), *detached]


def _ways(manifest: Manifest) -> list[Way]:
    try:
        return suit_ways.ways(manifest)
    except ProtocolError:
        return []  # no device could run it: `verify` says why


def _way(way: Way) -> dict[str, Any]:
    described: dict[str, Any] = {"uri": way.uri, "bytes": way.size}
    if way.slot is not None:
        described["form"] = f"byte code {way.slot}" if way.slot else "source"
    if way.patch:
        described["patch_bytes"] = way.patch
        described["on"] = f"sha-256 {(way.old or b'').hex()}"
    return described


def _signature(buf: memoryview) -> dict[str, Any]:
    try:
        block = cose.Sign1(buf)
    except ProtocolError as error:
        return {"unreadable": error.text, "bytes": len(buf)}
    return {
        "algorithm": _ALGORITHMS.get(block.alg or 0, str(block.alg)),
        "kid": None if block.kid is None else bytes(block.kid).hex(),
        "bytes": len(block.signature),
    }


def _sequence(buf: bytes) -> list[str]:
    flat = loads(buf)
    return [_command(flat[at], flat[at + 1]) for at in range(0, len(flat), 2)]


def _command(command: int, argument: Any) -> str:
    name = _COMMANDS.get(command, f"command {command}")
    if command in (19, 20):
        values = ", ".join(f"{_PARAMETERS.get(key, key)} = {_parameter(key, value)}" for key, value in argument.items())
        return f"{name}: {values}"
    if command == 15:
        return f"{name}: " + " | ".join("nothing" if part is None else "; ".join(_sequence(part)) for part in argument)
    if command == 32:
        return f"{name}: " + "; ".join(_sequence(argument))
    return f"{name}: {argument}" if command == 12 else name


def _parameter(key: int, value: Any) -> str:
    if key == 3:
        return f"sha-256 {bytes(parse_digest(value)).hex()}"
    return value.hex() if isinstance(value, bytes) else str(value)


def _feature(body: Sequence[int] | memoryview | bytes, registry: Registry) -> dict[str, Any]:
    try:
        parsed = feature.parse(bytes(body))
    except ProtocolError as error:
        return {"unreadable": error.text, "code": error.code}
    described: dict[str, Any] = {
        "id": parsed.id,
        "name": parsed.name,
        "version": parsed.version,
        "kind": _KINDS[parsed.kind],
        "class": registry.classes.name(parsed.class_id),
        "registry_version": parsed.registry_version,
    }
    if parsed.entitlement:
        described["entitlement"] = "required"
    if parsed.unlocks:
        described["unlocks"] = {
            registry.actuators.name(number): _maximum(number, value, registry) for number, value in parsed.unlocks.items()
        }
    if parsed.trial_s or parsed.trial_cycles:
        described["trial"] = {"seconds": parsed.trial_s, "cycles": parsed.trial_cycles}
    if parsed.consent or parsed.quiet:
        described["waits_for"] = [what for what, waits in (("consent", parsed.consent), ("quiet hours", parsed.quiet)) if waits]
    if parsed.programme is not None:
        programme = loads(parsed.programme)
        described["programme"] = {"id": programme[0], "steps": len(programme[1]), "bytes": len(parsed.programme)}
    if parsed.needs is not None and parsed.code is not None:
        described["code_bytes"] = len(parsed.code)
        described["rights"] = _rights(feature_code.parse(parsed.needs), registry)
    return described


def _rights(needs: feature_code.Needs, registry: Registry) -> dict[str, Any]:
    """What the code may do, in the order of what it can harm."""
    return {
        "drives": [_name(registry.actuators, number) for number in needs.actuators],
        "shortens_holds": needs.adjusts,
        "reads": [_name(registry.signals, number) for number in needs.signals],
        "meters": needs.meters,
        "events": needs.events,
        "settings": {str(number): f"{low}..{high}, {default}" for number, (low, high, default) in needs.settings.items()},
        "heap_bytes": needs.heap_bytes,
        "call_ms": needs.call_ms,
    }


def _name(table: Table, number: int) -> str:
    return table.name(number) if number in table else str(number)


def _maximum(actuator: int, value: int, registry: Registry) -> str:
    return registry.actuators.by_id(actuator).format(value) if actuator in registry.actuators else str(value)


def _segment(part: bytes) -> str:
    return part.decode() if part.isascii() and part.decode().isprintable() else part.hex()
