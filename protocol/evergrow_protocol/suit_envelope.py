"""SUIT envelope: what carries a manifest, who signed it, and the payloads that travel inside (draft-ietf-suit-manifest-37).

Only as much is parsed before the signature is verified as verifying takes: the outer map and the authentication wrapper.
Everything is kept as views of the one buffer that holds the envelope.

Errors are ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE and TOO_LARGE for what is no envelope, BAD_DIGEST when the
manifest is not the one whose digest was signed, NOT_AUTHORISED when no known key signed it, UNSUPPORTED for a negative key.
"""

from hashlib import sha256

from . import cose
from .cbor import TAG, Decoder
from .errors import BAD_DIGEST, MALFORMED, NOT_AUTHORISED, TOO_LARGE, UNSUPPORTED, ProtocolError
from .strict import elements, finish, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    Buffer = bytes | bytearray | memoryview

TAG_ENVELOPE = 107
AUTHENTICATION = 2
MANIFEST = 3
SEVERABLE = (15, 16, 18, 20, 23)  # dependency resolution, payload-fetch, candidate verification, install, text
ALG_SHA256 = -16

MAX_ENVELOPE = 16384  # EG-LIM-003; it is held in RAM as a whole, so that a board may well take less
_MAX_BLOCKS = 4  # each block by a known key costs a verification
MAX_PAYLOADS = 4
_MAX_NAME = 32


class Envelope:
    """A parsed, not yet verified envelope.

    `manifest`: view of the encoded manifest. `digest`: its SHA-256 as signed, 32 bytes. `severed`: {member: view of the
    byte string, head included}. `payloads`: {"#name": view}. `blocks`: views of the authentication blocks.
    """

    def __init__(self, buf: "Buffer") -> None:
        if len(buf) > MAX_ENVELOPE:
            raise ProtocolError(TOO_LARGE, f"envelope of {len(buf)} bytes, limit {MAX_ENVELOPE}")
        self.blocks: list[memoryview] = []
        self.severed: dict[int, memoryview] = {}
        self.payloads: dict[str, memoryview] = {}
        self._wrapped: memoryview | None = None  # the manifest with the head of its byte string: what the digest covers
        self._signed: memoryview | None = None  # the encoded digest array: the payload of every COSE block
        reader = open_strict(buf)
        if reader.peek() == TAG and reader.read_tag() != TAG_ENVELOPE:
            raise ProtocolError(MALFORMED, "not a SUIT envelope", 0)
        for key in reader.read_map():
            self._member(key, reader)
        finish(reader)
        if self._signed is None or self._wrapped is None:
            raise ProtocolError(MALFORMED, "an envelope needs a wrapper and a manifest")
        self.digest: memoryview = parse_digest(self._signed)
        self.manifest: memoryview = unwrap(self._wrapped)

    def _member(self, key: "int | str | bytes", reader: Decoder) -> None:
        if isinstance(key, str):
            if key[:1] != "#" or len(key) > _MAX_NAME or len(self.payloads) == MAX_PAYLOADS:
                raise ProtocolError(MALFORMED, "bad payload name, or too many payloads", reader.offset)
            self.payloads[key] = reader.read_bytes()
        elif key == AUTHENTICATION:
            self._wrapper(reader.read_bytes())
        elif key == MANIFEST or key in SEVERABLE:
            raw = reader.read_raw()
            if key == MANIFEST:
                self._wrapped = raw
            else:
                self.severed[key] = raw
        elif isinstance(key, int) and key > 0:
            reader.skip()  # unsigned and unknown to us, such as delegation chains: what needs it fails without it
        else:
            raise ProtocolError(UNSUPPORTED, f"envelope member {key!r}", reader.offset)

    def _wrapper(self, buf: memoryview) -> None:
        reader = open_strict(buf)
        count = elements(reader, 1, 1 + _MAX_BLOCKS)
        self._signed = reader.read_bytes()
        for _ in range(count - 1):
            self.blocks.append(reader.read_bytes())
        finish(reader)

    def check_digest(self) -> None:
        """Raises BAD_DIGEST unless the manifest is the one that was signed; says nothing about who signed."""
        assert self._wrapped is not None
        check_digest(self._wrapped, self.digest, "manifest")

    def verify_steps(self, keys: "Sequence[cose.Key]") -> "Generator[int, None, cose.Key]":
        """Find the key of `keys` that signed; yields hash counts as `lms.verify_steps` does. Returns the key.

        One good block is enough. Blocks of other kinds, algorithms or signers are passed over.
        """
        assert self._signed is not None
        self.check_digest()
        why = "no signature by a known key"
        for buf in self.blocks:
            if open_strict(buf).read_tag() != cose.TAG_SIGN1:
                continue
            block = cose.Sign1(buf)
            key = cose.find_key(keys, block.kid)
            if key is None:
                continue
            if block.alg != key.alg:
                why = "the algorithm is not the key's"
            elif (yield from cose.verify_steps(block, self._signed, key)):
                return key
            else:
                why = "the signature does not verify"
        raise ProtocolError(NOT_AUTHORISED, why)


def parse_digest(buf: "Buffer") -> memoryview:
    """The 32 bytes of an encoded SUIT_Digest: [-16, bstr]."""
    reader = open_strict(buf)
    elements(reader, 2, 2)
    algorithm = reader.read_int()
    if algorithm != ALG_SHA256:
        raise ProtocolError(UNSUPPORTED, f"digest algorithm {algorithm} is not SHA-256")
    digest = reader.read_bytes()
    if len(digest) != 32:
        raise ProtocolError(MALFORMED, f"SHA-256 digest of {len(digest)} bytes")
    finish(reader)
    return digest


def check_digest(data: "Buffer", digest: "Buffer", what: str) -> None:
    """Raises BAD_DIGEST unless SHA-256 of `data` is `digest`."""
    if sha256(data).digest() != bytes(digest):
        raise ProtocolError(BAD_DIGEST, f"the {what} is not what its digest says")


def unwrap(raw: "Buffer") -> memoryview:
    """The content of an encoded byte string."""
    return open_strict(raw).read_bytes()
