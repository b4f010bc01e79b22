"""SUIT manifest processor (draft-ietf-suit-manifest-37), sans-IO: what is to be done comes out, the caller does it.

    envelope, manifest, key = yield from suit.open_steps(buf, keys)     # everything that trust needs
    steps = suit.Processor(manifest, vendor_id, class_id).run(suit_manifest.INSTALL)
    action = next(steps)                                                # then steps.send(False) where it failed

Commands, and the parameters they need (`suit_parameters`). The caller is asked by an Action, except where "here" stands:

| command                | what it asks of the caller                                          | parameter     | when it fails |
| ---------------------- | ------------------------------------------------------------------- | ------------- | ------------- |
| 1 vendor, 2 class      | here: is it this device's?                                          | 1, 2          | OUT_OF_RANGE  |
| 24 device identifier   | here                                                                | 24            | OUT_OF_RANGE  |
| 3 image match          | has the component this digest (and size)?                           | 3, ? 14       | BAD_DIGEST    |
| 4 use before           | is it earlier than `value`, UTC seconds?                            | 4             | EXPIRED       |
| 5 component slot       | can what is built for slot `value` run here?                        | 5             | INVALID_STATE |
| 7 dependency integrity | for the component's manifest, opened: send it                       | 3             | BAD_DIGEST    |
| 8 is dependency        | here                                                                |               | INVALID_STATE |
| 14 abort               | here: fails                                                         |               | INVALID_STATE |
| 26 minimum battery     | has the battery at least `value` percent? Yes, where there is none  | 26            | INVALID_STATE |
| 27 update authorised   | has a person agreed to an update of priority `value`?               | 27            | INVALID_STATE |
| 28 version             | does `version_holds(value, ...)` for what is installed?             | 28            | STALE         |
| 11 process dependency  | here: the dependency's actions follow, for *its* components         |               |               |
| 12 set component index | here: an index, a list of them, or true for all                     |               |               |
| 15 try each            | here: runs sequences until one does not fail                        |               | INVALID_STATE |
| 18 write               | the component's new content is `value`                              | 18            | INVALID_STATE |
| 19 set, 20 override    | here: parameters of current components; 19 keeps those that are set |               |               |
| 21 fetch               | the component's new content is at `uri`, `size` bytes               | 21, ? 3, ? 14 | INVALID_STATE |
| 22 copy                | the component's new content is that of component `source`           | 22            | INVALID_STATE |
| 23 invoke              | run the component, with arguments `value` or None                   | ? 23          | INVALID_STATE |
| 32 run sequence        | here: runs a nested sequence                                        |               |               |
| 33 unlink              | give the component up; remove it with its last user                 |               | INVALID_STATE |

A dependency is a component that holds another manifest's envelope: an integrated payload, something fetched, or one that is
installed. Image match means its manifest, too, and so is asked as 7. Its own publisher signs it and it is held to that
publisher's rights. It has parameters of its own: none crosses from one manifest to another.

Everything else is refused with UNSUPPORTED. Other errors are ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE;
OUT_OF_RANGE for an index, and for what changes the device before its vendor and class were found to fit; TOO_LARGE for a limit.
"""

from . import suit_envelope, suit_parameters
from .cbor import ARRAY, OTHER, UINT, Decoder
from .errors import (
    BAD_DIGEST,
    EXPIRED,
    INVALID_STATE,
    MALFORMED,
    NOT_AUTHORISED,
    OUT_OF_RANGE,
    STALE,
    TOO_LARGE,
    UNSUPPORTED,
    ProtocolError,
)
from .strict import finish, open_strict
from .suit_manifest import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from . import cose

    Buffer = bytes | bytearray | memoryview

# Kinds of action: the command numbers.
IMAGE_MATCH = 3
USE_BEFORE = 4
COMPONENT_SLOT = 5
DEPENDENCY = 7  # dependency integrity
WRITE = 18
FETCH = 21
COPY = 22
RUN = 23  # invoke
MINIMUM_BATTERY = 26
UPDATE_AUTHORISED = 27
VERSION = 28
UNLINK = 33

_IS_DEPENDENCY = 8
_PROCESS = 11
_SET_INDEX = 12
_ABORT = 14
_TRY_EACH = 15
_SET = 19
_OVERRIDE = 20
_RUN_SEQUENCE = 32

# Commands that take a reporting policy, and the parameter that each needs: what its action is about.
_NEEDS = {
    1: 1,
    2: 2,
    IMAGE_MATCH: suit_parameters.DIGEST,
    USE_BEFORE: suit_parameters.BEFORE,
    COMPONENT_SLOT: suit_parameters.SLOT,
    DEPENDENCY: suit_parameters.DIGEST,
    _IS_DEPENDENCY: 0,
    _PROCESS: 0,
    _ABORT: 0,
    WRITE: suit_parameters.CONTENT,
    FETCH: suit_parameters.URI,
    COPY: suit_parameters.SOURCE,
    RUN: 0,
    24: suit_parameters.DEVICE,
    MINIMUM_BATTERY: suit_parameters.BATTERY,
    UPDATE_AUTHORISED: suit_parameters.PRIORITY,
    VERSION: suit_parameters.VERSION,
    UNLINK: 0,
}
# Commands that change the device, or run on it: only after both identity conditions held (EG-FEAT-006).
_STORES = (WRITE, FETCH, COPY)
_CHANGES = (WRITE, FETCH, COPY, RUN, UNLINK)
# Codes of conditions that fail, where it is not INVALID_STATE (EG-SUIT-003).
_FAILED = {
    1: OUT_OF_RANGE,
    2: OUT_OF_RANGE,
    24: OUT_OF_RANGE,
    IMAGE_MATCH: BAD_DIGEST,
    DEPENDENCY: BAD_DIGEST,
    USE_BEFORE: EXPIRED,
    VERSION: STALE,
}

MAX_COMMANDS = 64  # executed in one run; a feature in two forms, each as a patch or whole, takes 39
MAX_DEPTH = 3  # a try-each in a run-sequence in a section; each level takes three generators


class Action:
    """Something the caller does or decides, for one component.

    `kind`: one of the constants above. `index` and `component`: the component's place and id in `manifest`, which is not the
    one that was opened but one that it depends on when `manifest` is not the opened one. `dependency`: whether the component
    holds another manifest. `value`: what the command is about, as the table above says. `uri`: text or None. `size`: bytes of
    the image or None. `digest`: view of its 32 bytes of SHA-256 or None. `slot`: or None. `source`: the component id to copy
    from, or None.
    """

    def __init__(self, kind: int, index: int, manifest: Manifest, values: "dict[int, Any]") -> None:
        self.kind = kind
        self.index = index
        self.manifest = manifest
        self.component = manifest.components[index]
        self.dependency = index in manifest.dependencies
        self.value: Any = values.get(suit_parameters.ARGUMENTS if kind == RUN else _NEEDS[kind])
        self.uri: str | None = values.get(suit_parameters.URI)
        self.size: int | None = values.get(suit_parameters.SIZE)
        self.digest: memoryview | None = values.get(suit_parameters.DIGEST)
        self.slot: int | None = values.get(suit_parameters.SLOT)
        source = values.get(suit_parameters.SOURCE)
        self.source = None if source is None else manifest.components[source]


class Processor:
    """Runs the sections of a verified manifest for a device with these 16-byte ids; `device_id` may be unknown."""

    def __init__(self, manifest: Manifest, vendor_id: bytes, class_id: bytes, device_id: bytes = b"") -> None:
        self._manifest = manifest
        self._identity = {1: vendor_id, 2: class_id, 24: device_id}
        self._values: list[dict[int, Any]] = []  # parameters by component
        self._fits = 0  # bits of the identity conditions that held in this run: 3 when both did
        self._current: Sequence[int] = (0,)
        self._commands = 0  # that may still be executed
        self._section = 0
        self._opened: dict[int, Manifest] = {}  # dependencies whose integrity was checked in this run

    def run(self, section: int) -> "Generator[Action, Any, None]":
        """Run the shared sequence and then `section`; each run starts afresh. Nothing happens if there is no such section.

        Yields an Action; the caller carries it out and sends False when that failed or the answer is no, anything else
        (`next` will do) when it went well; to a DEPENDENCY it sends the Manifest.
        """
        self._commands = MAX_COMMANDS
        yield from self._run(section, 0)

    def _run(self, section: int, depth: int) -> "Generator[Action, Any, bool]":
        body = self._manifest.sections.get(section)
        if body is not None:
            self._section = section
            self._values = [{} for _ in self._manifest.components]
            self._fits = 0
            self._opened = {}
            for sequence in (self._manifest.shared, body):
                self._current = (0,)
                if sequence is not None:
                    yield from self._sequence(sequence, depth, False)
        return True

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
                raise ProtocolError(TOO_LARGE, f"more than {MAX_COMMANDS} commands")
            command = reader.read_int()
            good = True
            if command == _SET_INDEX:
                self._set_index(reader)
            elif command in (_SET, _OVERRIDE):
                soft = self._parameters(reader, depth, soft, command == _SET)
            elif command in (_TRY_EACH, _RUN_SEQUENCE):
                good = yield from self._nested(reader.read_raw(), command == _TRY_EACH, depth + 1)
            elif command in _NEEDS:
                reader.read_int()  # the reporting policy: the agent reports every refusal anyway
                good = yield from self._command(command, depth)
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

    def _command(self, command: int, depth: int) -> "Generator[Action, Any, bool]":
        """One condition or directive, for each current component. -> whether it went well."""
        for index in self._current:
            values = self._values[index]
            need = _NEEDS[command]
            if need and need not in values:
                raise ProtocolError(MALFORMED, f"command {command} lacks parameter {need}")
            if command == _ABORT:
                return False
            if command in self._identity:
                if bytes(values[need]) != self._identity[command]:
                    return False
                self._fits |= command & 3
                continue
            if index in self._manifest.dependencies:
                good = yield from self._dependency(command, index, depth)
            else:
                good = command not in (DEPENDENCY, _IS_DEPENDENCY, _PROCESS) and (yield from self._ask(command, index))
            if good is False:
                return False
        return True

    def _ask(self, command: int, index: int) -> "Generator[Action, Any, Any]":
        """The caller's answer."""
        if command in _CHANGES and self._fits != 3:
            raise ProtocolError(OUT_OF_RANGE, f"command {command} without a vendor and a class condition")
        return (yield Action(command, index, self._manifest, self._values[index]))

    def _dependency(self, command: int, index: int, depth: int) -> "Generator[Action, Any, Any]":
        """A command for a component that is another manifest."""
        if command == _IS_DEPENDENCY:
            return True
        if command == _PROCESS:
            manifest = self._opened.get(index)
            if manifest is None:
                raise ProtocolError(INVALID_STATE, "a dependency is processed before its integrity was checked")
            other = Processor(manifest, self._identity[1], self._identity[2], self._identity[24])
            other._commands = self._commands
            good = yield from other._run(self._section, depth + 1)
            self._commands = other._commands
            return good
        if command in (IMAGE_MATCH, DEPENDENCY):
            answer = yield from self._ask(DEPENDENCY, index)
            if not isinstance(answer, Manifest) or bytes(answer.digest) != bytes(self._values[index][suit_parameters.DIGEST]):
                raise ProtocolError(BAD_DIGEST, "the dependency is not the manifest that was named")
            self._opened[index] = answer
            return True
        if command in _STORES:
            self._opened.pop(index, None)
        return (yield from self._ask(command, index))

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

    def _parameters(self, reader: Decoder, depth: int, soft: bool, keep: bool) -> bool:
        """-> whether failing is soft from here on."""
        for key in reader.read_map():
            value = suit_parameters.read(reader, key)
            if key == suit_parameters.SOFT_FAILURE:
                if not depth:
                    raise ProtocolError(MALFORMED, "soft failure at the top", reader.offset)
                soft = value
            elif key == suit_parameters.SOURCE and value >= len(self._values):
                raise ProtocolError(OUT_OF_RANGE, f"source component {value}", reader.offset)
            else:
                for index in self._current:
                    values = self._values[index]
                    if not keep or key not in values:
                        values[int(key)] = value
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
    """Raises NOT_AUTHORISED unless the key's prefix leads every component id; those of dependencies are others' to sign."""
    ids = [component for index, component in enumerate(manifest.components) if index not in manifest.dependencies]
    for component in ids + ([manifest.id] if manifest.id else []):
        if component[0] != key.prefix:
            raise ProtocolError(NOT_AUTHORISED, f"component {component[0]!r} is not {key.prefix!r}")


def locate(uri: str) -> "tuple[int, int]":
    """What a URI names: (payload of the transfer, 0 for the envelope itself; bytes of the patch that it is, 0 for whole content).

    'evergrow:N', N 1..999, is payload N; 'evergrow:N?patch=SIZE' is payload N, which is a patch of SIZE bytes, to be applied to
    what is installed (EG-SUIT-007); '#name' is in the envelope. Raises ProtocolError UNSUPPORTED for anything else.
    """
    if uri[:1] == "#":
        return 0, 0
    place, _, query = uri.partition("?patch=")
    try:
        number = int(place[9:])
        patch = int(query or "0")
    except ValueError:
        number = patch = 0
    if not 0 < number < 1000 or uri != f"evergrow:{number}" + (f"?patch={patch}" if patch > 0 else ""):
        raise ProtocolError(UNSUPPORTED, f"cannot fetch {uri!r}")
    return number, patch


def payload_number(uri: str) -> int:
    """Which payload of the transfer a URI names, as `locate`, where patches are not supported."""
    number, patch = locate(uri)
    if patch:
        raise ProtocolError(UNSUPPORTED, f"cannot patch with {uri!r}")
    return number
