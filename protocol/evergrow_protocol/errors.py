"""Error codes of the protocol and the one exception that carries them (SPEC section 9).

The code is normative and travels on the wire; the text is for people and may change.
"""

OK = 0
MALFORMED = 1
NOT_DETERMINISTIC = 2
UNKNOWN_KIND = 3
BAD_TYPE = 4
OUT_OF_RANGE = 5
UNSUPPORTED = 6
BUSY = 7
TOO_LARGE = 8
STALE = 9
NOT_AUTHORISED = 10
INVALID_STATE = 11
EXPIRED = 12
STORAGE = 13
BAD_DIGEST = 14
NOT_ENTITLED = 15
REVERT = 16


class ProtocolError(Exception):
    """What is wrong with something received, or with what was asked.

    `code`: one of the constants above. `text`: one sentence that names the value and the limit.
    `offset`: byte offset in the input where it was noticed, or None.
    """

    def __init__(self, code: int, text: str, offset: "int | None" = None) -> None:
        super().__init__(text if offset is None else f"{text} (at byte {offset})")
        self.code = code
        self.text = text
        self.offset = offset
