"""Half a degree at a time, and back to where it was in the morning."""

from evergrow_protocol.registry_air_conditioner import ACTUATOR_ROOM_SET, SIGNAL_ROOM_TEMP

METER_SLEPT_MIN = 1031
EVENT_CURVE = 1032
SETTING_RISE = 1
SETTING_STEP_MIN = 2

NIGHT = 3  # the scene
STEP = 5  # tenths of a degree
MINUTE_S = 60
LONGEST_MIN = 600  # nobody sleeps longer than that; the hub may have gone


def start(api):
    """Called by the agent when the feature becomes active."""
    Curve(api)


class Curve:
    def __init__(self, api):
        self.api = api
        self.evening = 0  # the set point before, 0: it is day
        self.raised = 0
        self.minutes = 0
        api.on_scene(self.scene)
        api.every(MINUTE_S, self.minute)

    def scene(self, scene):
        """The home goes to sleep, or wakes up."""
        if scene == NIGHT and not self.evening:
            self.evening = self.api.value(ACTUATOR_ROOM_SET)
            self.raised = self.minutes = 0
            self.api.event(EVENT_CURVE, self.api.read(SIGNAL_ROOM_TEMP))
        elif scene != NIGHT:
            self.wake()

    def minute(self):
        """A little warmer, if it is time to."""
        if not self.evening:
            return
        api = self.api
        self.minutes += 1
        api.count(METER_SLEPT_MIN)
        if self.minutes >= LONGEST_MIN:
            self.wake()
        elif self.minutes % api.setting(SETTING_STEP_MIN) == 0 and self.raised < api.setting(SETTING_RISE):
            self.raised = min(self.raised + STEP, api.setting(SETTING_RISE))
            api.write(ACTUATOR_ROOM_SET, self.evening + self.raised)

    def wake(self):
        """As it was in the evening, unless somebody has set it meanwhile."""
        evening, self.evening = self.evening, 0
        if evening and self.api.value(ACTUATOR_ROOM_SET) == evening + self.raised:
            self.api.write(ACTUATOR_ROOM_SET, evening)
