"""Signs and verifies SUIT envelopes as a publisher does: COSE_Sign1 with HSS-LMS over the manifest's digest."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from evergrow_protocol import cose, feature, suit
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.errors import BAD_DIGEST, MALFORMED, NOT_AUTHORISED, ProtocolError
from evergrow_protocol.suit_envelope import Envelope, check_digest
from evergrow_protocol.suit_manifest import Manifest, removes
from evergrow_tools import ed25519_keys, patch, suit_build, suit_ways
from evergrow_tools.ed25519_keys import Ed25519Key
from evergrow_tools.feature_files import Built
from evergrow_tools.keys import ALG_ED25519, PublicKey, SigningKey


@dataclass(frozen=True)
class Verified:
    """A verified envelope: its parts, the key that signed it, and what verifying took."""

    envelope: Envelope
    manifest: Manifest
    key: cose.Key
    hash_calls: int


def sign_envelope(envelope: bytes, key: SigningKey | Ed25519Key) -> bytes:
    """The envelope with a signature by `key` added; spends a leaf of a hash-based key.

    Raises ProtocolError for an envelope that cannot be signed as it is, KeyFileError.
    """
    payload = suit_build.signed_payload(envelope)
    suit.check_prefix(Manifest(Envelope(envelope)), cose_key(key.public))
    protected = dumps({1: key.public.alg, 4: key.public.kid})
    signature = key.sign(_structure(protected, payload))
    return suit_build.add_block(envelope, dumps(Tag(cose.TAG_SIGN1, [protected, {}, None, signature])))


def verify_second(envelope: bytes, key: PublicKey) -> None:
    """Raises ProtocolError NOT_AUTHORISED unless the envelope carries a good Ed25519 signature by `key`, and form errors."""
    payload = suit_build.signed_payload(envelope)
    parsed = Envelope(envelope)
    suit.check_prefix(Manifest(parsed), cose_key(key))
    for buf in parsed.blocks:
        block = cose.Sign1(buf)
        if block.kid is not None and bytes(block.kid) == key.kid and block.alg == key.alg == ALG_ED25519:
            if ed25519_keys.verify(key.public, _structure(bytes(block.protected), payload), bytes(block.signature)):
                return
            raise ProtocolError(NOT_AUTHORISED, f"the Ed25519 signature of {key.kid.hex()} does not verify")
    raise ProtocolError(NOT_AUTHORISED, f"no Ed25519 signature by {key.kid.hex()}")


def verify_envelope(envelope: bytes, keys: Iterable[PublicKey]) -> Verified:
    """What a device that trusts `keys` makes of an envelope. Raises ProtocolError with the code it would report."""
    steps = suit.open_steps(envelope, [cose_key(key) for key in keys])
    hash_calls = 0
    while True:
        try:
            hash_calls = next(steps)
        except StopIteration as stop:
            parsed, manifest, key = stop.value
            return Verified(parsed, manifest, key, hash_calls)


def check_content(built: Built, verified: Verified, older: Built | None = None) -> None:
    """Hold a feature's payloads against its manifest as devices of the right vendor and class do, whatever they have installed.

    What a patch makes is only known with the `older` version that it is for. Raises ProtocolError with a device's code.
    """
    found = suit_ways.ways(verified.manifest)
    if removes(verified.manifest):
        return
    if not found:
        raise ProtocolError(MALFORMED, "the manifest installs nothing")
    for way in found:
        data = built.payloads.get(way.number) if way.number else verified.envelope.payloads.get(way.uri)
        if data is None or way.digest is None or len(data) != (way.patch or way.size):
            raise ProtocolError(BAD_DIGEST, f"payload {way.uri} is missing or not of {way.patch or way.size} bytes")
        body = bytes(data)
        if way.patch:
            old = _installed(older, way.old)
            if old is None:
                continue
            body = patch.apply(old, body, way.size or 0)
        check_digest(body, way.digest, f"payload {way.uri}")
        feature.parse(body)


def _installed(older: Built | None, digest: bytes | None) -> bytes | None:
    """The content with this digest, of an older version."""
    if older is not None:
        for data in (*older.payloads.values(), *Envelope(older.envelope).payloads.values()):
            content = bytes(data)
            if sha256(content).digest() == digest:
                return content
    return None


def _structure(protected: bytes, payload: bytes) -> bytes:
    """What a COSE_Sign1 signs (RFC 9052 section 4.4)."""
    return dumps(["Signature1", protected, b"", payload])


def cose_key(key: PublicKey) -> cose.Key:
    """The key as a device holds it."""
    return cose.Key(key.kid, key.alg, key.public, key.publisher, key.prefix.encode())
