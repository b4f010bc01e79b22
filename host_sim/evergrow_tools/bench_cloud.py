"""How fast the reference cloud takes usage records in: stored, synced to disk, and ready to be acked.

Two figures: the store alone (decode, validate, commit), in batches of a full queue and one by one; and the whole service behind
a mosquitto, from the first publish to the ack of the last record, where there is a mosquitto. They depend on the disk's fsync.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import aiomqtt

from evergrow_cloud import link, strict
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import HOST, BrokerError, Mosquitto

DEVICES = 100
UNBOUNDED = Limits(message_burst=1 << 30)
_NOW_S = 1_795_339_200


def run(records: int = 10_000, single_records: int = 300) -> dict[str, Any]:
    """Records per second: `batched`, `single`, and `service` (None without mosquitto); `batch` and `devices` say how."""
    with tempfile.TemporaryDirectory(prefix="evergrow-bench-") as name:
        folder = Path(name)
        return {
            "records": records,
            "devices": DEVICES,
            "batch": UNBOUNDED.batch_messages,
            "batched_per_s": _store_rate(folder / "batched.db", records, UNBOUNDED.batch_messages),
            "single_per_s": _store_rate(folder / "single.db", single_records, 1),
            "service_per_s": link.run(_service_rate(folder, records)),
        }


def format(result: dict[str, Any]) -> str:
    """The figures of `run` as lines of text."""
    service = "no mosquitto here" if result["service_per_s"] is None else f"{result['service_per_s']:,} records/s"
    return "\n".join(
        [
            f"cloud, {result['records']:,} usage records of {result['devices']} devices, each committed with fsync:",
            f"  store, {result['batch']} a transaction  {result['batched_per_s']:,} records/s",
            f"  store, 1 a transaction    {result['single_per_s']:,} records/s",
            f"  service behind mosquitto  {service}",
        ]
    )


def _messages(records: int) -> list[tuple[str, bytes]]:
    """(topic, payload), all devices in turn."""
    body = {0: 1, 2: 7265, 3: [1, 1001], 4: 941, 5: 51240, 6: 602, 7: 1000}
    return [
        (f"eg1/bench/washer-{number % DEVICES}/up/usage", strict.dumps([1, number // DEVICES + 1, _NOW_S + number, body]))
        for number in range(records)
    ]


def _store_rate(path: Path, records: int, batch: int) -> int:
    incoming = [Incoming(topic, payload) for topic, payload in _messages(records)]
    with Store(path) as store:
        ingest = Ingest(store, UNBOUNDED)
        started_s = time.perf_counter()
        for at in range(0, records, batch):
            ingest.apply(incoming[at : at + batch], _NOW_S)
        return round(records / (time.perf_counter() - started_s))


async def _service_rate(folder: Path, records: int) -> int | None:
    """The publisher sends faster than the cloud takes in, so the broker must hold what waits."""
    try:
        broker = Mosquitto(folder, settings=["max_queued_messages 0", "persistence false", "log_type all"])
        broker.start()
    except BrokerError:
        return None
    try:
        with Store(folder / "service.db") as store:
            async with Cloud(store, f"mqtt://{HOST}:{broker.port}", limits=UNBOUNDED) as cloud:
                await cloud.connected()
                async with aiomqtt.Client(HOST, broker.port, max_inflight_messages=100) as devices:
                    devices.pending_calls_threshold = records
                    await devices.subscribe("eg1/bench/+/dn/ack", qos=1)
                    return await _publish_and_count(devices, records)
    finally:
        broker.stop()


async def _publish_and_count(devices: aiomqtt.Client, records: int) -> int:
    started_s = time.perf_counter()
    sending = asyncio.create_task(_publish(devices, _messages(records)))
    acked: dict[str, int] = {}
    async for message in devices.messages:
        acked[str(message.topic)] = strict.loads(bytes(message.payload))[1]
        if sum(acked.values()) == records:
            break
    rate = round(records / (time.perf_counter() - started_s))
    await sending
    return rate


async def _publish(devices: aiomqtt.Client, messages: list[tuple[str, bytes]]) -> None:
    for at in range(0, len(messages), 200):
        await asyncio.gather(*(devices.publish(topic, payload, qos=1) for topic, payload in messages[at : at + 200]))


if __name__ == "__main__":
    print(format(run()))
