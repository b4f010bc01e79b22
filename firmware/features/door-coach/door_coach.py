"""A buzz when the door has been open for longer than it takes to find the butter, and a figure to be proud of once a day."""

from evergrow_protocol.registry_refrigerator import ACTUATOR_BUZZER, SIGNAL_DOOR_OPEN_S, SIGNAL_DOOR_OPENINGS

METER_OPEN_S = 1021
METER_OPENINGS = 1022
EVENT_REMINDED = 1023
EVENT_DAY = 1024
SETTING_PATIENCE_S = 1

LOOK_S = 2
DAY_S = 86400


def start(api):
    """Called by the agent when the feature becomes active."""
    Coach(api)


class Coach:
    def __init__(self, api):
        self.api = api
        self.open_s = 0  # of the opening under way, as last seen
        self.openings = api.read(SIGNAL_DOOR_OPENINGS)
        self.day_s = 0
        self.buzzing = False
        api.every(LOOK_S, self.look)
        api.every(DAY_S, self.day)

    def look(self):
        """How long has the door been open?"""
        api = self.api
        open_s = api.read(SIGNAL_DOOR_OPEN_S)
        more_s = open_s - self.open_s if open_s >= self.open_s else open_s  # it was shut in between
        self.open_s = open_s
        if more_s:
            self.day_s += more_s
            api.count(METER_OPEN_S, more_s)
        openings = api.read(SIGNAL_DOOR_OPENINGS)
        if openings > self.openings:
            api.count(METER_OPENINGS, openings - self.openings)
        self.openings = openings
        late = open_s >= api.setting(SETTING_PATIENCE_S)
        if late != self.buzzing:
            self.buzzing = late
            api.write(ACTUATOR_BUZZER, 1 if late else 0)
            if late:
                api.event(EVENT_REMINDED, open_s)

    def day(self):
        """What came together since yesterday."""
        self.api.event(EVENT_DAY, self.day_s)
        self.day_s = 0
