"""While it cools, a room does not get warmer by itself. If it does, and fast, and it is warmer outside, a window is open."""

from evergrow_protocol.registry_air_conditioner import ACTUATOR_CLIMATE_MODE, SIGNAL_OUTDOOR_TEMP, SIGNAL_ROOM_TEMP

METER_SAVED_MIN = 1041
EVENT_WINDOW_OPEN = 1042
SETTING_RISE = 1
SETTING_PAUSE_MIN = 2

OFF = 0
COOL = 1
MINUTE_S = 60
WATCH_MIN = 4
WARMER_OUTSIDE = 20  # tenths of a degree


def start(api):
    """Called by the agent when the feature becomes active."""
    Window(api)


class Window:
    def __init__(self, api):
        self.api = api
        self.temps = []  # of the last minutes, the oldest first
        self.paused_min = 0  # how long to go, 0: it is not paused
        api.every(MINUTE_S, self.minute)

    def minute(self):
        """Watch, or wait until the window may be shut again."""
        if self.paused_min:
            self.wait()
        elif self.api.value(ACTUATOR_CLIMATE_MODE) == COOL:
            self.watch()
        else:
            self.temps = []

    def watch(self):
        api = self.api
        room = api.read(SIGNAL_ROOM_TEMP)
        self.temps = self.temps[-WATCH_MIN + 1 :] + [room]
        rise = room - self.temps[0]
        warmer = api.read(SIGNAL_OUTDOOR_TEMP) - room >= WARMER_OUTSIDE
        if warmer and len(self.temps) == WATCH_MIN and rise >= api.setting(SETTING_RISE):
            self.temps = []
            self.paused_min = api.setting(SETTING_PAUSE_MIN)
            api.alarm(EVENT_WINDOW_OPEN, True, rise)
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
