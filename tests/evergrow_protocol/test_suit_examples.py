"""The drafts' example envelopes carry the signatures that they claim: ES256, by the key that the drafts print."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from evergrow_protocol import cose
from evergrow_protocol.cbor import dumps
from evergrow_protocol.suit_envelope import Envelope

sys.path.insert(0, str(Path(__file__).parents[1] / "portable"))

from suitexamples import EXAMPLES, TRUST_DOMAINS

# Printed at the head of appendix B of both drafts.
PUBLIC_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhJaBGq4LqqvSYVcYnuzaJr6qi/Ebbz/m4rVlnIXbwK07HypLbAmBMcCjbazR14vTgdzfsJwFLbM5kdtzOLSolg=="
)


def verify(envelope: Envelope, digest: bytes) -> None:
    """Raises InvalidSignature. ES256 (-7) and ESP256 (-9) are the same on this curve."""
    block = cose.Sign1(envelope.blocks[0])
    assert block.alg in (-7, -9)
    key: Any = load_der_public_key(base64.b64decode(PUBLIC_KEY))
    half = len(block.signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (block.signature[:half], block.signature[half:]))
    signed = dumps(["Signature1", bytes(block.protected), b"", dumps([-16, digest])])
    key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))


@pytest.mark.parametrize("text", [*EXAMPLES, *TRUST_DOMAINS], ids=[*map(str, range(6)), "process", "integrated"])
def test_the_examples_signatures_cover_the_encoded_digest_and_nothing_else(text: str) -> None:
    """EG-SUIT-001: what is hashed and what is signed are the draft's, wrapped as often as the draft says."""
    envelope = Envelope(bytes.fromhex(text))
    envelope.check_digest()
    verify(envelope, bytes(envelope.digest))
    with pytest.raises(InvalidSignature):
        verify(envelope, bytes(32))
