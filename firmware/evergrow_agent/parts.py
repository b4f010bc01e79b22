"""The manifests of one transfer: the one that was offered, and those that it depends on and has inside (EG-SUIT-004)."""

from evergrow_protocol.errors import BAD_DIGEST, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from evergrow_agent.features import Features
    from evergrow_agent.records import Record
    from evergrow_protocol.cose import Key
    from evergrow_protocol.suit_envelope import Envelope
    from evergrow_protocol.suit_manifest import Manifest

    Opened = tuple[Envelope, Manifest, Key]


class Part:
    """One manifest. `news`: the version that it brings of each of its components, None where that is a dependency.

    `data`: the envelope of one that another depends on. `held`: envelopes of dependencies, by component. `needs`: encoded ids of
    components of others that it cannot do without.
    """

    def __init__(self, opened: "Opened", data: "memoryview | None" = None) -> None:
        self.data = data
        self.envelope = opened[0]
        self.manifest = opened[1]
        self.publisher = opened[2].publisher
        self.news: "list[Record | None]" = []
        self.held: "dict[int, memoryview]" = {}
        self.needs: "list[bytes]" = []

    def versions(self) -> "list[Record]":
        return [new for new in self.news if new]


def of(parts: "list[Part]", manifest: "Manifest") -> Part:
    """The part that an action's manifest belongs to. ProtocolError."""
    for part in parts:
        if part.manifest is manifest:
            return part
    raise ProtocolError(BAD_DIGEST, "a manifest that was not opened")


def version(features: "Features", record: "Record") -> "tuple[int, ...]":
    """The integers of an installed version, "1.2.3"; what is none counts as 0. ProtocolError, OSError."""
    text = features.verify(record).version
    return tuple([int(number) if number.isdigit() else 0 for number in text.split(".")])
