"""Laundry holds one and a half times its weight in water. What has run in and is not free in the drum is in the laundry."""

from evergrow_protocol.registry_common import EVENT_PHASE_CHANGED, PHASE_DRAIN, PHASE_FILL, PHASE_WASH
from evergrow_protocol.registry_washer import SIGNAL_WATER_IN_ML, SIGNAL_WATER_ML

METER_LOAD_G = 1010
METER_SAVED_PERCENT = 1011
EVENT_LOAD_WEIGHED = 1012
SETTING_SMALL_G = 1

PERCENT_HELD = 150  # of its weight, once it is soaked
SOAK_S = 120
LEAST_PERCENT = 60


def start(api):
    """Called by the agent when the feature becomes active."""
    Scale(api)


class Scale:
    def __init__(self, api):
        self.api = api
        self.dry_ml = -1  # what had run in before this cycle's first water
        api.on(EVENT_PHASE_CHANGED, self.changed)

    def changed(self, event):
        """Another phase: the first filling begins, or the wash, in which the laundry soaks."""
        phase = self.api.phase
        if phase == PHASE_FILL and self.dry_ml < 0:
            self.dry_ml = self.api.read(SIGNAL_WATER_IN_ML) - self.api.read(SIGNAL_WATER_ML)
        elif phase == PHASE_WASH and self.dry_ml >= 0:
            self.api.after(SOAK_S, self.weigh)
        elif phase == PHASE_DRAIN:
            self.dry_ml = -1

    def weigh(self):
        """Tell the load, and shorten the wash of a small one in proportion."""
        if self.dry_ml < 0:
            return
        held_ml = self.api.read(SIGNAL_WATER_IN_ML) - self.api.read(SIGNAL_WATER_ML) - self.dry_ml
        self.dry_ml = -1
        load_g = max(held_ml, 0) * 100 // PERCENT_HELD
        self.api.event(EVENT_LOAD_WEIGHED, load_g)
        self.api.count(METER_LOAD_G, load_g)
        small_g = self.api.setting(SETTING_SMALL_G)
        if load_g < small_g and self.api.programme < 1000:
            percent = max(LEAST_PERCENT, 100 * load_g // small_g)
            self.api.hold_percent(percent)
            self.api.count(METER_SAVED_PERCENT, 100 - percent)
