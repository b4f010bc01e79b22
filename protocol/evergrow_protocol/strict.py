"""How signed and hostile CBOR is read: deterministic, bounded, and used up to its last byte."""

from .cbor import Decoder
from .errors import MALFORMED, OUT_OF_RANGE, TOO_LARGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview


def open_strict(buf: "Buffer", items: int = 96) -> Decoder:
    """A deterministic decoder of up to `items` items; the longest sequence of the SUIT draft's examples has 20."""
    return Decoder(buf, items=items, deterministic=True)


def finish(reader: Decoder) -> None:
    """Raises ProtocolError MALFORMED unless everything has been read."""
    if not reader.at_end():
        raise ProtocolError(MALFORMED, "bytes after the end", reader.offset)


def elements(reader: Decoder, low: int, high: int) -> int:
    """Step into an array of `low` to `high` elements; -> how many. Raises ProtocolError MALFORMED, TOO_LARGE beyond a limit."""
    count = reader.read_array_header()
    if not low <= count <= high:
        raise ProtocolError(TOO_LARGE if count > high > low else MALFORMED, f"{count} elements, not {low}..{high}", reader.offset)
    return count


def integer(reader: Decoder, low: int, high: int) -> int:
    """Read an integer of `low` to `high`. Raises ProtocolError OUT_OF_RANGE for another."""
    value = reader.read_int()
    if not low <= value <= high:
        raise ProtocolError(OUT_OF_RANGE, f"{value} is not in {low}..{high}", reader.offset)
    return value
