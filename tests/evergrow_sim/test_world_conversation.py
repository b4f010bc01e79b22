"""The whole conversation of a washer and its cloud, through brokers that lack what others have."""

import pytest

from evergrow_cloud import commands, devices, telemetry
from evergrow_protocol import errors as codes
from evergrow_protocol import registry_washer as ids
from evergrow_sim.world import brisk
from evergrow_sim.world.broker_settings import Switches
from evergrow_sim.world.house import House
from evergrow_sim.world.scenario import Act, DeviceSpec, Scenario
from evergrow_sim.world.world import World

MINUTE_MS = 60_000

BROKERS = {
    "good": Switches(),
    "3.1.1 only": Switches(versions=(4,)),
    "no wills": Switches(no_will=True),
    "no retained messages": Switches(no_retained=True),
    "no sessions": Switches(no_sessions=True),
    "nothing, and silent about it": Switches(no_will=True, no_retained=True, no_sessions=True, announce=False),
    "nothing, and 3.1.1": Switches(no_will=True, no_retained=True, no_sessions=True, announce=False, versions=(4,)),
}


def washer(version: int) -> DeviceSpec:
    return DeviceSpec("w1", 1000, 1500, 50, "kept", version, 30, (ids.SIGNAL_TEMP,), 20, 10, 65536, 0, "")


@pytest.mark.parametrize("name", BROKERS)
def test_the_conversation_is_the_same_through_every_broker(name: str) -> None:
    """EG-BRK-001, EG-TOP-004: birth, time, usage, telemetry, commands, configuration; before and after both ends restart."""
    switches = BROKERS[name]
    version = switches.versions[0]
    wrong: list[str] = []
    with World(7) as world:
        house = House(world, Scenario((washer(version),), (), 60 * MINUTE_MS, version), lambda *what: wrong.append(str(what)))
        house.broker.switches = switches
        house.tap.no_retained = switches.no_retained and switches.announce
        resident = house.residents["w1"]
        house.open()

        def until(minutes: float) -> None:
            world.run(until_ms=int(minutes * MINUTE_MS))

        def wash() -> None:
            house.act(Act(world.loop.now_ms, "w1", "start", brisk.SHORT_WASH))

        until(1)
        resident.device.enable_remote(True)
        first = house.configure(resident, {1: [[5, 5, 1, {ids.SIGNAL_TEMP: 0}, 4]], 2: 60})
        until(3)
        found = house.cloud.configured("w1")
        assert found is not None and found.applied == first and found.code == 0
        wash()
        until(12)
        assert len(house.told(resident)) == 1
        number = house.command(resident, commands.START, {0: brisk.SHORT_SPIN})
        until(20)
        assert house.cloud.answer(number) == (codes.OK, None) and len(house.told(resident)) == 2

        resident.device.reboot(120_000)  # long enough for a will
        house.cloud.crash()
        second = house.configure(resident, {2: 60})
        until(21)
        house.cloud.start()
        until(27)
        found = house.cloud.configured("w1")
        assert found is not None and found.in_force and found.version == second
        wash()
        until(40)
        house.broker.restart()
        until(44)
        number = house.command(resident, commands.REBIRTH, {})
        until(48)
        assert house.cloud.answer(number) == (codes.OK, None)
        assert sorted(house.told(resident)) == [(1, 1), (1, 2), (2, 1)]
        row = devices.find(house.cloud.store, "w1")
        assert row.online and row.birth is not None and row.birth.header.boot == 2
        batches = telemetry.newest(house.cloud.store, row.id, 1000)
        assert len(batches) > 30 and {batch.header.boot for batch in batches} == {1, 2}
        assert not resident.device.agent.ledger.pending and not any(resident.device.agent.crashes.values())
    assert not wrong
