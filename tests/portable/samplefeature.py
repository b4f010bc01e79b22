"""The code of a feature, for tests: on MicroPython this file is there as byte code."""

import math

LEVEL, RPM = 1, 3
DRUM = 4
FAST, METER = 1007, 1008
LIMIT = 1


def start(api):
    sense = Sense(api)
    api.every(10, sense.look)
    api.after(5, sense.once)
    api.on(3, sense.ended)
    api.on_home(sense.home)
    api.on_scene(sense.scene)


class Sense:
    def __init__(self, api):
        self.api = api
        self.looks = 0

    def look(self):
        self.looks += 1
        if self.api.read(RPM) > self.api.setting(LIMIT):
            self.api.event(FAST, math.floor(self.api.read(RPM) / 10))

    def once(self):
        self.api.write(DRUM, 100)

    def ended(self, event):
        self.api.count(METER, event)

    def home(self, device, event, value):
        self.api.log(f"{device} {event} {value}")

    def scene(self, scene):
        self.api.log(f"scene {scene}")
