"""Whatever is asked of a guarded washer, in whatever order and at whatever pace, nobody gets hurt."""

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from evergrow_agent.guard import Guard, GuardError
from evergrow_agent.programme import Programme
from evergrow_agent.runner import IDLE, RUNNING, Runner
from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.errors import BUSY, ProtocolError
from evergrow_sim.appliances.washer import Washer


class GuardedWasher(RuleBasedStateMachine):
    """Programmes, a person, features with write access, power cuts and passing faults, all at once."""

    @initialize(load_g=st.integers(0, 7000), water_ml=st.integers(0, 20000), temp=st.integers(15, 90))
    def begin(self, load_g: int, water_ml: int, temp: int) -> None:
        self.washer = Washer(load_g=load_g)
        self.washer.water_ul = self.washer.water_in_ul = water_ml * 1000
        self.washer.heat_mj = temp * self.washer._capacity()
        self.washer.door_locked = True
        self.heat_mj = self.washer.heat_mj
        self.boot()

    def boot(self) -> None:
        self.guard = Guard(self.washer)
        self.runner = Runner(self.guard)
        self.now_ms = 0
        self.cycles = self.records = 0

    @rule(actuator=st.integers(1, 5), value=st.sampled_from([-1, 0, 1, 45, 151, 1000, 1400, 32767]))
    def write(self, actuator: int, value: int) -> None:
        low, high = self.guard.limit(actuator)
        with suppress(GuardError):
            assert low <= self.guard.write(actuator, value) <= high

    @rule(maximum=st.integers(0, 3000))
    def unlock(self, maximum: int) -> None:
        assert 1000 <= self.guard.unlock(ids.ACTUATOR_DRUM_RPM, maximum) <= 1400

    @rule()
    def relock(self) -> None:
        self.guard.relock(ids.ACTUATOR_DRUM_RPM)

    @rule(programme=st.sampled_from(sorted(Washer.programmes)))
    def start(self, programme: int) -> None:
        checked = Programme(self.washer.programmes[programme], self.washer.signals, self.washer.limits)
        try:
            self.runner.start(checked, self.now_ms)
            self.cycles += 1
        except ProtocolError as error:
            assert error.code == BUSY and (self.runner.state != IDLE or self.now_ms == 0)

    @rule()
    def stop(self) -> None:
        self.runner.stop(self.now_ms)
        assert self.runner.state != RUNNING

    @rule()
    def pull_at_the_door(self) -> None:
        self.washer.open_door()

    @rule()
    def shut_the_door(self) -> None:
        self.washer.close_door()

    @rule(fault=st.sampled_from(["inlet_blocked", "drain_blocked", "heater_dead"]), on=st.booleans())
    def fault(self, fault: str, on: bool) -> None:
        setattr(self.washer, fault, on)

    @rule(off_s=st.integers(0, 3600))
    def power_cut(self, off_s: int) -> None:
        self.washer.power_off()
        self.washer.step(off_s * 1000)
        self.boot()

    @rule(ticks=st.integers(1, 60), tick_ms=st.sampled_from([250, 1000, 4000, 10000]))
    def time_passes(self, ticks: int, tick_ms: int) -> None:
        for _ in range(ticks):
            self.washer.step(tick_ms)
            self.now_ms += tick_ms
            if self.runner.tick(self.now_ms) == common.EVENT_CYCLE_ENDED:
                self.records += 1
            self.nobody_gets_hurt()

    @invariant()
    def nobody_gets_hurt(self) -> None:
        washer = self.washer
        if not washer.door_locked:
            assert washer.drum_rpm == 0
            assert washer.temp_mc <= 40100
            assert washer.water_ul < 3000000
        assert washer.drum_rpm <= 1400
        assert washer.temp_mc < 100000
        assert washer.spilled_ul == 0
        assert self.records <= self.cycles

    @invariant()
    def nothing_is_lost(self) -> None:
        washer = self.washer
        assert washer.water_in_ul == washer.water_ul + washer.absorbed_ul + washer.drained_ul + washer.spilled_ul
        assert washer.heat_mj == self.heat_mj + washer.heated_mj - washer.lost_mj + washer.carried_mj

    def teardown(self) -> None:
        """From wherever that led, it comes to rest, with one record for each cycle that power did not cut."""
        if not hasattr(self, "washer"):
            return
        self.washer.inlet_blocked = self.washer.drain_blocked = False
        self.washer.close_door()
        self.runner.stop(self.now_ms)
        for _ in range(1000):
            self.time_passes(1, 4000)
        assert self.runner.state == IDLE and self.records == self.cycles
        self.runner.stop(self.now_ms)
        for _ in range(1000):
            self.time_passes(1, 4000)
        assert not self.washer.door_locked


TestGuardedWasher = GuardedWasher.TestCase
TestGuardedWasher.settings = settings(max_examples=30, stateful_step_count=40)


def test_stop_every_ten_seconds_of_a_quick_cycle_ends_unlocked_with_one_record() -> None:
    for at_s in range(10, 1620, 10):
        washer = Washer(load_g=2000)
        runner = Runner(Guard(washer))
        runner.tick(0)
        runner.start(Programme(washer.programmes[ids.PROGRAMME_QUICK], washer.signals, washer.limits), 0)
        records = []
        for second in range(1, at_s + 600):
            washer.step(1000)
            if runner.tick(second * 1000) == common.EVENT_CYCLE_ENDED:
                records.append(runner.record())
            if second == at_s:
                runner.stop(second * 1000)
            if records and not washer.door_locked:
                break
        assert not washer.door_locked and washer.water_ul <= 300000
        assert [record[common.USAGE_OUTCOME] for record in records] == [common.OUTCOME_STOPPED]
