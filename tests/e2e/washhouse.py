"""One washer, one cloud, and the comparison of what the washer did with what the cloud's ledger says.

The washer's side of it are the events of the simulated appliance, which say nothing about records, acks or the link. A cycle that
was started and not ended before the next boot lost its power.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import aiomqtt

from evergrow_cloud import commands, devices, offers, usage
from evergrow_cloud.offers import Transfer
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_sim import cli
from evergrow_sim.launch import DeviceProcess, DeviceTask, Event
from evergrow_tools import feature_build, keys, signing
from evergrow_tools.feature_files import Built

Device = DeviceProcess | DeviceTask
T = TypeVar("T")

FEATURES = Path(__file__).parents[2] / "firmware" / "features"
TENANT, NAME = "acme", "w1"
UP, DN = f"eg1/{TENANT}/{NAME}/up/", f"eg1/{TENANT}/{NAME}/dn/"
QUICK, ALLERGEN_CARE = 3, 1001
FINISHED, STOPPED, FAULT, POWER_LOST = range(4)
PATIENCE_S = 60


async def until(look: Callable[[], T | None], what: str, patience_s: float = PATIENCE_S) -> T:
    """What `look` finds, as soon as it finds something that is true."""
    try:
        async with asyncio.timeout(patience_s):
            while not (found := look()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"{what} did not come within {patience_s:g} s") from None


def truth(device: Device) -> "Counter[tuple[int, int, int]]":
    """How often the appliance did what: (boot, programme, outcome) of every cycle that it began and no longer runs."""
    cycles: Counter[tuple[int, int, int]] = Counter()
    boot, running = 0, 0
    for event in device.events:
        if event["event"] == "booted":
            if running:
                cycles[boot, running, POWER_LOST] += 1
            boot, running = event["boot"], 0
        elif event["event"] == "started":
            running = event["programme"]
        elif event["event"] == "ended":
            cycles[boot, event["programme"], event["outcome"]] += 1
            running = 0
    return cycles


def ledger(store: Store) -> "Counter[tuple[int, int, int]]":
    """The same as `truth`, from the cloud's records."""
    return Counter((row.header.boot, row.programme, row.outcome) for row in records(store))


def records(store: Store) -> list[Any]:
    """What the cloud has from the washer, in the order of (boot, seq)."""
    rows = store.rows("SELECT id FROM devices WHERE tenant = ? AND device = ?", TENANT, NAME)
    return [record.usage for record in usage.records(store, rows[0][0])] if rows else []


async def settled(store: Store, device: Device, cycles: int) -> None:
    """Wait until the ledger has as many records as there were cycles; nothing may be lost, or told twice, or told wrongly."""
    await until(lambda: len(records(store)) >= cycles, f"record {cycles} of {dict(truth(device))}")
    assert ledger(store) == truth(device)
    assert sum(truth(device).values()) == cycles
    told = [(row.header.boot, row.header.seq) for row in records(store)]
    assert told == [(boot, 1 + i) for boot in dict.fromkeys(b for b, _ in told) for i in range(sum(b == boot for b, _ in told))]
    assert not any(row.merged_cycles for row in records(store))
    assert_same_meters(store, device)
    found = devices.find(store, NAME, TENANT)
    assert (found.rejected, found.conflicts) == (0, 0), found.last_rejection


def assert_same_meters(store: Store, device: Device) -> None:
    """The records of ended cycles say by how much the appliance's own counters rose. Energy is drawn between cycles too."""
    told = iter([row for row in records(store) if row.outcome != POWER_LOST])
    energy_wh = water_ml = 0
    for event in device.events:
        if event["event"] == "booted":
            water_ml = 0
        elif event["event"] == "started":
            energy_wh = event["energy_wh"]
        elif event["event"] == "ended":
            row = next(told)
            assert row.water_ml == event["water_ml"] - water_ml
            assert abs(row.energy_wh - (event["energy_wh"] - energy_wh)) <= 2
            assert abs(row.duration_s - event["duration_s"]) <= 5
            water_ml = event["water_ml"]


def assert_sound(device: Device) -> None:
    """No part of the agent failed, the watchdog was always fed, and nothing but events was printed."""
    assert not [event for event in device.events if event["event"] in ("crash", "watchdog", "failed")]
    for event in device.events:
        if event["event"] == "stopped":
            assert not event["missed"]
            assert not any(event["crashes"].values())
    assert not device.output


@asynccontextmanager
async def connected(device: Device, store: Store, port: int) -> AsyncIterator[Cloud]:
    """The cloud, while it and the device, which is switched on for that, are on the broker."""
    async with Cloud(store, f"mqtt://127.0.0.1:{port}") as cloud, device:
        await cloud.connected()
        await met(device, store)
        yield cloud


async def met(device: Device, store: Store) -> None:
    """Until the device is on the broker, and the cloud has stored its birth, which comes a little later."""
    await device.wait_for("connected")
    await until(lambda: store.rows("SELECT 1 FROM devices WHERE birth IS NOT NULL"), "its birth")


async def introduced(device: Device, store: Store, port: int) -> None:
    """A cloud welcomes the washer and goes away. Before the first welcome a new flash announces nothing (EG-ENV-005)."""
    async with Cloud(store, f"mqtt://127.0.0.1:{port}", rebirth_delay_s=0.3):
        await device.wait_for("connected")
        await until(lambda: store.rows("SELECT 1 FROM boots WHERE sync_utc_s IS NOT NULL"), "its time")


async def assert_reachable(cloud: Cloud) -> None:
    """The washer obeys the cloud."""
    code, _ = await cloud.command(f"{TENANT}/{NAME}", commands.REBIRTH, {})
    assert code == 0


async def wash(device: Device, programme: int = QUICK) -> Event:
    """A person at the appliance starts a programme and waits for its end. Returns the event `ended`."""
    await started(device, programme)
    return await device.wait_for("ended", PATIENCE_S, since=_last(device, "started"))


async def wash_shortly(device: Device, programme: int = QUICK) -> Event:
    """As `wash`, but the person changes their mind at once: a cycle of seconds. Returns the event `ended`."""
    await started(device, programme)
    device.command("stop")
    return await device.wait_for("ended", PATIENCE_S, since=_last(device, "started"))


async def started(device: Device, programme: int = QUICK) -> None:
    """A person at the appliance starts a programme, again and again while the appliance is not ready yet."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            before = len(device.events)
            device.command(f"start {programme}")
            while not (found := [e for e in list(device.events)[before:] if e["event"] in ("started", "refused")]):
                await asyncio.sleep(0.01)
            if found[0]["event"] == "started":
                return
            assert found[0]["code"] in (7, 11), found[0]


async def power_cycle(device: Device) -> Event:
    """Pull the plug, put it in again, and wait until the appliance is there. Returns the event `booted`."""
    await device.kill()
    before = len(device.events)
    await device.start()
    return await device.wait_for("booted", PATIENCE_S, since=before)


def _last(device: Device, name: str) -> int:
    return max(i for i, event in enumerate(device.events) if event["event"] == name)


class Publisher:
    """Builds and signs the example features."""

    def __init__(self, folder: Path) -> None:
        self.built: dict[str, Built] = {}
        self.folder = folder
        self._trust: list[Any] = []
        for number, name in enumerate(("allergen-care", "spin-1400"), start=21):
            unsigned = feature_build.build(FEATURES / name)
            prefix = signing.Manifest(signing.Envelope(unsigned.envelope)).components[0][0].decode()
            key = keys.new_key(folder, name, number, prefix, height=5)
            self._trust.append(cli.trusted_key(folder / f"{name}.pub"))
            self.built[name] = replace(unsigned, envelope=signing.sign_envelope(unsigned.envelope, key))

    @property
    def config(self) -> dict[str, Any]:
        """What a washer must be born with to take its features."""
        return {"trust": self._trust, **cli.manifest_ids("evergrow.example", "washer")}


async def offered(cloud: Cloud, built: Built) -> int:
    """The transfer id of an offer to the washer."""
    return await cloud.offer(f"{TENANT}/{NAME}", built.envelope, dict(built.payloads))


async def decided(store: Store, transfer: int) -> Transfer:
    """The transfer once the washer has decided on it."""

    def look() -> Transfer | None:
        found = offers.get(store, transfer)
        return None if found is None or found.open else found

    return await until(look, f"a decision on transfer {transfer}", 2 * PATIENCE_S)


async def shipped(cloud: Cloud, store: Store, key: keys.SigningKey, folder: Path) -> Transfer:
    """What became of the feature in this folder, built, signed with the key and offered once the device is known."""
    unsigned = feature_build.build(folder)
    await until(lambda: store.rows("SELECT 1 FROM devices WHERE birth IS NOT NULL"), "birth")
    signed = replace(unsigned, envelope=signing.sign_envelope(unsigned.envelope, key))
    return await decided(store, await offered(cloud, signed))


@asynccontextmanager
async def listening(port: int, *kinds: str, **options: Any) -> "AsyncIterator[asyncio.Queue[aiomqtt.Message]]":
    """The washer's messages of these kinds, as a third party at the broker sees them."""
    heard: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            heard.put_nowait(message)

    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, **options) as client:
        for kind in kinds:
            await client.subscribe(UP + kind, qos=1)
        task = asyncio.create_task(listen(client))
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait([task])


def outcomes(device: Device) -> Sequence[int]:
    return [event["outcome"] for event in device.events if event["event"] == "ended"]
