"""Whether what a feature brings fits this appliance. The guard holds its limits all the same; this says it before installing."""

from evergrow_agent.programme import Programme
from evergrow_protocol.errors import OUT_OF_RANGE, UNSUPPORTED, ProtocolError
from evergrow_protocol.feature import CODE, FIRST_ID, Feature
from evergrow_protocol.registry_common import REGISTRY_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def check(feature: Feature, appliance: "Any") -> None:
    """Raises ProtocolError: OUT_OF_RANGE, UNSUPPORTED, or what the programme is refused for."""
    if feature.kind == CODE:
        raise ProtocolError(UNSUPPORTED, "features of kind code are not supported")
    if feature.class_id not in (0, appliance.class_id):
        raise ProtocolError(OUT_OF_RANGE, f"feature for class {feature.class_id}, this is {appliance.class_id}")
    if feature.registry_version > REGISTRY_VERSION:
        raise ProtocolError(UNSUPPORTED, f"feature needs registry {feature.registry_version}, here is {REGISTRY_VERSION}")
    for actuator, maximum in feature.unlocks.items():
        absolute = appliance.unlockable.get(actuator, 0)
        if maximum > absolute:
            raise ProtocolError(OUT_OF_RANGE, f"actuator {actuator} cannot be raised to {maximum}, at most {absolute}")
    if feature.programme is not None:
        programme = Programme(feature.programme, appliance.signals, appliance.limits)
        if programme.id < FIRST_ID:
            raise ProtocolError(OUT_OF_RANGE, f"programme id {programme.id} is below {FIRST_ID}")
