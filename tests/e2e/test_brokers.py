"""Brokers that are not there, come late, die, forget, forbid, or speak an old MQTT."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Authority
from washhouse import (
    ALLERGEN_CARE,
    FINISHED,
    NAME,
    STOPPED,
    Device,
    Publisher,
    assert_reachable,
    assert_sound,
    decided,
    listening,
    met,
    offered,
    outcomes,
    records,
    settled,
    started,
    wash,
    wash_shortly,
)

from evergrow_cloud import link
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import BrokerTls, IotCore, Mosquitto, free_port

Maker = Callable[..., Device]
HEAT = 3
ACL = ["pattern write eg1/acme/%c/up/#", "pattern read eg1/acme/%c/dn/#", "user cloud", "topic readwrite eg1/#"]
IMPATIENT = {"backoff_base_ms": 100, "backoff_cap_ms": 1000}
MEMORY = pytest.mark.parametrize("memory", [True, False], ids=["with-memory", "without-memory"])


@MEMORY
async def test_a_broker_that_dies_in_mid_cycle_costs_no_record(
    make_device: Maker, mosquitto: Mosquitto, store: Store, memory: bool
) -> None:
    """EG-TOP-004 EG-BIRTH-004 EG-ACK-003"""
    device = make_device(mosquitto.port, mqtt=IMPATIENT)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud, device:
        await device.wait_for("connected")
        await wash_shortly(device)
        before = len(device.events)
        await started(device)
        await device.wait_for("phase", since=before, phase=HEAT)
        mosquitto.kill()
        await device.wait_for("disconnected", since=before)
        await device.wait_for("ended", since=before)
        await wash_shortly(device)
        if not memory:
            forget(mosquitto)
        mosquitto.start()
        await settled(store, device, 3)
        await assert_reachable(cloud)
    assert outcomes(device) == [STOPPED, FINISHED, STOPPED]
    assert_sound(device)


@MEMORY
async def test_a_broker_that_dies_in_mid_transfer_costs_no_feature(
    make_device: Maker, mosquitto: Mosquitto, store: Store, publisher: Publisher, memory: bool
) -> None:
    """EG-FEAT-010 EG-BIRTH-004"""
    device = make_device(mosquitto.port, mqtt=IMPATIENT, **publisher.config)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud, device:
        await device.wait_for("connected")
        async with listening(mosquitto.port, "get") as heard:
            transfer = await offered(cloud, publisher.built["allergen-care"])
            await asyncio.wait_for(heard.get(), 30)
            mosquitto.kill()
        await device.wait_for("disconnected")
        if not memory:
            forget(mosquitto)
        mosquitto.start()
        assert (await decided(store, transfer)).code == 0
        await wash_shortly(device, ALLERGEN_CARE)
        await settled(store, device, 1)
        await assert_reachable(cloud)
    assert_sound(device)


async def test_a_washer_that_is_older_than_its_broker_washes_first_and_tells_later(
    make_device: Maker, folder: Path, store: Store
) -> None:
    """The base function depends on no link: started at the panel, reported once there is a broker. EG-USE-002 EG-TIME-003"""
    broker = Mosquitto(folder)
    broker.port = free_port()
    device = make_device(broker.port, mqtt=IMPATIENT)
    async with device:
        await device.wait_for("booted")
        await wash(device)
        await wash_shortly(device)
        assert outcomes(device) == [FINISHED, STOPPED]
        assert not [event for event in device.events if event["event"] == "connected"]
        with broker:
            async with Cloud(store, f"mqtt://127.0.0.1:{broker.port}") as cloud:
                await settled(store, device, 2)
                assert all(row.header.utc_s is None for row in records(store))
                await assert_reachable(cloud)
                await device.stop()
    assert_sound(device)


async def test_the_whole_loop_under_access_rules_and_with_certificates_of_both_sides(
    make_device: Maker, folder: Path, store: Store, publisher: Publisher, tmp_path: Path
) -> None:
    """EG-TOP-002 EG-TOP-003"""
    authority = Authority(tmp_path)
    server = BrokerTls(authority.path, *authority.issue("broker"), require_client_certificate=True)
    mine, clouds = authority.issue(NAME), authority.issue("cloud")
    with Mosquitto(folder, tls=server, acl=ACL) as broker:
        files = dict(zip(("ca", "cert", "key"), map(str, (authority.path, *mine)), strict=True))
        device = make_device(broker.tls_port, tls=files, **publisher.config)
        options = link.TlsOptions(str(authority.path), *map(str, clouds))
        async with Cloud(store, f"mqtts://127.0.0.1:{broker.tls_port}", tls=options) as cloud, device:
            await device.wait_for("connected")
            transfer = await offered(cloud, publisher.built["allergen-care"])
            assert (await decided(store, transfer)).code == 0
            await wash_shortly(device, ALLERGEN_CARE)
            await settled(store, device, 1)
            await assert_reachable(cloud)
            await device.stop()
        assert "denied" not in broker.log.lower()
    assert_sound(device)


async def test_the_whole_loop_over_a_broker_that_knows_only_mqtt_3_1_1(
    make_device: Maker, folder: Path, store: Store, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This broker leaves a CONNECT of MQTT 5 without an answer, so both sides get little patience for it."""
    monkeypatch.setattr(link, "TIMEOUT_S", 1)
    with IotCore(folder) as broker:
        device = make_device(broker.v4_port, mqtt={"connect_timeout_ms": 1000}, **publisher.config)
        async with Cloud(store, f"mqtt://127.0.0.1:{broker.v4_port}") as cloud, device:
            await met(device, store)
            transfer = await offered(cloud, publisher.built["allergen-care"])
            assert (await decided(store, transfer)).code == 0
            await wash_shortly(device, ALLERGEN_CARE)
            await settled(store, device, 1)
            await assert_reachable(cloud)
            await device.stop()
    assert_sound(device)


async def test_a_wrong_password_makes_no_hot_loop_and_keeps_nobody_from_washing(
    make_device: Maker, folder: Path, store: Store
) -> None:
    passwords = folder / "passwords"
    passwords.touch(0o600)
    for user in (NAME, "cloud"):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, "right"], check=True)
    with Mosquitto(folder, settings=["allow_anonymous false", f"password_file {passwords}"]) as broker:
        async with Cloud(store, f"mqtt://cloud:right@127.0.0.1:{broker.port}") as cloud:
            await cloud.connected()
            device = make_device(broker.port, username=NAME, password="wrong")
            async with device:
                await device.wait_for("booted")
                await wash(device)
                await wash_shortly(device)
            assert broker.log.count("not authorised") == 1, broker.log
            assert not records(store)

            device.config["password"] = "right"
            before = len(device.events)
            async with device:
                await device.wait_for("connected", since=before)
                await settled(store, device, 2)
                await assert_reachable(cloud)
    assert_sound(device)
    assert "right" not in "".join(map(str, device.events))


def forget(broker: Mosquitto) -> None:
    """Lose what it knew of sessions and retained messages."""
    (broker.folder / "mosquitto.db").unlink(missing_ok=True)
