"""A setting of a code feature on its way: from the command to what the appliance does, across a power cut."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner
from washhouse import FEATURES, NAME, TENANT, Device, assert_sound, connected, shipped, until

from evergrow_cloud import configs, devices, events, offers
from evergrow_cloud.cli import app
from evergrow_cloud.store import Store
from evergrow_sim import cli
from evergrow_tools import keys
from evergrow_tools.brokers import Mosquitto

REMINDED = 1023
OUT_OF_RANGE = 5
NUMBER = 31


@pytest.mark.parametrize("make_device", ["micropython", "cpython"], indirect=True)
async def test_the_coach_is_as_patient_as_its_cloud_wants(
    make_device: Callable[..., Device], mosquitto: Mosquitto, store: Store, tmp_path: Path
) -> None:
    """EG-CFG-009, EG-CODE-007, EG-CFG-002, EG-CFG-001"""
    key = keys.new_key(tmp_path, "northwash", NUMBER, "northwash", height=5)
    trust = [cli.trusted_key(tmp_path / "northwash.pub")]
    device = make_device(
        mosquitto.port, appliance="refrigerator", trust=trust, **cli.manifest_ids("evergrow.example", "refrigerator")
    )
    async with connected(device, store, mosquitto.port) as cloud:
        assert (await shipped(cloud, store, key, FEATURES / "door-coach")).state == offers.CONFIRMED

        def command(*words: str) -> int:
            database = ["--db", str(tmp_path / "cloud.db")]
            args = ["config", "feature", f"{TENANT}/{NAME}", *words, *database]
            return CliRunner().invoke(app, args, catch_exceptions=False).exit_code

        def desired() -> configs.Desired:
            found = configs.get(store, devices.find(store, NAME).id)
            assert found is not None
            return found

        assert command("door-coach", "patience_s=301") == 1, "the cloud knows the bounds, too"
        assert command("door-coach", "patience_s=75") == 0
        await until(lambda: desired().in_force, "the configuration")
        device_id = devices.find(store, NAME).id
        for count in (1, 2):
            device.command("door 0")
            await until(lambda count=count: len(notes(store, device_id)) == count, "the reminder")
            assert all(75 <= value < 90 for value in notes(store, device_id))
            device.command("door 1")
            if count == 1:
                await device.kill()
                await device.start()
                await device.wait_for("connected", since=len(device.events))

        before = desired().version
        configs.put(store, device_id, {4: [[NUMBER, 1020, {1: 301}]]})
        refused = await until(lambda: desired() if desired().code else None, "the refusal")
        assert (refused.code, refused.refused, refused.applied) == (OUT_OF_RANGE, refused.version, before)
    assert_sound(device)


def notes(store: Store, device_id: int) -> list[int]:
    return [row.event.value or 0 for row in events.newest(store, device_id) if row.event.event == REMINDED]
