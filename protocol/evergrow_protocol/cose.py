"""COSE_Sign1 (RFC 9052 sections 4.2 and 4.4), signed with HSS-LMS (RFC 8778).

The algorithm belongs to the key: a header that names another one is refused, and nothing is chosen by what a message says.
The key id may stand in either header. It only picks the key to try, and what counts is that the signature verifies under
that key; so an altered one can do no more than make the block fail.
"""

from . import lms
from .cbor import OTHER, TAG, TEXT, Decoder
from .errors import MALFORMED, NOT_AUTHORISED, UNSUPPORTED, ProtocolError
from .strict import elements, finish, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    Buffer = bytes | bytearray | memoryview

ALG_HSS_LMS = -46
TAG_SIGN1 = 18

_ALG = 1
_CRIT = 2
_KID = 4


class Key:
    """A key this device trusts, and what it is trusted for.

    `kid`: bytes, names the key in a header. `alg`: the one COSE algorithm it may be used with. `public`: bytes, for HSS-LMS
    the 60-byte HSS public key. `publisher`: the publisher's number in usage records. `prefix`: bytes, the first segment of
    every component id this publisher may install.
    """

    def __init__(self, kid: bytes, alg: int, public: bytes, publisher: int, prefix: bytes) -> None:
        self.kid = kid
        self.alg = alg
        self.public = public
        self.publisher = publisher
        self.prefix = prefix


class Sign1:
    """A parsed COSE_Sign1_Tagged (or untagged). `protected`, `kid`, `payload` and `signature` are views of the input; `alg` is
    the protected header's; `alg` and `kid` are None when absent. The payload is detached, and then empty, or to be `attached`.

    Raises ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE, or UNSUPPORTED for a critical header or a payload that must
    be detached.
    """

    def __init__(self, buf: "Buffer", attached: bool = False) -> None:
        self.alg: int | None = None
        self.kid: memoryview | None = None
        self._labels: list[object] = []
        reader = open_strict(buf)
        if reader.peek() == TAG and reader.read_tag() != TAG_SIGN1:
            raise ProtocolError(MALFORMED, "not a COSE_Sign1", 0)
        elements(reader, 4, 4)
        self.protected = reader.read_bytes()
        if len(self.protected):
            header = open_strict(self.protected)
            self._header(header, True)
            finish(header)
        self._header(reader, False)
        self.payload = memoryview(b"")
        if attached:
            self.payload = reader.read_bytes()
        elif reader.peek() != OTHER or reader.decode() is not None:
            raise ProtocolError(UNSUPPORTED, "the payload must be detached", reader.offset)
        self.signature = reader.read_bytes()
        finish(reader)

    def _header(self, reader: Decoder, protected: bool) -> None:
        for label in reader.read_map():
            if label in self._labels:  # RFC 9052 section 3: in one bucket only
                raise ProtocolError(MALFORMED, f"header {label!r} twice", reader.offset)
            self._labels.append(label)
            if label == _ALG and protected:
                if reader.peek() == TEXT:
                    reader.skip()  # a private algorithm: none of ours
                else:
                    self.alg = reader.read_int()
            elif label == _KID:
                self.kid = reader.read_bytes()
            elif label == _CRIT:
                raise ProtocolError(UNSUPPORTED, "critical headers", reader.offset)
            else:
                reader.skip()


def find_key(keys: "Iterable[Key]", kid: "Buffer | None") -> "Key | None":
    """The key with this id, or None."""
    for key in keys:
        if kid is not None and key.kid == bytes(kid):
            return key
    return None


def verify_steps(block: Sign1, payload: "Buffer", key: Key) -> "Generator[int, None, bool]":
    """Verify `block` over the detached `payload` under `key`; yields as `lms.verify_steps` does and returns its result.

    Raises ProtocolError: NOT_AUTHORISED when the header's algorithm is not the key's, MALFORMED for an impossible signature.
    """
    if block.alg != key.alg or key.alg != ALG_HSS_LMS:
        raise ProtocolError(NOT_AUTHORISED, "the algorithm is not the key's")
    # Sig_structure: ["Signature1", protected, external_aad, payload]
    parts = (b"\x84\x6aSignature1", head(block.protected), block.protected, b"\x40", head(payload), payload)
    return (yield from lms.verify_steps(key.public, parts, block.signature))


def head(content: "Buffer") -> bytes:
    """Head of an encoded byte string with this content, below 64 KB."""
    size = len(content)
    if size < 24:
        return bytes((0x40 | size,))
    if size < 256:
        return bytes((0x58, size))
    return bytes((0x59, size >> 8, size & 255))
