"""A features port of what a test says is installed."""


class Features:
    def __init__(self, programmes=None, unlocks=()):
        self.programmes = programmes or {}
        self.raised = list(unlocks)

    def programme(self, programme_id):
        return self.programmes.get(programme_id)

    def unlocks(self):
        return self.raised
