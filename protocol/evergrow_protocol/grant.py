"""Grants and revocation lists: what the root key of a device signs (SPEC section 12).

Both are COSE_Sign1 with the payload inside. `open_steps` verifies one and says nothing about what it holds; `parse_grant` and
`parse_revocations` read what was verified. Errors are ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE, OUT_OF_RANGE,
TOO_LARGE, UNSUPPORTED for a negative key, NOT_AUTHORISED for what the root did not sign.
"""

from . import cose
from .errors import MALFORMED, NOT_AUTHORISED, OUT_OF_RANGE, TOO_LARGE, UNKNOWN_KIND, UNSUPPORTED, ProtocolError
from .lms import PUBLIC_KEY_SIZE
from .strict import elements, finish, integer, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .cbor import Decoder

    Buffer = bytes | bytearray | memoryview

GRANT = 1  # also the contents of an offer
REVOCATIONS = 2

MAX_SIGNED = 8192  # bytes, with the signature
MAX_GRANT = 1024  # bytes of a payload
MAX_LIST = 4096
_MAX_IDS = 64
_MAX_ROWS = 64
_MAX_KID = 32
_MAX_PREFIX = 32
_MAX_UINT = 0xFFFFFFFF


class Grant:
    """What one publisher may do.

    `publisher` 1..65535; `sequence`; `key`: a cose.Key; `signals`, `actuators`, `meters`: tuples of ids; `flash_bytes`,
    `heap_bytes`: quotas; `not_before`, `not_after`: UTC seconds, 0 and None where there is no limit.
    """

    def __init__(self) -> None:
        self.publisher = 0
        self.sequence = -1
        self.key = cose.Key(b"", 0, b"", 0, b"")
        self.signals: "tuple[int, ...]" = ()
        self.actuators: "tuple[int, ...]" = ()
        self.meters: "tuple[int, ...]" = ()
        self.flash_bytes = 0
        self.heap_bytes = 0
        self.not_before = 0
        self.not_after: int | None = None


class Revocations:
    """What is taken back. `sequence`; `kids`: of bytes; `publishers`; `features`: rows (publisher, feature, first, last)."""

    def __init__(self) -> None:
        self.sequence = 0
        self.kids: "tuple[bytes, ...]" = ()
        self.publishers: "tuple[int, ...]" = ()
        self.features: "tuple[tuple[int, ...], ...]" = ()

    def names(self, publisher: int, feature: int, sequence: int) -> bool:
        """Whether this version of a feature, or its publisher, is revoked."""
        if publisher in self.publishers:
            return True
        return any([row[:2] == (publisher, feature) and row[2] <= sequence <= row[3] for row in self.features])


def open_steps(buf: "Buffer", root: "cose.Key") -> "Generator[int, None, memoryview]":
    """Verify `buf` under `root`; yields as `lms.verify_steps` does, and returns the payload, a view of `buf`."""
    if len(buf) > MAX_SIGNED:
        raise ProtocolError(TOO_LARGE, f"{len(buf)} bytes, limit {MAX_SIGNED}")
    block = cose.Sign1(buf, True)
    if block.kid is None or bytes(block.kid) != root.kid:
        raise ProtocolError(NOT_AUTHORISED, "not signed by the root key")
    payload = block.payload
    if not (yield from cose.verify_steps(block, payload, root)):
        raise ProtocolError(NOT_AUTHORISED, "the signature does not verify")
    return payload


def what(payload: "Buffer") -> int:
    """GRANT or REVOCATIONS; UNKNOWN_KIND for anything else."""
    reader = open_strict(payload, 1024)
    found = 0
    for key in reader.read_map():
        if key == 0:
            found = reader.read_int()
        break
    if found not in (GRANT, REVOCATIONS):
        raise ProtocolError(UNKNOWN_KIND, "neither a grant nor a revocation list")
    return found


def parse_grant(payload: "Buffer") -> Grant:
    """Read a verified grant."""
    reader = _open(payload, GRANT, MAX_GRANT)
    grant = Grant()
    key = grant.key
    seen = 0
    for number in reader.read_map():
        if isinstance(number, int) and 0 <= number < 12:
            seen |= 1 << number
        if number == 0:
            reader.skip()
        elif number == 1:
            grant.publisher = key.publisher = integer(reader, 1, 0xFFFF)
        elif number == 2:
            grant.sequence = integer(reader, 0, _MAX_UINT)
        elif number == 3:
            key.kid = _bytes(reader, 1, _MAX_KID)
        elif number == 4:
            key.alg = reader.read_int()
        elif number == 5:
            key.public = _bytes(reader, PUBLIC_KEY_SIZE, PUBLIC_KEY_SIZE)
        elif number == 6:
            key.prefix = _bytes(reader, 1, _MAX_PREFIX)
        elif number == 7:
            grant.signals = _ids(reader)
        elif number == 8:
            grant.actuators = _ids(reader)
        elif number == 9:
            grant.meters = _ids(reader)
        elif number == 10:
            grant.flash_bytes = integer(reader, 0, _MAX_UINT)
        elif number == 11:
            grant.heap_bytes = integer(reader, 0, _MAX_UINT)
        elif number == 12:
            grant.not_before = integer(reader, 0, _MAX_UINT)
        elif number == 13:
            grant.not_after = integer(reader, 0, _MAX_UINT)
        else:
            _unknown(reader, number)
    finish(reader)
    if seen != 0xFFF:
        raise ProtocolError(MALFORMED, "a grant has the keys 0 to 11")
    if key.alg != cose.ALG_HSS_LMS:
        raise ProtocolError(UNSUPPORTED, f"algorithm {key.alg}")
    return grant


def parse_revocations(payload: "Buffer") -> Revocations:
    """Read a verified revocation list."""
    reader = _open(payload, REVOCATIONS, MAX_LIST)
    found = Revocations()
    seen = 0
    for number in reader.read_map():
        if isinstance(number, int) and 0 <= number < 5:
            seen |= 1 << number
        if number == 0:
            reader.skip()
        elif number == 1:
            found.sequence = integer(reader, 1, _MAX_UINT)
        elif number == 2:
            found.kids = tuple([_bytes(reader, 1, _MAX_KID) for _ in range(elements(reader, 0, _MAX_ROWS))])
        elif number == 3:
            found.publishers = tuple([integer(reader, 1, 0xFFFF) for _ in range(elements(reader, 0, _MAX_ROWS))])
        elif number == 4:
            found.features = tuple([_row(reader) for _ in range(elements(reader, 0, _MAX_ROWS))])
        else:
            _unknown(reader, number)
    finish(reader)
    if seen != 0x1F:
        raise ProtocolError(MALFORMED, "a revocation list has the keys 0 to 4")
    return found


def _open(payload: "Buffer", kind: int, most: int) -> "Decoder":
    if len(payload) > most:
        raise ProtocolError(TOO_LARGE, f"{len(payload)} bytes, limit {most}")
    if what(payload) != kind:
        raise ProtocolError(UNKNOWN_KIND, "not the grant or list that was announced")
    return open_strict(payload, 1024)


def _unknown(reader: "Decoder", key: "Any") -> None:
    if not isinstance(key, int) or key < 0:
        raise ProtocolError(UNSUPPORTED, f"critical key {key!r}", reader.offset)
    reader.skip()


def _bytes(reader: "Decoder", low: int, high: int) -> bytes:
    view = reader.read_bytes()
    if not low <= len(view) <= high:
        raise ProtocolError(OUT_OF_RANGE, f"{len(view)} bytes, not {low}..{high}", reader.offset)
    return bytes(view)


def _ids(reader: "Decoder") -> "tuple[int, ...]":
    return tuple([integer(reader, 1, 0xFFFF) for _ in range(elements(reader, 0, _MAX_IDS))])


def _row(reader: "Decoder") -> "tuple[int, ...]":
    elements(reader, 4, 4)
    row = (integer(reader, 1, 0xFFFF), integer(reader, 1, 0xFFFF), integer(reader, 0, _MAX_UINT), integer(reader, 0, _MAX_UINT))
    if row[2] > row[3]:
        raise ProtocolError(OUT_OF_RANGE, f"sequences {row[2]} to {row[3]}", reader.offset)
    return row
