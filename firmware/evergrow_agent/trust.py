"""The device's key ring: which publishers may sign features for it, and for which components.

It lives in one file on the flash, written at provisioning: a CBOR array of [kid, algorithm, public key, publisher, prefix].
"""

from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.cose import Key
from evergrow_protocol.errors import BAD_TYPE, TOO_LARGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "trust"
MAX_KEYS = 16

_TYPES = (bytes, int, bytes, int, bytes)


def load(flash: "Any") -> "list[Key]":
    """The trusted keys. A file that is absent or damaged trusts nobody: features are then refused, all else works. OSError."""
    data = flash.read(FILE)
    try:
        return [] if data is None else [_key(row) for row in _rows(loads(data))]
    except ProtocolError:
        return []


def provision(flash: "Any", keys: "list[Key]") -> None:
    """Replace the key ring, atomically. Raises ProtocolError for what `load` would not accept, OSError."""
    rows = [[key.kid, key.alg, key.public, key.publisher, key.prefix] for key in keys]
    for row in _rows(rows):
        _key(row)
    flash.write(FILE, dumps(rows))


def _rows(rows: "Any") -> "list[Any]":
    if not isinstance(rows, list):
        raise ProtocolError(BAD_TYPE, "a key ring is an array")
    if len(rows) > MAX_KEYS:
        raise ProtocolError(TOO_LARGE, f"key ring of {len(rows)} keys, limit {MAX_KEYS}")
    return rows


def _key(row: "Any") -> Key:
    if not isinstance(row, list) or len(row) < len(_TYPES):
        raise ProtocolError(BAD_TYPE, f"a key is an array of {len(_TYPES)}")
    for value, kind in zip(row, _TYPES):
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ProtocolError(BAD_TYPE, f"a key has {type(value)} where {kind} belongs")
    return Key(row[0], row[1], row[2], row[3], row[4])
