"""How fast the reference cloud takes usage records in: stored, synced to disk, chained, and its acks encoded.

Ingest alone (decode, validate, prove the chain, commit, encode the acks), in batches of a full queue and one by one, and where
its time goes; and the whole service behind a mosquitto, from the first publish to the ack of the last record, where there is a
mosquitto: with a record in each message, and in bundles as devices send them after an outage. In the service's figures the
load generator and the broker have a share of the same cores, and the client library takes more of them than the cloud does.
"""

import asyncio
import hmac
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import aiomqtt

from evergrow_cloud import chain, devicekeys, link, strict, wire
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.messages import Usage
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_tools.brokers import HOST, BrokerError, Mosquitto

DEVICES = 100
BUNDLE = 16  # records, the window of a device
GOAL_PER_S = 5_000
UNBOUNDED = Limits(message_burst=1 << 30)
_NOW_S = 1_795_339_200


def run(records: int = 10_000, single_records: int = 300) -> dict[str, Any]:
    """Records per second: `batched`, `single`, and `service` (None without mosquitto); `batch` and `devices` say how.

    `profile_us`: where the time of a record goes in batches, in microseconds.
    """
    with tempfile.TemporaryDirectory(prefix="evergrow-bench-") as name:
        folder = Path(name)
        return {
            "records": records,
            "devices": DEVICES,
            "batch": UNBOUNDED.batch_messages,
            "batched_per_s": _store_rate(folder / "batched.db", records, UNBOUNDED.batch_messages),
            "single_per_s": _store_rate(folder / "single.db", single_records, 1),
            "profile_us": _profile(folder / "profile.db", records),
            "service_per_s": link.run(_service_rate(folder, records, 1)),
            "bundle": BUNDLE,
            "bundles_per_s": link.run(_service_rate(folder, records, BUNDLE)),
        }


def format(result: dict[str, Any]) -> str:
    """The figures of `run` as lines of text."""
    rates = (result["service_per_s"], result["bundles_per_s"])
    services = ["no mosquitto here" if rate is None else f"{rate:,} records/s" for rate in rates]
    profile = ", ".join(f"{what} {us:.0f}" for what, us in result["profile_us"].items())
    return "\n".join(
        [
            f"cloud, {result['records']:,} usage records of {result['devices']} devices, each committed with fsync:",
            f"  ingest, {result['batch']} a transaction  {result['batched_per_s']:,} records/s; the goal is {GOAL_PER_S:,}",
            f"  where a record's time goes   {profile} us",
            f"  ingest, 1 a transaction    {result['single_per_s']:,} records/s",
            f"  service behind mosquitto, 1 record a message    {services[0]}",
            f"  service behind mosquitto, {result['bundle']} records a message  {services[1]}",
            "  (load generator, broker and cloud share the cores of this machine)",
        ]
    )


def _messages(records: int) -> list[tuple[str, bytes]]:
    """(topic, payload), all devices in turn, each with a chain under its key."""
    body = {0: 1, 2: 7265, 3: [1, 1001], 4: 941, 5: 51240, 6: 602, 7: 1000}
    tags = [chain.START] * DEVICES
    keys = _usage_keys()
    found = []
    for number in range(records):
        device = number % DEVICES
        envelope = [1, number // DEVICES + 1, _NOW_S + number, body]
        tags[device] = hmac.digest(keys[device], tags[device] + strict.dumps(envelope), "sha256")[: len(chain.START)]
        found.append((f"eg1/bench/washer-{device}/up/usage", strict.dumps([*envelope, tags[device]])))
    return found


def _key(device: int) -> bytes:
    return device.to_bytes(devicekeys.SIZE, "big")


def _usage_keys() -> list[bytes]:
    return [hmac.digest(_key(device), devicekeys.USAGE, "sha256") for device in range(DEVICES)]


def _enrol(store: Store) -> None:
    for device in range(DEVICES):
        devicekeys.enrol(store, "bench", f"washer-{device}", _key(device))


def _store_rate(path: Path, records: int, batch: int) -> int:
    incoming = [Incoming(topic, payload) for topic, payload in _messages(records)]
    with Store(path) as store:
        _enrol(store)
        ingest = Ingest(store, UNBOUNDED)
        started_s = time.perf_counter()
        for at in range(0, records, batch):
            ingest.apply(incoming[at : at + batch], _NOW_S)
        return round(records / (time.perf_counter() - started_s))


class _TimedStore(Store):
    """`commit_s`: how long its commits took."""

    commit_s = 0.0

    def _commit(self) -> None:
        started_s = time.perf_counter()
        super()._commit()
        self.commit_s += time.perf_counter() - started_s


def _profile(path: Path, records: int) -> dict[str, float]:
    """Microseconds of each part for one record. What is left when the others are taken away is SQL and bookkeeping."""
    messages = _messages(records)
    found = {}
    store = _TimedStore(path)
    with store:
        _enrol(store)
        store.commit_s = 0.0
        started_s = time.perf_counter()
        decoded = [wire.decode("usage", payload) for _, payload in messages]
        found["decode"] = time.perf_counter() - started_s
        keys = _usage_keys()
        started_s = time.perf_counter()
        for number, (record,) in enumerate(cast(list[tuple[Usage]], decoded)):
            chain.follows(record, chain.START, keys[number % DEVICES : number % DEVICES + 1])
        found["hmac"] = time.perf_counter() - started_s
        ingest = Ingest(store, UNBOUNDED)
        incoming = [Incoming(topic, payload) for topic, payload in messages]
        started_s = time.perf_counter()
        for at in range(0, records, UNBOUNDED.batch_messages):
            ingest.apply(incoming[at : at + UNBOUNDED.batch_messages], _NOW_S)
        whole = time.perf_counter() - started_s
        found["commit"] = store.commit_s
        found["SQL and the rest"] = max(0.0, whole - sum(found.values()))
    return {what: round(1e6 * seconds / records, 1) for what, seconds in found.items()}


def _bundled(messages: list[tuple[str, bytes]], size: int) -> list[tuple[str, bytes]]:
    """The records of each device, `size` to a payload, in the order in which the first of each was made."""
    if size == 1:
        return messages
    by_topic: dict[str, list[bytes]] = {}
    for topic, payload in messages:
        by_topic.setdefault(topic, []).append(payload)
    found = []
    for at in range(0, max(len(payloads) for payloads in by_topic.values()), size):
        for topic, payloads in by_topic.items():
            some = payloads[at : at + size]
            if some:
                found.append((topic, bytes([0x80 | len(some)]) + b"".join(some)))
    return found


async def _service_rate(folder: Path, records: int, bundle: int) -> int | None:
    """The publisher sends faster than the cloud takes in, so the broker must hold what waits."""
    try:
        broker = Mosquitto(folder, settings=["max_queued_messages 0", "persistence false", "log_type all"])
        broker.start()
    except BrokerError:
        return None
    try:
        with Store(folder / f"service-{bundle}.db") as store:
            _enrol(store)
            async with Cloud(store, f"mqtt://{HOST}:{broker.port}", limits=UNBOUNDED) as cloud:
                await cloud.connected()
                async with aiomqtt.Client(HOST, broker.port, max_inflight_messages=100) as devices:
                    devices.pending_calls_threshold = records
                    await devices.subscribe("eg1/bench/+/dn/ack", qos=1)
                    return await _publish_and_count(devices, _bundled(_messages(records), bundle), records)
    finally:
        broker.stop()


async def _publish_and_count(devices: aiomqtt.Client, messages: list[tuple[str, bytes]], records: int) -> int:
    started_s = time.perf_counter()
    sending = asyncio.create_task(_publish(devices, messages))
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
