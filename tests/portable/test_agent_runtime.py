"""The run time of code features: what it gives, what it refuses, and that what fails is stopped and costs nothing else."""

import samplefeature
from evergrow_agent import checked, codeload
from evergrow_agent.events import Events
from evergrow_agent.featureapi import CALLS_MAX, Api
from evergrow_agent.guard import Guard
from evergrow_agent.home import Home
from evergrow_agent.runner import IDLE, Runner
from evergrow_agent.runtime import FAILURES_MAX, FAILURES_MS, FEATURES_MAX, FILE, HEALTHY_CYCLES, STRIKES_MAX, Runtime
from evergrow_agent.timebase import Timebase
from evergrow_protocol import feature_code
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import INVALID_STATE, NOT_AUTHORISED, OUT_OF_RANGE, TOO_LARGE, ProtocolError
from evergrow_protocol.registry_common import EVENT_CYCLE_ENDED, EVENT_FAULT, EVENT_PERIOD_ENDED
from faultyflash import FaultyFlash
from support import raises, raises_code
from tinyappliance import DRUM, ENERGY, LEVEL, RPM, TinyAppliance

HEAP = "512K"
OWNER = (2, 1001)
NEEDS = dumps({0: [LEVEL, RPM], 1: [DRUM], 2: [1008], 3: [1007], 4: {1: [0, 2000, 500]}, 5: 16384, 6: 50, 7: 1})


def code():
    """The sample as this interpreter gets it: byte code, or source."""
    with open(samplefeature.__file__, "rb") as file:
        return file.read()


class Clock:
    """`cost`: ms that each look at it takes: so that a call takes two of them."""

    def __init__(self):
        self.now_ms = 0
        self.cost = 0

    def ticks_ms(self):
        self.now_ms += self.cost
        return self.now_ms

    def utc_s(self):
        return None


class Watchdog:
    bitten = False


class Bench:
    def __init__(self, flash=None, bitten=False):
        self.appliance = TinyAppliance()
        self.guard = Guard(self.appliance)
        self.runner = Runner(self.guard)
        self.clock = Clock()
        self.timebase = Timebase(self.clock)
        self.events = Events(self.timebase)
        self.home = Home("d1", self.timebase)
        self.flash = flash or FaultyFlash()
        watchdog = Watchdog()
        watchdog.bitten = bitten
        self.runtime = Runtime(
            self.guard, self.runner, self.events, self.home, self.timebase, self.clock, self.flash, watchdog
        )
        self.broken = []
        self.runtime.on_broken = lambda owner, text: self.broken.append((owner, text))
        self.now_ms = 0

    def run(self, seconds, event=0):
        for _ in range(seconds):
            self.now_ms += 1000
            self.runner.tick(self.now_ms)
            self.runtime.tick(self.now_ms, event)
            event = 0

    def told(self):
        found = []
        envelope = self.events.first()
        while envelope:
            found.append(loads(envelope)[3])
            self.events.sent(envelope)
            envelope = self.events.first()
        return found

    def api(self, needs=NEEDS):
        parsed = feature_code.parse(needs)
        return Api(OWNER, parsed, self.guard, self.runner, self.events, self.timebase.utc_s)

    def feature(self, call, needs=NEEDS):
        """Start a feature whose code is `call(api)`."""
        load = codeload.load
        codeload.load = lambda name, data: {"start": call}
        try:
            self.runtime.start(OWNER, feature_code.parse(needs), b"")
        finally:
            codeload.load = load


def test_code_is_loaded_and_called_when_it_asked_for():
    """EG-CODE-001, EG-CODE-005"""
    bench = Bench()
    bench.runtime.start(OWNER, feature_code.parse(NEEDS), code())
    bench.appliance.values[RPM] = 800
    bench.run(11)
    assert bench.told() == [{0: 1007, 1: 0, 2: 80, 3: [2, 1001]}]
    assert bench.appliance.actuators[DRUM] == 100
    bench.run(1, EVENT_CYCLE_ENDED)
    assert bench.runtime.used() == [(OWNER, {1008: 3})]
    bench.home.receive_event(dumps(["d2", [1, 1, [5], {0: 3, 1: 0, 2: 7}]]))
    bench.home.receive_scene(dumps([3, 1_795_339_200]))
    bench.run(1)
    assert bench.runtime.features[0].api._log == ["d2 3 7", "scene 3"]
    assert not bench.broken and not bench.runtime.features[0].failures


def test_what_is_not_declared_is_not_given():
    """EG-CODE-002"""
    bench = Bench()
    api = bench.api()
    raises_code(NOT_AUTHORISED, api.read, ENERGY)
    raises_code(NOT_AUTHORISED, api.write, 1, 1)
    raises_code(NOT_AUTHORISED, api.count, 1009)
    raises_code(NOT_AUTHORISED, api.event, 1009)
    raises_code(NOT_AUTHORISED, api.alarm, 3, True)
    raises_code(NOT_AUTHORISED, api.setting, 2)
    raises_code(OUT_OF_RANGE, api.count, 1008, -1)
    raises_code(OUT_OF_RANGE, api.every, 0, None)
    plain = bench.api(dumps({5: 1, 6: 1}))
    raises_code(NOT_AUTHORISED, plain.hold_percent, 80)


def test_writes_pass_limits_and_interlocks():
    """EG-CODE-002: the drum of this appliance goes to 1000."""
    bench = Bench()
    bench.appliance.interlocks = ((DRUM, 1, 2000, LEVEL, 0, 5000, 0),)
    api = bench.api()
    assert api.write(DRUM, 1400) == 1000
    bench.appliance.values[LEVEL] = 5000
    raises_code(INVALID_STATE, api.write, DRUM, 100)


def test_a_setting_of_the_cloud_counts_within_its_bounds():
    """EG-CODE-007"""
    bench = Bench()
    bench.runtime.configure({OWNER: {1: 700, 9: 1}})
    bench.runtime.start(OWNER, feature_code.parse(NEEDS), code())
    api = bench.runtime.features[0].api
    assert api.setting(1) == 700
    bench.runtime.configure({OWNER: {1: 2001}})
    assert api.setting(1) == 500
    bench.runtime.configure({})
    assert api.setting(1) == 500


def test_a_setting_that_a_running_feature_does_not_take_is_told_before_it_is_kept():
    """EG-CFG-009"""
    bench = Bench()
    bench.runtime.check({OWNER: {9: 1}})  # nothing runs
    bench.runtime.start(OWNER, feature_code.parse(NEEDS), code())
    bench.runtime.check({OWNER: {1: 0}, (2, 1002): {9: 1}})
    bench.runtime.check({OWNER: {1: 2000}})
    for values in ({1: 2001}, {1: -1}, {9: 1}):
        raises_code(OUT_OF_RANGE, bench.runtime.check, {OWNER: values})


def test_holds_of_the_appliances_own_programme_are_shortened_until_it_ends():
    """EG-CODE-002"""
    from evergrow_agent.programme import Programme

    bench = Bench()
    bench.run(2)
    api = bench.api()
    raises_code(INVALID_STATE, api.hold_percent, 50)
    appliance = bench.appliance

    def wash(owners=()):
        began_ms = bench.now_ms
        bench.runner.start(Programme(appliance.programmes[1], appliance.signals, appliance.limits), began_ms, owners)
        if not owners:
            api.hold_percent(50)
            raises_code(OUT_OF_RANGE, api.hold_percent, 49)
        else:
            raises_code(INVALID_STATE, api.hold_percent, 50)
        while True:
            bench.run(1)
            appliance.step()
            if bench.runner.state == IDLE:
                return (bench.now_ms - began_ms) // 1000

    assert wash([(7, 1005)]) - wash() >= 2  # 4 s of washing and 2 s of spinning
    assert bench.runner.hold_percent == 50
    bench.run(1)


def test_a_feature_that_fails_again_and_again_is_stopped_and_what_it_drove_is_safe_at_rest():
    """EG-CODE-006"""
    bench = Bench()

    def start(api):
        def look():
            api.write(DRUM, 300)
            raise ValueError("no idea")

        api.every(1, look)

    bench.feature(start)
    bench.run(FAILURES_MAX)
    assert bench.appliance.actuators[DRUM] == 300 and not bench.broken
    bench.runner.state = 1  # a cycle runs: nothing is changed in it
    bench.now_ms += 1000
    bench.runtime.tick(bench.now_ms, 0)
    assert [owner for owner, _ in bench.broken] == [OWNER] and "no idea" in bench.broken[0][1]
    bench.runtime.tick(bench.now_ms + 1000, 0)
    assert bench.appliance.actuators[DRUM] == 300 and not bench.runtime.features
    bench.runner.state = IDLE
    bench.runtime.tick(bench.now_ms + 2000, 0)
    assert bench.appliance.actuators[DRUM] == 0


def test_a_call_that_takes_longer_than_declared_is_a_failure():
    """EG-CODE-006"""
    bench = Bench()
    bench.feature(lambda api: api.every(1, lambda: None))
    bench.clock.cost = 51
    bench.run(FAILURES_MAX + 2)
    assert "51 ms, declared 50" in bench.broken[0][1]


def test_failures_far_apart_do_not_add_up():
    """EG-CODE-006: a slow call now and then, over the years that an appliance is on, costs no feature."""
    bench = Bench()
    bench.feature(lambda api: api.every(1, lambda: None))
    bench.run(1)
    bench.clock.cost = 51
    for _ in range(3):
        bench.run(FAILURES_MAX - 1)
        bench.clock.now_ms += FAILURES_MS
    assert not bench.broken
    bench.run(FAILURES_MAX)
    assert bench.broken


def test_sensors_and_actuators_that_do_not_answer_are_failures_of_the_call_and_others_go_on():
    """EG-CODE-006"""
    bench = Bench()
    bench.runtime.start((2, 1002), feature_code.parse(NEEDS), code())
    bench.feature(lambda api: api.every(1, lambda: api.write(DRUM, 300)))
    bench.appliance.values[RPM] = 800
    bench.run(2)
    bench.appliance.broken = True
    bench.run(FAILURES_MAX)
    bench.appliance.broken = False
    assert bench.broken and bench.broken[0][0] == OWNER and "OSError" in bench.broken[0][1]
    bench.run(12)
    assert [running.owner for running in bench.runtime.features] == [(2, 1002)] and bench.told()


def test_a_failing_feature_costs_the_others_nothing():
    """EG-CODE-006"""
    bench = Bench()
    bench.runtime.start((2, 1002), feature_code.parse(NEEDS), code())
    bench.feature(lambda api: api.every(1, lambda: 1 // 0))
    bench.appliance.values[RPM] = 800
    bench.run(12)
    assert [running.owner for running in bench.runtime.features] == [(2, 1002)]
    assert len(bench.told()) == 1


def test_timers_handlers_and_features_are_bounded():
    """EG-CODE-002"""
    bench = Bench()
    api = bench.api()
    for _ in range(CALLS_MAX):
        api.every(1, None)
        api.on(0, None)
    raises_code(TOO_LARGE, api.after, 1, None)
    raises_code(TOO_LARGE, api.on, 0, None)
    for number in range(FEATURES_MAX):
        bench.runtime.start((2, 2000 + number), feature_code.parse(NEEDS), code())
    raises_code(TOO_LARGE, bench.runtime.start, OWNER, NEEDS, code())


def test_code_without_start_or_that_raises_does_not_run():
    """EG-CODE-001"""
    bench = Bench()

    def fail(api):
        raise RuntimeError("not today")

    raises(RuntimeError, bench.feature, fail)
    assert not bench.runtime.features
    load = codeload.load
    codeload.load = lambda name, data: {}
    try:
        raises(ProtocolError, bench.runtime.start, OWNER, feature_code.parse(NEEDS), b"")
    finally:
        codeload.load = load


def test_three_resets_by_the_watchdog_and_no_code_is_run_until_it_is_well():
    """EG-CODE-008"""
    flash = FaultyFlash()
    for _ in range(STRIKES_MAX - 1):
        assert not Bench(flash, bitten=True).runtime.struck
    assert Bench(flash, bitten=True).runtime.struck
    bench = Bench(flash)
    assert bench.runtime.struck, "a boot alone forgives nothing"
    raises_code(INVALID_STATE, bench.runtime.start, OWNER, NEEDS, code())
    bench.runtime.forgive()
    bench.runtime.start(OWNER, feature_code.parse(NEEDS), code())


def test_cycles_that_end_forgive_and_time_does_not():
    """EG-CODE-008: code that hangs at the start of each programme is left out after three, however long the appliance rests."""
    flash = FaultyFlash()
    Bench(flash, bitten=True).run(7200)
    assert FILE in flash.files
    Bench(flash).run(1, EVENT_CYCLE_ENDED)
    bench = Bench(flash, bitten=True)
    for _ in range(HEALTHY_CYCLES - 1):
        bench.run(100, EVENT_CYCLE_ENDED)
    bench.run(100, EVENT_FAULT)
    assert FILE in flash.files, "those before the last reset do not count"
    Bench(flash).run(1, EVENT_PERIOD_ENDED)
    assert FILE not in flash.files
    Bench(flash, bitten=True).run(7200)
    Bench(flash, bitten=True).run(7200)
    assert Bench(flash, bitten=True).runtime.struck


def test_a_reset_by_the_watchdog_that_cannot_be_counted_leaves_all_code_out_until_the_next_boot():
    """EG-CODE-008: with code that hangs at boot, on a flash that refuses writes, the appliance works in every other boot."""
    flash = FaultyFlash(fail=lambda n: True)
    assert Bench(flash, bitten=True).runtime.struck
    assert not Bench(flash).runtime.struck


def test_strikes_of_an_older_firmware_or_none_that_can_be_read_begin_anew():
    flash = FaultyFlash()
    Bench(flash, bitten=True)
    checked.save(flash, FILE, bytes((2,)))
    assert not Bench(flash, bitten=True).runtime.struck
    flash.files[FILE] = b"decayed"
    assert not Bench(flash, bitten=True).runtime.struck


def test_what_runs_can_be_replaced_and_stopped():
    """EG-CODE-001"""
    bench = Bench()
    bench.runtime.start(OWNER, feature_code.parse(NEEDS), code())
    bench.runtime.start(OWNER, feature_code.parse(NEEDS), code())
    assert len(bench.runtime.features) == 1
    assert bench.runtime.stop(OWNER) and not bench.runtime.stop(OWNER)
    bench.appliance.values[RPM] = 800
    bench.run(20)
    assert bench.told() == []


def test_what_was_counted_is_told_once_and_what_had_no_room_with_the_next_record():
    """EG-CODE-005"""
    bench = Bench()
    kept = []
    bench.feature(kept.append, dumps({2: [1008, 1009], 5: 16384, 6: 50}))
    kept[0].count(1008, 5)
    kept[0].count(1009, 7)
    assert bench.runtime.used() == [(OWNER, {1008: 5, 1009: 7})]
    bench.runtime.told({1008: 5})
    assert bench.runtime.used() == [(OWNER, {1009: 7})]
    bench.runtime.told({1009: 7})
    assert bench.runtime.used() == []


def test_what_ends_an_interpreter_elsewhere_is_a_failure_like_any_other():
    """EG-CODE-006"""
    bench = Bench()

    def leave():
        raise SystemExit

    bench.feature(lambda api: api.every(1, leave))
    bench.run(FAILURES_MAX + 2)
    assert [owner for owner, _ in bench.broken] == [OWNER]


def test_a_start_that_fails_leaves_nothing_driven():
    """EG-CODE-001, EG-CODE-006"""
    bench = Bench()
    bench.run(1)

    def start(api):
        api.write(DRUM, 300)
        raise ValueError("not today")

    raises(ValueError, bench.feature, start)
    assert bench.appliance.actuators[DRUM] == 300
    bench.run(1)
    assert bench.appliance.actuators[DRUM] == 0


def test_the_alarms_of_a_feature_go_with_it():
    """EG-EVT-002"""
    bench = Bench()
    bench.feature(lambda api: api.alarm(1007, True))
    assert bench.events.raised() == [1007]
    bench.runtime.stop(OWNER)
    assert bench.events.raised() == []
