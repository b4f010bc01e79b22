"""The agent: everything that runs in an appliance, put together and kept running.

The appliance comes first. Its task starts before all others, needs neither link nor features nor free flash, and goes on
whatever happens to the other tasks: those are started again, later each time, and counted.
"""

import asyncio
import sys

from evergrow_agent import bootcount, devicekey, heap
from evergrow_agent.alarms import Alarms
from evergrow_agent.codefeatures import CodeFeatures
from evergrow_agent.commands import Commands
from evergrow_agent.cycle import Cycle
from evergrow_agent.entitlements import Entitlements
from evergrow_agent.events import Events
from evergrow_agent.grants import Grants
from evergrow_agent.guard import Guard
from evergrow_agent.home import Home
from evergrow_agent.inbox import Inbox
from evergrow_agent.journal import Journal
from evergrow_agent.ledger import Ledger
from evergrow_agent.link import Link
from evergrow_agent.rights import Rights
from evergrow_agent.runner import IDLE, Runner
from evergrow_agent.seentime import SeenTime
from evergrow_agent.settings import Settings
from evergrow_agent.state import State
from evergrow_agent.telemetry import SignalSet, Telemetry
from evergrow_agent.timebase import Timebase
from evergrow_agent.updates import Updates
from evergrow_agent.voice import Voice
from evergrow_protocol import messages
from evergrow_protocol.errors import BUSY, NOT_AUTHORISED, ProtocolError
from evergrow_protocol.messages import CONTENT_GRANT, CONTENT_REVOCATIONS
from evergrow_protocol.registry_common import EVENT_CYCLE_ENDED, EVENT_FAULT, EVENT_RECOVERY_STARTED, REGISTRY_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any

    from evergrow_agent.board import Board, Config, Identity
    from evergrow_agent.features import Features
    from evergrow_agent.install import Installer
    from evergrow_agent.lifecycle import Lifecycle
    from evergrow_agent.runtime import Runtime

_SIGNAL_PHASE = 9
_SIGNAL_REMAINING_S = 10
_RESTART_MS = 1_000
_RESTART_MAX_MS = 60_000
_SEGMENT_BYTES = 4096
_REVIEW_MS = 60_000
_WATCHDOG_MS = 8_000  # after which it bites if the board does not say: the least that boards have


class Agent:
    """`await Agent(board, identity, config).run()`, once per boot.

    Parts: `guard`, `runner`, `cycle`, `ledger`, `timebase`, `state`, `events`, `home`, `telemetry`; after `boot`, which `run`
    calls, also `features`, `lifecycle`, `installer`, `voice` and `link`. `crashes`: how many exceptions nothing else caught, by
    task; `last_crash`: the last one.
    """

    features: "Features"
    lifecycle: "Lifecycle"
    code: "CodeFeatures"
    grants: "Grants"
    entitlements: "Entitlements"
    rights: "Rights"
    seen: "SeenTime"
    installer: "Installer"
    link: "Link"
    voice: "Voice"

    def __init__(self, board: "Board", identity: "Identity", config: "Config") -> None:
        self.board = board
        self.identity = identity
        self.config = config
        self.crashes = {"boot": 0, "appliance": 0, "link": 0, "installer": 0}
        self.last_crash = ""
        self.boot_number = 0
        self.guard = Guard(board.appliance)  # Puts the appliance in its safe state, before anything that takes time.
        self.runner = Runner(self.guard)
        self.timebase = Timebase(board.clock)
        journal = Journal(board.flash, min(_SEGMENT_BYTES, config.usage_bytes), config.usage_bytes, config.reserve_bytes)
        self.ledger = Ledger(board.flash, journal, tuple([row[0] for row in board.appliance.meters if not row[2]]))
        self.ledger.feed = board.watchdog.feed
        self.cycle = Cycle(self.runner, self.guard, self.ledger, board.flash, self.timebase)
        self.settings = Settings(board.flash)
        self.settings.apply = self._apply
        self.settings.check_features = self._check_settings
        self.events = Events(self.timebase)
        self.alarms = Alarms(self.guard, self.events)
        self.state = State(self.runner, board.appliance, self.events, self.settings)
        self.home = Home(identity.device, self.timebase)
        self.telemetry = Telemetry(self._read, self.timebase)
        self._trust_told = False
        self._review_ms = 0  # when to look again whether what runs still may
        self._damage = (0, 0, 0)  # as it was told
        self._jumps = 0  # likewise
        self._served = False  # features, installer and link are there
        self._apply(None)
        self._flags = 0
        self._booted = False
        self._over = asyncio.Event()
        self._awake = asyncio.Event()
        self.cycle.wake = self._stir
        if hasattr(board.appliance, "quiet"):
            board.appliance.on_change = self._awake.set

    @property
    def online(self) -> bool:
        """Whether the cloud was told that we are there, and the connection stands."""
        return self._served and self.link.online

    def boot(self) -> None:
        """Count the boot, report what the last one left behind, and make all parts. Never raises: what fails is tried again."""
        if self._booted:
            return
        self._booted = True
        # What lost power is reported first: its boot number may have been drawn, and this boot's must be later.
        counted = (self.ledger.load, self.cycle.recover, self._count, self.ledger.settle)
        for step in counted + (self.settings.load, self._make_services):
            try:
                self.board.watchdog.feed()
                step()
            except Exception as exc:
                self._crashed("boot", exc)

    async def run(self) -> None:
        """Run until `stop` is called, or this is cancelled."""
        self.boot()
        tasks = [asyncio.create_task(self._appliance())]
        await asyncio.sleep(0)  # The appliance has had its first tick before anybody else may fail.
        tasks.append(asyncio.create_task(self._keep("link", self._run_link)))
        tasks.append(asyncio.create_task(self._keep("installer", self._run_installer)))
        try:
            await self._over.wait()
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                while not task.done():
                    await asyncio.sleep(0)

    async def stop(self) -> None:
        """Leave the cloud in good order and end `run`. The appliance is left as it is: this is for tests and for updates."""
        if self._served:
            await self.link.close()
        self._over.set()

    def start_programme(self, programme_id: int) -> None:
        """A person at the appliance starts a programme. ProtocolError as `Cycle.start`."""
        self.cycle.start(programme_id, self.board.clock.ticks_ms())

    def stop_programme(self) -> None:
        """End what runs, safely."""
        self.cycle.stop(self.board.clock.ticks_ms())

    def say(
        self,
        kind: int,
        value: int,
        text: str = "",
        usage: "tuple[int, int] | None" = None,
        feature: "tuple[int, int] | None" = None,
    ) -> "tuple[int, int]":
        """A person at the appliance rates or wishes, as `Voice.say`; without `usage` it is about the last cycle of this boot."""
        if not self._served or self.ledger.fresh:
            raise ProtocolError(BUSY, "still booting, or never connected")  # What is said needs a number that stays.
        return self.voice.say(kind, value, text, usage or self.cycle.last_usage, feature)

    def _count(self) -> None:
        boot, drawn = bootcount.bump(self.board.flash, self.board.random, self.ledger.newest_boot)
        self.boot_number = self.telemetry.boot = self.cycle.boot = self.events.boot = boot
        self._flags = messages.FLAG_RANDOM_BOOT if drawn else 0

    def _adopt(self, least: int) -> bool:
        """The flash is new or erased, the cloud knows boot numbers up to `least`: rise above them, if need be (EG-ENV-006)."""
        boot, base = self.boot_number, 0
        floor = max(least, boot)
        if self.ledger.lowest(boot) <= least:
            if not self._is_safe():
                return False  # It may take seconds: with a later welcome.
            # First of all, so that no later boot has a number that then stands for another.
            number, drawn = bootcount.bump(self.board.flash, self.board.random, floor + boot - 1)
            if drawn:
                self.ledger.refused = True
                return False
            base = number - boot
            if base < floor:
                base = 0  # There is nothing above, with 32 bits.
        if not self.ledger.adopt(base):
            return False
        if base:
            boot += base
            self.boot_number = self.voice.boot = boot
            self.telemetry.renumber(boot)
            self.events.renumber(boot)
            self.cycle.renumber(boot)
            self.link.renumber(boot)
        elif self._flags & messages.FLAG_RANDOM_BOOT:
            self.link.publish_birth()  # Its number was drawn, and counts for the cloud from now on (EG-BIRTH-007).
        return True

    # -- tasks

    async def _appliance(self) -> None:
        clock = self.board.clock
        watchdog = self.board.watchdog
        awake = self._awake
        tick_ms = self.config.tick_ms
        rests = self.config.rest_ms > tick_ms
        due_ms = clock.ticks_ms()
        while True:
            now_ms = clock.ticks_ms()
            event = -1
            try:
                event = self.cycle.tick(now_ms)
                if event:
                    self._note(event)
                if self.alarms.rows:
                    self.alarms.tick(now_ms)
                if self._served and self.code.runtime:
                    self.code.runtime.tick(now_ms, event)
                    self.cycle.count_code(now_ms)
                # Not after a failed tick: an appliance that cannot be looked after for long is what a watchdog is there for.
                watchdog.feed()
            except Exception as exc:
                self._crashed("appliance", exc)
            try:
                self._tell(now_ms)
            except Exception as exc:
                self._crashed("link", exc)
            if rests and not event and self.runner.at_rest and self._may_rest():
                try:
                    alarm = asyncio.create_task(self._ring())
                    try:
                        await awake.wait()
                    finally:
                        alarm.cancel()
                        del alarm  # It would stay in memory, with the exception that ends it.
                    awake.clear()
                    due_ms = clock.ticks_ms()
                    continue
                except Exception as exc:  # No memory for a task, say.
                    self._crashed("appliance", exc)
            due_ms = max(due_ms + tick_ms, now_ms)
            await clock.sleep_ms(max(due_ms - clock.ticks_ms(), 1))

    def _may_rest(self) -> bool:
        """Whether all that has to be watched wakes us by itself."""
        return (
            getattr(self.board.appliance, "quiet", False)
            and not (self._served and self.code.runtime)
            and not any([one.always for one in self.telemetry.sets])
        )

    async def _ring(self) -> None:
        """Wake the appliance when it is time to look again, or when this fails."""
        board = self.board
        left_ms = self.config.rest_ms
        nap_ms = getattr(board.watchdog, "timeout_ms", _WATCHDOG_MS) * 3 // 4
        try:
            while left_ms > 0:
                await board.clock.sleep_ms(min(left_ms, nap_ms))
                left_ms -= nap_ms
                board.watchdog.feed()
        except Exception:
            pass
        self._awake.set()

    def _stir(self) -> None:
        """Something was started or stopped, or is on flash that was not: there is to be a tick soon, and perhaps more to say."""
        self._awake.set()
        if self._served:
            self.link.wake()

    def _note(self, event: int) -> None:
        """What others may want to act on; the rest is told by the state."""
        self._stir()
        if event == EVENT_CYCLE_ENDED:
            self._review_ms = 0
            self.events.note(event, self.runner.outcome)
        elif event == EVENT_FAULT:
            self.events.note(event, self.runner.error)
        elif event == EVENT_RECOVERY_STARTED:
            self.events.note(event)

    def _tell(self, now_ms: int) -> None:
        """Let the link know what the last tick changed."""
        changed = self.state.changed()
        complete = self.telemetry.tick(now_ms, self.runner.state != IDLE)
        if self._served:
            link = self.link
            if now_ms >= self._review_ms and self._is_safe():
                self._review(now_ms)
            if changed:
                link.publish_state()
            if self.timebase.jumps != self._jumps:  # EG-TIME-005: a new birth brings a new welcome
                self._jumps = self.timebase.jumps
                link.publish_birth()
            if self.ledger.damage != self._damage and link.online:
                self._damage = self.ledger.damage
                link.publish_birth()
            if complete or self.events.pending:
                link.wake()

    async def _run_link(self) -> None:
        if not self._served:
            self._make_services()
        await self.link.run()

    async def _run_installer(self) -> None:
        if not self._served:
            self._make_services()
        await self.installer.run()

    def _apply(self, sets: "list[SignalSet] | None") -> None:
        """Another configuration is in force."""
        config = self.config
        if sets is None:
            bands = {signal: 0 for signal in config.telemetry_signals}
            sets = [SignalSet(config.telemetry_s, config.telemetry_s, False, bands)] if bands else []
        self.telemetry.configure(sets)
        if self._served:
            self._stir()
            self._configure(self.link)
            if self.code.runtime:
                self.code.runtime.configure(self.settings.features)

    def _check_settings(self, features: "dict[tuple[int, int], dict[int, int]]") -> None:
        if self._served and self.code.runtime:
            self.code.runtime.check(features)

    def _configure(self, link: "Link") -> None:
        link.set_keepalive(self.settings.keepalive_s)
        link.join(self.settings.home or self.config.home)

    def _make_services(self) -> None:
        """The parts that the appliance can do without."""
        board, config, identity = self.board, self.config, self.identity
        self.grants = Grants(board.flash)
        self.seen = SeenTime(board.flash, board.clock, self.timebase)
        subject = f"{identity.tenant}/{identity.device}"
        self.entitlements = entitlements = Entitlements(board.flash, self._subkey(), subject, self.seen)
        entitlements.changed = self._entitled
        self.voice = Voice(board.flash, self.timebase)
        self.voice.boot = self.boot_number
        link = Link(
            config,
            identity,
            board,
            self.boot_number,
            self.timebase,
            self.ledger,
            self.telemetry,
            self.events,
            self.voice,
            self.home,
        )
        self._configure(link)
        self.voice.on_said = link.wake
        updates = Updates(
            board.flash,
            board.clock,
            board.net.clock,
            board.appliance,
            lambda features: Rights(features, self.grants, entitlements, self.seen),
            (identity.vendor_id, identity.class_id),
            link.send_get,
            link.send_report,
            self._is_safe,
            self.timebase.utc_s,
            self._local_minute,
            config.quiet,
            config.block_bytes,
            config.pull_bytes_per_s,
        )
        self.features = self.cycle.features = updates.features
        self.rights = self.cycle.rights = updates.rights
        self.lifecycle = updates.lifecycle
        self.installer = updates.installer
        self.installer.handlers = {content: self._acceptor(content) for content in (CONTENT_GRANT, CONTENT_REVOCATIONS)}
        self.cycle.on_finished = self.lifecycle.on_cycle
        self.lifecycle.changed = self._features_changed
        self.code = self.cycle.code = CodeFeatures(self.features, self.lifecycle, self._make_runtime, self.rights)
        self.code.failed = self._feature_failed
        commands = Commands(self.cycle, board.appliance, self.timebase, board.flash)
        commands.consent = self.lifecycle.consent
        commands.remove = self.lifecycle.remove
        commands.changed = self.installer.wake
        link.receive = Inbox(
            self.timebase,
            self.ledger,
            commands,
            self.installer,
            self.voice,
            self.home,
            self.settings,
            entitlements,
            link,
            board.clock,
        ).receive
        link.receive_part = self.installer.on_part
        link.birth = self._birth
        link.state = self.state.body
        link.on_connected = self.installer.on_connected
        link.on_welcomed = self._welcomed
        link.adopt = self._adopt
        commands.rebirth = link.publish_birth
        commands.acknowledge = self.events.acknowledge
        self.link = link
        self._served = True
        self.code.sync()

    async def _keep(self, name: str, work: "Callable[[], Awaitable[None]]") -> None:
        """Run a task until it returns; when it fails, again, after a pause that doubles."""
        pause_ms = _RESTART_MS
        while True:
            try:
                await work()
                return
            except Exception as exc:
                self._crashed(name, exc)
            await self.board.net.clock.sleep_ms(pause_ms)
            pause_ms = min(2 * pause_ms, _RESTART_MAX_MS)

    def _crashed(self, name: str, exc: Exception) -> None:
        self.crashes[name] += 1
        self.last_crash = f"{name}: {exc!r}"

    def _features_changed(self) -> None:
        """Other features are in force than before."""
        self.code.sync(self.cycle.active)
        self._trust_told = False  # A list may have come while what it names was staged.
        self._review_ms = 0
        self.link.publish_birth()

    def _feature_failed(self) -> None:
        """One is out of use that birth names."""
        self.link.publish_birth()
        self.installer.wake()

    def _make_runtime(self) -> "Runtime":
        from evergrow_agent.runtime import Runtime  # a board without code features does without it

        board = self.board
        clock = getattr(board, "work", board.net.clock)  # on a host that does other things besides
        runtime = Runtime(self.guard, self.runner, self.events, self.home, self.timebase, clock, board.flash, board.watchdog)
        runtime.is_safe = self._is_safe
        runtime.configure(self.settings.features)
        return runtime

    def _welcomed(self) -> None:
        self.lifecycle.on_welcome()
        self.installer.wake()

    # -- what the others ask

    def _acceptor(self, content: int) -> "Callable[[memoryview], Generator[int, None, None]]":
        """What takes a grant or a list that was pulled; it changes birth (EG-TRUST-014)."""

        def accept(data: memoryview) -> "Generator[int, None, None]":
            self.seen.tick()
            yield from self.grants.accept_steps(content, data, self.seen.now_s)
            self._trust_told = False
            self._entitled()
            self.link.publish_birth()

        return accept

    def _entitled(self) -> None:
        self._review_ms = 0
        self._stir()

    def _review(self, now_ms: int) -> None:
        """At a safe point, now and then and when rights have changed: code runs that may, and no other (EG-CODE-004)."""
        self._review_ms = now_ms + _REVIEW_MS
        if not self.grants.readable and self.grants.load():
            self._trust_told = False
            self.link.publish_birth()
        self.seen.needed |= bool(self.grants.sequences())
        self.code.sync(self.cycle.active, not self._trust_told)
        if not self._trust_told:
            self._tell_revoked(now_ms)

    def _tell_revoked(self, now_ms: int) -> None:
        """Once a boot and when trust or features have changed: say what is out of use from now on (EG-TRUST-012)."""
        self._trust_told = True
        for publisher, feature, sequence in self.rights.revoked():
            self.features.problems.append((NOT_AUTHORISED, publisher, feature, sequence))
            self.cycle.expel((publisher, feature), now_ms)
        if self.features.problems:
            self.link.publish_birth()
            self.installer.wake()

    def _subkey(self) -> "bytes | None":
        try:
            return devicekey.subkey(self.board.flash, devicekey.ENTITLEMENT)
        except OSError:
            return None

    def _is_safe(self) -> bool:
        runner = self.runner
        if runner.state != IDLE and not runner.period_ms:  # What runs without end takes it up with its next period.
            return False
        return not getattr(self.board.appliance, "hazardous", False)

    def _local_minute(self) -> "int | None":
        utc_s = self.timebase.utc_s()
        return None if utc_s is None else (utc_s // 60 + self.config.utc_offset_min) % 1440

    def _read(self, signal: int) -> int:
        if signal == _SIGNAL_PHASE:
            return self.runner.phase
        if signal == _SIGNAL_REMAINING_S:
            return self.runner.remaining_s
        return int(self.board.appliance.read(signal))

    def _birth(self) -> "dict[int, Any]":
        self.lifecycle.on_birth()
        flags = self._flags if self.ledger.healthy else self._flags | messages.FLAG_STORAGE
        if self.ledger.fresh:
            flags |= messages.FLAG_FRESH
        if self.grants.damaged or self.entitlements.damaged:
            flags |= messages.FLAG_RIGHTS
        if self._damage != self.ledger.damage:
            self._damage = self.ledger.damage
        return messages.birth(
            REGISTRY_VERSION,
            self.board.appliance.class_id,
            self.identity.model,
            self.identity.firmware,
            _machine(),
            self.rights.in_use(),
            self.config.rx_bytes,
            self.config.block_bytes,
            flags,
            heap.free() or 0,
            self.grants.sequences(),
            self.grants.revocations.sequence,
            self._damage,
        )


def _machine() -> "list[str]":
    """[interpreter, version, machine], each bounded."""
    implementation = sys.implementation
    version = ".".join([str(part) for part in implementation.version[:3]])
    return [implementation.name[:16], version[:16], getattr(implementation, "_machine", sys.platform)[:48]]
