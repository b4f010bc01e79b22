"""A publisher for simulations and tests: it signs features without a key file, and the same input gives the same bytes.

HSS/LMS of one level, H5, W4 (RFC 8554), and SUIT envelopes. Portable, and needs none of the tools that real publishers use. Its
secrets follow from its name and it signs everything with leaf 0: a real signer must never sign twice with one leaf, since two
such signatures let anybody forge a third. Nothing outside a simulation may trust a key of this module.
"""

from hashlib import sha256

from evergrow_protocol import cose
from evergrow_protocol.cbor import Tag, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_CHAINS = 67
_LEAVES = 32
_TYPES = b"\0\0\0\1\0\0\0\5\0\0\0\3"  # one level, LMS_SHA256_M32_H5, LMOTS_SHA256_N32_W4


class Signer:
    """`key`: the public half, as a device's key ring holds it. Making one takes 32,000 hashes: make each once per process."""

    def __init__(self, name: str, prefix: bytes, publisher: int = 7) -> None:
        self._seed = sha256(name.encode()).digest()
        self._identifier = self._seed[:16]
        nodes = [b""] * (2 * _LEAVES)
        for leaf in range(_LEAVES):
            nodes[_LEAVES + leaf] = self._hash(_LEAVES + leaf, b"\x82\x82" + self._ends(leaf))
        for node in range(_LEAVES - 1, 0, -1):
            nodes[node] = self._hash(node, b"\x83\x83" + nodes[2 * node] + nodes[2 * node + 1])
        node = _LEAVES
        self._path = b""
        while node > 1:
            self._path += nodes[node ^ 1]
            node >>= 1
        self.key = cose.Key(name.encode(), cose.ALG_HSS_LMS, _TYPES + self._identifier + nodes[1], publisher, prefix)

    def sign(self, message: bytes) -> bytes:
        """-> an HSS signature."""
        digits = self._hash(0, b"\x81\x81" + bytes(32) + message)
        checksum = sum([30 - (byte >> 4) - (byte & 15) for byte in digits]) << 4
        digits += checksum.to_bytes(2, "big")
        signature = bytes(8) + _TYPES[8:] + bytes(32)
        for i in range(_CHAINS):
            signature += self._chain(0, i, digits[i // 2] >> (0 if i & 1 else 4) & 15)
        return signature + _TYPES[4:8] + self._path

    def block(
        self,
        payload: bytes,
        alg: "int | None" = None,
        kid: "bytes | None" = None,
        unprotected: "dict[Any, Any] | None" = None,
    ) -> bytes:
        """-> an encoded COSE_Sign1 over a detached `payload`. `alg` and `kid`: to lie about them."""
        header = dumps({1: self.key.alg if alg is None else alg, 4: self.key.kid if kid is None else kid})
        signature = self.sign(dumps(["Signature1", header, b"", payload]))
        return dumps(Tag(18, [header, unprotected or {}, None, signature]))

    def message(self, payload: bytes, alg: "int | None" = None, kid: "bytes | None" = None) -> bytes:
        """-> an encoded COSE_Sign1 with the payload inside, as a root signs grants; its id is the start of its key's digest."""
        kid = sha256(self.key.public).digest()[:8] if kid is None else kid
        header = dumps({1: self.key.alg if alg is None else alg, 4: kid})
        return dumps(Tag(18, [header, {}, payload, self.sign(dumps(["Signature1", header, b"", payload]))]))

    def envelope(
        self, manifest: bytes, members: "Mapping[Any, Any] | None" = None, blocks: "Sequence[bytes] | None" = None
    ) -> bytes:
        """-> a signed SUIT envelope around an encoded manifest; `members`: further ones, such as integrated payloads."""
        digest = dumps([-16, sha256(dumps(manifest)).digest()])
        content: "dict[Any, Any]" = dict(members or {})
        content[2] = dumps([digest] + list(blocks if blocks is not None else [self.block(digest)]))
        content[3] = manifest
        return dumps(Tag(107, content))

    def _hash(self, number: int, rest: bytes) -> bytes:
        return sha256(self._identifier + number.to_bytes(4, "big") + rest).digest()

    def _chain(self, leaf: int, i: int, steps: int) -> bytes:
        place = i.to_bytes(2, "big")
        value = self._hash(leaf, place + b"\xff" + self._seed)
        for j in range(steps):
            value = self._hash(leaf, place + bytes((j,)) + value)
        return value

    def _ends(self, leaf: int) -> bytes:
        return self._hash(leaf, b"\x80\x80" + b"".join([self._chain(leaf, i, 15) for i in range(_CHAINS)]))


def manifest(
    shared: "Sequence[Any] | None",
    sections: "Mapping[int, Sequence[Any]]",
    components: "Sequence[Any]" = ((b"acme", b"f"),),
    sequence: int = 1,
    members: "Mapping[Any, Any] | None" = None,
) -> bytes:
    """-> an encoded manifest; `shared` and each of `sections` {number: [...]} are flat lists of commands and arguments."""
    common: "dict[int, Any]" = {2: components}
    if shared is not None:
        common[4] = dumps(shared)
    items: "dict[Any, Any]" = {1: 1, 2: sequence, 3: dumps(common)}
    for number in sections:
        items[number] = dumps(sections[number])
    items.update(members or {})
    return dumps(items)


def feature_manifest(
    body: bytes, component: "Sequence[bytes]", vendor_id: bytes, class_id: bytes, sequence: int = 1, uri: str = "evergrow:1"
) -> bytes:
    """-> the manifest of one feature body for one kind of hardware, as the tools write it."""
    digest = dumps([-16, sha256(body).digest()])
    shared: "list[Any]" = [20, {1: vendor_id, 2: class_id, 3: digest, 14: len(body)}, 1, 15, 2, 15]
    sections: "dict[int, list[Any]]" = {20: [20, {21: uri}, 21, 2, 3, 15], 7: [3, 15]}
    return manifest(shared, sections, (list(component),), sequence)
