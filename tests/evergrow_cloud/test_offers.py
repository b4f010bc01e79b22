"""Offers: what names them, when they are repeated, when they end."""

from typing import Any

import cbor2
import pytest
from scripted_device import envelope

from evergrow_cloud import devices, offers, wire
from evergrow_cloud.errors import CloudError
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes
from evergrow_protocol.errors import ProtocolError


def go_online(store: Store, device: str = "washer-1") -> int:
    with store.transaction():
        device_id = devices.ensure(store, "acme", device)
        if devices.heard(store, device_id):
            offers.repeat_open(store, device_id)
    return device_id


def report(
    store: Store, device_id: int, transfer: int, state: int, code: int = 0, *, seq: int, boot: int = 7, **more: Any
) -> None:
    raw = envelope(boot, seq, {0: transfer, 1: code, 2: state} | {int(key[1:]): value for key, value in more.items()})
    with store.transaction():
        offers.report(store, device_id, wire.decode("feat", raw), raw)  # type: ignore[arg-type]


def due(store: Store) -> list[int]:
    return [offer.transfer for offer in offers.due(store, 10)]


def test_the_same_content_is_the_same_open_transfer(store: Store) -> None:
    """EG-FEAT-001"""
    first = offers.offer(store, "acme", "washer-1", b"envelope", {1: b"body"})
    assert offers.offer(store, "acme", "washer-1", b"envelope", {1: b"body"}) == first
    changed = offers.offer(store, "acme", "washer-1", b"envelope", {1: b"BODY"})
    another = offers.offer(store, "acme", "washer-1", b"ENVELOPE", {1: b"body"})
    assert first < changed < another
    assert offers.offer(store, "acme", "washer-2", b"envelope", {1: b"body"}) > another


def test_a_closed_transfer_is_not_taken_up_again(store: Store) -> None:
    """EG-FEAT-015 EG-FEAT-001"""
    device_id = go_online(store)
    first = offers.offer(store, "acme", "washer-1", b"envelope", {})
    report(store, device_id, first, offers.REFUSED, codes.NOT_AUTHORISED, seq=1)
    assert offers.offer(store, "acme", "washer-1", b"envelope", {}) > first


def test_content_is_kept_once_for_a_fleet(store: Store) -> None:
    for number in range(20):
        offers.offer(store, "acme", f"washer-{number}", b"envelope", {1: b"body"})
    assert store.rows("SELECT count(*) FROM blobs") == [(2,)]


def test_an_offer_is_due_when_its_device_is_there(store: Store) -> None:
    """EG-BIRTH-004"""
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {})
    assert due(store) == []
    go_online(store)
    assert due(store) == [transfer]
    assert offers.due(store, 10)[0].envelope_bytes == len(b"envelope")
    offers.sent(store, transfer)
    assert due(store) == []
    with store.transaction():
        offers.repeat_open(store, 1)
    assert due(store) == [transfer]


def test_an_offer_is_not_repeated_to_the_boot_that_has_just_said_that_it_has_it(store: Store) -> None:
    """EG-BIRTH-004: another boot may have lost it, and what was cancelled is still to be told."""
    device_id = go_online(store)
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {})
    report(store, device_id, transfer, offers.TRIAL, seq=1)
    for boot, state, expected in ((7, offers.TRIAL, []), (8, offers.TRIAL, [transfer]), (7, offers.FETCHING, [])):
        report(store, device_id, transfer, state, seq=10 * (boot + state))
        offers.sent(store, transfer)
        with store.transaction():
            offers.repeat_open(store, device_id, boot)
        assert due(store) == expected, (boot, state)
    offers.cancel(store, transfer)
    offers.sent(store, transfer)
    with store.transaction():
        offers.repeat_open(store, device_id, 7)
    assert due(store) == [transfer]


@pytest.mark.parametrize("state", [offers.CONFIRMED, offers.REVERTED, offers.REFUSED, offers.REMOVED])
def test_a_final_report_ends_the_offer(store: Store, state: int) -> None:
    """EG-FEAT-009"""
    device_id = go_online(store)
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {})
    for seq, step in enumerate((offers.FETCHING, offers.STAGED, offers.TRIAL), start=1):
        report(store, device_id, transfer, step, seq=seq)
        found = offers.get(store, transfer)
        assert found is not None and found.open and found.state == step
    report(store, device_id, transfer, state, 9, seq=4, k3=[1, 1001, 5], k4=1800, k9="text")
    found = offers.get(store, transfer)
    assert found is not None and found.report is not None
    assert (found.open, found.state, found.code, found.report.bytes, found.report.text) == (False, state, 9, 1800, "text")
    go_online(store)
    assert due(store) == []


def test_a_busy_device_is_asked_again_when_it_is_free(store: Store) -> None:
    """EG-FEAT-015"""
    device_id = go_online(store)
    first = offers.offer(store, "acme", "washer-1", b"one", {})
    second = offers.offer(store, "acme", "washer-1", b"two", {})
    assert due(store) == [first, second]
    for transfer in (first, second):
        offers.sent(store, transfer)
    report(store, device_id, second, offers.REFUSED, codes.BUSY, seq=1)
    assert due(store) == []
    report(store, device_id, first, offers.CONFIRMED, seq=2)
    assert due(store) == [second]


def test_a_report_that_comes_late_or_twice_changes_nothing(store: Store) -> None:
    device_id = go_online(store)
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {})
    report(store, device_id, transfer, offers.CONFIRMED, seq=2)
    report(store, device_id, transfer, offers.FETCHING, seq=1)
    report(store, device_id, transfer, offers.FETCHING, seq=2)
    found = offers.get(store, transfer)
    assert found is not None and found.state == offers.CONFIRMED
    report(store, device_id, transfer, offers.REVERTED, seq=1, boot=8)
    found = offers.get(store, transfer)
    assert found is not None and found.state == offers.REVERTED


def test_a_device_cannot_report_on_another_ones_transfer(store: Store) -> None:
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {})
    other = go_online(store, "washer-2")
    report(store, other, transfer, offers.CONFIRMED, seq=1)
    report(store, other, 12345, offers.CONFIRMED, seq=2)
    found = offers.get(store, transfer)
    assert found is not None and found.state is None and found.open


def test_a_device_cannot_read_what_it_was_not_offered(store: Store) -> None:
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {1: b"body"})
    other = go_online(store, "washer-2")
    assert offers.read(store, 1, transfer, 0, 2, 3) == b"vel"
    assert offers.read(store, 1, transfer, 1, 2, 100) == b"dy"
    assert offers.read(store, 1, transfer, 1, 4, 100) == b""
    assert offers.read(store, 1, transfer, 2, 0, 100) == b""
    assert offers.read(store, other, transfer, 0, 0, 100) == b""


@pytest.mark.parametrize(
    ("envelope", "payloads", "code"),
    [
        (b"", {}, codes.TOO_LARGE),
        (bytes(offers.MAX_ENVELOPE_BYTES + 1), {}, codes.TOO_LARGE),
        (b"e", {1: bytes(offers.MAX_PAYLOAD_BYTES + 1)}, codes.TOO_LARGE),
        (b"e", dict.fromkeys(range(1, 34), b""), codes.TOO_LARGE),
        (b"e", {0: b"x"}, codes.OUT_OF_RANGE),
    ],
)
def test_offers_have_limits(store: Store, envelope: bytes, payloads: dict[int, bytes], code: int) -> None:
    """EG-LIM-003"""
    with pytest.raises(CloudError) as caught:
        offers.offer(store, "acme", "washer-1", envelope, payloads)
    assert caught.value.code == code
    assert devices.every(store) == []
    with pytest.raises(ProtocolError):
        offers.offer(store, "acme", "NO", b"e", {})


def _version(sequence: int, name: bytes = b"rinse") -> bytes:
    manifest = cbor2.dumps({1: 1, 2: sequence, 3: cbor2.dumps({2: [[b"acme", name]]})})
    return cbor2.dumps(cbor2.CBORTag(107, {2: b"", 3: manifest}))


def test_a_newer_version_cancels_the_open_offer_of_the_older_one(store: Store) -> None:
    """EG-FEAT-017, EG-FEAT-023: said until the device has answered."""
    go_online(store)
    old = offers.offer(store, "acme", "washer-1", _version(1), {})
    other = offers.offer(store, "acme", "washer-1", _version(1, b"spin"), {})
    new = offers.offer(store, "acme", "washer-1", _version(2), {})
    assert [offer.message() for offer in offers.due(store, 10)] == [
        ("cancel", cbor2.dumps([old])),
        ("offer", cbor2.dumps([other, len(_version(1, b"spin"))])),
        ("offer", cbor2.dumps([new, len(_version(2))])),
    ]
    again = offers.offer(store, "acme", "washer-1", _version(1), {1: b"x"})
    assert [offer.transfer for offer in offers.due(store, 10) if not offer.cancelled] == [other, new, again]


def test_only_what_is_open_is_cancelled(store: Store) -> None:
    """EG-FEAT-023"""
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {})
    assert offers.cancel(store, transfer)
    assert not offers.cancel(store, transfer + 1)
