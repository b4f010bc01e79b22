"""Tags, the errors of the codec, and what both directions know about text."""

from .errors import ProtocolError


class CborError(ProtocolError):
    """An input that is not acceptable CBOR, or a value that has no encoding here.

    Codes: MALFORMED, NOT_DETERMINISTIC, TOO_LARGE (the text names the limit), BAD_TYPE, OUT_OF_RANGE, INVALID_STATE.
    `offset`: where in the input the item at fault starts, or the input's length if it ends too early; in an encoder, where
    the item would have started.
    """


class BufferFull(CborError):
    """The encoder's buffer is too small for the item. The encoder is as it was before: what it held, it still holds."""


class Tag:
    """A tagged item: `number` 0..2**64-1 and the tagged `value`. The codec gives no meaning to any tag."""

    def __init__(self, number: int, value: object) -> None:
        self.number = number
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tag) and self.number == other.number and self.value == other.value

    def __repr__(self) -> str:
        return f"Tag({self.number}, {self.value!r})"


def is_unicode(text: str, size: int) -> bool:
    """Whether `text`, which takes `size` bytes, is valid UTF-8.

    MicroPython checks only that lead and continuation bytes match: overlong forms, surrogates and code points above
    10FFFF pass. ASCII, nearly all there is, costs one comparison.
    """
    if len(text) != size:
        for char in text:
            code = ord(char)
            if code >> 11 == 0x1B or code > 0x10FFFF:  # a surrogate, D800..DFFF, or beyond Unicode
                return False
            size -= 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
        return size == 0
    return True
