"""The cloud is killed around its commit: what the washer told is counted once all the same."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from washhouse import PATIENCE_S, Device, assert_reachable, assert_sound, records, settled, wash, wash_shortly

from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import Mosquitto

Maker = Callable[..., Device]
CRASH_CLOUD = Path(__file__).parents[1] / "evergrow_cloud" / "crash_cloud.py"


@asynccontextmanager
async def doomed_cloud(port: int, database: Path, moment: str) -> AsyncIterator[asyncio.StreamReader]:
    """A cloud in a process of its own that says "held" and stops before or after it commits usage; it ends by SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CRASH_CLOUD),
        f"mqtt://127.0.0.1:{port}",
        str(database),
        moment,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        await said(process.stdout, "connected")
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def said(output: asyncio.StreamReader, word: str) -> None:
    line = await asyncio.wait_for(output.readline(), PATIENCE_S)
    assert line.decode().strip() == word


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
async def test_a_cloud_killed_between_receive_and_ack_counts_each_cycle_once(
    make_device: Maker, mosquitto: Mosquitto, tmp_path: Path, moment: str, stored: int
) -> None:
    """EG-ACK-001 EG-ACK-002 EG-ACK-003 EG-BIRTH-004"""
    database = tmp_path / "cloud.db"
    device = make_device(mosquitto.port)
    async with device:
        async with doomed_cloud(mosquitto.port, database, moment) as output:
            await device.wait_for("connected")
            await wash(device)
            await said(output, "held")
        with Store(database) as store:
            assert len(records(store)) == stored
            await wash_shortly(device)  # while there is no cloud
            async with Cloud(store, f"mqtt://127.0.0.1:{mosquitto.port}", rebirth_delay_s=0.3) as cloud:
                await settled(store, device, 2)
                await assert_reachable(cloud)
    assert_sound(device)
