"""What a manifest says of others that it depends on: inside its envelope, or installed (EG-SUIT-004, EG-SUIT-009)."""

from evergrow_agent.parts import version
from evergrow_agent.records import LEAVING
from evergrow_protocol import suit
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BAD_DIGEST, TOO_LARGE, UNSUPPORTED, ProtocolError
from evergrow_protocol.suit_parameters import version_holds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from evergrow_agent.features import Features
    from evergrow_agent.parts import Part

MAX_PARTS = 4


async def answer(
    action: suit.Action,
    part: "Part",
    parts: "list[Part]",
    features: "Features",
    open_part: "Callable[[memoryview], Awaitable[Part]]",
) -> "Any":
    """The answer to an action for a dependency of `part`; what is opened comes to `parts`. ProtocolError, OSError."""
    kind = action.kind
    if kind == suit.FETCH:
        uri = action.uri or ""
        if suit.locate(uri)[0]:
            raise ProtocolError(UNSUPPORTED, f"a dependency is inside the envelope, not at {uri!r}")
        if uri not in part.envelope.payloads:
            raise ProtocolError(BAD_DIGEST, f"the envelope holds no {uri!r}")
        part.held[action.index] = part.envelope.payloads[uri]
    elif kind == suit.DEPENDENCY:
        data = part.held.get(action.index)
        return None if data is None else (await _opened(data, part, parts, open_part)).manifest
    elif kind == suit.VERSION:
        return _require(part, action, features)
    elif kind != suit.UNLINK:  # that is said in a removal: it is needed no more
        raise ProtocolError(UNSUPPORTED, f"command {kind} for a dependency is not supported")
    return None


async def _opened(
    data: memoryview, part: "Part", parts: "list[Part]", open_part: "Callable[[memoryview], Awaitable[Part]]"
) -> "Part":
    """The part in that envelope, which is verified once."""
    for other in parts:
        if other.data is data:
            return other
    if len(parts) >= MAX_PARTS:
        raise ProtocolError(TOO_LARGE, f"over {MAX_PARTS} manifests in one envelope")
    new = await open_part(data)
    parts.append(new)
    part.needs += [needed.component for needed in new.versions()]
    return new


def _require(part: "Part", action: suit.Action, features: "Features") -> bool:
    """Whether a component of another publisher is in force in the version that is needed."""
    component = dumps(action.component)
    for record in features.records:
        is_it = record.active and record.state != LEAVING and record.component == component
        if is_it and version_holds(action.value, version(features, record)):
            part.needs.append(component)
            return True
    return False
