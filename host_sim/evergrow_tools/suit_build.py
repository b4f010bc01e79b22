"""Writes SUIT envelopes (draft-ietf-suit-manifest-37) for one component: what `evergrow_protocol.suit` reads.

A component's content may come in several forms, such as byte code and source, and each form whole or as a patch on an older
content. Then the manifest tries one after the other: patches of a form stand before the whole, forms in the order given.
"""

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from evergrow_protocol.cbor import Tag, dumps, loads
from evergrow_protocol.suit_envelope import ALG_SHA256, AUTHENTICATION, MANIFEST, TAG_ENVELOPE, Envelope
from evergrow_protocol.suit_manifest import INSTALL, UNINSTALL

# Commands and parameters, by their numbers in the draft.
CONDITION_VENDOR, CONDITION_CLASS, CONDITION_IMAGE_MATCH, CONDITION_SLOT, CONDITION_VERSION = 1, 2, 3, 5, 28
PROCESS_DEPENDENCY, SET_INDEX, TRY_EACH, OVERRIDE_PARAMETERS, FETCH, UNLINK = 11, 12, 15, 20, 21, 33
CONDITION_DEPENDENCY_INTEGRITY = 7
VENDOR, CLASS, DIGEST, SLOT, SIZE, URI, VERSION = 1, 2, 3, 5, 14, 21, 28
_AT_LEAST = 2  # suit-condition-version-comparison-greater-equal
REPORT_ALL = 15  # reporting policy: record success and failure, with system information
REPORT_FAILURE = 2
REPORT_NOTHING = 0


@dataclass(frozen=True)
class Patch:
    """What makes a content of the `old` one. `number`: the N of 'evergrow:N'; `data`: see `patch.make`."""

    old: bytes
    data: bytes
    number: int

    @property
    def uri(self) -> str:
        return f"evergrow:{self.number}?patch={len(self.data)}"


@dataclass(frozen=True)
class Image:
    """A content the component may have. `uri`: '#name' inside the envelope or 'evergrow:N' beside it. `slot`: the form that it is
    in, None where there is but one (EG-SUIT-006)."""

    content: bytes
    uri: str
    slot: int | None = None
    patches: tuple[Patch, ...] = ()


def vendor_id(domain: str) -> bytes:
    """16 bytes: UUIDv5 of the vendor's domain in the DNS name space."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, domain).bytes


def class_id(domain: str, name: str) -> bytes:
    """16 bytes: UUIDv5 of the appliance class in its vendor's name space."""
    return uuid.uuid5(uuid.UUID(bytes=vendor_id(domain)), name).bytes


def build_manifest(
    component: Sequence[bytes],
    images: Sequence[Image],
    sequence: int,
    vendor: bytes,
    klass: bytes,
    requires: Mapping[tuple[bytes, ...], Sequence[int]] | None = None,
    brings: Mapping[tuple[bytes, ...], bytes] | None = None,
) -> bytes:
    """An encoded manifest that gives the component the first of `images` that fits, on devices of this vendor and class alone.

    `requires`: components of others, each of which must be installed in at least this version (EG-SUIT-009). `brings`: envelopes
    of components of others, which come with it where they are not installed (EG-SUIT-004); their place is `brought_uri`.
    """
    identity: dict[int, Any] = {VENDOR: vendor, CLASS: klass}
    shared = _identified(identity)
    for index, version in enumerate((requires or {}).values(), 1):
        shared += [
            SET_INDEX,
            index,
            OVERRIDE_PARAMETERS,
            {VERSION: dumps([_AT_LEAST, list(version)])},
            CONDITION_VERSION,
            REPORT_ALL,
        ]
    ways = [way for image in images for way in _ways(image)]
    if len(ways) == 1 and images[0].slot is None:
        identity.update({DIGEST: encode_digest(images[0].content), SIZE: len(images[0].content)})
        install = _fetch({URI: images[0].uri})
    else:
        install = [TRY_EACH, [dumps(way) for way in ways]]
    others = [*(requires or {}), *(brings or {})]
    for other, envelope in (brings or {}).items():
        named = {DIGEST: dumps([ALG_SHA256, bytes(Envelope(envelope).digest)]), URI: brought_uri(other)}
        install += [SET_INDEX, others.index(other) + 1, OVERRIDE_PARAMETERS, named, FETCH, REPORT_FAILURE]
        install += [CONDITION_DEPENDENCY_INTEGRITY, REPORT_ALL, PROCESS_DEPENDENCY, REPORT_NOTHING]
    common: dict[int, Any] = {2: [list(component)], 4: dumps(shared)}
    if others:
        common[1] = {index: {1: list(other)} for index, other in enumerate(others, 1)}
    uninstall = [UNLINK, REPORT_FAILURE]
    return dumps({1: 1, 2: sequence, 3: dumps(common), INSTALL: dumps(install), UNINSTALL: dumps(uninstall)})


def brought_uri(component: Sequence[bytes]) -> str:
    """Where an envelope has that of another component, on which it depends."""
    return "#" + "/".join(part.decode() for part in component)


def build_removal(component: Sequence[bytes], sequence: int, vendor: bytes, klass: bytes) -> bytes:
    """An encoded manifest that takes the component out (EG-SUIT-005)."""
    common = {2: [list(component)], 4: dumps(_identified({VENDOR: vendor, CLASS: klass}))}
    return dumps({1: 1, 2: sequence, 3: dumps(common), UNINSTALL: dumps([UNLINK, REPORT_FAILURE])})


def _identified(identity: dict[int, Any]) -> list[Any]:
    return [OVERRIDE_PARAMETERS, identity, CONDITION_VENDOR, REPORT_ALL, CONDITION_CLASS, REPORT_ALL]


def _ways(image: Image) -> Iterator[list[Any]]:
    """The command sequences that lead to an image, the shortest download first."""
    form = [] if image.slot is None else [OVERRIDE_PARAMETERS, {SLOT: image.slot}, CONDITION_SLOT, REPORT_NOTHING]
    result = {DIGEST: encode_digest(image.content), SIZE: len(image.content)}
    for patch in image.patches:
        old = {DIGEST: encode_digest(patch.old), SIZE: len(patch.old)}
        installed = [OVERRIDE_PARAMETERS, old, CONDITION_IMAGE_MATCH, REPORT_NOTHING]
        yield [*form, *installed, *_fetch({**result, URI: patch.uri})]
    yield [*form, *_fetch({**result, URI: image.uri})]


def _fetch(parameters: dict[int, Any]) -> list[Any]:
    return [OVERRIDE_PARAMETERS, parameters, FETCH, REPORT_FAILURE, CONDITION_IMAGE_MATCH, REPORT_ALL]


def build_envelope(manifest: bytes, integrated: Mapping[str, bytes]) -> bytes:
    """An envelope without signatures; `integrated` payloads by their '#name'."""
    members: dict[int | str, bytes] = {MANIFEST: manifest}
    members.update(integrated)
    return _envelope([encode_digest(dumps(manifest))], members)


def add_block(envelope: bytes, block: bytes) -> bytes:
    """The envelope with one more authentication block. Raises ProtocolError for what is no envelope."""
    members = _members(envelope)
    return _envelope([*loads(members[AUTHENTICATION]), block], members)


def signed_payload(envelope: bytes) -> bytes:
    """What a COSE block of this envelope signs: its encoded digest array. Raises ProtocolError, also for a wrong digest."""
    Envelope(envelope).check_digest()
    wrapper: Sequence[bytes] = loads(_members(envelope)[AUTHENTICATION])
    return wrapper[0]


def encode_digest(content: bytes) -> bytes:
    """A SUIT_Digest of `content`, encoded."""
    return dumps([ALG_SHA256, hashlib.sha256(content).digest()])


def _members(envelope: bytes) -> dict[int | str, bytes]:
    Envelope(envelope)  # refuses what is none
    value = loads(envelope)
    return cast(dict[int | str, bytes], value.value if isinstance(value, Tag) else value)


def _envelope(wrapper: list[bytes], members: Mapping[int | str, bytes]) -> bytes:
    return dumps(Tag(TAG_ENVELOPE, {**members, AUTHENTICATION: dumps(wrapper)}))
