"""`evergrow feature test`: a feature in the simulated appliance that it is for, on both interpreters, from offer to use.

The feature is built, signed with a key that lives as long as the test, and offered by a cloud through a broker to the real agent.
If it needs an entitlement, the appliance gets a trial.
Then the appliance is used: the programme that the feature brings, or one that the appliance has, and what a person does to it.
"""

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from evergrow_agent.programme import Programme
from evergrow_cloud import configs, devicekeys, devices, entitlements, events, naming, offers, usage, view
from evergrow_cloud.entitlements import Terms
from evergrow_cloud.link import run as run_loop
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store
from evergrow_protocol import feature
from evergrow_protocol.registry import load
from evergrow_protocol.suit_envelope import Envelope
from evergrow_protocol.suit_manifest import Manifest
from evergrow_sim.appliances import catalogue
from evergrow_sim.launch import DeviceProcess, DeviceTask
from evergrow_tools import feature_build, keys, mpy, programmes, signing, suit_build
from evergrow_tools.brokers import HOST, IotCore
from evergrow_tools.feature_files import Built, FeatureError

RUNTIMES = ("micropython", "cpython")
TENANT, DEVICE, HOME = "test", "appliance", "home"
PUBLISHER = 2
DEVICE_KEY = bytes(32)  # of a device that lives as long as the test
HEAP = "384K"
SPEED = 1500
"""Of the appliance while it is used."""
CALM = 100
"""While it waits for broker and cloud, which do not get faster: its days and its weather shall not go by meanwhile."""
_PATIENCE_S = 90.0
_POLL_S = 0.05
START, WAIT = "start", "wait"

T = TypeVar("T")


@dataclass
class Result:
    """What happened on one interpreter. `wrong`: "" when all went well, else what did not, in a sentence. `shown`: at the
    start and after each action, [{"do": it, signal or actuator name: value in the registry's scale, ...}]."""

    runtime: str
    wrong: str = ""
    state: str = ""
    bytes: int = 0
    ms: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Wrong(Exception):
    pass


def run(
    directory: Path,
    runtimes: Sequence[str],
    programme: int | None,
    actions: Sequence[str],
    minutes: int,
    say: Callable[[str], None],
    settings: Mapping[str, int] = {},
) -> list[Result]:
    """Test the feature in `directory` on each interpreter. `programme`: that is run, None: the feature's own, or a short one.
    `actions`: what a person does (`door 0`), `scene N`, or `wait` for nothing; each is followed by `minutes` of the appliance's
    time. `settings`: by name, as a cloud sets them.

    Raises FeatureError, as `feature_build.build`, and for a setting that it has not.
    """
    built = feature_build.build(directory)
    source = feature_build.read(directory / feature_build.SOURCE)
    with tempfile.TemporaryDirectory(prefix="evergrow-test-") as folder:
        prefix = bytes(Manifest(Envelope(built.envelope)).components[0][0]).decode()
        key = keys.new_key(Path(folder), "test", PUBLISHER, prefix)
        signed = Built(built.name, signing.sign_envelope(built.envelope, key), built.payloads)
        trial = _Trial(signed, source, key, programme, actions, minutes, settings)
        results = []
        for runtime in runtimes:
            if runtime == "micropython" and find_spec("micropython_unix") is None:
                raise FeatureError("MicroPython is not installed here: pip install 'evergrow[sim]', or try --runtime cpython")
            say(f"{built.name} on {runtime} ...")
            results.append(run_loop(trial.run(runtime, Path(folder, runtime))))
        return results


class _Trial:
    def __init__(
        self,
        built: Built,
        source: dict[str, Any],
        key: Any,
        programme: int | None,
        actions: Sequence[str],
        minutes: int,
        settings: Mapping[str, int],
    ) -> None:
        self._built = built
        klass = self._klass = source["target"]["class"]
        self._vendor = source["target"]["vendor"]
        self._code = source.get("code", {})
        self._key = key
        declared = self._code.get("settings", {})
        if unknown := sorted(set(settings) - set(declared)):
            raise FeatureError(f"it has no setting {unknown[0]!r}; there are {', '.join(declared) or 'none'}")
        self._settings = {declared[name]["id"]: value for name, value in settings.items()}
        self._actions = actions
        self._minutes = minutes
        body = feature.parse(built.payloads.get(1) or bytes(Envelope(built.envelope).payloads[feature_build.INTEGRATED]))
        self._feature = body.id
        self._sold = body.entitlement
        self._names = load()
        self._base: int = getattr(catalogue.make(klass), "base_programme", 0)  # runs by itself
        own = None if body.programme is None else programmes.read(body.programme)
        self._programme = programme or (own.id if own else self._base or self._first_programme())
        self._continuous = bool((own if own and own.id == self._programme else self._appliances(self._programme)).period_s)

    async def run(self, runtime: str, folder: Path) -> Result:
        result = Result(runtime)
        folder.mkdir(parents=True)
        broker_folder = folder / "broker"
        broker_folder.mkdir()
        with IotCore(broker_folder) as broker, Store(folder / "cloud.db") as store:
            url = f"mqtt://{HOST}:{broker.port}"
            devicekeys.enrol(store, TENANT, DEVICE, DEVICE_KEY)
            async with Cloud(store, url) as cloud, self._device(runtime, broker.port, folder) as device:
                await cloud.connected()
                await device.wait_for("connected", _PATIENCE_S)
                try:
                    await self._install(store, result)
                    if self._settings:
                        await self._set(store)
                    if self._sold:
                        await self._entitle(store)
                    await self._use(store, device, result)
                    self._look(store, result)
                except _Wrong as wrong:
                    result.wrong = str(wrong)
                self._told(store, result)
                await device.stop()
        return result

    def _device(self, runtime: str, port: int, folder: Path) -> DeviceProcess | DeviceTask:
        public = self._key.public
        config = {
            "tenant": TENANT,
            "device": DEVICE,
            "host": HOST,
            "port": port,
            "appliance": self._klass,
            "home": HOME,
            "speed": CALM,
            "seed": 1,
            "remote_enable": True,
            "device_key": DEVICE_KEY.hex(),
            "trust": [[public.kid.hex(), public.alg, public.public.hex(), public.publisher, public.prefix]],
            "vendor_id": suit_build.vendor_id(self._vendor).hex(),
            "class_id": suit_build.class_id(self._vendor, self._klass).hex(),
        }
        if runtime == "cpython":
            return DeviceTask(config, folder)
        code = Path("build/mpy-shipped")
        mpy.build(code, closed=True)
        return DeviceProcess(config, folder, code, heap=HEAP)

    async def _install(self, store: Store, result: Result) -> None:
        transfer = offers.offer(store, TENANT, DEVICE, self._built.envelope, dict(self._built.payloads))

        def ended() -> offers.Transfer | None:
            found = offers.get(store, transfer)
            return found if found and not found.open else None

        found = await _until(ended, "the end of the installation")
        report = found.report
        result.state = offers.STATE_NAMES.get(found.state or 0, str(found.state))
        result.bytes, result.ms = (report.bytes or 0, report.ms or 0) if report else (0, 0)
        if found.state != offers.CONFIRMED:
            text = report.text if report else ""
            raise _Wrong(f"{result.state}, code {found.code} ({view.code_name(found.code or 0)}): {text}")

    async def _entitle(self, store: Store) -> None:
        entitlements.issue(store, TENANT, DEVICE, Terms(PUBLISHER, self._feature, trial=True))
        device_id = devices.find(store, DEVICE).id
        await _until(lambda: any(one.code == 0 for one in entitlements.of_device(store, device_id)), "the entitlement")

    async def _set(self, store: Store) -> None:
        device_id = devices.find(store, DEVICE).id
        configs.put(store, device_id, {configs.FEATURES: [[PUBLISHER, self._feature, self._settings]]})

        def told() -> configs.Desired | None:
            desired = configs.get(store, device_id)
            return desired if desired and (desired.in_force or desired.refused == desired.version) else None

        desired = await _until(told, "an answer to the settings")
        if not desired.in_force:
            raise _Wrong(f"the settings are refused, code {desired.code} ({view.code_name(desired.code or 0)})")

    async def _use(self, store: Store, device: DeviceProcess | DeviceTask, result: Result) -> None:
        """All that is done is said at once: how long it takes from one to the next is then the appliance's time, and does not
        depend on how fast this machine hears of one thing and says the next.
        """
        since = len(device.events)
        steps = [(START, 0), *((action, self._minutes) for action in self._actions or ([WAIT] if self._continuous else []))]
        device.command(f"speed {SPEED}")
        if self._programme != self._base:
            device.command(f"start {self._programme}")
        for action, minutes in steps:
            if action not in (START, WAIT):
                device.command(action)
            device.command(f"look {minutes}")
        if self._continuous:
            device.command("stop" if self._programme != self._base else f"start {self._base}")
            device.command(f"speed {CALM}")
        for count, (action, minutes) in enumerate(steps, 1):
            result.shown.append(await self._seen(device, since, count, action, minutes))
        if not self._continuous:
            ended = await _until(lambda: _first(list(device.events)[since:], "ended"), "the end of the cycle")
            if ended["outcome"]:
                raise _Wrong(f"the cycle ended with outcome {self._names.outcomes.name(ended['outcome'])}")
        device_id = devices.find(store, DEVICE).id
        await _until(lambda: any(row.usage.programme == self._programme for row in usage.records(store, device_id)), "its record")

    async def _seen(
        self, device: DeviceProcess | DeviceTask, since: int, count: int, action: str, minutes: int
    ) -> dict[str, Any]:
        """What the look number `count` showed."""

        def come() -> dict[str, Any] | None:
            found = [event for event in list(device.events)[since:] if event["event"] in ("look", "refused")]
            return _first(found, "refused") or (found[count - 1] if len(found) >= count else None)

        patience_s = _PATIENCE_S + 300 * minutes / SPEED
        look = await _until(come, f"what came of {action!r}", patience_s)
        if look["event"] == "refused":
            raise _Wrong(f"{look['command']!r} is refused: {look['text']}")
        tables = ((self._names.signals, look["signals"]), (self._names.actuators, look["actuators"]))
        return {"do": action, **{table.name(number): value for table, rows in tables for number, value in rows}}

    def _appliances(self, number: int) -> Programme:
        """A programme that the appliance was made with. FeatureError."""
        data = catalogue.make(self._klass).programmes.get(number)
        if data is None:
            raise FeatureError(f"this {self._klass} has no programme {number}")
        return programmes.read(data)

    def _first_programme(self) -> int:
        """The quick one of the appliance, or its first."""
        own = [entry for entry in self._names.programmes if self._klass in entry.classes]
        return next((entry.id for entry in own if entry.name == "quick"), own[0].id)

    def _look(self, store: Store, result: Result) -> None:
        birth = devices.find(store, DEVICE).birth
        if birth is None or (PUBLISHER, self._feature) not in [(one.publisher, one.feature) for one in birth.features]:
            raise _Wrong("the feature is not active any more")

    def _told(self, store: Store, result: Result) -> None:
        device_id = devices.find(store, DEVICE).id
        meters = {f"usage-{number}": name for name, number in self._code.get("meters", {}).items()}
        known = naming.of_device(store, device_id)
        result.records = [view.record(record, self._names, known) for record in usage.records(store, device_id)]
        for record in result.records:
            record["meters"] = {meters.get(name, name): value for name, value in record["meters"].items()}
        own = {f"event-{number}": name for name, number in self._code.get("events", {}).items()}
        result.events = [view.event(record, self._names) for record in events.newest(store, device_id)]
        for event in result.events:
            event["event"] = own.get(event["event"], event["event"])


def _first(found: Sequence[dict[str, Any]], *names: str) -> dict[str, Any] | None:
    return next((event for event in found if event["event"] in names), None)


async def _until(look: Callable[[], T | None], what: str, patience_s: float = _PATIENCE_S) -> T:
    for _ in range(int(patience_s / _POLL_S)):
        if found := look():
            return found
        await asyncio.sleep(_POLL_S)
    raise _Wrong(f"{what} did not come within {patience_s:g} s")
