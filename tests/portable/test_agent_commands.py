from evergrow_agent.commands import REMEMBERED, Commands
from evergrow_agent.cycle import Cycle
from evergrow_agent.guard import Guard
from evergrow_agent.ledger import Ledger
from evergrow_agent.runner import IDLE, RUNNING, Runner
from evergrow_agent.timebase import Timebase
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import (
    BAD_TYPE,
    EXPIRED,
    INVALID_STATE,
    MALFORMED,
    OK,
    OUT_OF_RANGE,
    UNKNOWN_KIND,
    UNSUPPORTED,
    ProtocolError,
)
from faultyflash import MODES, FaultyFlash, PowerCut
from stillclock import Clock
from support import raises
from tinyappliance import TinyAppliance

NOW_S = 1_795_339_200
START, STOP, REBIRTH = 1, 2, 3


class Bench:
    def __init__(self, flash=None, remote=True):
        self.flash = flash or FaultyFlash()
        self.appliance = TinyAppliance()
        self.appliance.remote_enable = remote
        self.clock = Clock()
        guard = Guard(self.appliance)
        self.runner = Runner(guard)
        timebase = self.timebase = Timebase(self.clock)
        ledger = Ledger(self.flash)
        ledger.load()
        ledger.adopt(0)
        self.cycle = Cycle(self.runner, guard, ledger, self.flash, timebase)
        self.cycle.boot = 1
        self.commands = Commands(self.cycle, self.appliance, timebase, self.flash)
        self.births = 0
        self.commands.rebirth = self._rebirth
        self.tick()

    def _rebirth(self):
        self.births += 1

    def tick(self):
        self.clock.now_ms += 1000
        self.appliance.step()
        self.cycle.tick(self.clock.now_ms)

    def end(self):
        for _ in range(100):
            self.tick()
        assert self.runner.state == IDLE

    def send(self, *fields):
        """A command; returns its code."""
        command_id, code = self.commands.handle(memoryview(dumps(list(fields))), self.clock.now_ms)
        assert command_id == fields[0]
        return code


def test_start_starts_and_stop_stops():
    bench = Bench()
    assert bench.send(1, START, {0: 1}) == OK
    assert bench.runner.state == RUNNING and bench.runner.programme_id == 1
    bench.tick()
    assert bench.send(2, STOP, {}) == OK
    assert bench.runner.state != RUNNING
    bench.end()
    assert bench.send(3, STOP, {}) == OK  # it is stopped already
    assert bench.send(4, REBIRTH, {}) == OK and bench.births == 1


def test_the_same_id_runs_once_and_gets_the_same_answer():
    """EG-CMD-001"""
    bench = Bench()
    assert bench.send(1, START, {0: 99}) == OUT_OF_RANGE
    assert bench.send(2, START, {0: 1}) == OK
    assert bench.send(2, START, {0: 1}) == OK
    assert bench.send(2, 99, "anything") == OK
    bench.end()
    assert bench.send(2, START, {0: 1}) == OK and bench.runner.state == IDLE
    assert bench.send(1, START, {0: 1}) == OUT_OF_RANGE
    bench.send(3, REBIRTH, {})
    bench.send(3, REBIRTH, {})
    assert bench.births == 1


def test_a_start_that_is_delivered_again_after_a_power_cut_starts_nothing():
    """EG-CMD-001"""
    bench = Bench()
    bench.send(7, START, {0: 1})
    bench.send(8, REBIRTH, {})
    after = Bench(FaultyFlash(bench.flash.files))
    assert after.send(7, START, {0: 1}) == OK
    assert after.runner.state == IDLE


def test_power_cut_while_a_command_is_stored_leaves_the_old_memory_or_the_new():
    for mode in MODES:
        cut_at = 1
        while True:
            bench = Bench(FaultyFlash())
            bench.send(1, START, {0: 1})
            bench.end()
            flash = FaultyFlash(bench.flash.files, cut_at, mode)
            try:
                Bench(flash).send(2, START, {0: 1})
                break
            except PowerCut:
                after = Bench(FaultyFlash(flash.files))
                assert after.send(1, START, {0: 1}) == OK and after.runner.state == IDLE
            cut_at += 1
        assert cut_at > 2


def test_a_start_that_power_cuts_anywhere_runs_once_at_most():
    """EG-CMD-001: of a start that is not remembered nothing may be on the flash, since it is going to be delivered again."""
    for mode in MODES:
        cut_at = 1
        while True:
            flash = FaultyFlash({}, cut_at, mode)
            try:
                Bench(flash).send(7, START, {0: 1})
                break
            except PowerCut:
                ran = "cycle" in flash.files
                after = Bench(FaultyFlash(flash.files))
                assert after.send(7, START, {0: 1}) == OK
                assert not (ran and after.runner.state == RUNNING), (mode, cut_at)
            cut_at += 1
        assert cut_at > 2


def test_damaged_or_failing_memory_stops_no_command():
    bench = Bench(FaultyFlash({"commands": b"rubbish"}))
    bench.flash.fail = lambda n: True
    assert bench.send(1, START, {0: 1}) == OK
    assert bench.send(1, START, {0: 1}) == OK


def test_only_the_last_ids_are_remembered():
    bench = Bench()
    for number in range(REMEMBERED + 1):
        bench.send(number, REBIRTH, {})
    assert bench.births == REMEMBERED + 1
    bench.send(1, REBIRTH, {})
    assert bench.births == REMEMBERED + 1
    bench.send(0, REBIRTH, {})
    assert bench.births == REMEMBERED + 2


def test_a_remote_start_needs_to_be_enabled_at_the_appliance():
    """EG-CMD-002"""
    bench = Bench(remote=False)
    assert bench.send(1, START, {0: 1}) == INVALID_STATE
    assert bench.runner.state == IDLE
    bench.cycle.start(1, bench.clock.now_ms)  # by hand
    assert bench.send(2, STOP, {}) == OK
    bench.end()
    bench.appliance.remote_enable = True
    assert bench.send(3, START, {0: 1}) == OK


def test_an_appliance_without_the_switch_cannot_be_started_from_afar():
    """EG-CMD-002"""
    bench = Bench()
    del bench.appliance.remote_enable
    assert bench.send(1, START, {0: 1}) == INVALID_STATE


def test_a_command_after_its_deadline_is_refused():
    """EG-CMD-003"""
    bench = Bench()
    assert bench.send(1, START, {0: 1}, NOW_S) == EXPIRED  # UTC is not known
    bench.clock.utc = NOW_S
    assert bench.send(4, START, {0: 1}, NOW_S) == EXPIRED  # EG-TIME-004: nobody has confirmed it
    bench.timebase.set_utc_s(NOW_S + 2)
    assert bench.send(2, START, {0: 1}, NOW_S) == EXPIRED
    assert bench.runner.state == IDLE
    bench.timebase.set_utc_s(NOW_S)
    assert bench.send(3, START, {0: 1}, NOW_S) == OK


def test_of_several_codes_a_command_gets_the_first():
    """EG-CMD-006"""
    bench = Bench(remote=False)
    bench.timebase.set_utc_s(NOW_S + 2)
    assert bench.send(1, START, {-1: 0}, NOW_S) == UNSUPPORTED
    assert bench.send(2, START, {}, NOW_S) == EXPIRED
    assert bench.send(3, 99, {}, NOW_S) == EXPIRED
    assert bench.send(4, START, {0: 65536}) == OUT_OF_RANGE
    assert bench.send(5, START, {0: 1001}) == INVALID_STATE  # not there, and not enabled
    bench.appliance.remote_enable = True
    assert bench.send(6, START, {0: 1001}) == OUT_OF_RANGE


def test_a_start_of_what_is_not_there_or_while_another_runs_is_refused():
    """EG-CMD-005"""
    bench = Bench()
    assert bench.send(1, START, {0: 1001}) == OUT_OF_RANGE
    assert bench.send(2, START, {0: 1}) == OK
    assert bench.send(3, START, {0: 1}) == INVALID_STATE


def test_every_command_with_an_id_gets_a_code():
    """EG-CMD-004"""
    bench = Bench()
    for number, (fields, code) in enumerate(
        (
            ((99, {}), UNKNOWN_KIND),
            ((0, {}), UNKNOWN_KIND),
            ((START, {}), MALFORMED),
            ((START, {0: "1"}), BAD_TYPE),
            ((START, {0: True}), BAD_TYPE),
            ((START, {0: 0}), OUT_OF_RANGE),
            ((START, {0: 65536}), OUT_OF_RANGE),
            ((START, [1]), BAD_TYPE),
            ((START, {-1: 0, 0: 1}), UNSUPPORTED),
            (("1", {}), BAD_TYPE),
            ((START,), MALFORMED),
            ((), MALFORMED),
            ((START, {0: 1}, "soon"), BAD_TYPE),
            ((STOP, {5: 6}), OK),
        )
    ):
        assert bench.send(number, *fields) == code, fields
    assert bench.runner.state == IDLE


def test_what_has_no_id_is_dropped():
    """EG-ENC-004"""
    bench = Bench()
    for data in (b"", b"\x80", dumps(["1", START, {0: 1}]), dumps([-1, START, {0: 1}]), dumps([1, START, {0: 1}])[:-1], b"\xff"):
        raises(ProtocolError, bench.commands.handle, data, 0)
    assert bench.runner.state == IDLE
