"""Features that do what they must not, on both interpreters: what is at fault is stopped and told, and the appliance washes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from washhouse import FINISHED, NAME, Device, assert_sound, connected, power_cycle, shipped, until, wash

from evergrow_agent.records import MAX_FAILED_BOOTS
from evergrow_cloud import devices, failures, offers
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_protocol.errors import REVERT
from evergrow_sim import cli
from evergrow_tools import keys
from evergrow_tools.brokers import Mosquitto

NUMBER, FEATURE = 31, 1050
TOML = """
[feature]
id = 1050
name = "bad"
version = "1.0.0"
kind = "code"
prefix = "northwash"
sequence = {sequence}

[target]
vendor = "evergrow.example"
class = "washer"
registry_version = 2

[code]
source = "bad.py"
heap = 4096
call_ms = {call_ms}
signals = ["door_closed"]
"""
HEAD = "from evergrow_protocol.registry_washer import SIGNAL_DOOR_CLOSED\n\n\ndef start(api):\n"
GOOD = HEAD + "    api.every(60, lambda: api.read(SIGNAL_DOOR_CLOSED))\n"
STORM = HEAD + "    api.every(30, lambda: api.read(SIGNAL_DOOR_CLOSED) // 0)\n"
SLOW = HEAD + """
    def look():
        n = api.read(SIGNAL_DOOR_CLOSED)
        while n < 3000000:
            n += 1

    api.every(30, look)
"""
GREEDY = HEAD + """
    kept = [bytes(9000)]
    api.every(60, lambda: kept.append(api.read(SIGNAL_DOOR_CLOSED)))
"""
LEAK = HEAD + """
    kept = []
    api.every(30, lambda: kept.append(bytes({size} + api.read(SIGNAL_DOOR_CLOSED))))
"""


class Maker:
    """A publisher whose features go wrong."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = keys.new_key(folder, "northwash", NUMBER, "northwash", height=5)

    @property
    def config(self) -> dict[str, Any]:
        return {"trust": [cli.trusted_key(self._folder / "northwash.pub")], **cli.manifest_ids("evergrow.example", "washer")}

    async def offer(self, cloud: Cloud, store: Store, source: str, sequence: int = 1, call_ms: int = 50) -> offers.Transfer:
        (self._folder / "feature.toml").write_text(TOML.format(sequence=sequence, call_ms=call_ms))
        (self._folder / "bad.py").write_text(source)
        return await shipped(cloud, store, self._key, self._folder)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    folder = tmp_path / "maker"
    folder.mkdir()
    return Maker(folder)


def failed(store: Store) -> str | None:
    """Why the feature is out of use, as the cloud was told."""
    for row in failures.of_device(store, devices.find(store, NAME).id):
        assert (row.publisher, row.feature, row.code) == (NUMBER, FEATURE, REVERT)
        return row.text
    return None


def active(store: Store) -> list[int]:
    birth = devices.find(store, NAME).birth
    return [row.sequence for row in birth.features] if birth else []


@pytest.mark.parametrize("make_device", ["micropython", "cpython"], indirect=True)
async def test_code_that_raises_and_raises_is_out_of_use_after_three_boots_until_a_better_version_comes(
    make_device: Callable[..., Device], mosquitto: Mosquitto, store: Store, maker: Maker
) -> None:
    """EG-CODE-009, EG-CODE-006"""
    device = make_device(mosquitto.port, **maker.config)
    async with connected(device, store, mosquitto.port) as cloud:
        assert (await maker.offer(cloud, store, STORM)).state == offers.CONFIRMED
        for _ in range(MAX_FAILED_BOOTS):
            await until(lambda: failed(store), "the report of the failure")
            assert "ZeroDivision" in (failed(store) or "")
            await until(lambda: active(store) == [], "a birth without it")
            with store.transaction():
                store.execute("DELETE FROM feature_failures")
            await power_cycle(device)
        booted = [event for event in device.events if event["event"] == "booted"]
        assert [len(event["features"]) for event in booted] == [0] + [1] * (MAX_FAILED_BOOTS - 1) + [0]
        assert (await wash(device))["outcome"] == FINISHED
        assert failed(store) is None, "what is known to all is not told again"
        assert (await maker.offer(cloud, store, GOOD, 2)).state == offers.CONFIRMED
        await until(lambda: active(store) == [2], "a birth with the better version")
        await power_cycle(device)
        assert (await wash(device))["outcome"] == FINISHED
        assert active(store) == [2] and failed(store) is None
    assert_sound(device)


@pytest.mark.parametrize("make_device", ["micropython", "cpython"], indirect=True)
async def test_code_that_takes_too_long_is_stopped(
    make_device: Callable[..., Device], mosquitto: Mosquitto, store: Store, maker: Maker
) -> None:
    """EG-CODE-006"""
    device = make_device(mosquitto.port, **maker.config)
    async with connected(device, store, mosquitto.port) as cloud:
        assert (await maker.offer(cloud, store, SLOW, call_ms=5)).state == offers.CONFIRMED
        await until(lambda: failed(store), "the report of the failure")
        assert "declared 5" in (failed(store) or "")
        assert (await wash(device))["outcome"] == FINISHED
    assert_sound(device)


async def test_code_that_takes_more_heap_than_it_says_is_reverted(
    make_device: Callable[..., Device], mosquitto: Mosquitto, store: Store, maker: Maker
) -> None:
    """EG-CODE-001, EG-FEAT-024: on MicroPython; CPython's heap has no bound that could be held."""
    device = make_device(mosquitto.port, **maker.config)
    async with connected(device, store, mosquitto.port) as cloud:
        found = await maker.offer(cloud, store, GREEDY)
        assert (found.state, found.code) == (offers.REVERTED, REVERT)
        assert found.report is not None and "declared 4096" in (found.report.text or "")
        assert (await wash(device))["outcome"] == FINISHED
        assert active(store) == []
    assert_sound(device)


@pytest.mark.parametrize("size", [2000, 200])
async def test_code_that_keeps_more_and_more_is_stopped_when_the_heap_is_full(
    make_device: Callable[..., Device], mosquitto: Mosquitto, store: Store, maker: Maker, size: int
) -> None:
    """EG-CODE-006: a MemoryError of its call is a failure like any other; with it goes what it kept, and nothing else fails."""
    device = make_device(mosquitto.port, **maker.config)
    async with connected(device, store, mosquitto.port) as cloud:
        assert (await maker.offer(cloud, store, LEAK.format(size=size))).state == offers.CONFIRMED
        assert (await wash(device))["outcome"] == FINISHED
        await until(lambda: failed(store), "the report of the failure")
        assert "MemoryError" in (failed(store) or "")
        device.command("heap")
        assert (await device.wait_for("heap"))["free"] > 40_000
        assert (await wash(device))["outcome"] == FINISHED
    assert_sound(device)
