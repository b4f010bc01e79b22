"""Writes SUIT envelopes (draft-ietf-suit-manifest-37) for one component: what `evergrow_protocol.suit` reads."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from evergrow_protocol.cbor import Tag, dumps, loads
from evergrow_protocol.suit_envelope import ALG_SHA256, AUTHENTICATION, MANIFEST, TAG_ENVELOPE, Envelope
from evergrow_protocol.suit_manifest import INSTALL

# Commands and parameters, by their numbers in the draft.
CONDITION_VENDOR, CONDITION_CLASS, CONDITION_IMAGE_MATCH, OVERRIDE_PARAMETERS, FETCH = 1, 2, 3, 20, 21
VENDOR, CLASS, DIGEST, SIZE, URI = 1, 2, 3, 14, 21
REPORT_ALL = 15  # reporting policy: record success and failure, with system information
REPORT_FAILURE = 2


@dataclass(frozen=True)
class Image:
    """One component and the content it shall have. `uri`: '#name' inside the envelope or 'evergrow:N' beside it."""

    component: tuple[bytes, ...]
    content: bytes
    uri: str


def vendor_id(domain: str) -> bytes:
    """16 bytes: UUIDv5 of the vendor's domain in the DNS name space."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, domain).bytes


def class_id(domain: str, name: str) -> bytes:
    """16 bytes: UUIDv5 of the appliance class in its vendor's name space."""
    return uuid.uuid5(uuid.UUID(bytes=vendor_id(domain)), name).bytes


def build_manifest(image: Image, sequence: int, vendor: bytes, klass: bytes) -> bytes:
    """An encoded manifest that fetches `image` and checks it, on devices of this vendor and class alone."""
    identity = {VENDOR: vendor, CLASS: klass, DIGEST: encode_digest(image.content), SIZE: len(image.content)}
    shared = [OVERRIDE_PARAMETERS, identity, CONDITION_VENDOR, REPORT_ALL, CONDITION_CLASS, REPORT_ALL]
    install = [OVERRIDE_PARAMETERS, {URI: image.uri}, FETCH, REPORT_FAILURE, CONDITION_IMAGE_MATCH, REPORT_ALL]
    common = {2: [list(image.component)], 4: dumps(shared)}
    return dumps({1: 1, 2: sequence, 3: dumps(common), INSTALL: dumps(install)})


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
