"""The stories of protocol/vectors/stories: what a device does, message by message, as one in another language can be held to."""

import json

from evergrow_agent.commands import Commands
from evergrow_agent.cycle import Cycle
from evergrow_agent.guard import Guard
from evergrow_agent.ledger import Ledger
from evergrow_agent.runner import RUNNING, Runner
from evergrow_agent.settings import Settings
from evergrow_agent.timebase import Timebase
from evergrow_protocol import messages
from evergrow_protocol.errors import ProtocolError
from faultyflash import FaultyFlash
from ledgerkit import announce, opened
from stillclock import Clock
from tinyappliance import TinyAppliance

HEAP = "512K"


def stories(name):
    with open(f"protocol/vectors/stories/{name}.json") as file:
        return json.load(file)["stories"]


def append(ledger, ids):
    for boot, seq in ids:
        assert ledger.begin(boot) == seq
        ledger.append(boot, seq, 1_795_339_200, {0: 1, 2: 60}, 1)


def test_acks_free_what_they_name():
    """EG-ACK-001, EG-ACK-004"""
    for story in stories("acks"):
        ledger = opened(FaultyFlash())
        append(ledger, story["sent"])
        announce(ledger)
        append(ledger, story["kept"])
        left = len(story["sent"]) + len(story["kept"])
        for step in story["steps"]:
            left -= ledger.ack(*messages.parse_ack(bytes.fromhex(step["hex"])))
            assert left == len(step["left"]), (story["name"], step["diag"], left)


class Washer:
    def __init__(self):
        flash = FaultyFlash()
        self.appliance = TinyAppliance()
        guard = Guard(self.appliance)
        self.runner = Runner(guard)
        self.clock = Clock()
        self.timebase = Timebase(self.clock)
        ledger = Ledger(flash)
        ledger.load()
        ledger.adopt(0)
        self.cycle = Cycle(self.runner, guard, ledger, flash, self.timebase)
        self.cycle.boot = 1
        self.commands = Commands(self.cycle, self.appliance, self.timebase, flash)

    def code(self, step):
        """Of the answer; None without one."""
        if step["utc"]:
            self.timebase.set_utc_s(step["utc"])
        self.appliance.remote_enable = step["remote_enable"]
        self.clock.now_ms += 1000
        self.appliance.step()
        self.cycle.tick(self.clock.now_ms)
        try:
            return self.commands.handle(bytes.fromhex(step["hex"]), self.clock.now_ms)[1]
        except ProtocolError:
            return None


def test_commands_get_their_code():
    """EG-CMD-001, EG-CMD-002, EG-CMD-003, EG-CMD-004, EG-CMD-005, EG-CMD-006"""
    for story in stories("commands"):
        washer = Washer()
        for step in story["steps"]:
            code = washer.code(step)
            assert code == step["code"], (story["name"], step["diag"], code)
            assert (washer.runner.state == RUNNING) == step["running"], (story["name"], step["diag"])


def test_configurations_are_reported():
    """EG-CFG-002, EG-CFG-003, EG-CFG-004"""
    for story in stories("configurations"):
        settings = Settings(FaultyFlash())
        for step in story["steps"]:
            try:
                settings.receive(bytes.fromhex(step["hex"]))
                reported = settings.reported()
            except ProtocolError:
                reported = None
            assert reported == step["reported"], (story["name"], step["diag"], reported)
