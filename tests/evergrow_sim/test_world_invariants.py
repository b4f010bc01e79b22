"""The checkers see what they are there to see; and what a fault may cost, and no more, is let through."""

import sys
from pathlib import Path

import pytest

from evergrow_cloud import wire
from evergrow_cloud.messages import Birth, Usage
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.cbor import dumps
from evergrow_protocol.registry_common import OUTCOME_FINISHED, OUTCOME_POWER_LOST
from evergrow_sim.world import stored
from evergrow_sim.world.broker_packets import Publish
from evergrow_sim.world.grammar import Tap
from evergrow_sim.world.lives import Lives
from evergrow_sim.world.plant import Plant
from evergrow_sim.world.rand import derive
from evergrow_sim.world.safety import WatchedWasher
from evergrow_sim.world.truth import Cycle, CycleLog, explain
from evergrow_sim.world.world import World

sys.path.insert(0, str(Path(__file__).parent))

from world_kit import MINUTE_MS, QUICK, Home


def record(
    boot: int, seq: int, outcome: int = OUTCOME_FINISHED, wh: int = 50, ml: int = 4000, s: int = 200, merged: int = 0
) -> Usage:
    body = {2: s, 4: wh, 5: ml} | ({9: merged} if merged else {0: 11, 1: outcome})
    decoded = wire.decode("usage", dumps([boot, seq, 1_795_339_200, body]))
    assert isinstance(decoded, tuple)
    return decoded[0]


def cycle(boot: int, start_s: int, complete: bool = True, losable: str = "", **changes: int) -> Cycle:
    one = Cycle(boot, 11, 1000 * start_s, 1000 * (start_s + 200), 50, 4000, complete=complete, losable=losable)
    for name, value in changes.items():
        setattr(one, name, value)
    return one


@pytest.fixture
def log() -> CycleLog:
    """Of a washer that used 1 Wh and 10 ml in every 10 s of its life."""
    world = World(1)
    washer = WatchedWasher(None, 1000, 500, lambda rule: None)
    washer.history = [(3_600_000 * step, 10_000 * step) for step in range(1000)]
    plant = Plant(world.loop, washer)
    return CycleLog(world.loop, plant, washer, 500, Lives(plant, {}, lambda what: None))


def test_records_that_tell_exactly_what_was_are_right(log: CycleLog) -> None:
    cut = cycle(1, 1000, complete=False, energy_wh=30, water_ml=300)
    assert explain([], [], log) == ""
    assert explain([cycle(1, 10), cut], [record(1, 1), record(1, 2, OUTCOME_POWER_LOST, wh=5, ml=0)], log) == ""
    assert explain([cycle(1, 10), cycle(1, 300)], [record(1, 1, wh=100, ml=8000, merged=2)], log) == ""


def test_a_cycle_that_nobody_tells_of_is_missed(log: CycleLog) -> None:
    assert "nobody will ever hear" in explain([cycle(1, 10), cycle(1, 300)], [record(1, 1)], log)
    assert explain([cycle(1, 10), cycle(1, 300, losable="the flash failed")], [record(1, 1)], log) == ""


def test_a_record_of_a_cycle_that_never_was_is_seen(log: CycleLog) -> None:
    assert "never was" in explain([cycle(1, 10)], [record(1, 1), record(1, 2)], log)
    assert "never was" in explain([], [record(1, 1, merged=1)], log)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (record(1, 1, wh=51), "too much"),
        (record(1, 1, ml=4001), "too much"),
        (record(1, 1, wh=49), "too little"),
        (record(1, 1, s=300), "duration"),
        (record(2, 1), "boot"),
        (record(1, 1, OUTCOME_POWER_LOST), "did not lose power"),
    ],
)
def test_a_finished_cycle_is_told_exactly(told: Usage, why: str, log: CycleLog) -> None:
    assert why in explain([cycle(1, 10)], [told], log)


def test_a_cycle_that_lost_power_may_cost_one_checkpoint_interval_and_no_more(log: CycleLog) -> None:
    """EG-USE-003"""
    long = Cycle(1, 11, 0, 1_000_000, energy_wh=100, water_ml=1000)
    assert explain([long], [record(1, 1, OUTCOME_POWER_LOST, wh=69, ml=690)], log) == ""
    assert "checkpoint too old" in explain([long], [record(1, 1, OUTCOME_POWER_LOST, wh=60, ml=690)], log)
    long.hung = True
    assert explain([long], [record(1, 1, OUTCOME_POWER_LOST, wh=68, ml=680)], log) == ""
    long.losable = "the flash failed"
    assert explain([long], [record(1, 1, OUTCOME_POWER_LOST, wh=0, ml=0)], log) == ""


def test_merged_records_are_right_by_their_sums(log: CycleLog) -> None:
    """EG-USE-006"""
    three = [cycle(1, 10), cycle(1, 300), cycle(2, 10)]
    assert explain(three, [record(1, 1), record(1, 2, wh=100, ml=8000, merged=2)], log) == ""
    assert explain(three, [record(1, 1), record(1, 2, wh=99, ml=8000, merged=2)], log) != ""
    assert explain(three, [record(1, 1), record(1, 2, wh=50, ml=4000, merged=1)], log) != ""
    skipped = [cycle(1, 10), cycle(1, 300, begun=False), cycle(2, 10)]
    assert explain(skipped, [record(1, 1, wh=100, ml=8000, merged=2)], log) == ""


def test_what_is_on_flash_is_read_as_the_agent_wrote_it() -> None:
    with Home(5) as home:
        device = home.washers[0]
        device.power_on()
        home.world.run(until_ms=MINUTE_MS)
        home.world.network.link("w0").refuse = True
        home.world.network.reset("w0")
        device.start_programme(QUICK)
        home.world.run(until_ms=10 * MINUTE_MS)
        running = stored.checkpoint(device.flash.files)
        assert running is not None and running.outcome == OUTCOME_POWER_LOST and running.programme == QUICK
        home.world.run(until_ms=40 * MINUTE_MS)
        assert stored.checkpoint(device.flash.files) is None
        assert list(stored.usage(device.flash.files)) == [(1, 1)] == [device.agent.ledger.last]


def washed(prepare: dict[str, int], actuators: dict[int, int], seconds: int = 10) -> list[str]:
    """The rules that a washer breaks that is driven so, with nobody who guards it."""
    broken: list[str] = []
    washer = WatchedWasher(None, 1000, 500, broken.append)
    for name, value in prepare.items():
        setattr(washer, name, value)
    for actuator, value in actuators.items():
        washer.write(actuator, value)
    washer.step(1000 * seconds)
    return broken


LOCKED = {"door_locked": 1}
HOLD = {ids.ACTUATOR_DOOR_LOCK: 1}


def test_a_washer_at_rest_breaks_no_rule() -> None:
    assert washed({}, {}) == []
    assert washed(LOCKED, HOLD) == []
    assert washed(LOCKED, {**HOLD, ids.ACTUATOR_DRUM_RPM: 800, ids.ACTUATOR_DRAIN: 1}) == []


@pytest.mark.parametrize(
    ("rule", "prepare", "actuators"),
    [
        ("driven behind an unlocked door", {}, {ids.ACTUATOR_INLET: 1}),
        ("driven behind an unlocked door", {**LOCKED, "door_forced": 1}, {**HOLD, ids.ACTUATOR_DRUM_RPM: 100}),
        ("the door is unlocked while the drum turns", {**LOCKED, "drum_rpm": 500}, {ids.ACTUATOR_DRUM_RPM: 500}),
        ("unlocked while full", {"water_ul": 9_000_000, "load_g": 0}, {}),
        ("unlocked while hot", {"heat_mj": 600_000_000}, {}),
        ("spun while full", {**LOCKED, "water_ul": 9_000_000}, {**HOLD, ids.ACTUATOR_DRUM_RPM: 400}),
        ("heated dry", LOCKED, {**HOLD, ids.ACTUATOR_HEATER: 1}),
        ("too hot", {**LOCKED, "heat_mj": 900_000_000}, HOLD),
        ("faster than allowed", LOCKED, {**HOLD, ids.ACTUATOR_DRUM_RPM: 1400}),
        ("water runs over", {**LOCKED, "water_ul": 41_000_000}, HOLD),
    ],
)
def test_each_danger_is_seen(rule: str, prepare: dict[str, int], actuators: dict[int, int]) -> None:
    assert rule in washed(prepare, actuators)


def test_the_balance_of_a_washer_that_cheats_is_wrong() -> None:
    washer = WatchedWasher(derive(1, "noise"), 1000, 500, lambda rule: None)
    washer.step(60_000)
    assert washer.unbalanced() == ""
    washer.water_in_ul += 1
    assert washer.unbalanced() == "water"


def tapped(*messages: tuple[str, object]) -> list[str]:
    """What a tap says to messages of `w1`: (`up/kind`, what is encoded as its payload, or bytes)."""
    said: list[str] = []
    with World(1) as world:
        tap = Tap(world, lambda device, what: said.append(what), lambda device, birth: None, lambda device, answer: None)
        for kind, content in messages:
            payload = content if isinstance(content, bytes) else dumps(content)
            tap("w1", Publish(f"eg1/acme/w1/{kind}", payload, 0 if kind in ("up/get", "dn/block") else 1, kind in RETAINED))
    return said


RETAINED = ("up/birth", "up/state")
BIRTH = {0: 1, 1: 1, 2: 1, 3: "w", 4: "0", 5: ["python"], 6: [], 7: 1024, 8: 512, 9: 0}


def test_messages_within_the_grammar_pass() -> None:
    assert tapped(("up/birth", [1, 1, [5], BIRTH]), ("up/state", [1, 1, [5], {0: 1}]), ("dn/ack", [1, 1])) == []
    assert tapped(("up/state", [1, 0, [5], {0: 0}]), ("up/birth", [2, 1, [5], BIRTH]), ("up/birth", [3, 1, [5], BIRTH])) == []


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([("up/state", b"\x84")], "outside the grammar"),
        ([("up/state", [1, 1, [5], {}])], "outside the grammar"),
        ([("dn/welcome", [1])], "outside the grammar"),
        ([("up/birth", [2, 1, [5], BIRTH]), ("up/birth", [1, 1, [5], BIRTH])], "boot 1 after boot 2"),
        ([("up/birth", [2, 1, [5], BIRTH]), ("up/birth", [2, 1, [6], BIRTH])], "two messages"),
        ([("up/rumour", [1, 1, [5], {}])], "published to"),
    ],
)
def test_messages_outside_the_grammar_do_not(messages: list[tuple[str, object]], why: str) -> None:
    """EG-ENC-001 EG-ENV-001 EG-ENV-003"""
    assert any(why in said for said in tapped(*messages))


def test_births_and_answers_reach_who_wants_to_know() -> None:
    births: list[tuple[str, Birth]] = []
    with World(1) as world:
        answers: list[int] = []
        tap = Tap(
            world,
            lambda device, what: None,
            lambda device, birth: births.append((device, birth)),
            lambda device, answer: answers.append(answer.code),
        )
        tap("w1", Publish("eg1/acme/w1/up/birth", dumps([1, 1, [5], {**BIRTH, 6: [[1, 1002, 3]]}]), 1, True))
        tap("w1", Publish("eg1/acme/w1/up/rsp", dumps([1, 1, [5], [77, 11]]), 1, False))
    assert [(name, birth.features[0].sequence) for name, birth in births] == [("w1", 3)]
    assert answers == [11]
