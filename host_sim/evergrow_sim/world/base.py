"""Whether an appliance does in the end what it was bought for, with all that was installed on it: the rule `base`."""

from evergrow_agent.runner import IDLE
from evergrow_protocol import errors as codes
from evergrow_protocol.registry_common import OUTCOME_FINISHED
from evergrow_sim.world import brisk
from evergrow_sim.world.house import Resident
from evergrow_sim.world.world import World

ATTEMPTS = 1
ATTEMPTS_WITH_CODE = 5
"""Code that never returns may cost this many cycles before it is left out."""
_WITHIN_MS = 600_000
_STEP_MS = 5_000
_AGAIN_MS = 90_000  # when people come back: long enough for a device to believe that it is well


def works(world: World, resident: Resident) -> tuple[str, str]:
    """(device, what is wrong): a person closes the door and starts a programme of the appliance's own, which runs to its end."""
    bad_code = any(offer.broken for offer in resident.offered.values())
    what = ""
    for _ in range(ATTEMPTS_WITH_CODE if bad_code else ATTEMPTS):
        what = _try(world, resident)
        if not what:
            break
        world.run(until_ms=world.loop.now_ms + _AGAIN_MS)
    return resident.name, what


def _try(world: World, resident: Resident) -> str:
    device = resident.device
    device.close_door()
    resident.orders.by_person = True
    code = device.start_programme(brisk.SHORT_SPIN)
    resident.orders.by_person = False
    boots, end_ms = device.boots, world.loop.now_ms + _WITHIN_MS
    while world.loop.now_ms < end_ms and device.boots == boots and (not device.on or device.agent.runner.state != IDLE):
        world.run(until_ms=world.loop.now_ms + _STEP_MS)
    if code != codes.OK:
        return f"an own programme is refused with code {code}"
    if device.boots != boots:
        return "an own programme was ended by the watchdog"
    runner = device.agent.runner
    finished = runner.outcome == OUTCOME_FINISHED
    return "" if finished else f"an own programme ended with outcome {runner.outcome}, error {runner.error}"
