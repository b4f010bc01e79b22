"""A refrigerator: it cools by itself, gets a feature over the air while it runs, and is metered for it; on both interpreters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from washhouse import FEATURES, Device, assert_sound, records, shipped, until

from evergrow_cloud import offers, usage
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_sim import cli
from evergrow_tools import keys
from evergrow_tools.brokers import Mosquitto

FRIDGE_NORMAL, SUPER_COOL, HOLIDAY = 12, 13, 1010
FRIDGE_MAX, FREEZER_MAX, DOOR_OPENINGS = 10, 11, 12
DOOR_LEFT_OPEN = 9
OUT_OF_RANGE = 5
FINISHED, STOPPED, POWER_LOST = 0, 1, 3
NUMBER = 31


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> keys.SigningKey:
    return keys.new_key(tmp_path_factory.mktemp("keys"), "northwash", NUMBER, "northwash", height=5)


def born(key: keys.SigningKey, **more: Any) -> dict[str, Any]:
    """What a refrigerator of this publisher is made with."""
    public = key.public
    trust = [[public.kid.hex(), public.alg, public.public.hex(), public.publisher, public.prefix]]
    return {"appliance": "refrigerator", "trust": trust, **cli.manifest_ids("evergrow.example", "refrigerator"), **more}


@pytest.mark.parametrize("make_device", ["micropython", "cpython"], indirect=True)
async def test_holiday_arrives_over_the_air_while_it_cools_runs_and_is_metered(
    make_device: Callable[..., Device], mosquitto: Mosquitto, store: Store, publisher: keys.SigningKey
) -> None:
    """EG-USE-020, EG-USE-021, EG-USE-022, EG-USE-005, EG-FEAT-007"""
    device = make_device(mosquitto.port, **born(publisher))
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        await cloud.connected()
        await device.wait_for("started", programme=FRIDGE_NORMAL)
        await device.wait_for("connected")
        device.command("door 0")
        device.command("door 1")
        found = await shipped(cloud, store, publisher, FEATURES / "holiday")
        assert (found.code, found.state) == (0, offers.CONFIRMED)

        device.command(f"start {HOLIDAY}")
        await device.wait_for("started", programme=HOLIDAY)
        since = len(device.events)
        device.command("stop")
        await device.wait_for("started", programme=FRIDGE_NORMAL, since=since)
        base, holiday = await until(lambda: records(store) if len(records(store)) == 2 else None, "two records")
        assert (base.programme, base.outcome, base.features) == (FRIDGE_NORMAL, FINISHED, ())
        assert base.meters[DOOR_OPENINGS] == 1 and base.meters[FREEZER_MAX] < 0 < base.meters[FRIDGE_MAX]
        assert (holiday.programme, holiday.outcome) == (HOLIDAY, STOPPED)
        assert [(row.publisher, row.feature) for row in usage.ledger(store)] == [(NUMBER, HOLIDAY)]

        since = len(device.events)
        device.command(f"start {HOLIDAY}")
        await device.wait_for("started", programme=HOLIDAY, since=since)
        since = len(device.events)
        await device.kill()
        await device.start()
        assert list((await device.wait_for("booted", since=since))["features"][0])[:2] == [NUMBER, HOLIDAY]
        rows = await until(lambda: records(store) if len(records(store)) == 4 else None, "the record of the power cut")
        assert [(row.programme, row.outcome) for row in rows[2:]] == [(FRIDGE_NORMAL, FINISHED), (HOLIDAY, POWER_LOST)]
        await device.wait_for("started", programme=HOLIDAY, since=since)
    assert_sound(device)


async def test_without_any_cloud_it_cools_and_a_person_sets_it(
    make_device: Callable[..., Device], publisher: keys.SigningKey
) -> None:
    """EG-USE-020, EG-EVT-002: the base function depends on no link."""
    device = make_device(9, **born(publisher))
    async with device:
        await device.wait_for("started", programme=FRIDGE_NORMAL)
        device.command("door 0")
        await device.wait_for("alarms", alarms=[DOOR_LEFT_OPEN])
        device.command("door 1")
        await device.wait_for("alarms", alarms=[])
        device.command("set fridge 6")
        device.command("set oven 200")
        assert "no dial 'oven'" in (await device.wait_for("refused"))["text"]
        device.command(f"start {SUPER_COOL}")
        await device.wait_for("started", programme=SUPER_COOL)
        await device.wait_for("started", programme=FRIDGE_NORMAL, since=len(device.events), timeout_s=60)
        ended = [event for event in device.events if event["event"] == "ended"]
        assert not ended or ended[0]["outcome"] == FINISHED


async def test_feature_that_grasps_for_the_compressor_is_refused(
    make_device: Callable[..., Device], mosquitto: Mosquitto, store: Store, publisher: keys.SigningKey, tmp_path: Path
) -> None:
    """EG-USE-024"""
    text = (FEATURES / "holiday" / "feature.toml").read_text(encoding="utf-8")
    (tmp_path / "feature.toml").write_text(text.replace("set = { fridge_set", "set = { compressor = 0, fridge_set"))
    device = make_device(mosquitto.port, **born(publisher))
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        await cloud.connected()
        found = await shipped(cloud, store, publisher, tmp_path)
        assert (found.code, found.state) == (OUT_OF_RANGE, offers.REFUSED)
