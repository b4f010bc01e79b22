"""What a code feature declares that it needs, and gets nothing beyond: key 10 of a feature body.

    {0: [signal, ...], 1: [actuator, ...], 2: [meter, ...], 3: [event, ...], 4: {setting: [least, most, default], ...},
     5: heap bytes, 6: ms per call, 7: adjusts, ? 8: {setting: name, ...}}

`signal` may be read, `actuator` driven; `meter` and `event` are ids of its own, from 1000 up. A setting is an integer that the
cloud may set. `adjusts`: 1 if it may shorten the holds of the appliance's programmes. All are ascending. What settings are called
is for people and clouds; a device passes over it.
"""

from .errors import MALFORMED, OUT_OF_RANGE, TOO_LARGE, UNSUPPORTED, ProtocolError
from .strict import elements, finish, integer, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cbor import Decoder

    Buffer = bytes | bytearray | memoryview

FIRST_OWN_ID = 1000
MAX_IDS = 16
MAX_SETTINGS = 16
MAX_HEAP_BYTES = 65536
MAX_CALL_MS = 250
_MAX_ID = 0xFFFF
_MAX_VALUE = 0x7FFFFFFF


class Needs:
    """`signals`, `actuators`, `meters`, `events`: lists of ids; `settings`: {id: (least, most, default)}; `heap_bytes`;
    `call_ms`; `adjusts`.
    """

    def __init__(self) -> None:
        self.signals: "list[int]" = []
        self.actuators: "list[int]" = []
        self.meters: "list[int]" = []
        self.events: "list[int]" = []
        self.settings: "dict[int, tuple[int, int, int]]" = {}
        self.heap_bytes = 0
        self.call_ms = 0
        self.adjusts = False


def parse(buf: "Buffer") -> Needs:
    """Read a declaration. ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE, OUT_OF_RANGE, TOO_LARGE, UNSUPPORTED."""
    needs = Needs()
    reader = open_strict(buf, 256)
    for key in reader.read_map():
        if key == 0:
            needs.signals = _ids(reader, 1)
        elif key == 1:
            needs.actuators = _ids(reader, 1)
        elif key == 2:
            needs.meters = _ids(reader, FIRST_OWN_ID)
        elif key == 3:
            needs.events = _ids(reader, FIRST_OWN_ID)
        elif key == 4:
            _settings(reader, needs)
        elif key == 5:
            needs.heap_bytes = integer(reader, 0, MAX_HEAP_BYTES)
        elif key == 6:
            needs.call_ms = integer(reader, 1, MAX_CALL_MS)
        elif key == 7:
            needs.adjusts = bool(integer(reader, 0, 1))
        elif isinstance(key, int) and key > 0:
            reader.skip()
        else:
            raise ProtocolError(UNSUPPORTED, f"critical key {key!r}", reader.offset)
    finish(reader)
    if not needs.heap_bytes or not needs.call_ms:
        raise ProtocolError(MALFORMED, "a code feature needs bytes of heap and ms per call")
    return needs


def _ids(reader: "Decoder", least: int) -> "list[int]":
    found: "list[int]" = []
    for _ in range(elements(reader, 0, MAX_IDS)):
        number = integer(reader, least, _MAX_ID)
        if found and number <= found[-1]:
            raise ProtocolError(OUT_OF_RANGE, f"id {number} does not ascend", reader.offset)
        found.append(number)
    return found


def _settings(reader: "Decoder", needs: Needs) -> None:
    for setting in reader.read_map():
        if not isinstance(setting, int) or not 0 < setting <= _MAX_ID:
            raise ProtocolError(OUT_OF_RANGE, f"setting {setting!r} is not in 1..{_MAX_ID}", reader.offset)
        if len(needs.settings) == MAX_SETTINGS:
            raise ProtocolError(TOO_LARGE, f"over {MAX_SETTINGS} settings", reader.offset)
        elements(reader, 3, 3)
        least = integer(reader, -_MAX_VALUE, _MAX_VALUE)
        most = integer(reader, least, _MAX_VALUE)
        needs.settings[setting] = (least, most, integer(reader, least, most))
