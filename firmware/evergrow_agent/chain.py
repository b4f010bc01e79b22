"""The chain of usage records (EG-CHAIN-001): each carries a tag over itself and the tag before it, under the device's usage key.

A record that somebody deletes, alters or moves does not fit the next one any more.
"""

from evergrow_protocol import hmac
from evergrow_protocol.cbor import Decoder
from evergrow_protocol.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

TAG = 8  # bytes
ROOM = 1 + TAG  # that the tag takes in a record
START = bytes(TAG)  # stands before the first record


def seal(key: bytes, before: bytes, envelope: "Buffer") -> bytes:
    """`[boot, seq, t, body]`, encoded -> `[boot, seq, t, body, tag]`, its tag chained to `before`."""
    return b"\x85" + bytes(envelope[1:]) + b"\x48" + hmac.digest(key, before, envelope)[:TAG]


def split(record: "Buffer") -> "tuple[int, bytes | None]":
    """(bytes of a record before its tag, the tag or None), whoever made it. (0, None): it is no CBOR."""
    decoder = Decoder(record)
    end = 0
    try:
        for index in range(decoder.read_array_header()):
            decoder.skip()
            if index == 3:
                end = decoder.offset
        if decoder.at_end():
            return end, bytes(record[end + 1 : end + ROOM]) if record[end : end + 1] == b"\x48" else None
    except ProtocolError:
        pass
    return 0, None
