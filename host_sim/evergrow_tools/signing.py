"""Signs and verifies SUIT envelopes as a publisher does: COSE_Sign1 with HSS-LMS over the manifest's digest."""

from collections.abc import Iterable
from dataclasses import dataclass

from evergrow_protocol import cose, feature, suit
from evergrow_protocol.cbor import Tag, dumps, loads
from evergrow_protocol.errors import BAD_DIGEST, ProtocolError
from evergrow_protocol.suit_envelope import Envelope, check_digest
from evergrow_protocol.suit_manifest import INSTALL, PAYLOAD_FETCH, Manifest
from evergrow_tools import suit_build
from evergrow_tools.feature_files import Built
from evergrow_tools.keys import PublicKey, SigningKey


@dataclass(frozen=True)
class Verified:
    """A verified envelope: its parts, the key that signed it, and what verifying took."""

    envelope: Envelope
    manifest: Manifest
    key: cose.Key
    hash_calls: int


def sign_envelope(envelope: bytes, key: SigningKey) -> bytes:
    """The envelope with a signature by `key` added; spends one of the key's leaves.

    Raises ProtocolError for an envelope that cannot be signed as it is, KeyFileError.
    """
    payload = suit_build.signed_payload(envelope)
    suit.check_prefix(Manifest(Envelope(envelope)), cose_key(key.public))
    protected = dumps({1: key.public.alg, 4: key.public.kid})
    signature = key.sign(dumps(["Signature1", protected, b"", payload]))
    return suit_build.add_block(envelope, dumps(Tag(cose.TAG_SIGN1, [protected, {}, None, signature])))


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


def check_content(built: Built, verified: Verified) -> None:
    """Hold a feature's payloads against its manifest as a device of the right vendor and class does when it installs.

    Raises ProtocolError with the code the device would report.
    """
    processor = suit.Processor(verified.manifest, *_target(verified.manifest))
    for section in (PAYLOAD_FETCH, INSTALL):
        for action in processor.run(section):
            if action.uri is None or action.digest is None:
                continue
            number = suit.payload_number(action.uri)
            body = built.payloads.get(number) if number else verified.envelope.payloads.get(action.uri)
            if body is None or len(body) != action.size:
                raise ProtocolError(BAD_DIGEST, f"payload {action.uri} is missing or not of {action.size} bytes")
            check_digest(body, action.digest, f"payload {action.uri}")
            feature.parse(body)


def _target(manifest: Manifest) -> tuple[bytes, bytes]:
    """The vendor and class ids that the shared sequence asks for."""
    wanted: dict[int, bytes] = {}
    flat = loads(manifest.shared or b"\x80")
    for command, argument in zip(flat[::2], flat[1::2], strict=True):
        if command == suit_build.OVERRIDE_PARAMETERS:
            wanted.update(argument)
    return wanted.get(suit_build.VENDOR, b""), wanted.get(suit_build.CLASS, b"")


def cose_key(key: PublicKey) -> cose.Key:
    """The key as a device holds it."""
    return cose.Key(key.kid, key.alg, key.public, key.publisher, key.prefix.encode())
