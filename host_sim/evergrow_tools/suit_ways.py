"""Every way in which a manifest gives its component a content, found by running it as devices of all kinds would."""

from collections.abc import Iterator
from dataclasses import dataclass

from evergrow_protocol import suit
from evergrow_protocol.cbor import loads
from evergrow_protocol.errors import BAD_DIGEST, INVALID_STATE, ProtocolError
from evergrow_protocol.suit_manifest import INSTALL, PAYLOAD_FETCH, Manifest
from evergrow_tools import suit_build


@dataclass(frozen=True)
class Way:
    """A fetch and what it depends on. `number` 0: inside the envelope. `patch`: bytes of a patch, 0 for the whole content.

    `size`, `digest`: of the content. `slot`: the form that it is in, or None. `old`: digest of what must be installed.
    """

    uri: str
    number: int
    patch: int
    size: int | None
    digest: bytes | None
    slot: int | None
    old: bytes | None


def ways(manifest: Manifest) -> list[Way]:
    """In the order in which a device tries them. Raises ProtocolError for what no device could run."""
    processor = suit.Processor(manifest, *_target(manifest))
    return [way for section in (PAYLOAD_FETCH, INSTALL) for way in _tried(processor, section)]


def _tried(processor: suit.Processor, section: int) -> Iterator[Way]:
    """Says yes to every condition, and then that the content is not the signed one: so that the next alternative is tried."""
    steps = processor.run(section)
    answer: bool | None = None
    slot: int | None = None
    old: bytes | None = None
    fetched = False
    while True:
        try:
            action = steps.send(answer)
        except StopIteration:
            return
        except ProtocolError as error:
            if answer is False and error.code in (BAD_DIGEST, INVALID_STATE):
                return
            raise
        answer = None
        digest = None if action.digest is None else bytes(action.digest)
        if action.kind == suit.COMPONENT_SLOT:
            slot = action.slot
        elif action.kind == suit.FETCH and not action.dependency and action.uri is not None:
            number, patch = suit.locate(action.uri)
            yield Way(action.uri, number, patch, action.size, digest, slot, old)
            fetched = True
        elif action.kind == suit.IMAGE_MATCH and fetched:
            answer = fetched = False
            slot = old = None
        elif action.kind == suit.IMAGE_MATCH:
            old = digest


def _target(manifest: Manifest) -> tuple[bytes, bytes]:
    """The vendor and class ids that the shared sequence asks for."""
    wanted: dict[int, bytes] = {}
    flat = loads(manifest.shared or b"\x80")
    for command, argument in zip(flat[::2], flat[1::2], strict=False):
        if command == suit_build.OVERRIDE_PARAMETERS:
            wanted.update(argument)
    return wanted.get(suit_build.VENDOR, b""), wanted.get(suit_build.CLASS, b"")
