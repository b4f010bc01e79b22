"""Births, states and links: the newest counts, whatever order things arrive in."""

from typing import Any

import pytest
from scripted_device import BIRTH, ONLINE, envelope

from evergrow_cloud import devices, wire
from evergrow_cloud.errors import UnknownDevice
from evergrow_cloud.store import Store
from evergrow_protocol.errors import ProtocolError


def birth(store: Store, boot: int, *, retained: bool = False, seq: int = 1, **changes: Any) -> bool:
    raw = envelope(boot, seq, BIRTH | {int(key[1:]): value for key, value in changes.items()})
    with store.transaction():
        device_id = devices.ensure(store, "acme", "washer-1")
        return devices.record_birth(store, device_id, wire.decode("birth", raw), raw, retained=retained, now_ms=5)  # type: ignore[arg-type]


def state(store: Store, boot: int, seq: int, body: Any = None) -> bool:
    raw = envelope(boot, seq, ONLINE if body is None else body)
    with store.transaction():
        device_id = devices.ensure(store, "acme", "washer-1")
        return devices.record_state(store, device_id, wire.decode("state", raw), raw)  # type: ignore[arg-type]


def device(store: Store) -> devices.Device:
    return devices.find(store, "acme/washer-1")


def boot_of(store: Store) -> int:
    found = device(store).birth
    assert found is not None
    return found.header.boot


def test_a_retained_birth_of_an_earlier_boot_is_ignored(store: Store) -> None:
    """EG-TOP-004"""
    birth(store, 8)
    birth(store, 7, retained=True)
    assert boot_of(store) == 8
    birth(store, 9, retained=True)
    assert boot_of(store) == 9


def test_a_live_birth_counts_even_with_a_lower_boot_and_another_is_asked_for(store: Store) -> None:
    """EG-BIRTH-009"""
    assert not birth(store, 800)
    assert birth(store, 1)
    assert boot_of(store) == 1
    assert not birth(store, 1, seq=2)
    assert not birth(store, 800, seq=2), "the first one was late"
    assert boot_of(store) == 800


@pytest.mark.parametrize("retained", [False, True])
def test_a_birth_that_comes_late_in_its_boot_changes_nothing(store: Store, retained: bool) -> None:
    """EG-BIRTH-009"""
    birth(store, 7, seq=3, k6=[[2, 1001, 2]])
    assert not birth(store, 7, seq=2, retained=retained, k6=[])
    found = device(store).birth
    assert found is not None and [tuple(row) for row in found.features] == [(2, 1001, 2)]
    birth(store, 7, seq=3, k6=[])
    found = device(store).birth
    assert found is not None and not found.features, "the same number again is the same birth"


def test_a_flash_that_is_fresh_again_and_again_counts_each_time(store: Store) -> None:
    """EG-BIRTH-009"""
    birth(store, 1, seq=5, k9=4)
    assert not birth(store, 1, seq=1, k9=4, k4="2.0.0")
    found = device(store).birth
    assert found is not None and found.header.seq == 1


def test_random_boots_have_no_order(store: Store) -> None:
    birth(store, 0xF0000000, k9=1)
    birth(store, 0x90000000, k9=1, retained=True)
    assert boot_of(store) == 0x90000000
    assert state(store, 0x80000001, 1)


def test_an_older_state_changes_nothing(store: Store) -> None:
    """EG-STATE-002"""
    birth(store, 7)
    assert state(store, 7, 5, ONLINE | {1: 1})
    assert not state(store, 7, 4, ONLINE | {1: 0})
    assert not state(store, 7, 5, ONLINE | {1: 0})
    assert not state(store, 6, 9, {0: 0})
    found = device(store).state
    assert found is not None and found.operation == 1
    assert device(store).online


def test_the_will_takes_the_device_off_line(store: Store) -> None:
    """EG-STATE-001"""
    birth(store, 7)
    state(store, 7, 5)
    assert state(store, 7, 0, {0: 0})
    assert not device(store).online
    assert not state(store, 7, 5)
    assert state(store, 7, 6)
    assert device(store).online


def test_the_will_of_an_earlier_boot_is_ignored(store: Store) -> None:
    birth(store, 8)
    state(store, 8, 1)
    assert not state(store, 7, 0, {0: 0})
    assert device(store).online


def test_whoever_speaks_is_online(store: Store, clock: Any) -> None:
    with store.transaction():
        device_id = devices.ensure(store, "acme", "washer-1")
        assert devices.heard(store, device_id)
        assert not devices.heard(store, device_id)
    clock.utc_s += 3600
    with store.transaction():
        devices.heard(store, device_id)
    assert device(store).last_seen_s == clock.utc_s


def test_names_are_found_with_the_tenant_or_without(store: Store) -> None:
    with store.transaction():
        for tenant, name in (("acme", "one"), ("acme", "both"), ("other", "both")):
            devices.ensure(store, tenant, name)
    assert devices.find(store, "one").tenant == "acme"
    assert devices.find(store, "other/both").tenant == "other"
    assert devices.find(store, "both", tenant="other").tenant == "other"
    for name in ("both", "none", "acme/none"):
        with pytest.raises(UnknownDevice):
            devices.find(store, name)
    assert devices.address(store, "acme/never-seen") == ("acme", "never-seen")


def test_bad_names_are_refused(store: Store) -> None:
    """EG-TOP-001"""
    for tenant, name in (("acme", "Washer"), ("", "w"), ("a/b", "w"), ("acme", "w" * 33)):
        with pytest.raises(ProtocolError), store.transaction():
            devices.ensure(store, tenant, name)


def test_devices_come_in_pages(store: Store) -> None:
    with store.transaction():
        for number in range(5):
            devices.ensure(store, "acme", f"washer-{number}")
    first = devices.every(store, limit=3)
    assert [row.device for row in first] == ["washer-0", "washer-1", "washer-2"]
    assert [row.device for row in devices.every(store, after=first[-1].id)] == ["washer-3", "washer-4"]
