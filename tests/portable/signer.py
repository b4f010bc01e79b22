"""A publisher small enough to live in a test, on either interpreter: HSS/LMS of one level, H5, W4, and SUIT envelopes.

Its secrets are constants and it signs everything with leaf 0, which no real signer may do.
"""

from hashlib import sha256

from evergrow_protocol import cose
from evergrow_protocol.cbor import Tag, dumps

_CHAINS = 67


class Signer:
    def __init__(self, name, prefix, publisher=7):
        self._seed = sha256(name.encode()).digest()
        self._identifier = self._seed[:16]
        nodes = [b""] * 64
        for leaf in range(32):
            nodes[32 + leaf] = self._hash(32 + leaf, b"\x82\x82" + self._ends(leaf))
        for node in range(31, 0, -1):
            nodes[node] = self._hash(node, b"\x83\x83" + nodes[2 * node] + nodes[2 * node + 1])
        node = 32
        self._path = b""
        while node > 1:
            self._path += nodes[node ^ 1]
            node >>= 1
        public = b"\0\0\0\1\0\0\0\5\0\0\0\3" + self._identifier + nodes[1]
        self.key = cose.Key(name.encode(), cose.ALG_HSS_LMS, public, publisher, prefix)

    def _hash(self, number, rest):
        return sha256(self._identifier + number.to_bytes(4, "big") + rest).digest()

    def _chain(self, leaf, i, steps):
        place = i.to_bytes(2, "big")
        value = self._hash(leaf, place + b"\xff" + self._seed)
        for j in range(steps):
            value = self._hash(leaf, place + bytes((j,)) + value)
        return value

    def _ends(self, leaf):
        return self._hash(leaf, b"\x80\x80" + b"".join([self._chain(leaf, i, 15) for i in range(_CHAINS)]))

    def sign(self, message):
        """-> an HSS signature."""
        digits = self._hash(0, b"\x81\x81" + bytes(32) + message)
        checksum = sum([30 - (byte >> 4) - (byte & 15) for byte in digits]) << 4
        digits += checksum.to_bytes(2, "big")
        signature = bytes(8) + b"\0\0\0\3" + bytes(32)
        for i in range(_CHAINS):
            signature += self._chain(0, i, digits[i // 2] >> (0 if i & 1 else 4) & 15)
        return signature + b"\0\0\0\5" + self._path

    def block(self, payload, alg=None, kid=None, unprotected=None):
        """-> an encoded COSE_Sign1 over a detached `payload`."""
        header = dumps({1: self.key.alg if alg is None else alg, 4: self.key.kid if kid is None else kid})
        signature = self.sign(dumps(["Signature1", header, b"", payload]))
        return dumps(Tag(18, [header, unprotected or {}, None, signature]))

    def envelope(self, manifest, members=None, blocks=None):
        """-> a signed SUIT envelope around an encoded manifest; `members`: further ones, such as integrated payloads."""
        digest = dumps([-16, sha256(dumps(manifest)).digest()])
        if blocks is None:
            blocks = [self.block(digest)]
        members = dict(members or {})
        members[2] = dumps([digest] + blocks)
        members[3] = manifest
        return dumps(Tag(107, members))


def manifest(shared, sections, components=((b"acme", b"f"),), sequence=1, members=None):
    """-> an encoded manifest; `shared` and each of `sections` {number: [...]} are flat lists of commands and arguments."""
    common = {2: components}
    if shared is not None:
        common[4] = dumps(shared)
    items = {1: 1, 2: sequence, 3: dumps(common)}
    for number in sections:
        items[number] = dumps(sections[number])
    items.update(members or {})
    return dumps(items)
