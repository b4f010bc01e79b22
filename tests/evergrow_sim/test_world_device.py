"""The real agent in the world: it boots, washes, loses power anywhere, and every run of a seed is the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evergrow_protocol.errors import INVALID_STATE, OUT_OF_RANGE
from evergrow_protocol.registry_common import (
    OUTCOME_FINISHED,
    OUTCOME_POWER_LOST,
    USAGE_ENERGY_WH,
    USAGE_OUTCOME,
    USAGE_PROGRAMME,
    USAGE_SPIN_MAX_RPM,
    USAGE_WATER_ML,
)
from evergrow_sim.appliances.washer import Washer
from evergrow_sim.lfs import CUT_AFTER, CUT_BEFORE, CUT_TORN
from evergrow_sim.world.device import NOBODY, PowerOff
from evergrow_sim.world.plant import Plant
from evergrow_sim.world.world import EPOCH_S, World

sys.path.insert(0, str(Path(__file__).parent))

from world_kit import MINUTE_MS, QUICK, Home, eventful

ROOT = Path(__file__).parents[2]


def running(home: Home, until_ms: int = 10 * MINUTE_MS) -> Home:
    """With the first washer in the middle of a quick cycle."""
    home.washers[0].power_on()
    home.at(MINUTE_MS, home.washers[0].start_programme, QUICK)
    home.world.run(until_ms=until_ms)
    return home


def test_a_washer_boots_connects_washes_and_its_usage_reaches_the_cloud() -> None:
    with running(Home(1), 60 * MINUTE_MS) as home:
        (washer,) = home.washers
        assert home.cloud.births == [("w0", 1)]
        assert washer.agent.link.online
        assert washer.agent.timebase.utc_s() == pytest.approx(EPOCH_S + 3600, abs=1)
        assert washer.agent.ledger.pending == 0
        ((key, body),) = home.cloud.usage.items()
        (truth,) = washer.plant.cycles
        assert (key, body[USAGE_PROGRAMME], body.get(USAGE_OUTCOME, OUTCOME_FINISHED)) == (("w0", 1, 1), QUICK, OUTCOME_FINISHED)
        assert (body[USAGE_ENERGY_WH], body[USAGE_WATER_ML]) == (truth.energy_wh, truth.water_ml)
        assert body[USAGE_SPIN_MAX_RPM] == truth.spin_max_rpm == 800
        assert truth.complete and truth.energy_wh > 100 and truth.water_ml > 20_000
        assert set(washer.agent.crashes.values()) == {0} and washer.failures == []


def test_an_appliance_that_rests_for_a_minute_is_woken_in_time_by_what_goes_wrong() -> None:
    with Home(1, rest_ms=MINUTE_MS) as home:
        (washer,) = home.washers
        washer.power_on()
        home.world.run(until_ms=10 * MINUTE_MS)
        ticks: list[int] = []
        tick = washer.agent.cycle.tick

        def ticked(now_ms: int) -> int:
            ticks.append(now_ms)
            return tick(now_ms)

        washer.agent.cycle.tick = ticked  # type: ignore[method-assign]
        home.world.run(until_ms=20 * MINUTE_MS)
        assert 9 <= len(ticks) <= 11, "it rests"
        for number in range(3):
            before = len(ticks)
            if number:
                washer.appliance.act("door", number - 1)
            else:
                washer.enable_remote(True)
            home.world.run(until_ms=20 * MINUTE_MS + 1000 * (number + 1))
            assert len(ticks) == before + 1, "a person is noticed at once"
        washer.appliance.inlet_stuck = True  # Its level wakes the agent; a look each minute would be too late for the pump.
        washer.appliance.on_change()
        home.world.run(until_ms=60 * MINUTE_MS)
        assert washer.appliance.spilled_ul == 0 < washer.appliance.drained_ul
        assert (washer.bites, washer.failures) == (0, [])


def test_after_a_power_cut_nothing_of_the_boot_acts_any_more() -> None:
    with running(Home(1)) as home:
        (washer,) = home.washers
        boot = washer.boot
        assert boot is not None and len(boot.group.tasks()) > 5
        files = dict(washer.flash.files)
        washer.power_cut()
        assert boot.group.tasks() == []
        seen: list[tuple[str, object]] = []
        home.world.trace.sink = lambda event: seen.append((event[2], event[3])) if event[1] == "w0" else None
        home.world.run(until_ms=30 * MINUTE_MS)
        assert seen == [("closed", (2, "far"))], "the broker, which hears nothing any more"
        assert washer.flash.files == files
        assert washer.appliance.drum_rpm == 0 and washer.appliance.power_w == 2


def test_a_cycle_that_lost_power_is_reported_once_and_says_no_more_than_the_truth() -> None:
    with running(Home(1)) as home:
        (washer,) = home.washers
        washer.reboot(after_ms=30_000)
        home.world.run(until_ms=30 * MINUTE_MS)
        ((key, body),) = home.cloud.usage.items()
        (truth,) = washer.plant.cycles
        assert home.cloud.births == [("w0", 1), ("w0", 2)]
        assert (key, body.get(USAGE_OUTCOME, OUTCOME_FINISHED)) == (("w0", 1, 1), OUTCOME_POWER_LOST)
        assert not truth.complete and body[USAGE_ENERGY_WH] <= truth.energy_wh and body[USAGE_WATER_ML] <= truth.water_ml
        assert washer.appliance.water_ul < 200_000, "the ending programme drained it"


def test_heat_goes_on_falling_while_there_is_no_power() -> None:
    with running(Home(1), 15 * MINUTE_MS) as home:
        (washer,) = home.washers
        washer.power_cut()
        before_mc = washer.appliance.temp_mc
        home.world.run(until_ms=75 * MINUTE_MS)
        assert 21_000 < washer.appliance.temp_mc < before_mc - 1000


def test_power_may_be_cut_before_any_event() -> None:
    with running(Home(1), 35 * MINUTE_MS) as home:
        total = home.world.loop.events
    rand = World(1).rand("cuts")
    for number in [*range(1, 60, 9), *[rand.below(total) for _ in range(6)]]:
        with Home(1) as home:
            (washer,) = home.washers
            home.world.loop.at_event(number, lambda washer=washer: washer.reboot(3000))
            running(home, 40 * MINUTE_MS)
            assert washer.on and washer.agent.link.online, f"cut before event {number}"
            assert len(home.cloud.usage) <= len(washer.plant.cycles) <= 1
            for body in home.cloud.usage.values():
                assert body[USAGE_ENERGY_WH] <= washer.plant.cycles[0].energy_wh
            assert washer.agent.ledger.pending == 0 and set(washer.agent.crashes.values()) == {0}


@pytest.mark.parametrize("how", [CUT_BEFORE, CUT_TORN, CUT_AFTER])
def test_power_may_be_cut_inside_any_flash_operation(how: int) -> None:
    with running(Home(1), 35 * MINUTE_MS) as home:
        total = home.washers[0].flash.ops
    assert total > 5
    for number in range(1, total + 1):
        with Home(1) as home:
            (washer,) = home.washers
            washer.power_on()
            washer.flash.cut(number, how)
            running(home, MINUTE_MS)
            while washer.on:
                home.world.run(until_ms=home.world.loop.now_ms + MINUTE_MS)
            assert home.world.loop.now_ms <= 36 * MINUTE_MS and washer.flash.ops == number
            washer.power_on()
            home.world.run(until_ms=home.world.loop.now_ms + 5 * MINUTE_MS)
            assert washer.agent.link.online and washer.agent.ledger.pending == 0
            assert len(home.cloud.usage) <= len(washer.plant.cycles) <= 1, f"operation {number}"


def test_the_watchdog_resets_a_board_whose_appliance_is_not_looked_after() -> None:
    with running(Home(1)) as home:
        (washer,) = home.washers

        def broken(now_ms: int) -> int:
            raise RuntimeError("stuck")

        washer.agent.cycle.tick = broken  # type: ignore[method-assign]
        home.world.run(until_ms=10 * MINUTE_MS + 7000)
        assert (washer.boots, washer.bites) == (1, 0)
        home.world.run(until_ms=20 * MINUTE_MS)
        assert (washer.boots, washer.bites) == (2, 1)
        assert washer.agent.link.online


def test_an_agent_that_ends_is_a_failure_that_the_watchdog_repairs() -> None:
    with running(Home(1)) as home:
        (washer,) = home.washers
        washer.agent._over.set()  # as if `run` had returned
        home.world.run(until_ms=20 * MINUTE_MS)
        assert (washer.boots, washer.bites) == (2, 1)


def test_power_comes_and_goes_as_often_as_it_likes() -> None:
    with Home(1) as home:
        (washer,) = home.washers
        washer.power_cut()
        for _ in range(5):
            washer.power_on()
            washer.power_on()
            washer.power_cut()
        washer.reboot(after_ms=1000)
        washer.power_cut()
        home.world.run(until_ms=MINUTE_MS)
        assert (washer.on, washer.boots) == (False, 5)
        washer.reboot(after_ms=1000)
        home.world.run(until_ms=2 * MINUTE_MS)
        assert washer.agent.boot_number == 1, "the boots before ended before their first step"


def test_nobody_answers_without_power() -> None:
    with Home(1) as home:
        (washer,) = home.washers
        assert washer.start_programme(QUICK) == washer.stop_programme() == NOBODY
        with pytest.raises(PowerOff, match="w0"):
            _ = washer.agent


def test_a_person_is_told_what_the_agent_says() -> None:
    with running(Home(1)) as home:
        (washer,) = home.washers
        assert washer.start_programme(QUICK) == INVALID_STATE
        assert washer.stop_programme() == 0
        assert not washer.open_door()
        home.world.run(until_ms=20 * MINUTE_MS)
        assert washer.start_programme(9999) == OUT_OF_RANGE
        assert washer.open_door()
        washer.close_door()
        washer.enable_remote(True)
        home.world.run(until_ms=21 * MINUTE_MS)
        assert washer.appliance.remote_enable


def test_a_person_that_presses_start_as_power_fails_is_not_answered() -> None:
    with running(Home(1), MINUTE_MS // 2) as home:
        (washer,) = home.washers
        washer.flash.cut(washer.flash.ops + 1, CUT_BEFORE)
        assert washer.start_programme(QUICK) == NOBODY
        assert not washer.on


@pytest.mark.parametrize(("rtc", "utc_s"), [("none", None), ("1970", 60), ("kept", EPOCH_S + 60 - 5000)])
def test_a_board_starts_with_the_time_it_has(rtc: str, utc_s: int | None) -> None:
    with Home(1) as home:
        (washer,) = home.washers
        washer.rtc, washer.rtc_off_s = rtc, -5000
        home.world.network.link("w0").refuse = True
        washer.power_on()
        home.world.run(until_ms=MINUTE_MS)
        assert washer.boot is not None and washer.boot.clock.utc_s() == utc_s


def test_physics_do_not_depend_on_how_often_they_are_looked_at() -> None:
    states = []
    for every_ms in (500, 777, 60_000):
        with World(1) as world:
            washer = Washer(None)
            washer.heat_mj += 400_000_000
            washer.write(4, 800)
            plant = Plant(world.loop, washer)
            for t_ms in range(0, 600_000, every_ms):
                world.run(until_ms=t_ms)
                plant.now()
            world.run(until_ms=600_000)
            states.append(vars(plant.now()))
    assert states[0] == states[1] == states[2]


def test_two_seeds_are_two_stories_and_one_seed_is_one() -> None:
    digests = []
    for seed in (5, 5, 6):
        with eventful(seed) as home:
            digests.append(home.world.trace.digest())
            assert len(home.cloud.usage) == 4, "two cycles of two washers"
            assert len(home.world.network.live) == 3, "connections do not pile up"
            assert all(washer.boot is not None and len(washer.boot.group.tasks()) < 20 for washer in home.washers)
    assert digests[0] == digests[1] != digests[2]


def others() -> list[str]:
    """This interpreter, those of other versions on the path, and those that EVERGROW_PYTHONS names."""
    found = [sys.executable, *os.environ.get("EVERGROW_PYTHONS", "").split(os.pathsep)]
    found = [path for path in found if path]
    for version in ("3.11", "3.12", "3.13", "3.14"):
        path = shutil.which(f"python{version}")
        if path and subprocess.run([path, "-c", "pass"], capture_output=True).returncode == 0:
            found.append(path)
    return found


def test_a_seed_replays_in_another_process_hash_seed_and_python() -> None:
    with eventful(5) as home:
        said = f"{home.world.trace.digest()} {home.world.trace.count} {home.world.loop.events}"
    path = os.pathsep.join([str(ROOT / room) for room in ("protocol", "firmware", "host_sim")])
    for number, python in enumerate(others()):
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(1000 + number)}
        command = [python, "-S", str(Path(__file__).with_name("world_kit.py")), "5"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == (said, ""), python
