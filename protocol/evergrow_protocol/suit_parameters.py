"""Parameters of SUIT commands: which there are, and how the value of each is read and bounded (draft-ietf-suit-manifest-37
section 8.4.8, draft-ietf-suit-update-management section 5).

| parameter            | value as it is handed on                                                        |
|----------------------|---------------------------------------------------------------------------------|
| 1, 2, 24             | vendor, class, device: view of 16 bytes                                         |
| 3 image digest       | view of the 32 bytes of SHA-256                                                 |
| 4 use before         | UTC seconds                                                                     |
| 5, 14, 22, 26        | component slot; image size in bytes; source component; least battery in percent |
| 12, 13               | strict order, soft failure: bool                                                |
| 18, 23               | content; arguments of invoke: view                                              |
| 21 URI               | text                                                                            |
| 27 update priority   | integer, the more urgent the lower                                              |
| 28 version           | (comparison, (major, minor, ...))                                               |
"""

from . import suit_envelope
from .cbor import Decoder
from .errors import MALFORMED, UNSUPPORTED, ProtocolError
from .strict import elements, finish, integer, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VENDOR = 1
CLASS = 2
DIGEST = 3
BEFORE = 4
SLOT = 5
STRICT_ORDER = 12
SOFT_FAILURE = 13
SIZE = 14
CONTENT = 18
URI = 21
SOURCE = 22
ARGUMENTS = 23
DEVICE = 24
BATTERY = 26
PRIORITY = 27
VERSION = 28

_IDS = (VENDOR, CLASS, DEVICE)
_FLAGS = (STRICT_ORDER, SOFT_FAILURE)
_NUMBERS = (SLOT, SIZE, SOURCE, BATTERY)
_MAX_VERSION = 5  # integers of a version: major, minor, patch, kind and number of a pre-release

_GREATER, _GREATER_EQUAL, _EQUAL, _LESSER_EQUAL, _LESSER = 1, 2, 3, 4, 5


def read(reader: Decoder, key: object) -> "Any":
    """The value of parameter `key`, which comes next. Raises ProtocolError: UNSUPPORTED for an unknown one, MALFORMED,
    NOT_DETERMINISTIC, BAD_TYPE, OUT_OF_RANGE."""
    if key == URI:
        return reader.read_text()
    if key in _FLAGS:
        return reader.read_bool()
    if key in _NUMBERS:
        return integer(reader, 0, 0x7FFFFFFF)
    if key == BEFORE:
        return integer(reader, 0, 0xFFFFFFFF)
    if key == PRIORITY:
        return integer(reader, -0x80000000, 0x7FFFFFFF)
    if key not in _IDS and key not in (DIGEST, CONTENT, ARGUMENTS, VERSION):
        raise ProtocolError(UNSUPPORTED, f"parameter {key!r}", reader.offset)
    view = reader.read_bytes()
    if key == DIGEST:
        return suit_envelope.parse_digest(view)
    if key == VERSION:
        return _version(view)
    if key in _IDS and len(view) != 16:
        raise ProtocolError(MALFORMED, "an id has 16 bytes", reader.offset)
    return view


def version_holds(wanted: "tuple[int, tuple[int, ...]]", version: "tuple[int, ...]") -> bool:
    """Whether `version` is what a version parameter asks for: as many integers are compared as it names."""
    comparison, value = wanted
    found = version[: len(value)]
    if comparison == _EQUAL:
        return found == value
    if comparison in (_GREATER, _GREATER_EQUAL):
        return found > value or (comparison == _GREATER_EQUAL and found == value)
    return found < value or (comparison == _LESSER_EQUAL and found == value)


def _version(buf: memoryview) -> "tuple[int, tuple[int, ...]]":
    reader = open_strict(buf)
    elements(reader, 2, 2)
    comparison = integer(reader, _GREATER, _LESSER)
    value = tuple([integer(reader, -0x80000000, 0x7FFFFFFF) for _ in range(elements(reader, 1, _MAX_VERSION))])
    finish(reader)
    return comparison, value
