"""Features that a device must refuse, made on purpose: for demonstrations, tests, and a publisher who wants to see the codes."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from evergrow_protocol.suit_envelope import Envelope
from evergrow_tools import keys, signing
from evergrow_tools.feature_build import INTEGRATED
from evergrow_tools.feature_files import Built


def tampered_manifest(built: Built) -> Built:
    """One bit of the signed manifest flipped: refused with code 14, before anything is fetched."""
    return replace(built, envelope=_flip(built.envelope, Envelope(built.envelope).manifest, -20))


def tampered_payload(built: Built) -> Built:
    """One bit of the body flipped, inside or beside the envelope: refused with code 14 once it is there."""
    if built.payloads:
        data = bytearray(built.payloads[1])
        data[len(data) // 2] ^= 1
        return replace(built, payloads={**built.payloads, 1: bytes(data)})
    body = Envelope(built.envelope).payloads[INTEGRATED]
    return replace(built, envelope=_flip(built.envelope, body, len(body) // 2))


def signed_by_a_stranger(unsigned: Built, prefix: str) -> Built:
    """Signed correctly, for the publisher's prefix, but with a key that no device has heard of: refused with code 10."""
    with TemporaryDirectory() as directory:
        stranger = keys.new_key(Path(directory), "stranger", 1, prefix, height=5)
        return replace(unsigned, envelope=signing.sign_envelope(unsigned.envelope, stranger))


def _flip(envelope: bytes, part: memoryview, at: int) -> bytes:
    data = bytearray(envelope)
    data[envelope.index(part) + at % len(part)] ^= 1
    return bytes(data)
