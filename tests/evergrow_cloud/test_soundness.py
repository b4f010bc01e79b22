"""What the cloud says of gaps, broken chains and damage, without an audit."""

from typing import Any

import pytest
from scripted_device import BIRTH, envelope, usage_body

from evergrow_cloud import devices, soundness, view
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.soundness import Soundness
from evergrow_cloud.store import Store

NOW_S = 1_795_339_200.0
SOUND = Soundness(0, 0, 0, None, 0, 0, 0, 0)


@pytest.fixture
def service(store: Store) -> Ingest:
    return Ingest(store, Limits())


def say(service: Ingest, kind: str, boot: int, seq: int, body: Any) -> None:
    service.apply([Incoming(f"eg1/acme/washer-1/up/{kind}", envelope(boot, seq, body), False)], NOW_S)


def found(store: Store) -> Soundness:
    return soundness.of_device(store, devices.find(store, "washer-1").id)


def test_a_gap_is_flagged_when_the_record_behind_it_comes_and_no_more_when_it_is_filled(service: Ingest, store: Store) -> None:
    """EG-USE-012"""
    now = store.utc_s()
    for seq in (1, 2):
        say(service, "usage", 7, seq, usage_body())
    assert found(store) == SOUND and found(store).sound
    for boot, seq in ((7, 5), (7, 6), (8, 2)):
        say(service, "usage", boot, seq, usage_body())
    gaps = found(store)
    assert (gaps.missing, gaps.gaps, gaps.sound) == (3, 2, False)
    assert gaps.since_s is not None and now <= gaps.since_s <= store.utc_s()
    say(service, "usage", 7, 3, usage_body())
    assert (found(store).missing, found(store).since_s) == (2, gaps.since_s)
    say(service, "usage", 7, 4, usage_body())
    say(service, "usage", 8, 1, usage_body())
    assert found(store) == SOUND
    say(service, "usage", 8, 1, usage_body(energy_wh=1))
    assert (found(store).conflicts, found(store).sound) == (1, False)
    assert {"sound": False, "conflicts": 1}.items() <= view.soundness(found(store)).items()


def test_what_a_device_tells_of_damage_is_kept_by_boot(service: Ingest, store: Store) -> None:
    """EG-USE-011, EG-USE-012: places are those of the last boot that had any; what is lost stays lost."""
    say(service, "birth", 7, 1, BIRTH)
    assert found(store) == SOUND
    say(service, "birth", 7, 2, BIRTH | {13: [1, 0, 0]})
    assert found(store) == Soundness(0, 0, 0, None, 0, 1, 0, 0) and found(store).sound  # as after a power cut
    say(service, "birth", 7, 3, BIRTH | {13: [1, 1, 2]})
    say(service, "birth", 7, 4, BIRTH | {13: [0, 0, 1]})  # late
    assert found(store) == Soundness(0, 0, 0, None, 0, 1, 1, 2) and not found(store).sound
    say(service, "birth", 8, 1, BIRTH | {13: [4, 0, 1]})
    assert found(store) == Soundness(0, 0, 0, None, 0, 4, 0, 3)
    say(service, "birth", 9, 1, BIRTH | {9: 4, 13: [9, 9, 9]})  # a fresh flash has no boot that is known
    assert found(store).lost == 3
