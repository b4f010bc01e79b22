"""Everything of a run, put together: a broker, a cloud, and the devices of a scenario, with those who watch them."""

from collections.abc import Callable
from typing import Any

from evergrow_agent import devicekey, trust
from evergrow_agent.board import Config, Identity
from evergrow_cloud import commands, devicekeys, offers, voices, wire
from evergrow_cloud.entitlements import Terms
from evergrow_cloud.errors import CloudError
from evergrow_cloud.messages import Birth, FeatureReport, Response, State, Usage
from evergrow_protocol import errors as codes
from evergrow_sim.world import guests, stored, trials
from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_acl import Acl
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.broker_session import Message
from evergrow_sim.world.cloud import NAME as CLOUD
from evergrow_sim.world.cloud import CloudEnd
from evergrow_sim.world.computing import Computing
from evergrow_sim.world.desires import Desires, draw
from evergrow_sim.world.device import NOBODY, WorldDevice
from evergrow_sim.world.features import CLASS_ID, VENDOR_ID, Offer, catalogue, keyring
from evergrow_sim.world.flash import PowerFlash
from evergrow_sim.world.grammar import Tap
from evergrow_sim.world.lives import Lives
from evergrow_sim.world.orders import Orders
from evergrow_sim.world.quiet import Quiet
from evergrow_sim.world.rand import Rand
from evergrow_sim.world.root import Root
from evergrow_sim.world.safety import WatchedWasher
from evergrow_sim.world.sayings import Said
from evergrow_sim.world.scenario import Act, DeviceSpec, Scenario
from evergrow_sim.world.trusted import Trusted
from evergrow_sim.world.truth import Cycle, CycleLog
from evergrow_sim.world.world import World

HOST, PORT = "broker", 1883
TENANT = "acme"
PAID_FEATURE, LEASED_FEATURE = (2, trials.PAID), (2, trials.LEASED)
_UNDO_MAX = 8
_FEATURES_FROM = 1000
_MAY_REFUSE = (codes.OK, codes.BUSY, codes.INVALID_STATE, NOBODY)  # the base function: something runs, or it has no power

_ACL = (
    f"topic readwrite eg1/{TENANT}/home/#",
    f"user {CLOUD}",
    "topic readwrite eg1/#",
    f"pattern write eg1/{TENANT}/%c/up/#",
    f"pattern read eg1/{TENANT}/%c/dn/#",
)

Report = Callable[[str, str, str], None]
"""(rule, device, what): something happened that may not."""


def offer_named(name: str) -> Offer:
    """StopIteration for one that there is not."""
    return next(offers[name] for offers in (catalogue(), guests.catalogue(), trials.catalogue()) if name in offers)


def lease(words: str, utc_s: int) -> Terms:
    """`expires in s/grace in s`, and perhaps `/set`: it sets the device's time."""
    expires_s, grace_s, *more = words.split("/")
    return Terms(*LEASED_FEATURE, expires_utc_s=utc_s + int(expires_s), grace_s=int(grace_s), sets_time=bool(more))


class EchoingBroker(Broker):
    """A broker that may also deliver twice, `echo_ms` {device: ms} later, or late by `hold_ms`, or not at all: `lose_percent`."""

    echo_ms: dict[str, int]
    hold_ms: dict[str, int]
    lose_percent: dict[str, int]
    world: World
    rand: Rand

    def _route(self, message: Message) -> bool:
        device = message.publish.topic.split("/")[2]
        now_us = self.world.loop.now_us
        if device in self.lose_percent and self.rand.below(100) < self.lose_percent[device]:
            return True
        if device in self.echo_ms:
            self.world.loop.call_at_us(now_us + 1000 * self.echo_ms[device], self._again, message)
        if device in self.hold_ms:
            self.world.loop.call_at_us(now_us + 1000 * self.hold_ms[device], self._again, message)
            return True
        return super()._route(message)

    def _again(self, message: Message) -> None:
        if self.running:
            super()._route(message)


class Resident:
    """A device of the house: `device` itself, its `washer`, the `log` of its cycles.

    `offered`: {transfer: offer}. `orders`: the commands sent to it, and what came of them. `said`: what its users said.
    `stalls`: how often its watchdog has reason to bite. `may_rot`: bits of its flash flipped; `may_forget`: what it should
    remember of commands may not have reached the flash; `undone`: its flash fell back to what it was some operations before;
    `sold`: how many uses of PAID; `trusted`: what it may use;
    `blind`: it could not be read; `erasures`: how often it was erased; `rotten`: how many bits of its journal flipped.
    `desires`: the configurations that it is to have.
    `attempts`: how often it tried to connect. `key`: what it shares with the cloud.
    """

    def __init__(self, world: World, spec: DeviceSpec, report: Callable[[str, str, str], None]) -> None:
        def danger(rule: str) -> None:
            report("interlock", spec.name, rule)

        self.spec = spec
        self.name = spec.name
        self.washer = WatchedWasher(world.rand("sensors", spec.name), spec.load_g, spec.tick_ms, danger)
        config = Config(
            HOST,
            PORT,
            keepalive_s=spec.keepalive_s,
            telemetry_signals=spec.telemetry,
            telemetry_s=5,
            usage_bytes=spec.usage_bytes,
            tick_ms=spec.tick_ms,
            rest_ms=spec.rest_ms,
            home=spec.home,
            mqtt={"version": spec.version},
        )
        identity = Identity(TENANT, spec.name, "evergrow-w1", "0.1.0", VENDOR_ID, CLASS_ID)
        flash = PowerFlash(undo_max=_UNDO_MAX, stamp=lambda: world.loop.now_ms)
        self.device = WorldDevice(world, spec.name, config, identity, self.washer, flash, spec.drift_ppm, spec.rtc)
        self.offered: dict[int, Offer] = {}
        self.lives = Lives(self.device.plant, self.offered, lambda what: report("features", spec.name, what))
        self.log = CycleLog(world.loop, self.device.plant, self.washer, spec.tick_ms, self.lives)
        self.trusted = Trusted(self.device, self.log, lambda what: report("rights", spec.name, what), self.may_lose)
        self.computing = Computing(self.device.plant, self._hang)
        self.quiet = Quiet(world.loop, self.device.plant, lambda what: report("pace", spec.name, what))
        self.orders = Orders(self.device.plant, lambda what: report("commands", spec.name, what), lambda: self.may_forget)
        self.desires = Desires(lambda what: report("config", spec.name, what), self.may_lose)
        self.sold = 0
        self.stalls = 0
        self.may_rot = False
        self.may_forget = False
        self.undone = False
        self.blind = False
        self.erasures = 0
        self.rotten = 0
        self.attempts = 0
        self.said = Said()
        link = world.network.link(spec.name)
        link.delay_ms, link.jitter_ms = spec.delay_ms, spec.jitter_ms
        self.key = world.rand("device key", spec.name).bytes(devicekey.SIZE)
        self.provision()

    def provision(self) -> None:
        """What a factory, or who services it, writes to an empty flash."""
        trust.provision(self.device.flash, keyring())
        guests.provision(self.device.flash)
        devicekey.provision(self.device.flash, self.key)

    def cycles(self) -> list[Cycle]:
        """Those that are over, with boots as they are called now."""
        return self.log.ended(stored.base(self.device.flash.files))

    def _hang(self) -> None:
        self.stalls += 1
        self.device.hang()

    def may_lose(self) -> bool:
        """Whether its flash may have lost what was on it."""
        return self.may_rot or self.undone or self.blind or self.erasures > 0

    def brings(self) -> set[tuple[int, int, int]]:
        """(publisher, feature, sequence) of what it was rightly offered."""
        return {offer.brings for offer in self.offered.values() if offer.brings}


class House:
    """`report(rule, device, what)`: see Report. Nothing runs until the loop does; `open` turns everything on at its time."""

    def __init__(self, world: World, scenario: Scenario, report: Report) -> None:
        self.world = world
        self.scenario = scenario
        self.report = report
        self.tap = Tap(world, lambda device, what: report("grammar", device, what), self._born, self._answered)
        self.tap.on_state, self.tap.on_report = self._shown, self._reported
        broker = self.broker = EchoingBroker(lambda: world.loop.now_ms, acl=Acl.parse(_ACL), trace=world.trace, observe=self.tap)
        broker.echo_ms, broker.hold_ms, broker.lose_percent = {}, {}, {}
        broker.world, broker.rand = world, world.rand("broker")
        server = BrokerServer(broker, world.loop)
        world.network.listen(HOST, PORT, server.accept)
        self.cloud = CloudEnd(world, HOST, PORT, scenario.cloud_version)
        self.residents = {spec.name: Resident(world, spec, report) for spec in scenario.devices}
        self.root = Root(self.cloud)
        for resident in self.residents.values():
            devicekeys.enrol(self.cloud.store, TENANT, resident.name, resident.key)
        note = world.network.note

        def count(who: str, what: str, *details: int | str | bytes) -> None:
            if what == "connect" and who in self.residents:
                self.residents[who].attempts += 1
            note(who, what, *details)

        setattr(world.network, "note", count)  # noqa: B010

    def open(self) -> None:
        """Turn the cloud and the devices on, each at its time, and let people do what they do."""
        at_us = self.world.loop.call_at_us
        at_us(0, self.cloud.start)
        for resident in self.residents.values():
            at_us(1000 * resident.spec.powered_ms, resident.device.power_on)
        for act in self.scenario.acts:
            at_us(1000 * act.at_ms, self.act, act)

    def act(self, act: Act) -> None:
        """Somebody does something. What is not possible now is noted, and forgotten."""
        resident = self.residents[act.device]
        try:
            self._act(resident, act)
        except CloudError as error:
            self.world.note(act.device, "refused", act.what, error.code)

    def told(self, resident: Resident) -> dict[tuple[int, int], Usage]:
        """{(boot, seq): record} of what the cloud has in its ledger."""
        select = "SELECT raw FROM usage JOIN devices ON devices.id = device_id WHERE device = ? ORDER BY usage.boot, seq"
        rows = self.cloud.store.rows(select, resident.name)
        records = [record for (raw,) in rows for record in wire.decode("usage", raw)]  # type: ignore[union-attr]
        return {(record.header.boot, record.header.seq): record for record in records}

    def accounts(self, resident: Resident) -> list[Usage]:
        """What the cloud was told, and what is still on flash to be told."""
        return list({**stored.usage(resident.device.flash.files), **self.told(resident)}.values())

    def heard(self, resident: Resident) -> list[voices.Saying]:
        """What the cloud has of the users of a device."""
        return [saying for saying in voices.newest(self.cloud.store, 1000) if saying.device == f"{TENANT}/{resident.name}"]

    def command(self, resident: Resident, command: int, args: dict[int, int]) -> int:
        """Send a command; returns its id."""
        number = self.cloud.command(resident.name, command, args)
        resident.orders.send(number, command, args)
        return number

    def configure(self, resident: Resident, values: dict[int, Any], code: int = codes.OK) -> int:
        """Desire this of a device, which must answer it with `code`; returns the version."""
        version = self.cloud.configure(resident.name, values)
        resident.desires.want(version, values, code)
        return version

    def _act(self, resident: Resident, act: Act) -> None:
        device = resident.device
        if act.what == "start":
            resident.orders.by_person = True
            code = device.start_programme(int(act.argument))
            resident.orders.by_person = False
            if int(act.argument) < _FEATURES_FROM and code not in _MAY_REFUSE:
                self.report("base", act.device, f"programme {act.argument} is refused with code {code}")
        elif act.what == "stop":
            resident.orders.by_person = True
            device.stop_programme()
            resident.orders.by_person = False
        elif act.what == "remote start":
            self.command(resident, 1, {0: int(act.argument)})
        elif act.what == "remote stop":
            self.command(resident, 2, {})
        elif act.what == "door":
            device.open_door()
        elif act.what == "close":
            device.close_door()
        elif act.what == "say":
            text = resident.said.next_text()
            code = device.say(int(act.argument), text)
            if code == codes.OK:
                resident.said.taken.append(text)
            elif code in (NOBODY, codes.STORAGE):
                resident.said.doubtful.append(text)
        elif act.what == "unplug":
            device.reboot(int(act.argument))
        elif act.what == "remote":
            device.enable_remote(bool(act.argument))
        elif act.what == "configure":
            self.configure(resident, *draw(int(act.argument)))
        elif act.what == "entitle":
            resident.sold += int(act.argument)
            self.cloud.entitle(resident.name, Terms(*PAID_FEATURE, uses=int(act.argument)))
        elif act.what == "lease":
            self.cloud.entitle(resident.name, lease(str(act.argument), self.cloud.utc_s()))
        elif act.what == "grant":
            self.root.grant(str(act.argument))
        elif act.what == "revoke":
            self.root.revoke(str(act.argument))
        elif act.what == "attack":
            self.root.attack(resident.name, str(act.argument))
        elif act.what == "offer":
            self._offer(resident, offer_named(str(act.argument)))
        else:
            self._change_mind(resident, act.what, str(act.argument))

    def _change_mind(self, resident: Resident, what: str, name: str) -> None:
        """Cancel what was offered, agree to it, decline it, remove it."""
        brings = offer_named(name).brings
        assert brings is not None
        if what == "cancel":
            transfers = [transfer for transfer, offer in resident.offered.items() if offer.name == name]
            if transfers:
                resident.lives.cancelled.add(transfers[-1])
                self.cloud.cancel(transfers[-1])
        elif what == "remove":
            resident.lives.removed.add(brings[:2])
            self.command(resident, commands.REMOVE, {0: brings[0], 1: brings[1]})
        else:
            resident.lives.agreed |= {name} if what == "agree" else set()
            self.command(resident, commands.CONSENT, {0: brings[0], 1: brings[1], 2: what == "agree"})

    def _offer(self, resident: Resident, offer: Offer) -> None:
        transfer = self.cloud.offer(resident.name, offer.envelope, {1: offer.payload})
        self.world.note(resident.name, "offered", transfer, offer.name)
        resident.offered[transfer] = offer
        resident.trusted.offered(transfer, offer, self.root.changes)
        if offer.name == "spin":
            resident.washer.unlocked = True

    def _answered(self, name: str, response: Response) -> None:
        resident = self.residents[name]
        order = resident.orders.sent.get(response.id)
        if order is not None and order.command == commands.CONSENT and response.code == codes.OK:
            resident.lives.asked.add("asked")
        resident.orders.answered(response.id, response.code, response.header.boot)

    def _shown(self, name: str, state: State) -> None:
        if name in self.residents and state.config is not None:
            self.residents[name].desires.told(state.config.version)

    def _reported(self, name: str, report: FeatureReport) -> None:
        trusted = self.residents[name].trusted
        if report.feature is not None and not report.transfer:
            trusted.told(report.code, report.feature)
        taken = report.code == codes.OK and report.state == offers.CONFIRMED  # and not: it is still being fetched
        document = self.root.transferred(report.transfer) if taken else None
        if document is not None:
            trusted.said(document.publisher, document.sequence)

    def _born(self, name: str, birth: Birth) -> None:
        resident = self.residents[name]
        resident.trusted.born(birth, self.root.lists)
        for feature in birth.features:
            if tuple(feature) not in resident.brings():
                self.report("features", name, f"{tuple(feature)} is active, and nobody offered it rightly")
        if birth.device_class != resident.washer.class_id:
            self.report("grammar", name, f"is of class {birth.device_class!r}")
