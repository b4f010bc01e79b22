"""A simulated device and the reference cloud: features over the air, with a board's heap, file system and power."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evergrow_cloud import devicekeys, entitlements, offers, usage
from evergrow_cloud.entitlements import Terms
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_sim import cli
from evergrow_sim.launch import DeviceProcess, DeviceTask
from evergrow_tools import feature_bad, feature_build, keys, signing
from evergrow_tools.brokers import Mosquitto
from evergrow_tools.feature_files import Built

FEATURES = Path(__file__).parents[2] / "firmware" / "features"
Maker = Callable[..., DeviceProcess | DeviceTask]


class Publisher:
    """Builds and signs the example features; `trust` is the key ring for their devices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.trust: list[Any] = []

    def make(self, name: str, number: int) -> tuple[Built, str]:
        """-> the signed feature, and the prefix of its publisher, who is known by `number`."""
        unsigned = feature_build.build(FEATURES / name)
        prefix = signing.Manifest(signing.Envelope(unsigned.envelope)).components[0][0].decode()
        key = keys.new_key(self._folder, name, number, prefix, height=5)
        self.trust.append(cli.trusted_key(self._folder / f"{name}.pub"))
        return replace(unsigned, envelope=signing.sign_envelope(unsigned.envelope, key)), prefix


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "keys")


async def outcome(store: Store, transfer: int) -> tuple[int | None, int | None]:
    """(code, state) of a transfer once it is no longer open."""
    async with asyncio.timeout(60):
        while (found := offers.get(store, transfer)) is None or found.open:
            await asyncio.sleep(0.05)
    return found.code, found.state


async def test_features_arrive_over_the_air_are_used_survive_a_power_cut_and_bad_ones_are_refused(
    make_device: Maker, mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    """EG-FEAT-004, EG-FEAT-003, EG-FEAT-009, EG-USE-005, EG-ENT-005"""
    programme, _ = publisher.make("allergen-care", 21)
    unlock, prefix = publisher.make("spin-1400", 22)
    key = bytes(range(32))
    config = {"trust": publisher.trust, "device_key": key.hex(), "remote_enable": True}
    config |= cli.manifest_ids("evergrow.example", "washer")
    device = make_device(mosquitto.port, **config)
    with Store(tmp_path / "cloud.db") as store:
        devicekeys.enrol(store, "acme", "w1", key)
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
            await cloud.connected()
            await device.wait_for("connected")
            bad = [
                (feature_bad.tampered_payload(programme), 14),
                (feature_bad.signed_by_a_stranger(feature_build.build(FEATURES / "spin-1400"), prefix), 10),
            ]
            for built, code in bad:
                transfer = await offered(cloud, store, built)
                assert await outcome(store, transfer) == (code, offers.REFUSED)
            assert not [event for event in device.events if event["event"] == "features"]
            for built in (programme, unlock):
                transfer = await offered(cloud, store, built)
                assert await outcome(store, transfer) == (0, offers.CONFIRMED)

            before = len(device.events)
            await device.kill()
            await device.start()
            booted = await device.wait_for("booted", since=before)
            assert sorted(list(row[:1]) for row in booted["features"]) == [[21], [22]]
            await device.wait_for("connected", since=before)

            entitlements.issue(store, "acme", "w1", Terms(22, 1002))
            async with asyncio.timeout(30):
                while not store.rows("SELECT 1 FROM entitlements WHERE code = 0"):
                    await asyncio.sleep(0.05)
            device.command("start 1001")
            assert (await device.wait_for("ended", timeout_s=60, programme=1001))["outcome"] == 0
            async with asyncio.timeout(30):
                while not (shares := usage.ledger(store)):
                    await asyncio.sleep(0.05)
    assert [(share.publisher, share.feature, share.cycles) for share in shares] == [(21, 1001, 1), (22, 1002, 1)]


async def offered(cloud: Cloud, store: Store, built: Built) -> int:
    """Offer it as soon as the cloud has heard of the device."""
    async with asyncio.timeout(30):
        while not store.rows("SELECT 1 FROM devices WHERE birth IS NOT NULL"):
            await asyncio.sleep(0.05)
    return await cloud.offer("w1", built.envelope, dict(built.payloads))


async def test_a_feature_is_upgraded_by_a_patch_and_taken_out_by_its_publisher(
    make_device: Maker, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """EG-SUIT-005, EG-SUIT-007, EG-FEAT-005: with the publisher's tools, a broker and the reference cloud; a power cut changes
    nothing."""
    key = keys.new_key(tmp_path / "keys", "northwash", 21, "northwash", height=5)
    source = tmp_path / "allergen-care"
    source.mkdir()
    toml = (FEATURES / "allergen-care" / "feature.toml").read_text()

    def written(sequence: int) -> Path:
        text = re.sub(r"(?m)^sequence *=.*$", f"sequence = {sequence}", toml)
        (source / "feature.toml").write_text(text.replace('version = "1.0.0"', f'version = "{sequence}.0.0"'))
        return source

    def signed(unsigned: Built) -> Built:
        return replace(unsigned, envelope=signing.sign_envelope(unsigned.envelope, key))

    first = signed(feature_build.build(written(1)))
    second = signed(feature_build.build(written(2), older=first))
    gone = signed(feature_build.removal(written(3)))
    config = {"trust": [cli.trusted_key(tmp_path / "keys" / "northwash.pub")]} | cli.manifest_ids("evergrow.example", "washer")
    device = make_device(mosquitto.port, **config)
    with Store(tmp_path / "cloud.db") as store:
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
            await cloud.connected()
            await device.wait_for("connected")
            assert await outcome(store, await offered(cloud, store, first)) == (0, offers.CONFIRMED)
            transfer = await offered(cloud, store, second)
            assert await outcome(store, transfer) == (0, offers.CONFIRMED)
            found = offers.get(store, transfer)
            assert found and found.report and found.report.bytes == len(second.envelope) + len(second.payloads[2])
            assert await outcome(store, await offered(cloud, store, gone)) == (0, offers.REMOVED)
            before = len(device.events)
            await device.kill()
            await device.start()
            assert (await device.wait_for("booted", since=before))["features"] == []
            await device.wait_for("connected", since=before)
            assert await outcome(store, await offered(cloud, store, second)) == (9, offers.REFUSED)
