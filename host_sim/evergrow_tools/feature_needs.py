"""What features ask of a grant (SPEC section 12): what they read, drive and count in, and how much room they take."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from evergrow_protocol import feature, feature_code
from evergrow_tools import programmes, suit_inspect
from evergrow_tools.feature_files import Built

_KIB = 1024


@dataclass
class Needs:
    """Ids of the registry; `flash_bytes`: of the largest form of each feature, and as much again for its next version."""

    signals: set[int] = field(default_factory=set)
    actuators: set[int] = field(default_factory=set)
    meters: set[int] = field(default_factory=set)
    flash_bytes: int = 0
    heap_bytes: int = 0


def of(features: Iterable[Built]) -> Needs:
    """What all of these together need. Raises ProtocolError for what no device could read."""
    needs = Needs()
    for built in features:
        bodies = suit_inspect.bodies(built)
        needs.flash_bytes += -(-2 * max(len(body) for body in bodies) // _KIB) * _KIB
        heap_bytes = 0
        for body in bodies:
            parsed = feature.parse(body)
            needs.actuators |= set(parsed.unlocks)
            if parsed.programme is not None:
                for step in programmes.read(parsed.programme).steps():
                    needs.signals |= set(step.signals())
                    needs.actuators |= set(step.actuators())
            if parsed.needs is not None:
                code = feature_code.parse(parsed.needs)
                needs.signals |= set(code.signals)
                needs.actuators |= set(code.actuators)
                needs.meters |= set(code.meters)
                heap_bytes = max(heap_bytes, code.heap_bytes)
        needs.heap_bytes += heap_bytes
    return needs
