"""Grants, revocation and entitlements from end to end: what the cloud pushes is what a washer on MicroPython does."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from washhouse import (
    ALLERGEN_CARE,
    NAME,
    QUICK,
    TENANT,
    Device,
    Publisher,
    assert_reachable,
    assert_sound,
    decided,
    listening,
    met,
    offered,
    power_cycle,
    records,
    until,
    wash,
)

from evergrow_cloud import commands, devicekeys, devices, entitlements, offers, trust
from evergrow_cloud.entitlements import Terms
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_protocol import registry_washer as washer
from evergrow_protocol.errors import NOT_AUTHORISED, OK
from evergrow_tools import keys, trust_build
from evergrow_tools.brokers import Mosquitto

Maker = Callable[..., Device]

KEY = bytes(range(32))
CARE, SPIN = (21, ALLERGEN_CARE), (22, 1002)
COTTON = washer.PROGRAMME_COTTON
SIGNALS = (washer.SIGNAL_WATER_ML, washer.SIGNAL_TEMP, washer.SIGNAL_DOOR_LOCKED)
ACTUATORS = (
    washer.ACTUATOR_INLET,
    washer.ACTUATOR_DRAIN,
    washer.ACTUATOR_HEATER,
    washer.ACTUATOR_DRUM_RPM,
    washer.ACTUATOR_DOOR_LOCK,
)


@dataclass
class Root:
    key: keys.SigningKey
    publisher: Publisher

    def grant(self, name: str, sequence: int, actuators: tuple[int, ...] = ACTUATORS) -> trust.Document:
        public = keys.load_public(self.publisher.folder / f"{name}.pub")
        return trust.read(trust_build.build_grant(self.key, public, sequence, SIGNALS, actuators, (), 8192, 0))

    def revoke(self, sequence: int, *features: tuple[int, int, int, int]) -> trust.Document:
        return trust.read(trust_build.build_revocations(self.key, sequence, (), (), features))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, publisher: Publisher) -> Root:
    return Root(keys.new_key(tmp_path_factory.mktemp("root"), "root", 65535, "root", height=5), publisher)


def sold(make_device: Maker, port: int, store: Store, root: Root) -> Device:
    """A washer that was made with the root key and its own, and trusts nobody else."""
    devicekeys.enrol(store, TENANT, NAME, KEY)
    config = {**root.publisher.config, "trust": [], "root": [root.key.public.alg, root.key.public.public.hex()]}
    return make_device(port, device_key=KEY.hex(), remote_enable=True, **config)


async def told(store: Store, grants: dict[int, int], revocations: int) -> None:
    """Until the washer says that it has these."""

    def look() -> bool:
        birth = devices.find(store, NAME, TENANT).birth
        return birth is not None and dict(birth.grants or ()) == grants and birth.revocations == revocations

    await until(look, f"a birth with grants {grants} and list {revocations}")


def installed(store: Store) -> list[tuple[int | str, int]]:
    birth = devices.find(store, NAME, TENANT).birth
    return [(row.publisher, row.feature) for row in birth.features] if birth else []


async def entitled(store: Store, terms: Terms) -> None:
    sequence = entitlements.issue(store, TENANT, NAME, terms)
    device_id = devices.find(store, NAME, TENANT).id
    found = await until(
        lambda: [one for one in entitlements.of_device(store, device_id) if one.sequence == sequence and one.code is not None],
        "the answer to an entitlement",
    )
    assert found[0].code == OK


async def test_the_life_of_rights_from_the_first_grant_to_a_revocation(
    make_device: Maker, mosquitto: Mosquitto, store: Store, publisher: Publisher, root: Root
) -> None:
    """EG-TRUST-002, EG-TRUST-006, EG-TRUST-012, EG-TRUST-014, EG-ENT-005, EG-ENT-009, EG-USE-005"""
    for document in (root.grant("allergen-care", 1, ACTUATORS[:2]), root.grant("spin-1400", 1, ACTUATORS[3:4])):
        trust.put(store, TENANT, document)  # before anybody has heard of the washer
    device = sold(make_device, mosquitto.port, store, root)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        await met(device, store)
        await told(store, {21: 1, 22: 1}, 0)
        assert (await decided(store, await offered(cloud, publisher.built["allergen-care"]))).code == NOT_AUTHORISED
        trust.put(store, TENANT, root.grant("allergen-care", 2))
        await told(store, {21: 2, 22: 1}, 0)
        for name in ("allergen-care", "spin-1400"):
            transfer = await decided(store, await offered(cloud, publisher.built[name]))
            assert (transfer.code, transfer.state) == (OK, offers.CONFIRMED)

        await wash(device, COTTON)
        await entitled(store, Terms(*SPIN, uses=1))
        await wash(device, COTTON)
        booted = await power_cycle(device)
        assert sorted(tuple(row[:2]) for row in booted["features"]) == [CARE, SPIN]
        await wash(device, COTTON)
        rows = await until(lambda: records(store) if len(records(store)) == 3 else None, "three records")
        used = [(row.spin_max_rpm, [tuple(one) for one in row.features]) for row in rows]
        assert used == [(1000, []), (1400, [SPIN]), (1000, [])]

        trust.put(store, TENANT, root.revoke(3, (*CARE, 0, 99)))
        await told(store, {21: 2, 22: 1}, 3)
        for _ in range(2):
            await until(lambda: installed(store) == [SPIN], "a birth without what is revoked")
            code, _ = await cloud.command(f"{TENANT}/{NAME}", commands.START, {0: ALLERGEN_CARE})
            assert code == NOT_AUTHORISED
            assert (await decided(store, await offered(cloud, publisher.built["allergen-care"]))).code == NOT_AUTHORISED
            assert (await wash(device, QUICK))["outcome"] == 0
            await power_cycle(device)
        await assert_reachable(cloud)
    assert_sound(device)


async def test_power_cuts_while_a_grant_and_a_list_are_pulled_and_an_entitlement_comes(
    make_device: Maker, mosquitto: Mosquitto, store: Store, publisher: Publisher, root: Root
) -> None:
    """EG-TRUST-008, EG-TRUST-013, EG-TRUST-014, EG-ENT-010, EG-ENT-013"""
    device = sold(make_device, mosquitto.port, store, root)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        await met(device, store)
        async with listening(mosquitto.port, "get") as heard:
            for sequence in (1, 2, 3):
                trust.put(store, TENANT, root.grant("allergen-care", sequence))
                trust.put(store, TENANT, root.revoke(sequence, (*SPIN, 0, sequence)))
                for _ in range(min(sequence, 2)):
                    await asyncio.wait_for(heard.get(), 30)
                await power_cycle(device)
                while not heard.empty():
                    heard.get_nowait()
        await told(store, {21: 3}, 3)
        assert (await decided(store, await offered(cloud, publisher.built["allergen-care"]))).code == OK
        entitlements.issue(store, TENANT, NAME, Terms(*CARE, uses=5))
        await power_cycle(device)
        entitlements.issue(store, TENANT, NAME, Terms(*SPIN, uses=0))
        await power_cycle(device)
        device_id = devices.find(store, NAME, TENANT).id
        await until(lambda: [one.code for one in entitlements.of_device(store, device_id)] == [OK, OK], "both answers")
        assert (await wash(device, QUICK))["outcome"] == 0
        await assert_reachable(cloud)
    assert_sound(device)
