"""SUIT manifest: version, sequence number, components, dependencies and command sequences.

Sources: draft-ietf-suit-manifest-37 section 8.4, draft-ietf-suit-trust-domains-11.

Parses what has been verified. Errors are ProtocolError: MALFORMED, NOT_DETERMINISTIC, BAD_TYPE; UNSUPPORTED for a member that
is not known here, since what was signed must not be half understood; OUT_OF_RANGE; TOO_LARGE for a limit; BAD_DIGEST where a
severed member does not match.
"""

from . import suit_envelope
from .cbor import ARRAY, Decoder
from .errors import MALFORMED, OUT_OF_RANGE, TOO_LARGE, UNSUPPORTED, ProtocolError
from .strict import elements, finish, integer, open_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

# Sections, by their keys in the manifest; 15, 18 and 24 are those of draft-ietf-suit-trust-domains.
VALIDATE = 7
LOAD = 8
INVOKE = 9
RESOLUTION = 15  # of dependencies
PAYLOAD_FETCH = 16
VERIFICATION = 18  # of candidates
INSTALL = 20
UNINSTALL = 24
SECTIONS = (VALIDATE, LOAD, INVOKE, RESOLUTION, PAYLOAD_FETCH, VERIFICATION, INSTALL, UNINSTALL)

_PASSED_OVER = (4, 23)  # reference URI and text: for people

_MAX_COMPONENTS = 4  # a feature is one; a feature with a resource or two stays below
_MAX_SEGMENTS = 4
_MAX_SEGMENT = 32


class Manifest:
    """What the manifest of an envelope says: its form, not who signed it.

    `sequence`: 0..2**32-1. `components`: tuple of component ids, each a tuple of bytes; at the indexes in `dependencies` are
    manifests that this one depends on. `id`: the component id of this manifest itself, or None. `digest`: view of the 32 bytes
    by which a dependent names it. `sections`: {section: view of the encoded command sequence}. `shared`: view of the shared
    sequence, or None.
    """

    def __init__(self, envelope: suit_envelope.Envelope) -> None:
        self.sequence = -1
        self.components: tuple[tuple[bytes, ...], ...] = ()
        self.dependencies: tuple[int, ...] = ()
        self.id: tuple[bytes, ...] | None = None
        self.digest = envelope.digest
        self.shared: memoryview | None = None
        self.sections: dict[int, memoryview] = {}
        version = 0
        reader = open_strict(envelope.manifest)
        for key in reader.read_map():
            if key == 1:
                version = reader.read_int()
            elif key == 2:
                self.sequence = integer(reader, 0, 0xFFFFFFFF)
            elif key == 3:
                self._common(reader.read_bytes())
            elif key == 5:
                self.id = _component(reader)
            elif key in suit_envelope.SEVERABLE and reader.peek() == ARRAY:
                self._severed(key, suit_envelope.parse_digest(reader.read_raw()), envelope)
            elif key in SECTIONS:
                self.sections[key] = reader.read_bytes()
            elif key in _PASSED_OVER:
                reader.skip()
            else:
                raise ProtocolError(UNSUPPORTED, f"manifest member {key!r}", reader.offset)
        finish(reader)
        if version != 1:
            raise ProtocolError(UNSUPPORTED, f"manifest version {version}, not 1")
        if self.sequence < 0 or not self.components:
            raise ProtocolError(MALFORMED, "a manifest needs a sequence number and a component")

    def _severed(self, key: "Any", digest: memoryview, envelope: suit_envelope.Envelope) -> None:
        # A member that was cut off and is absent is legal: the author or a server on the way took it out.
        raw = envelope.severed.get(key)
        if raw is not None:
            suit_envelope.check_digest(raw, digest, f"severed member {key}")
            if key in SECTIONS:
                self.sections[key] = suit_envelope.unwrap(raw)

    def _common(self, buf: memoryview) -> None:
        reader = open_strict(buf)
        dependencies: Buffer = b"\xa0"
        for key in reader.read_map():
            if key == 1:
                dependencies = reader.read_raw()
            elif key == 2:
                self.components = tuple([_component(reader) for _ in range(elements(reader, 1, _MAX_COMPONENTS))])
            elif key == 4:
                self.shared = reader.read_bytes()
            else:
                raise ProtocolError(UNSUPPORTED, f"common member {key!r}", reader.offset)
        finish(reader)
        self._depends(open_strict(dependencies))

    def _depends(self, reader: Decoder) -> None:
        """{component index: {? 1: component id}}. An index behind the components adds one, with that id."""
        for index in reader.read_map():
            prefix: tuple[bytes, ...] | None = None
            for key in reader.read_map():
                if key != 1:
                    raise ProtocolError(UNSUPPORTED, f"dependency member {key!r}", reader.offset)
                prefix = _component(reader)
            if index == len(self.components) < _MAX_COMPONENTS and prefix:
                self.components += (prefix,)
            elif not isinstance(index, int) or not 0 <= index < len(self.components):
                raise ProtocolError(OUT_OF_RANGE, f"dependency {index!r}, there are {len(self.components)} components")
            self.dependencies += (index,)


def removes(manifest: Manifest) -> bool:
    """Whether a manifest has nothing to install, but to uninstall (EG-SUIT-005)."""
    sections = manifest.sections
    return UNINSTALL in sections and INSTALL not in sections and PAYLOAD_FETCH not in sections


def _component(reader: Decoder) -> "tuple[bytes, ...]":
    count = elements(reader, 1, _MAX_SEGMENTS)
    segments = [bytes(reader.read_bytes()) for _ in range(count)]
    if max([len(segment) for segment in segments]) > _MAX_SEGMENT:
        raise ProtocolError(TOO_LARGE, f"segment of a component id exceeds {_MAX_SEGMENT} bytes", reader.offset)
    return tuple(segments)
