"""SUIT manifest processor (draft-ietf-suit-manifest-37), sans-IO: what is to be done comes out, the caller does it.

    envelope, manifest, key = yield from suit.open_steps(buf, keys)     # everything that trust needs
    steps = suit.Processor(manifest, vendor_id, class_id).run(suit_manifest.INSTALL)
    action = next(steps)                                                # then steps.send(False) where it failed

Commands, and the parameters they need:

| command                 | does                                                                  | parameter it needs  |
|-------------------------|-----------------------------------------------------------------------|---------------------|
| 1 vendor, 2 class       | compares with this device's                                           | 1, 2                |
| 3 image match           | asks the caller: has the component this digest (and size)?            | 3 digest            |
| 5 component slot        | asks the caller                                                       | 5 slot              |
| 14 abort                | fails                                                                 |                     |
| 12 set component index  | an index, a list of them, or true for all                             |                     |
| 15 try each             | runs sequences until one does not fail                                |                     |
| 20 override parameters  | sets them for the current components                                  |                     |
| 21 fetch, 22 copy       | asks the caller                                                       | 21 URI, 22 source   |
| 23 invoke               | asks the caller                                                       |                     |
| 32 run sequence         | runs a nested sequence                                                |                     |

Further parameters: 12 strict order (always kept), 13 soft failure, 14 image size. Everything else is refused with
UNSUPPORTED. Of what the design lists these are to come, each a row of `_NEEDS` or `_PARAMETERS` away: conditions 24, 26, 27,
28 and use-before 4; directive 18 write; parameters 18, 23 invoke arguments and 24; members 5, 15, 18 and 24 of trust domains.

Errors are ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE; UNSUPPORTED; TOO_LARGE for a limit; BAD_DIGEST where an
image or a severed member does not match; OUT_OF_RANGE for another vendor or class; INVALID_STATE for any other failure.
"""

from . import suit_envelope
from .cbor import ARRAY, OTHER, UINT, Decoder
from .errors import BAD_DIGEST, INVALID_STATE, MALFORMED, NOT_AUTHORISED, OUT_OF_RANGE, TOO_LARGE, UNSUPPORTED, ProtocolError
from .strict import finish, integer, open_strict
from .suit_manifest import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from . import cose

    Buffer = bytes | bytearray | memoryview

# Kinds of action: the command numbers.
IMAGE_MATCH = 3
COMPONENT_SLOT = 5
FETCH = 21
COPY = 22
RUN = 23  # invoke

# Parameters.
_DIGEST = 3
_SLOT = 5
_STRICT_ORDER = 12
_SOFT_FAILURE = 13
_SIZE = 14
_URI = 21
_SOURCE = 22

_ABORT = 14
_SET_INDEX = 12
_TRY_EACH = 15
_OVERRIDE = 20
_RUN_SEQUENCE = 32

# Commands that take a reporting policy, and the parameter that each needs.
_NEEDS = {1: 1, 2: 2, IMAGE_MATCH: _DIGEST, COMPONENT_SLOT: _SLOT, _ABORT: 0, FETCH: _URI, COPY: _SOURCE, RUN: 0}
# Commands that change the device, or run on it: only after both identity conditions held (EG-FEAT-006).
_CHANGES = (FETCH, COPY, RUN)
# Codes of conditions that fail: not for this vendor or class (EG-FEAT-006), not the content that was signed (EG-FEAT-004).
_FAILED = {1: OUT_OF_RANGE, 2: OUT_OF_RANGE, IMAGE_MATCH: BAD_DIGEST}
# Parameters: b bytes of a UUID, d digest, u unsigned, t text, f flag.
_PARAMETERS = {
    1: "b",
    2: "b",
    _DIGEST: "d",
    _SLOT: "u",
    _STRICT_ORDER: "f",
    _SOFT_FAILURE: "f",
    _SIZE: "u",
    _URI: "t",
    _SOURCE: "u",
}

_MAX_COMMANDS = 64  # executed in one run; two components fetched and matched by way of try-each take 26
MAX_DEPTH = 3  # a try-each in a run-sequence in a section; each level takes three generators


class Action:
    """Something the caller does or decides, for one component.

    `kind`: IMAGE_MATCH, COMPONENT_SLOT, FETCH, COPY or RUN. `index` and `component`: the component's place and id.
    `uri`: text or None. `size`: bytes of the image or None. `digest`: view of its 32 bytes of SHA-256 or None. `slot`: or
    None. `source`: the component id to copy from, or None.
    """

    def __init__(self, kind: int, index: int, components: "tuple[tuple[bytes, ...], ...]", values: "dict[int, Any]") -> None:
        self.kind = kind
        self.index = index
        self.component = components[index]
        self.uri: str | None = values.get(_URI)
        self.size: int | None = values.get(_SIZE)
        self.digest: memoryview | None = values.get(_DIGEST)
        self.slot: int | None = values.get(_SLOT)
        source = values.get(_SOURCE)
        self.source = None if source is None else components[source]


class Processor:
    """Runs the sections of a verified manifest for a device with these two 16-byte ids."""

    def __init__(self, manifest: Manifest, vendor_id: bytes, class_id: bytes) -> None:
        self._manifest = manifest
        self._identity = {1: vendor_id, 2: class_id}
        self._values: list[dict[int, Any]] = []  # parameters by component
        self._fits = 0  # bits of the identity conditions that held in this run: 3 when both did
        self._current: Sequence[int] = (0,)
        self._commands = 0

    def run(self, section: int) -> "Generator[Action, Any, None]":
        """Run the shared sequence and then `section`; each run starts afresh. Nothing happens if there is no such section.

        Yields an Action; the caller carries it out and sends False when that failed or the answer is no, anything else
        (`next` will do) when it went well.
        """
        body = self._manifest.sections.get(section)
        if body is None:
            return
        self._values = [{} for _ in self._manifest.components]
        self._fits = 0
        self._commands = _MAX_COMMANDS
        for sequence in (self._manifest.shared, body):
            self._current = (0,)
            if sequence is not None:
                yield from self._sequence(sequence, 0, False)

    def _sequence(self, buf: memoryview, depth: int, soft: bool) -> "Generator[Action, Any, bool]":
        """-> True, or False when a condition failed and failing is soft here; a hard failure raises."""
        if depth > MAX_DEPTH:
            raise ProtocolError(TOO_LARGE, f"sequences nest, limit {MAX_DEPTH}")
        reader = open_strict(buf)
        count = reader.read_array_header()
        if count & 1:
            raise ProtocolError(MALFORMED, "command without argument")
        for _ in range(count // 2):
            self._commands -= 1
            if self._commands < 0:
                raise ProtocolError(TOO_LARGE, f"more than {_MAX_COMMANDS} commands")
            command = reader.read_int()
            good = True
            if command == _SET_INDEX:
                self._set_index(reader)
            elif command == _OVERRIDE:
                soft = self._override(reader, depth, soft)
            elif command in (_TRY_EACH, _RUN_SEQUENCE):
                good = yield from self._nested(reader.read_raw(), command == _TRY_EACH, depth + 1)
            elif command in _NEEDS:
                reader.read_int()  # the reporting policy: the agent reports every refusal anyway
                good = yield from self._command(command)
            else:
                raise ProtocolError(UNSUPPORTED, f"command {command}", reader.offset)
            if not good:
                if soft:
                    return False
                raise ProtocolError(_FAILED.get(command, INVALID_STATE), f"command {command} failed")
        finish(reader)
        return True

    def _nested(self, raw: memoryview, each: bool, depth: int) -> "Generator[Action, Any, bool]":
        """A try-each or a run-sequence, once for each current component, which it starts with and leaves as they were."""
        current = self._current
        for index in current:
            reader = open_strict(raw)
            good = False
            for _ in range(reader.read_array_header() if each else 1):
                if reader.peek() == OTHER and each and reader.decode() is None:  # null: not to succeed is fine as well
                    good = True
                    break
                sequence = reader.read_bytes()
                self._current = (index,)
                # Soft failure is for a sequence alone: it starts on in a try-each, off in a run-sequence.
                good = yield from self._sequence(sequence, depth, each)
                if good:
                    break
            self._current = current
            # A run-sequence that was told to fail softly has merely ended.
            if each and not good:
                return False
        return True

    def _command(self, command: int) -> "Generator[Action, Any, bool]":
        need = _NEEDS[command]
        for index in self._current:
            values = self._values[index]
            if need and need not in values:
                raise ProtocolError(MALFORMED, f"command {command} lacks parameter {need}")
            if command == _ABORT:
                return False
            if command in self._identity:
                if bytes(values[need]) != self._identity[command]:
                    return False
                self._fits |= command
            elif command in _CHANGES and self._fits != 3:
                raise ProtocolError(OUT_OF_RANGE, f"command {command} without a vendor and a class condition")
            elif (yield Action(command, index, self._manifest.components, values)) is False:
                return False
        return True

    def _set_index(self, reader: Decoder) -> None:
        count = len(self._manifest.components)
        kind = reader.peek()
        if kind == UINT:
            indexes: Sequence[int] = (reader.read_int(),)
        elif kind == ARRAY:
            indexes = tuple([reader.read_int() for _ in range(reader.read_array_header())])
        elif reader.read_bool():
            indexes = range(count)
        else:
            indexes = ()
        if not 0 < len(indexes) <= count or min(indexes) < 0 or max(indexes) >= count:
            raise ProtocolError(OUT_OF_RANGE, f"component index, there are {count}", reader.offset)
        self._current = indexes

    def _override(self, reader: Decoder, depth: int, soft: bool) -> bool:
        for key in reader.read_map():
            kind = _PARAMETERS.get(key) if isinstance(key, int) else None
            if kind is None:
                raise ProtocolError(UNSUPPORTED, f"parameter {key!r}", reader.offset)
            value = _parameter(reader, kind)
            if key == _SOFT_FAILURE:
                if not depth:
                    raise ProtocolError(MALFORMED, "soft failure at the top", reader.offset)
                soft = value
            elif key == _SOURCE and value >= len(self._values):
                raise ProtocolError(OUT_OF_RANGE, f"source component {value}", reader.offset)
            else:
                for index in self._current:
                    self._values[index][int(key)] = value
        return soft


def open_steps(
    buf: "Buffer", keys: "Sequence[cose.Key]"
) -> "Generator[int, None, tuple[suit_envelope.Envelope, Manifest, cose.Key]]":
    """Parse and verify an envelope, then its manifest: digest, signature by one of `keys`, form, and the key's right to the
    components. Yields as `lms.verify_steps` does; returns the three parts, which are views of `buf`.
    """
    envelope = suit_envelope.Envelope(buf)
    key = yield from envelope.verify_steps(keys)
    manifest = Manifest(envelope)
    check_prefix(manifest, key)
    return envelope, manifest, key


def check_prefix(manifest: Manifest, key: "cose.Key") -> None:
    """Raises NOT_AUTHORISED unless the first segment of every component id is the key's prefix."""
    for component in manifest.components:
        if component[0] != key.prefix:
            raise ProtocolError(NOT_AUTHORISED, f"component {component[0]!r} is not {key.prefix!r}")


def payload_number(uri: str) -> int:
    """Which payload of the transfer a URI names: N for 'evergrow:N', N from 1, and 0, the envelope itself, for '#name'."""
    if uri[:1] == "#":
        return 0
    try:
        number = int(uri[9:])
    except ValueError:
        number = 0
    if not 0 < number < 1000 or uri != f"evergrow:{number}":
        raise ProtocolError(UNSUPPORTED, f"cannot fetch {uri!r}")
    return number


def _parameter(reader: Decoder, kind: str) -> "Any":
    if kind == "t":
        return reader.read_text()
    if kind == "f":
        return reader.read_bool()
    if kind == "u":
        return integer(reader, 0, 0x7FFFFFFF)
    view = reader.read_bytes()
    if kind == "d":
        return suit_envelope.parse_digest(view)
    if len(view) != 16:
        raise ProtocolError(MALFORMED, "an id has 16 bytes", reader.offset)
    return view
