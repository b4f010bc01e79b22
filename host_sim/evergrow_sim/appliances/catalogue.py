"""Simulated appliances, a module per class of the registry. Portable.

Each is an `appliance` port (see evergrow_agent.board), made as `Class(random)`, that lives by `step(dt_ms)` and has for people

    act(word, number)   what a person does to it, say `door 1`; ValueError for what one cannot do with it
    counters()          what it really used since power on: energy_wh and, where it takes water, water_ml
    power_off()         the mains fail
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLASSES = ("washer", "refrigerator", "air_conditioner")


def make(name: str, random: "Any" = None) -> "Any":
    """The appliance of a class. ValueError for one that there is no model of."""
    if name == "washer":
        from evergrow_sim.appliances.washer import Washer

        return Washer(random)
    if name == "refrigerator":
        from evergrow_sim.appliances.refrigerator import Refrigerator

        return Refrigerator(random)
    if name == "air_conditioner":
        from evergrow_sim.appliances.air_conditioner import AirConditioner

        return AirConditioner(random)
    raise ValueError(f"there is no model of class {name!r}, only of {', '.join(CLASSES)}")
