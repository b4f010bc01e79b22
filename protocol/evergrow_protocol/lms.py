"""HSS/LMS signature verification (RFC 8554) with SHA-256, n = m = 32; heights 5..25, Winternitz W1..W8.

Device side: verifies, never signs. Memory is constant (about 200 bytes beside the digests that `hashlib` hands back) whatever
the parameters, and every length and type is checked before the first hash.

Formats (all integers 32 bits, big endian):

    HSS public key  levels | LMS type | LM-OTS type | I (16) | root (32)                                           60 bytes
    HSS signature   levels - 1 | (LMS signature | LMS public key) for each level but the last | LMS signature
    LMS signature   leaf q | LM-OTS type | C (32) | y (32 for each chain) | LMS type | path (32 for each level of the tree)
"""

from hashlib import sha256

from .errors import MALFORMED, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    Buffer = bytes | bytearray | memoryview

PUBLIC_KEY_SIZE = 60
_MAX_LEVELS = 3
STEP_HASHES = 32  # hash calls between two yields: about 7 ms on a 62 MIPS Cortex-M3

_CHAINS = (265, 133, 67, 34)  # p of RFC 8554 table 1 for W1, W2, W4, W8
_CHECKSUM_SHIFT = (7, 6, 4, 0)  # ls of the same table


def verify(public: "Buffer", parts: "Iterable[Buffer]", signature: "Buffer") -> bool:
    """`verify_steps` run to its end without a pause; the same arguments, result and errors."""
    steps = verify_steps(public, parts, signature)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return bool(stop.value)


def verify_steps(public: "Buffer", parts: "Iterable[Buffer]", signature: "Buffer") -> "Generator[int, None, bool]":
    """Verify `signature` over the concatenated `parts` under the HSS key `public`, in steps (RFC 8554 sections 5.4.2 and 6.3).

    Yields the number of hash calls made so far, at least once in every STEP_HASHES calls and once at the end, so that
    the caller can let others run in between. Returns True, or False for a well formed signature that does not verify.
    Raises ProtocolError MALFORMED for lengths or types that no signature under this key can have.
    """
    calls = 0
    pairs = _split(public, signature)
    last = len(pairs) - 1
    for level, (key, one) in enumerate(pairs):
        message = parts if level == last else (pairs[level + 1][0],)
        calls, good = yield from _lms_steps(key, one, message, calls)
        if not good:
            return False
    return True


def _split(public: "Buffer", signature: "Buffer") -> "list[tuple[memoryview, memoryview]]":
    """-> [(LMS public key, LMS signature under it)], from the root down, as views with checked lengths and types."""
    key = memoryview(public)
    rest = memoryview(signature)
    if len(key) != PUBLIC_KEY_SIZE:
        raise ProtocolError(MALFORMED, "an HSS public key has 60 bytes")
    levels = _u32(key)
    if not 1 <= levels <= _MAX_LEVELS or len(rest) < 4 or _u32(rest) != levels - 1:
        raise ProtocolError(MALFORMED, f"HSS levels: key {levels}, limit {_MAX_LEVELS}, or the signature has others")
    key = key[4:]
    at = 4
    pairs: list[tuple[memoryview, memoryview]] = []
    while len(key) == 56:
        height = 5 * _u32(key) - 20
        ots_type = _u32(key[4:])
        if not (5 <= height <= 25 and 1 <= ots_type <= 4):
            raise ProtocolError(MALFORMED, "unknown LMS or LM-OTS type", at)
        path_at = 40 + 32 * _CHAINS[ots_type - 1]
        size = path_at + 4 + 32 * height
        one = rest[at : at + size]
        if len(one) != size or one[4:8] != key[4:8] or one[path_at : path_at + 4] != key[:4] or _u32(one) >> height:
            break
        pairs.append((key, one))
        at += size
        if len(pairs) == levels:
            if at == len(rest):
                return pairs
            break
        key = rest[at : at + 56]
        at += 56
    raise ProtocolError(MALFORMED, "LMS signature of a wrong length or type, or beyond its tree", at)


def _lms_steps(
    key: memoryview, sig: memoryview, parts: "Iterable[Buffer]", calls: int
) -> "Generator[int, None, tuple[int, bool]]":
    """One LMS signature of checked shape: RFC 8554 algorithms 4b and 6a. -> (calls, whether it leads to the key's root)."""
    ots_type = key[7]
    width = 1 << ots_type - 1
    top = (1 << width) - 1
    per_byte = 8 // width

    # I | q | i | j | value: the 55 bytes that every step of a chain hashes, updated in place
    block = bytearray(55)
    view = memoryview(block)
    value = view[23:]
    block[0:16] = key[8:24]
    block[16:20] = sig[0:4]

    hasher = sha256(view[:20])
    hasher.update(b"\x81\x81")
    hasher.update(sig[8:40])
    for part in parts:
        hasher.update(part)
    calls += 1
    yield calls
    digits = hasher.digest()
    checksum = 0
    for i in range(32 * per_byte):
        checksum += top - (digits[i // per_byte] >> 8 - width * (i % per_byte + 1) & top)
    digits += (checksum << _CHECKSUM_SHIFT[ots_type - 1]).to_bytes(2, "big")

    ends = sha256(view[:20])
    ends.update(b"\x80\x80")
    at = 40
    for i in range(_CHAINS[ots_type - 1]):
        block[20] = i >> 8
        block[21] = i & 255
        value[:] = sig[at : at + 32]
        at += 32
        for j in range(digits[i // per_byte] >> 8 - width * (i % per_byte + 1) & top, top):
            block[22] = j
            value[:] = sha256(block).digest()
            calls += 1
            if calls % STEP_HASHES == 0:
                yield calls
        ends.update(value)
    yield calls

    # The leaf, then up the path (25 nodes at most): I | node number | kind | children
    height = (key[3] - 4) * 5
    node = _u32(sig) + (1 << height)
    block[20] = block[21] = 0x82
    block[16:20] = node.to_bytes(4, "big")
    hasher = sha256(view[:22])
    hasher.update(ends.digest())
    block[20] = block[21] = 0x83
    at += 4
    while node > 1:
        digest = hasher.digest()
        sibling = sig[at : at + 32]
        at += 32
        block[16:20] = (node >> 1).to_bytes(4, "big")
        hasher = sha256(view[:22])
        hasher.update(sibling if node & 1 else digest)
        hasher.update(digest if node & 1 else sibling)
        node >>= 1
    calls += 2 + height  # the chains' ends, the leaf, the path
    yield calls
    return calls, hasher.digest() == bytes(key[24:56])


def _u32(buf: "Buffer") -> int:
    return int.from_bytes(buf[0:4], "big")
