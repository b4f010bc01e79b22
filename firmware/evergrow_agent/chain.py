"""The chain of usage records (EG-CHAIN-001): each carries a tag over itself and the tag before it, under the device's usage key.

A record that somebody deletes, alters or moves does not fit the next one any more.
"""

from evergrow_protocol import hmac

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

TAG = 8  # bytes
ROOM = 1 + TAG  # that the tag takes in a record
START = bytes(TAG)  # stands before the first record

_HEAD = b"\x48"  # of a byte string of TAG bytes
_ARRAY_4, _ARRAY_5 = 0x84, b"\x85"


def seal(key: bytes, before: bytes, envelope: "Buffer") -> bytes:
    """`[boot, seq, t, body]`, encoded -> `[boot, seq, t, body, tag]`, its tag chained to `before`."""
    return _ARRAY_5 + bytes(envelope[1:]) + _HEAD + hmac.digest(key, before, envelope)[:TAG]


def tag(record: "Buffer") -> "bytes | None":
    """The tag of a record of this device's own making; None if it was made without a key."""
    return None if record[0] == _ARRAY_4 else bytes(record[-TAG:])
