"""HMAC-SHA256 (RFC 2104, FIPS 198-1) on `hashlib`, which every board has in C; and a comparison in constant time."""

from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

_BLOCK = 64  # bytes of SHA-256's input block


def digest(key: bytes, *parts: "Buffer") -> bytes:
    """HMAC-SHA256 of `parts`, one after the other, under `key` (any length): 32 bytes."""
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    key = key + bytes(_BLOCK - len(key))
    inner = sha256(bytes([byte ^ 0x36 for byte in key]))
    for part in parts:
        inner.update(part)
    outer = sha256(bytes([byte ^ 0x5C for byte in key]))
    outer.update(inner.digest())
    return outer.digest()


def equal(one: "Buffer", other: "Buffer") -> bool:
    """Whether two tags are the same; of two of one length every byte is looked at, wherever they differ."""
    if len(one) != len(other):
        return False
    difference = 0
    for i in range(len(one)):
        difference |= one[i] ^ other[i]
    return difference == 0
