"""From a feature's source folder to what is pushed: an envelope file and, for a programme, its payload beside it.

    DIR/feature.toml   ->   NAME.suit      the SUIT envelope: manifest, signatures, and the body of an unlock inside
                            NAME.suit.1    the body of a programme, which devices pull in blocks as 'evergrow:1'
                            NAME.suit.2    a patch that makes it of an older body, for devices that have that one
                            NAME.suit.3, 4 the same of code as source; 1 and 2 are byte code then (see feature_code)

feature.toml, in names of the registry:

    [feature]                         [target]                          [unlock]             # kind = "unlock"
    id = 1002                         vendor = "evergrow.example"       drum_rpm = "1400 rpm"
    name = "spin-1400"                class = "washer"
    version = "1.0.0"                 registry_version = 1              [programme]          # kind = "programme"
    kind = "unlock"                                                     nominal_s = 7200     # see programme_toml
    prefix = "evergrow"                                                 [[programme.step]]
    sequence = 1                                                        ...

    [requires]                            # other publishers' features, and in which version at least
    "evergrow/spin-1400" = "1.2"

    [brings]                              # those that come inside the envelope, for devices that do not have them
    "evergrow/spin-1400" = "../spin-1400.suit"    # signed by its publisher; a path from this folder

`sequence` rises with every release; a device refuses a lower one. `prefix` is the publisher's, as in its key. With
`entitlement = "required"` in [feature] a device uses it only as long as it is entitled to (`evergrow entitle`). How it is tried,
and what it waits for (EG-FEAT-019 to 021), all as one likes:

    [trial]
    seconds = 3600             # that it must have been active, in one boot
    cycles = 3                 # that must have used it and ended without a fault
    consent = true             # a person must have agreed
    quiet_hours = true         # it is activated in quiet hours
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evergrow_agent.programme import Programme
from evergrow_protocol import feature as body_format
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.registry import Registry, RegistryError, load
from evergrow_protocol.suit_envelope import Envelope
from evergrow_protocol.suit_manifest import Manifest
from evergrow_tools import feature_code, mpy_order, patch, suit_build
from evergrow_tools.feature_files import Built, FeatureError
from evergrow_tools.feature_files import read as read_built
from evergrow_tools.programme_toml import ProgrammeSourceError, compile_programme

SOURCE = "feature.toml"
INTEGRATED = "#feature"
DETACHED = "evergrow:1"
_BODY, _PATCH = 1, 2  # payload numbers
_SOURCE_BODY, _SOURCE_PATCH = 3, 4
_BYTE_CODE, _SOURCE_SLOT = 6, 0  # EG-SUIT-006

_MAX_REQUIRED = 3  # a manifest has four components (EG-SUIT-002)

_KINDS = {"unlock": body_format.UNLOCK, "programme": body_format.PROGRAMME, "code": body_format.CODE}
_REQUIRED, _FREE = "required", "none"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_TABLES = {"feature", "target", "trial", "requires", "brings", "unlock", "programme", "code"}
_TRIAL = {"seconds": int, "cycles": int, "consent": bool, "quiet_hours": bool}
_KEYS = {
    "feature": {"id": int, "name": str, "version": str, "kind": str, "prefix": str, "sequence": int},
    "target": {"vendor": str, "class": str, "registry_version": int},
}

_OPTIONAL = ("feature", "entitlement")


def build(directory: Path, registry: Registry | None = None, older: Built | None = None) -> Built:
    """Compile DIR/feature.toml; the envelope is not signed yet. Raises FeatureError.

    `older`: a released version; devices that have it may fetch a patch instead of the body, if that is smaller.
    """
    path = directory / SOURCE
    table = read(path)
    try:
        return _compile(table, directory, registry or load(), older)
    except (FeatureError, ProgrammeSourceError, ProtocolError, RegistryError) as error:
        raise FeatureError(f"{path}: {error}") from None


def removal(directory: Path) -> Built:
    """A manifest that takes the feature of DIR/feature.toml out (EG-SUIT-005); not signed yet. Raises FeatureError."""
    path = directory / SOURCE
    table = read(path)
    try:
        head, target = _checked(table, "feature"), _checked(table, "target")
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from None
    component = (head["prefix"].encode(), head["name"].encode())
    vendor, klass = target["vendor"], target["class"]
    ids = (suit_build.vendor_id(vendor), suit_build.class_id(vendor, klass))
    manifest = suit_build.build_removal(component, head["sequence"], *ids)
    return Built(head["name"] + "-removal", suit_build.build_envelope(manifest, {}), {})


def read(path: Path) -> dict[str, Any]:
    """The tables of a feature.toml as they stand there. Raises FeatureError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FeatureError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FeatureError(f"{path} is not TOML: {error}") from None


def _compile(table: Mapping[str, Any], directory: Path, registry: Registry, older: Built | None) -> Built:
    unknown = sorted(set(table) - _TABLES)
    if unknown:
        raise FeatureError(f"unknown table [{unknown[0]}]; there are {', '.join(sorted(_TABLES))}")
    head = _checked(table, "feature")
    target = _checked(table, "target")
    kind = head["kind"]
    if kind not in _KINDS:
        raise FeatureError(f"kind {kind!r} is not one of {', '.join(_KINDS)}")
    for key in ("name", "prefix"):
        if not _NAME.fullmatch(head[key]):
            raise FeatureError(f"[feature] {key} {head[key]!r} must be 1..32 of a-z, 0-9 and '-'")
    if not 0 <= head["sequence"] < 1 << 32:
        raise FeatureError(f"[feature] sequence {head['sequence']} is outside 0..2^32-1")
    if set(table) & set(_KINDS) != {kind}:
        raise FeatureError(f"a feature of kind {kind} has a table [{kind}] and none of another kind")
    needs = registry.classes.by_name(target["class"])
    if not 1 <= target["registry_version"] <= registry.version:
        raise FeatureError(f"[target] registry_version {target['registry_version']} is outside 1..{registry.version}")
    body: dict[int, Any] = {0: _KINDS[kind], 1: head["id"], 2: head["name"], 3: head["version"]}
    requirements: dict[int, Any] = {6: [needs.id, target["registry_version"]]}
    entitlement = head.get("entitlement", _FREE)
    if entitlement not in (_FREE, _REQUIRED):
        raise FeatureError(f"[feature] entitlement {entitlement!r} is neither {_REQUIRED!r} nor {_FREE!r}")
    if entitlement == _REQUIRED:
        requirements[12] = 1
    requirements |= _trial(table.get("trial", {}))
    if kind == "unlock":
        body[4] = _unlocks(table["unlock"], target["class"], registry)
        forms = [_Form(_encode(body | requirements), None, _BODY, _PATCH)]
    elif kind == "programme":
        body[5] = _programme(table["programme"], head["id"], target["class"], registry)
        forms = [_Form(_encode(body | requirements), None, _BODY, _PATCH)]
    else:
        code = feature_code.compile_code(table["code"], directory, target["class"], registry)
        byte_code = _in_order(older, _component(head), head["sequence"], code.byte_code)
        body |= requirements | {10: loads(code.needs)}
        forms = [
            _Form(_encode(body | {11: byte_code}), _BYTE_CODE, _BODY, _PATCH),
            _Form(_encode(body | {11: code.source}), _SOURCE_SLOT, _SOURCE_BODY, _SOURCE_PATCH),
        ]
    requires = _required(table.get("requires", {}), head["prefix"])
    brings = _brought(table.get("brings", {}), head["prefix"], directory)
    if len(requires | brings) != len(requires) + len(brings) or len(requires) + len(brings) > _MAX_REQUIRED:
        raise FeatureError(f"[requires] and [brings] name {_MAX_REQUIRED} other features at most, each once")
    return _package(head, target, forms, older, requires, brings, integrated=kind == "unlock")


def _trial(table: Any) -> dict[int, Any]:
    """Keys 8 and 9 of a body."""
    if not isinstance(table, dict) or not all(key in _TRIAL and type(value) is _TRIAL[key] for key, value in table.items()):
        raise FeatureError("[trial] has seconds and cycles, whole numbers, and consent and quiet_hours, true or false")
    fields: dict[int, Any] = {}
    if "seconds" in table or "cycles" in table:
        fields[8] = [table.get("seconds", 0), table.get("cycles", 0)]
    if waits := table.get("consent", False) | table.get("quiet_hours", False) << 1:
        fields[9] = waits
    return fields


@dataclass(frozen=True)
class _Form:
    """A body as it is shipped; `number` and `patch`: of its payload, and of a patch that makes it."""

    body: bytes
    slot: int | None
    number: int
    patch: int


def _encode(body: Mapping[int, Any]) -> bytes:
    encoded = dumps(body)
    body_format.parse(encoded)
    return encoded


def _package(
    head: Mapping[str, Any],
    target: Mapping[str, Any],
    forms: Sequence[_Form],
    older: Built | None,
    requires: Mapping[tuple[bytes, ...], Sequence[int]],
    brings: Mapping[tuple[bytes, ...], bytes],
    *,
    integrated: bool,
) -> Built:
    component = _component(head)
    images = []
    for form in forms:
        patches: tuple[suit_build.Patch, ...] = ()
        if older is not None:
            old = _older_body(older, component, head["sequence"], form.number)
            data = patch.make(old, form.body)
            if not integrated and old != form.body and len(data) < len(form.body):
                patches = (suit_build.Patch(old, data, form.patch),)
        images.append(suit_build.Image(form.body, INTEGRATED if integrated else f"evergrow:{form.number}", form.slot, patches))
    vendor = suit_build.vendor_id(target["vendor"])
    klass = suit_build.class_id(target["vendor"], target["class"])
    manifest = suit_build.build_manifest(component, images, head["sequence"], vendor, klass, requires, brings)
    inside = {suit_build.brought_uri(other): data for other, data in brings.items()}
    envelope = suit_build.build_envelope(manifest, inside | ({INTEGRATED: forms[0].body} if integrated else {}))
    payloads = {} if integrated else {form.number: form.body for form in forms}
    return Built(head["name"], envelope, payloads | {one.number: one.data for image in images for one in image.patches})


def _component(head: Mapping[str, Any]) -> tuple[bytes, ...]:
    return head["prefix"].encode(), head["name"].encode()


def _in_order(older: Built | None, component: tuple[bytes, ...], sequence: int, byte_code: bytes) -> bytes:
    """Names and constants numbered as in the older version: a patch has half the size then."""
    if older is None:
        return byte_code
    old = body_format.parse(_older_body(older, component, sequence, _BODY)).code
    return byte_code if old is None else mpy_order.like(bytes(old), byte_code)


def _older_body(older: Built, component: tuple[bytes, ...], sequence: int, number: int) -> bytes:
    manifest = Manifest(Envelope(older.envelope))
    if manifest.components != (component,) or manifest.sequence >= sequence:
        raise FeatureError(f"{older.name} is no older version of this feature: a patch needs its component and a lower sequence")
    body = older.payloads.get(number) or bytes(Envelope(older.envelope).payloads.get(INTEGRATED, b""))
    if not body:
        raise FeatureError(f"{older.name} has lost its payload {number}: a patch is made from it")
    return body


def _required(table: Mapping[str, Any], prefix: str) -> dict[tuple[bytes, ...], list[int]]:
    """{component id of another publisher: least version}"""
    found = {}
    for name, version in table.items():
        parts = name.split("/")
        if len(parts) != 2 or not all(_NAME.fullmatch(part) for part in parts) or parts[0] == prefix:
            raise FeatureError(f"[requires] {name!r} is not PREFIX/NAME of another publisher's feature")
        if not isinstance(version, str) or not re.fullmatch(r"\d{1,9}(\.\d{1,9}){0,2}", version):
            raise FeatureError(f"[requires] {name} = {version!r} is not a version such as '1.2'")
        found[tuple(part.encode() for part in parts)] = [int(number) for number in version.split(".")]
    return found


def _brought(table: Mapping[str, Any], prefix: str, directory: Path) -> dict[tuple[bytes, ...], bytes]:
    """{component id of another publisher: its envelope}"""
    found: dict[tuple[bytes, ...], bytes] = {}
    for name, place in table.items():
        component = tuple(part.encode() for part in name.split("/"))
        if len(component) != 2 or component[0] == prefix.encode() or not isinstance(place, str):
            raise FeatureError(f"[brings] {name!r} = {place!r} is not PREFIX/NAME of another publisher's feature, and its .suit")
        built = read_built(directory / place)
        envelope = Envelope(built.envelope)
        if Manifest(envelope).components[0] != component:
            raise FeatureError(f"[brings] {place} is not {name}")
        if not envelope.blocks:
            raise FeatureError(f"[brings] {place} is not signed: its publisher does that before it is brought")
        if built.payloads:
            raise FeatureError(f"[brings] {place} has its content beside the envelope: only an unlock can be brought")
        found[component] = built.envelope
    return found


def _unlocks(table: Any, klass: str, registry: Registry) -> dict[int, int]:
    unlocks = {}
    for name, value in table.items():
        actuator = registry.actuators.by_name(name)
        maximum = actuator.parse(value) if isinstance(value, str) else value
        if klass not in actuator.classes:
            raise FeatureError(f"[unlock] a {klass} has no actuator {name}")
        if isinstance(maximum, bool) or not isinstance(maximum, int) or not (actuator.min or 0) <= maximum <= (actuator.max or 0):
            raise FeatureError(f"[unlock] {name} = {value!r} is outside {actuator.min}..{actuator.max} {actuator.unit}")
        unlocks[actuator.id] = maximum
    return unlocks


def _programme(table: Mapping[str, Any], feature_id: int, klass: str, registry: Registry) -> Any:
    encoded = compile_programme({"id": feature_id, **table}, registry)
    signals = {entry.id for entry in registry.signals if klass in entry.classes}
    actuators = {entry.id for entry in registry.actuators if klass in entry.classes}
    programme = Programme(encoded, signals, actuators)
    if programme.id < body_format.FIRST_ID:
        raise FeatureError(f"[programme] id {programme.id} is below {body_format.FIRST_ID}, the first of features")
    return loads(encoded)


def _checked(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    rows = table.get(name)
    wanted = _KEYS[name]
    if not isinstance(rows, dict):
        raise FeatureError(f"the table [{name}] is missing")
    for key in rows:
        if key not in wanted and (name, key) != _OPTIONAL:
            raise FeatureError(f"[{name}] unknown key {key!r}; there are {', '.join(wanted)}")
    for key, kind in wanted.items():
        if type(rows.get(key)) is not kind:
            raise FeatureError(f"[{name}] {key} is missing or not {'a whole number' if kind is int else 'text'}")
    return rows
