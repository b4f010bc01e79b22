"""On a warm day a room warms slowly while the compressor rests, and cools while it runs. With a window open it does neither.

Sensors are noisy to a few tenths of a degree: what is compared are means of a minute.
"""

from evergrow_protocol.registry_air_conditioner import (
    ACTUATOR_CLIMATE_MODE,
    SIGNAL_COMPRESSOR_S,
    SIGNAL_OUTDOOR_TEMP,
    SIGNAL_ROOM_TEMP,
)

METER_SAVED_MIN = 1041
EVENT_WINDOW_OPEN = 1042
SETTING_RISE = 1
SETTING_PAUSE_MIN = 2

OFF = 0
COOL = 1
LOOK_S = 10
LOOKS = 6  # in a minute
RISE_MIN = 3
VAIN_MIN = 10
VAIN_S = 590  # of cooling in VAIN_MIN
WARMER_OUTSIDE = 20  # tenths of a degree


def start(api):
    """Called by the agent when the feature becomes active."""
    Window(api)


class Window:
    def __init__(self, api):
        self.api = api
        self.sum = self.looks = 0
        self.minutes = []  # (LOOKS times the mean room temperature, compressor_s) of the last minutes, the oldest first
        self.paused_min = 0  # how long to go, 0: it is not paused
        api.every(LOOK_S, self.look)

    def look(self):
        self.sum += self.api.read(SIGNAL_ROOM_TEMP)
        self.looks += 1
        if self.looks == LOOKS:
            room, self.sum, self.looks = self.sum, 0, 0
            self.minute(room)

    def minute(self, room):
        """Watch, or wait until the window may be shut again."""
        if self.paused_min:
            self.wait()
        elif self.api.value(ACTUATOR_CLIMATE_MODE) == COOL:
            self.minutes = self.minutes[-VAIN_MIN:] + [(room, self.api.read(SIGNAL_COMPRESSOR_S))]
            if self.api.read(SIGNAL_OUTDOOR_TEMP) * LOOKS - room >= WARMER_OUTSIDE * LOOKS:
                self.judge()
        else:
            self.minutes = []

    def judge(self):
        """Does it warm too fast, or is it cooled in vain?"""
        api, minutes = self.api, self.minutes
        room, ran_s = minutes[-1]
        rise = room - minutes[-1 - RISE_MIN][0] if len(minutes) > RISE_MIN else 0
        fast = rise >= api.setting(SETTING_RISE) * LOOKS
        vain = len(minutes) > VAIN_MIN and ran_s - minutes[0][1] >= VAIN_S and room >= minutes[0][0]
        if fast or vain:
            self.minutes = []
            self.paused_min = api.setting(SETTING_PAUSE_MIN)
            api.alarm(EVENT_WINDOW_OPEN, True, rise // LOOKS)
            api.write(ACTUATOR_CLIMATE_MODE, OFF)

    def wait(self):
        api = self.api
        if api.value(ACTUATOR_CLIMATE_MODE) != OFF:  # somebody has switched it on: they know better
            self.paused_min = 0
        else:
            self.paused_min -= 1
            api.count(METER_SAVED_MIN)
            if not self.paused_min:
                api.write(ACTUATOR_CLIMATE_MODE, COOL)
        if not self.paused_min:
            api.alarm(EVENT_WINDOW_OPEN, False)
