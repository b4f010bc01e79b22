"""Entitlements: a CWT (RFC 8392) in a COSE_Mac0 (RFC 9052 section 6.2) with HMAC 256/256 (SPEC section 13).

Errors are ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE, OUT_OF_RANGE, TOO_LARGE; UNSUPPORTED for critical headers;
NOT_AUTHORISED for a tag that is not right under the key, another algorithm, or another subject.
"""

from . import hmac
from .cbor import TAG, Decoder
from .cose import head
from .errors import MALFORMED, NOT_AUTHORISED, TOO_LARGE, UNSUPPORTED, ProtocolError
from .messages import ENTITLEMENT_MAX
from .strict import elements, finish, integer, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

TAG_MAC0 = 17
ALG_HMAC_256 = 5  # HMAC 256/256, RFC 9053 section 3.1
_ALG = 1
_CRIT = 2

# Claims (RFC 8392 section 4); the last is ours, from the range for private use.
_SUBJECT = 2
_EXPIRES = 4
_NOT_BEFORE = 5
_ISSUED = 6
_GROWTH = -65537

UNLIMITED = -1
_MAX_UINT = 0xFFFFFFFF
_MAX_SUBJECT = 65  # tenant/device


class Entitlement:
    """What a device may use.

    `subject`: "tenant/device"; `publisher`, `feature`, `sequence`; `first`, `last`: sequence numbers of the feature; `uses`:
    how many, or UNLIMITED; `expires`: UTC seconds or None; `not_before`, `issued`: UTC seconds; `grace_s`; `trial`; `tier`;
    `sets_time`: whether it is `issued` now, whatever the device has seen.
    """

    def __init__(self) -> None:
        self.subject = ""
        self.publisher = 0
        self.feature = 0
        self.sequence = -1
        self.first = 0
        self.last = _MAX_UINT
        self.uses = UNLIMITED
        self.expires: int | None = None
        self.not_before = 0
        self.issued = 0
        self.grace_s = 0
        self.trial = False
        self.tier = 0
        self.sets_time = False


def authentic(buf: "Buffer", key: bytes) -> memoryview:
    """The claims of a token whose tag is right under `key`: a view of `buf`."""
    if len(buf) > ENTITLEMENT_MAX:
        raise ProtocolError(TOO_LARGE, f"entitlement of {len(buf)} bytes, limit {ENTITLEMENT_MAX}")
    reader = open_strict(buf)
    if reader.peek() == TAG and reader.read_tag() != TAG_MAC0:
        raise ProtocolError(MALFORMED, "not a COSE_Mac0", 0)
    elements(reader, 4, 4)
    protected = reader.read_bytes()
    header = open_strict(protected)
    algorithm = 0
    for label in header.read_map():
        if label == _ALG:
            algorithm = header.read_int()
        elif label == _CRIT:
            raise ProtocolError(UNSUPPORTED, "critical headers")
        else:
            header.skip()
    finish(header)
    for label in reader.read_map():
        if label in (_ALG, _CRIT):
            raise ProtocolError(UNSUPPORTED, f"header {label} without protection")
        reader.skip()
    claims = reader.read_bytes()
    tag = reader.read_bytes()
    finish(reader)
    # MAC_structure: ["MAC0", protected, external_aad, payload]
    parts = (b"\x84\x64MAC0", head(protected), protected, b"\x40", head(claims), claims)
    if algorithm != ALG_HMAC_256 or not hmac.equal(hmac.digest(key, *parts), tag):
        raise ProtocolError(NOT_AUTHORISED, "the tag is not right under this device's key")
    return claims


def parse(claims: "Buffer") -> Entitlement:
    """Read the claims of an authentic token, or of one that was kept."""
    found = Entitlement()
    reader = open_strict(claims)
    for claim in reader.read_map():
        if claim == _SUBJECT:
            found.subject = reader.read_text()
        elif claim == _EXPIRES:
            found.expires = integer(reader, 0, _MAX_UINT)
        elif claim == _NOT_BEFORE:
            found.not_before = integer(reader, 0, _MAX_UINT)
        elif claim == _ISSUED:
            found.issued = integer(reader, 0, _MAX_UINT)
        elif claim == _GROWTH:
            _growth(reader, found)
        else:
            reader.skip()
    finish(reader)
    if not 0 < len(found.subject) <= _MAX_SUBJECT or not found.publisher or not found.feature or found.sequence < 0:
        raise ProtocolError(MALFORMED, "an entitlement needs a subject, publisher, feature and sequence")
    return found


def _growth(reader: Decoder, found: Entitlement) -> None:
    for key in reader.read_map():
        if key == 0:
            found.publisher = integer(reader, 1, 0xFFFF)
        elif key == 1:
            found.feature = integer(reader, 1, 0xFFFF)
        elif key == 2:
            found.sequence = integer(reader, 0, _MAX_UINT)
        elif key == 3:
            elements(reader, 2, 2)
            found.first = integer(reader, 0, _MAX_UINT)
            found.last = integer(reader, found.first, _MAX_UINT)
        elif key == 4:
            found.uses = integer(reader, 0, _MAX_UINT)
        elif key == 5:
            found.grace_s = integer(reader, 0, _MAX_UINT)
        elif key == 6:
            found.trial = reader.read_bool()
        elif key == 7:
            found.tier = integer(reader, 0, 0xFFFF)
        elif key == 8:
            found.sets_time = reader.read_bool()
        elif isinstance(key, int) and key > 0:
            reader.skip()
        else:
            raise ProtocolError(UNSUPPORTED, f"critical key {key!r}", reader.offset)
