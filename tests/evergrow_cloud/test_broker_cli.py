"""`evergrow broker` prints where it listens, and ends when asked to."""

import asyncio
import json
import os
import socket
import subprocess
import sys

from scripted_device import ScriptedDevice


async def test_the_embedded_broker_serves_until_it_is_interrupted() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from evergrow_tools.cli import main; main(['broker', '--port', '0', '--json'])",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        urls = json.loads(await process.stdout.readline())
        async with ScriptedDevice(int(urls["mqtt5"].rpartition(":")[2])) as device:
            await device.say("sync", [1, 2])
        async with ScriptedDevice(int(urls["mqtt311"].rpartition(":")[2]), version=4) as device:
            await device.say("sync", [1, 2])
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from evergrow_tools.cli import main; main(['broker', '--port', '{taken.getsockname()[1]}'])",
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("evergrow: iotcore does not start:")
    assert "Traceback" not in done.stderr
