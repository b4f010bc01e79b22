"""The cloud is killed at the worst moments: what it acked is stored, and what it stored is acked in the end."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from scripted_device import PATIENCE_S, ScriptedDevice, envelope, usage_body

from evergrow_cloud import usage
from evergrow_cloud.store import Store
from evergrow_tools.brokers import Mosquitto

SCRIPT = Path(__file__).with_name("crash_cloud.py")


@asynccontextmanager
async def cloud_process(broker: Mosquitto, path: Path, moment: str) -> AsyncIterator[asyncio.StreamReader]:
    """A cloud in a process of its own, connected; it ends by SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        f"mqtt://127.0.0.1:{broker.port}",
        str(path),
        moment,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        await expect(process.stdout, "connected")
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def expect(output: asyncio.StreamReader, word: str) -> None:
    line = await asyncio.wait_for(output.readline(), PATIENCE_S)
    assert line.decode().strip() == word


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 3)])
async def test_a_cloud_killed_around_its_commit_acks_nothing_that_is_not_stored(
    mosquitto: Mosquitto, tmp_path: Path, moment: str, stored: int
) -> None:
    """EG-ACK-002 EG-ACK-003"""
    path = tmp_path / "cloud.db"
    bundle = b"\x83" + b"".join(envelope(7, seq, usage_body(energy_wh=seq)) for seq in (1, 2, 3))
    async with ScriptedDevice(mosquitto.port) as device:
        async with cloud_process(mosquitto, path, moment) as output:
            await device.publish("usage", bundle)
            await expect(output, "held")
        assert device.unheard("ack") == 0
        with Store(path) as store:
            assert usage.totals(store).cycles == stored

        async with cloud_process(mosquitto, path, "never"):
            await device.publish("usage", bundle)
            assert await device.hear_ack(1, 2, 3) == [7, 3]
    with Store(path) as store:
        assert usage.totals(store) == usage.Totals(devices=1, cycles=3, finished=3, energy_wh=6, water_ml=3 * 51240)
