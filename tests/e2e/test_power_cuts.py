"""The washer's plug is pulled, at every moment that matters: each cycle is told once, and each feature is old or new, whole."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

import pytest
from washhouse import (
    ALLERGEN_CARE,
    FINISHED,
    NAME,
    POWER_LOST,
    QUICK,
    STOPPED,
    TENANT,
    Device,
    Publisher,
    assert_reachable,
    assert_sound,
    decided,
    introduced,
    listening,
    offered,
    power_cycle,
    records,
    settled,
    started,
    until,
    wash,
    wash_shortly,
)

from evergrow_cloud import devices, offers, usage, wire
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import Mosquitto

Maker = Callable[..., Device]
FILL, WASH, SPIN, ENDING = 2, 4, 7, 9
BOTH = pytest.mark.parametrize("make_device", ["micropython", "cpython"], indirect=True)


@BOTH
async def test_a_power_cut_in_any_phase_leaves_one_record_of_lost_power(
    make_device: Maker, mosquitto: Mosquitto, store: Store
) -> None:
    """EG-USE-002 EG-USE-003 EG-ENV-001 EG-ENV-003"""
    device = make_device(mosquitto.port)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        await device.wait_for("booted")
        for phase in (FILL, WASH, SPIN, ENDING):
            before = len(device.events)
            await started(device)
            await device.wait_for("phase", since=before, phase=phase)
            await power_cycle(device)
        await wash(device)
        await settled(store, device, 5)
        assert [row.outcome for row in records(store)] == [POWER_LOST] * 4 + [FINISHED]
        assert [row.header.boot for row in records(store)] == [1, 2, 3, 4, 5]
        await assert_reachable(cloud)
    assert_sound(device)


@BOTH
async def test_a_power_cut_at_the_end_of_a_cycle_tells_it_once(make_device: Maker, mosquitto: Mosquitto, store: Store) -> None:
    """EG-USE-002 EG-ACK-003: at the moment when the record is durable, and neither announced nor acked, or just so."""
    device = make_device(mosquitto.port)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        await device.wait_for("booted")
        for cycle in (wash, wash_shortly, wash_shortly, wash_shortly):
            await cycle(device)
            await power_cycle(device)
        await settled(store, device, 4)
        assert [row.outcome for row in records(store)] == [FINISHED] + [STOPPED] * 3
        await assert_reachable(cloud)
    assert_sound(device)


async def test_a_power_cut_between_announcement_and_ack_tells_it_once(
    make_device: Maker, mosquitto: Mosquitto, store: Store
) -> None:
    """EG-ACK-003: the cloud sleeps while a third party sees the record go by."""
    device = make_device(mosquitto.port)
    async with device, listening(mosquitto.port, "usage") as heard:
        await introduced(device, store, mosquitto.port)
        for _ in range(3):
            await wash_shortly(device)
            await asyncio.wait_for(heard.get(), 30)
            await power_cycle(device)
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud:
            await settled(store, device, 3)
            await assert_reachable(cloud)
    assert_sound(device)


async def test_what_was_acked_is_not_told_again(make_device: Maker, mosquitto: Mosquitto, store: Store, tmp_path: Path) -> None:
    """EG-ACK-001: a cloud that lost its memory does not get the old records anew."""
    device = make_device(mosquitto.port)
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    async with device:
        async with Cloud(store, url) as cloud:
            await device.wait_for("connected")
            await wash_shortly(device)
            await settled(store, device, 1)
            await assert_reachable(cloud)  # so it has had the ack, which was sent before
        await power_cycle(device)
        with Store(tmp_path / "young.db") as young:
            async with Cloud(young, url) as cloud:
                await until(lambda: young.rows("SELECT 1 FROM devices WHERE birth IS NOT NULL"), "birth")
                await wash_shortly(device)
                await until(lambda: records(young), "the second record")
                await assert_reachable(cloud)
            assert [(row.header.boot, row.header.seq) for row in records(young)] == [(2, 1)]
    assert_sound(device)


@BOTH
async def test_a_washer_whose_flash_was_erased_tells_all_that_comes_after(
    make_device: Maker, mosquitto: Mosquitto, store: Store, tmp_path: Path
) -> None:
    """EG-ENV-005 EG-ENV-006 EG-BIRTH-006: under numbers that name nothing else, also what it washed while nobody was there."""
    device = make_device(mosquitto.port)
    async with device:
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud:
            await device.wait_for("booted")
            await wash_shortly(device)
            await power_cycle(device)
            await wash_shortly(device)
            await settled(store, device, 2)
            await assert_reachable(cloud)
        await device.kill()
        (tmp_path / "device" / "flash.img").unlink(missing_ok=True)
        rmtree(tmp_path / "device" / "flash", ignore_errors=True)
        before = len(device.events)
        await device.start()
        assert (await device.wait_for("booted", since=before))["boot"] == 1
        await wash_shortly(device)
        await power_cycle(device)
        await wash_shortly(device)
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud:
            await until(lambda: len(records(store)) >= 4, "what was washed since")
            await assert_reachable(cloud)
            await wash_shortly(device)
            await until(lambda: len(records(store)) >= 5, "one more")
        found = [(row.header.boot, row.header.seq) for row in records(store)]
        first = found[2][0]
        assert found == [(1, 1), (2, 1), (first, 1), (first + 1, 1), (first + 1, 2)] and first > 2
        assert devices.find(store, NAME, TENANT).conflicts == 0
    assert_sound(device)


async def test_a_power_cut_at_any_moment_of_the_first_boot_does_no_harm(
    make_device: Maker, mosquitto: Mosquitto, store: Store
) -> None:
    """EG-ENV-001: the flash is formatted, the key ring written, the boot counted: all of it may be interrupted."""
    device = make_device(mosquitto.port)
    boots = [0]
    for delay_ms in range(0, 300, 15):  # a sweep over the start of the interpreter and of the agent
        before = len(device.events)
        await device.start()
        await asyncio.sleep(delay_ms / 1000)
        await device.kill()
        boots += [event["boot"] for event in list(device.events)[before:] if event["event"] == "booted"]
    before = len(device.events)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        boots.append((await device.wait_for("booted", since=before))["boot"])
        assert boots == sorted(set(boots))
        await device.wait_for("connected", since=before)
        await wash_shortly(device)
        await settled(store, device, 1)
        await assert_reachable(cloud)
    assert_sound(device)


async def test_a_power_cut_at_each_request_of_an_install_ends_in_one_whole_feature(
    make_device: Maker, mosquitto: Mosquitto, store: Store, publisher: Publisher
) -> None:
    """EG-FEAT-007 EG-FEAT-010 EG-BIRTH-003 EG-BIRTH-004"""
    device = make_device(mosquitto.port, **publisher.config)
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    async with Cloud(store, url) as cloud, device, listening(mosquitto.port, "get", "feat") as heard:
        await device.wait_for("connected")
        transfer = await offered(cloud, publisher.built["allergen-care"])
        for requests in (1, 2, 3):
            for _ in range(requests):
                await asyncio.wait_for(heard.get(), 30)
            await power_cycle(device)
            while not heard.empty():
                heard.get_nowait()
        assert (await decided(store, transfer)).code == 0
        booted = await power_cycle(device)
        assert [tuple(row[:2]) for row in booted["features"]] == [(21, ALLERGEN_CARE)]
        await wash_shortly(device, ALLERGEN_CARE)
        await settled(store, device, 1)
        (share,) = usage.ledger(store)
        assert (share.publisher, share.feature, share.cycles) == (21, ALLERGEN_CARE, 1)
        await assert_reachable(cloud)
    assert_sound(device)


async def test_a_power_cut_while_a_feature_waits_for_the_end_of_a_cycle(
    make_device: Maker, mosquitto: Mosquitto, store: Store, publisher: Publisher
) -> None:
    """EG-FEAT-008 EG-USE-003: both the cycle and the staged feature are interrupted; both are told in the end."""
    device = make_device(mosquitto.port, speed=50, **publisher.config)
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    async with Cloud(store, url) as cloud, device, listening(mosquitto.port, "feat") as heard:
        await device.wait_for("connected")
        await started(device)
        transfer = await offered(cloud, publisher.built["spin-1400"])
        report = await asyncio.wait_for(heard.get(), 30)
        assert wire.decode("feat", bytes(report.payload)).state == offers.STAGED
        assert not [event for event in device.events if event["event"] == "features"]
        booted = await power_cycle(device)
        assert booted["features"] == []
        assert (await decided(store, transfer)).code == 0
        await settled(store, device, 1)
        assert [(row.programme, row.outcome) for row in records(store)] == [(QUICK, POWER_LOST)]
        await assert_reachable(cloud)
    assert_sound(device)
