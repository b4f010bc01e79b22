"""Feature body: what a feature's payload says, a deterministic CBOR map of at most 8 KB, of 16 KB for code.

    {0: kind, 1: feature id, 2: name, 3: version, ? 4: {actuator: new maximum}, ? 5: programme, ? 6: [class id, registry version],
     ? 8: [seconds, cycles], ? 9: waits for, ? 12: entitlement}

`kind` is UNLOCK (with 4), PROGRAMME (with 5) or CODE. Feature ids start at 1000. An unlock's actuator is the one whose upper
limit is raised to the maximum, in the actuator's own unit. 8 is how long its trial takes; the bits of 9: 0 a person's consent,
1 quiet hours. 12 is 1 when it may be used only with an entitlement (SPEC section 13). A programme stays encoded: the agent's
programme runner reads it.
Unknown keys from 0 up are ignored, negative ones refused.
"""

from .cbor import ARRAY, Decoder
from .errors import BAD_TYPE, MALFORMED, OUT_OF_RANGE, TOO_LARGE, UNKNOWN_KIND, UNSUPPORTED, ProtocolError
from .strict import elements, finish, integer, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

UNLOCK = 1
PROGRAMME = 2
CODE = 3

MAX_BODY = 16384
MAX_DATA_BODY = 8192  # of kinds other than CODE
_MAX_TEXT = 32
_MAX_UNLOCKS = 8
FIRST_ID = 1000
_MAX_ID = 0xFFFF
_MAX_NUMBER = 0x7FFFFFFF
_MAX_TRIAL_S = 7 * 86_400
_MAX_TRIAL_CYCLES = 100


class Feature:
    """A parsed feature body.

    `kind`; `id` 1000..65535; `name` and `version`: text of up to 32 characters; `unlocks`: {actuator id: maximum}; `programme`:
    view of the encoded programme, or None; `class_id` and `registry_version`: what the feature needs, or 0 for anything;
    `needs` and `code`: views of a code feature's declaration, encoded, and of its code (SPEC section 18), or None;
    `trial_s`, `trial_cycles`: what its trial takes; `consent`, `quiet`: whether its activation waits for them.
    """

    def __init__(self) -> None:
        self.kind = 0
        self.id = 0
        self.name = ""
        self.version = ""
        self.unlocks: dict[int, int] = {}
        self.entitlement = False  # 12: whether it may be used only with an entitlement (SPEC section 13)
        self.programme: memoryview | None = None
        self.class_id = 0
        self.registry_version = 0
        self.needs: memoryview | None = None
        self.code: memoryview | None = None
        self.trial_s = 0
        self.trial_cycles = 0
        self.consent = False
        self.quiet = False


def parse(buf: "Buffer") -> Feature:
    """Read a feature body, whose views keep `buf` alive.

    Raises ProtocolError: TOO_LARGE, MALFORMED, NOT_DETERMINISTIC, BAD_TYPE, OUT_OF_RANGE, UNKNOWN_KIND, or UNSUPPORTED for
    a negative key.
    """
    if len(buf) > MAX_BODY:
        raise ProtocolError(TOO_LARGE, f"feature body of {len(buf)} bytes, limit {MAX_BODY}")
    feature = Feature()
    reader = open_strict(buf, 2048)
    for key in reader.read_map():
        if key == 0:
            feature.kind = reader.read_int()
        elif key == 1:
            feature.id = integer(reader, FIRST_ID, _MAX_ID)
        elif key == 2:
            feature.name = _text(reader)
        elif key == 3:
            feature.version = _text(reader)
        elif key == 4:
            for actuator in reader.read_map():
                if not isinstance(actuator, int) or not 0 < actuator <= _MAX_ID or len(feature.unlocks) == _MAX_UNLOCKS:
                    raise ProtocolError(OUT_OF_RANGE, f"bad actuator, or over {_MAX_UNLOCKS} unlocks", reader.offset)
                feature.unlocks[actuator] = integer(reader, 0, _MAX_NUMBER)
        elif key == 5:
            if reader.peek() != ARRAY:
                raise ProtocolError(BAD_TYPE, "a programme is an array", reader.offset)
            feature.programme = reader.read_raw()
        elif key == 12:
            feature.entitlement = bool(integer(reader, 0, 1))
        elif key == 6:
            elements(reader, 2, 2)
            feature.class_id = integer(reader, 1, _MAX_ID)
            feature.registry_version = integer(reader, 1, _MAX_ID)
        elif key == 8:
            elements(reader, 2, 2)
            feature.trial_s = integer(reader, 0, _MAX_TRIAL_S)
            feature.trial_cycles = integer(reader, 0, _MAX_TRIAL_CYCLES)
        elif key == 9:
            waits = integer(reader, 0, 3)
            feature.consent = bool(waits & 1)
            feature.quiet = bool(waits & 2)
        elif key == 10:
            feature.needs = reader.read_raw()
        elif key == 11:
            feature.code = reader.read_bytes()
        elif isinstance(key, int) and key > 0:
            reader.skip()
        else:
            raise ProtocolError(UNSUPPORTED, f"critical key {key!r}", reader.offset)
    finish(reader)
    if not UNLOCK <= feature.kind <= CODE:
        raise ProtocolError(UNKNOWN_KIND, f"feature kind {feature.kind}")
    if feature.kind != CODE and len(buf) > MAX_DATA_BODY:
        raise ProtocolError(TOO_LARGE, f"feature body of {len(buf)} bytes, limit {MAX_DATA_BODY}")
    whole = feature.id and feature.name and feature.version
    is_code = feature.kind == CODE
    if (
        not whole
        or is_code != bool(feature.code)
        or is_code != (feature.needs is not None)
        or (feature.kind == UNLOCK) != bool(feature.unlocks)
        or (feature.kind == PROGRAMME) != (feature.programme is not None)
    ):
        raise ProtocolError(MALFORMED, "a feature needs id, name, version and what its kind is about")
    return feature


def _text(reader: Decoder) -> str:
    text = reader.read_text()
    if not 0 < len(text) <= _MAX_TEXT:
        raise ProtocolError(OUT_OF_RANGE, f"text of {len(text)} characters, not 1..{_MAX_TEXT}", reader.offset)
    return text
