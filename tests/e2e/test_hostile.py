"""Everything that a broker can say to a washer, wrong: it washes, reports and stays reachable."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import aiomqtt
import cbor2
import pytest
from washhouse import (
    ALLERGEN_CARE,
    DN,
    FINISHED,
    PATIENCE_S,
    UP,
    Device,
    Publisher,
    assert_reachable,
    assert_sound,
    decided,
    introduced,
    listening,
    met,
    offered,
    outcomes,
    power_cycle,
    settled,
    started,
    wash_shortly,
)

from evergrow_cloud import offers
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import Mosquitto

Maker = Callable[..., Device]
KINDS = ("welcome", "ack", "cmd", "offer", "block", "cfg", "nothing", "a/b/c")
WASH = 4
VALID = {
    "welcome": [1, 1, 1_700_000_000],
    "ack": [1, 1, b"\xff"],
    "cmd": [1, 9, {}],
    "offer": [1, 1000],
    "block": [1, 0, 0, bytes(512)],
}


@asynccontextmanager
async def enemy(port: int) -> AsyncIterator[aiomqtt.Client]:
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, socket_options=options) as client:
        yield client


def garbage(total_bytes: int) -> Iterator[tuple[str, bytes]]:
    """(kind, payload): noise, deep and huge CBOR, and messages that are almost right."""
    dice = random.Random(7)
    while total_bytes > 0:
        kind = dice.choice(KINDS)
        payload = dice.choice((noise, nested, claims_much, almost_right))(dice, kind)
        total_bytes -= len(payload)
        yield kind, payload


def noise(dice: random.Random, kind: str) -> bytes:
    return dice.randbytes(dice.choice((0, 1, 7, 100, 1900)))


def nested(dice: random.Random, kind: str) -> bytes:
    return dice.choice((b"\x81", b"\xa1\x01", b"\xc1")) * dice.randrange(1, 600)


def claims_much(dice: random.Random, kind: str) -> bytes:
    return dice.choice((b"\x9b", b"\xbb", b"\x5b")) + b"\x00\x00\x00\x00\x7f\xff\xff\xff" + dice.randbytes(20)


def almost_right(dice: random.Random, kind: str) -> bytes:
    """A valid message with one byte changed, cut off, or with a wrong value in one place."""
    value = list(VALID.get(kind, [1, 2, 3]))
    if dice.random() < 0.5:
        value[dice.randrange(len(value))] = dice.choice((-1, 2**32, 2**64 - 1, "", b"", None, [], {}, 1.5, True, "x" * 300))
        return cbor2.dumps(value)
    data = bytearray(cbor2.dumps(value))
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(data[: dice.randrange(len(data)) + 1])


@pytest.mark.parametrize("make_device", ["micropython", "cpython"], indirect=True)
async def test_garbage_of_every_kind_keeps_no_washer_from_washing_and_reporting(
    make_device: Maker, mosquitto: Mosquitto, store: Store
) -> None:
    """EG-ENC-004 EG-ENC-005 EG-TOP-005 EG-TOP-006 EG-CMD-002: retained or not, also larger than what the washer takes"""
    device = make_device(mosquitto.port)
    async with device, enemy(mosquitto.port) as client:
        await device.wait_for("connected")
        await started(device)
        await device.wait_for("phase", phase=WASH)
        for number, (kind, payload) in enumerate(garbage(100_000)):
            await client.publish(DN + kind, payload, qos=number % 2, retain=number % 3 == 0)
        for kind in KINDS:
            await client.publish(DN + kind, bytes(100_000), qos=1, retain=True)
        await device.wait_for("ended")
        assert outcomes(device) == [FINISHED]
        await power_cycle(device)  # now all that is retained comes at once
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud:
            await settled(store, device, 1)
            await assert_reachable(cloud)
            await wash_shortly(device)
            await settled(store, device, 2)
    assert_sound(device)


async def test_messages_that_are_too_large_do_not_deafen_a_washer(make_device: Maker, mosquitto: Mosquitto, store: Store) -> None:
    """EG-TOP-006: retained, so that they come at every connect, and more than may be under way at once."""
    device = make_device(mosquitto.port)
    async with enemy(mosquitto.port) as client:
        for number in range(20):
            await client.publish(f"{DN}x{number}", bytes(10_000), qos=1, retain=True)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        for cycles in (1, 2):
            await wash_shortly(device)
            await settled(store, device, cycles)
            await assert_reachable(cloud)
            await power_cycle(device)
    assert_sound(device)


async def test_a_retained_start_starts_nothing(make_device: Maker, mosquitto: Mosquitto, store: Store) -> None:
    """EG-TOP-006"""
    device = make_device(mosquitto.port, remote_enable=True)
    async with enemy(mosquitto.port) as client:
        await client.publish(DN + "cmd", cbor2.dumps([77, 1, {0: 3}]), qos=1, retain=True)
    async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}") as cloud, device:
        await met(device, store)
        await assert_reachable(cloud)
        await assert_reachable(cloud)
        assert not [event for event in device.events if event["event"] == "started"]
    assert_sound(device)


async def test_acks_for_what_was_never_sent_free_nothing(make_device: Maker, mosquitto: Mosquitto, store: Store) -> None:
    """EG-ACK-004: neither what was announced, nor what comes later."""
    device = make_device(mosquitto.port)
    async with device, enemy(mosquitto.port) as client, listening(mosquitto.port, "usage") as heard:
        await introduced(device, store, mosquitto.port)
        await started(device)
        await lying_acks(client, boots=(0, 1, 2, 3, 2**32 - 1))
        await device.wait_for("ended")
        await asyncio.wait_for(heard.get(), PATIENCE_S)
        await lying_acks(client, boots=(0, 2, 3, 2**32 - 1))
        await power_cycle(device)
        await wash_shortly(device)
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud:
            await settled(store, device, 2)
            await assert_reachable(cloud)
    assert_sound(device)


async def lying_acks(client: aiomqtt.Client, boots: tuple[int, ...]) -> None:
    for boot in boots:
        for seq in (0, 1, 1000, 2**32 - 1):
            await client.publish(DN + "ack", cbor2.dumps([boot, seq]), qos=1)
            await client.publish(DN + "ack", cbor2.dumps([boot, seq, b"\xff" * 64]), qos=1)


async def test_blocks_of_wrong_length_or_number_and_endless_offers_do_no_harm(
    make_device: Maker, mosquitto: Mosquitto, store: Store, publisher: Publisher
) -> None:
    """EG-FEAT-010 EG-FEAT-011 EG-LIM-003: then an honest cloud comes, and its feature is installed."""
    device = make_device(mosquitto.port, **publisher.config)
    async with device, enemy(mosquitto.port) as client, listening(mosquitto.port, "get", "feat") as heard:
        await introduced(device, store, mosquitto.port)
        for transfer in range(1, 200):
            size = (600, 0, 16_385, 2**32 - 1, 2**64 - 1)[transfer % 5]
            await client.publish(DN + "offer", cbor2.dumps([transfer, size]), qos=1)
        asked = refused = 0
        await started(device)
        while asked < 3 or refused < 10:  # what it asks for is answered with all kinds of lies
            message = await asyncio.wait_for(heard.get(), PATIENCE_S)
            body = cbor2.loads(message.payload)[3]
            if message.topic.matches(UP + "feat"):
                assert body[2] == offers.REFUSED
                refused += 1
                continue
            asked += 1
            transfer, payload, block_bytes, first = body[:4]
            for lie in (
                [transfer, payload, first, b""],
                [transfer, payload, first, bytes(block_bytes + 1)],
                [transfer, payload, first, bytes(block_bytes - 1)],
                [transfer, payload, first + 4, bytes(block_bytes)],
                [transfer, payload, 2**32 - 1, bytes(block_bytes)],
                [transfer, payload + 1, first, bytes(block_bytes)],
                [transfer + 1, payload, first, bytes(block_bytes)],
                [transfer, payload, first + 1, bytes(600 - block_bytes)],
                [transfer, payload, first, bytes(block_bytes)],
            ):
                await client.publish(DN + "block", cbor2.dumps(lie), qos=0)

        await device.wait_for("ended")
        await power_cycle(device)
        async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud:
            await settled(store, device, 1)
            transfer = await offered(cloud, publisher.built["allergen-care"])
            assert (await decided(store, transfer)).code == 0
            await wash_shortly(device, ALLERGEN_CARE)
            await settled(store, device, 2)
            await assert_reachable(cloud)
    assert_sound(device)


async def test_wrong_blocks_before_the_right_ones_do_not_spoil_a_transfer(
    make_device: Maker, mosquitto: Mosquitto, store: Store, publisher: Publisher
) -> None:
    """EG-FEAT-010"""
    built = publisher.built["allergen-care"]
    contents = {0: built.envelope, **built.payloads}
    device = make_device(mosquitto.port, **publisher.config)
    async with device, enemy(mosquitto.port) as client, listening(mosquitto.port, "get", "feat") as heard:
        await introduced(device, store, mosquitto.port)
        await client.publish(DN + "offer", cbor2.dumps([500, len(built.envelope)]), qos=1)
        while True:
            message = await asyncio.wait_for(heard.get(), PATIENCE_S)
            body = cbor2.loads(message.payload)[3]
            if message.topic.matches(UP + "feat"):
                break
            _, payload, size, first = body[:4]
            data = contents[payload]
            for block in range(first, min(first + 4, -(-len(data) // size))):
                right = data[block * size : (block + 1) * size]
                for wrong in (b"", right[:-1], right + b"x", bytes(4 * size + 1)):
                    await client.publish(DN + "block", cbor2.dumps([500, payload, block, wrong]))
                await client.publish(DN + "block", cbor2.dumps([500, payload, block, right]))
        assert (body[1], body[2]) == (0, offers.TRIAL), "active, and no cloud is there to confirm it"
        await wash_shortly(device, ALLERGEN_CARE)
    assert_sound(device)
