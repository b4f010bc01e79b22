"""The peer that LMS is measured beside does what it claims: else the comparison would be with something faster than Ed25519."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from evergrow_tools import bench_ed25519


@given(data=st.binary(max_size=300))
def test_sha512_is_that_of_hashlib(data: bytes) -> None:
    assert bench_ed25519.sha512(data) == hashlib.sha512(data).digest()


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=100), at=st.integers(0, 63))
def test_ed25519_verifies_what_was_signed_and_nothing_near_it(seed: bytes, message: bytes, at: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert bench_ed25519.verify(public, message, signature)
    assert not bench_ed25519.verify(public, message + b"!", signature)
    assert not bench_ed25519.verify(public, message, signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :])
