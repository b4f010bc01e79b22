"""Whether what a feature brings fits this appliance. The guard holds its limits all the same; this says it before installing."""

from evergrow_agent.control import free
from evergrow_agent.programme import Programme
from evergrow_protocol import feature_code
from evergrow_protocol.errors import OUT_OF_RANGE, UNSUPPORTED, ProtocolError
from evergrow_protocol.feature import FIRST_ID, Feature
from evergrow_protocol.registry_common import REGISTRY_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def check(feature: Feature, appliance: "Any") -> None:
    """Raises ProtocolError: OUT_OF_RANGE, UNSUPPORTED, or what the programme is refused for."""
    if feature.class_id not in (0, appliance.class_id):
        raise ProtocolError(OUT_OF_RANGE, f"feature for class {feature.class_id}, this is {appliance.class_id}")
    if feature.registry_version > REGISTRY_VERSION:
        raise ProtocolError(UNSUPPORTED, f"feature needs registry {feature.registry_version}, here is {REGISTRY_VERSION}")
    for actuator, maximum in feature.unlocks.items():
        absolute = appliance.unlockable.get(actuator, 0)
        if maximum > absolute:
            raise ProtocolError(OUT_OF_RANGE, f"actuator {actuator} cannot be raised to {maximum}, at most {absolute}")
    if feature.needs is not None and feature.code is not None:
        _check_code(feature.needs, feature.code, appliance)
    if feature.programme is not None:
        programme = Programme(feature.programme, appliance.signals, free(appliance))
        if programme.id < FIRST_ID:
            raise ProtocolError(OUT_OF_RANGE, f"programme id {programme.id} is below {FIRST_ID}")


def _check_code(needs_data: memoryview, code: memoryview, appliance: "Any") -> None:
    needs = feature_code.parse(needs_data)
    for signal in needs.signals:
        if signal not in appliance.signals:
            raise ProtocolError(OUT_OF_RANGE, f"this appliance has no signal {signal}")
    for actuator in needs.actuators:
        if actuator not in free(appliance):
            raise ProtocolError(OUT_OF_RANGE, f"this appliance has no actuator {actuator}")
    from evergrow_agent import codeload  # only a device that is offered code needs it

    codeload.check(code)
