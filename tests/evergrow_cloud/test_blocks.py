"""The block service: what was asked for, within the device's packet and its share."""

import cbor2
import pytest
from scripted_device import BIRTH, envelope

from evergrow_cloud import devices, offers, wire, wire_down
from evergrow_cloud.blocks import BlockService, packet_bytes
from evergrow_cloud.limits import Limits
from evergrow_cloud.messages import BlockRequest, Header
from evergrow_cloud.store import Store

TOPIC = "eg1/acme/washer-1/dn/block"
BODY = bytes(range(256)) * 5


def request(
    transfer: int, payload: int = 1, size: int = 512, first: int = 0, wanted: bytes = b"\x07", run: int = 1
) -> BlockRequest:
    return BlockRequest(Header(7, 1, None, 0), transfer, payload, size, first, tuple(wire.from_bitmap(wanted)), run)


@pytest.fixture
def transfer(store: Store) -> int:
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {1: BODY})
    raw = envelope(7, 1, BIRTH)
    with store.transaction():
        devices.record_birth(store, 1, wire.decode("birth", raw), raw, retained=False, now_ms=0)  # type: ignore[arg-type]
    return transfer


def serve(service: BlockService, asked: BlockRequest, *, now_s: float = 0, budget: int = 1 << 20) -> dict[int, bytes]:
    found = [cbor2.loads(message) for message in service.serve(1, TOPIC, asked, now_s, budget)]
    assert all(item[:2] == [asked.transfer, asked.payload] for item in found)
    return {number: data for _, _, number, data in found}


def test_wanted_blocks_are_served_and_the_last_is_short(store: Store, transfer: int) -> None:
    """EG-FEAT-010"""
    service = BlockService(store, Limits())
    assert serve(service, request(transfer)) == {0: BODY[:512], 1: BODY[512:1024], 2: BODY[1024:]}
    assert serve(service, request(transfer, first=1, wanted=b"\x02")) == {2: BODY[1024:]}
    assert serve(service, request(transfer, payload=0)) == {0: b"envelope"}


def test_what_is_not_there_is_not_served(store: Store, transfer: int) -> None:
    service = BlockService(store, Limits())
    for asked in (
        request(transfer, first=3),
        request(transfer, first=2**32 - 1),
        request(transfer, payload=2),
        request(transfer + 1),
        request(transfer, wanted=b""),
        request(transfer, size=60_000),
    ):
        assert serve(service, asked) == {}


def test_a_request_is_answered_with_a_bounded_window(store: Store, transfer: int) -> None:
    service = BlockService(store, Limits(blocks_per_request=3))
    assert list(serve(service, request(transfer, size=16, wanted=b"\xff\xff"))) == [0, 1, 2]


def test_no_packet_is_larger_than_the_device_takes(store: Store, transfer: int) -> None:
    """EG-LIM-001"""
    largest = packet_bytes(TOPIC, wire_down.block(transfer, 1, 0, BODY[:512]))
    for limit, served in ((largest, 3), (largest - 1, 0)):
        raw = envelope(7, 2, BIRTH | {7: limit})
        with store.transaction():
            devices.record_birth(store, 1, wire.decode("birth", raw), raw, retained=False, now_ms=0)  # type: ignore[arg-type]
        assert len(serve(BlockService(store, Limits()), request(transfer))) == served


def test_a_device_gets_its_share_and_no_more(store: Store, transfer: int) -> None:
    service = BlockService(store, Limits(block_burst_bytes=1200, block_bytes_per_s=600))
    assert len(serve(service, request(transfer))) == 2
    assert len(serve(service, request(transfer))) == 0
    assert len(serve(service, request(transfer), now_s=1)) == 1
    assert len(serve(service, request(transfer), now_s=100)) == 2


def test_a_batch_has_a_budget(store: Store, transfer: int) -> None:
    assert len(serve(BlockService(store, Limits()), request(transfer), budget=1100)) == 2


def test_blocks_that_follow_one_another_come_in_one_message_if_the_device_says_so(store: Store, transfer: int) -> None:
    """EG-FEAT-028"""
    service = BlockService(store, Limits())
    assert serve(service, request(transfer, run=8)) == {0: BODY}
    assert serve(service, request(transfer, run=2)) == {0: BODY[:1024], 2: BODY[1024:]}
    assert serve(service, request(transfer, wanted=b"\x05", run=8)) == {0: BODY[:512], 2: BODY[1024:]}
    assert serve(service, request(transfer, size=128, wanted=b"\xdb\x03", run=3)) == {
        0: BODY[:256],
        3: BODY[384:640],
        6: BODY[768:1152],
        9: BODY[1152:],
    }


def test_several_blocks_may_be_more_than_birth_says_but_stay_bounded(store: Store) -> None:
    """EG-FEAT-028, EG-LIM-001"""
    body = bytes(range(256)) * 256
    transfer = offers.offer(store, "acme", "washer-1", b"envelope", {1: body})
    raw = envelope(7, 1, BIRTH | {7: 640})
    with store.transaction():
        devices.record_birth(store, 1, wire.decode("birth", raw), raw, retained=False, now_ms=0)  # type: ignore[arg-type]
    wanted = request(transfer, wanted=b"\xff\xff\xff\xff", run=2**32 - 1)
    assert {number: len(data) for number, data in serve(BlockService(store, Limits()), wanted).items()} == {0: 16384}
    few = Limits(block_burst_bytes=1200, block_bytes_per_s=600)
    assert {number: len(data) for number, data in serve(BlockService(store, few), wanted).items()} == {0: 1024}
    small = serve(BlockService(store, Limits()), wanted, budget=700)
    assert {number: len(data) for number, data in small.items()} == {0: 512}
