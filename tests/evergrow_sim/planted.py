"""Deliberate defects, each as a context manager that patches one thing in this process for as long as it is open.

A world that passes with one of these in place sees nothing. Each is a mistake that somebody has made, or could.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from evergrow_agent import bootcount, chain, ledger
from evergrow_agent.agent import Agent
from evergrow_agent.commands import Commands
from evergrow_agent.cycle import Cycle
from evergrow_agent.features import Features
from evergrow_agent.journal import Journal
from evergrow_agent.ledger import Ledger
from evergrow_agent.link import Link
from evergrow_agent.pacing import Pacing
from evergrow_agent.staging import Stager
from evergrow_agent.timebase import Timebase
from evergrow_cloud import usage
from evergrow_mqtt.backoff import Backoff
from evergrow_mqtt.session import Session
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.feature import parse
from evergrow_sim.appliances.washer import Washer
from evergrow_sim.world.cloud import CloudEnd
from evergrow_sim.world.flash import PowerFlash

Bug = Callable[[], Any]


@contextmanager
def cloud_acks_before_it_commits() -> Iterator[None]:
    """The ack leaves at once; the disk is a second slower."""
    apply_, receive = None, CloudEnd._receive

    async def too_early(self: CloudEnd, client: Any) -> None:
        ingest = self._ingest
        nonlocal apply_
        apply_ = ingest.apply
        late: list[Any] = []

        def apply(batch: Any, now_s: float) -> Any:
            """What is to be stored is known, and said, but not stored."""
            with self.store.transaction():
                self.store._connection.execute("SAVEPOINT early")
                outcome = apply_(batch, now_s)
                self.store._connection.execute("ROLLBACK TO early")
            late.append((list(batch), now_s))
            self.world.loop.call_at_us(self.world.loop.now_us + 2_000_000, self._group.call, write)  # type: ignore[union-attr]
            return outcome

        def write() -> None:
            if late and self._ingest is ingest and self.on:
                apply_(*late.pop(0))

        with mock.patch.object(ingest, "apply", apply):
            await receive(self, client)

    with mock.patch.object(CloudEnd, "_receive", too_early):
        yield


@contextmanager
def cloud_counts_what_comes_again() -> Iterator[None]:
    """No dedupe: a repeated record is added to the first."""
    record = usage.record

    def twice(store: Any, device_id: int, one: Any, most: int) -> Any:
        done = record(store, device_id, one, most)
        if done == "again":
            store.execute(
                "UPDATE usage SET cycles = cycles + 1 WHERE device_id = ? AND boot = ? AND seq = ?",
                device_id,
                one.header.boot,
                one.header.seq,
            )
        return done

    with mock.patch.object(usage, "record", twice):
        yield


@contextmanager
def flash_renames_without_sync() -> Iterator[None]:
    """A file that was replaced is empty after a power cut, unless something else was written after it."""
    change, power_off = PowerFlash._change, PowerFlash.power_off
    fresh: dict[int, str] = {}

    def changed(self: PowerFlash, name: str, *rest: Any) -> None:
        fresh.pop(id(self), None)
        change(self, name, *rest)
        fresh[id(self)] = name

    def off(self: PowerFlash) -> None:
        power_off(self)
        name = fresh.pop(id(self), "")
        if name in self.files:
            self.files[name] = b""

    with mock.patch.object(PowerFlash, "_change", changed), mock.patch.object(PowerFlash, "power_off", off):
        yield


@contextmanager
def boot_number_is_not_durable() -> Iterator[None]:
    """Sequence numbers are used again after a reboot."""

    def bump(flash: Any, random: Any, floor: int = 0) -> tuple[int, bool]:
        return 1, False

    with mock.patch.object(bootcount, "bump", bump):
        yield


@contextmanager
def topic_alias_outlives_its_connection() -> Iterator[None]:
    reset = Session._reset

    def kept(self: Session, now_ms: int) -> None:
        aliases = list(self._aliases)
        reset(self, now_ms)
        self._aliases[:] = aliases

    with mock.patch.object(Session, "_reset", kept):
        yield


@contextmanager
def client_retries_without_backoff() -> Iterator[None]:
    with mock.patch.object(Backoff, "next_ms", lambda self: 10):
        yield


@contextmanager
def feature_is_activated_before_it_is_verified() -> Iterator[None]:
    def take(self: Stager, action: Any, new: Any, file: str, size: int) -> None:
        new.file, new.size, new.digest = file, size, bytes(action.digest)

    def verify(self: Features, record: Any) -> Any:
        return parse(self._flash.read(record.file))

    with mock.patch.object(Stager, "_take", take), mock.patch.object(Features, "verify", verify):
        yield


@contextmanager
def running_cycle_has_no_checkpoint() -> Iterator[None]:
    with mock.patch.object(Cycle, "_checkpoint", lambda self, now_ms: None):
        yield


@contextmanager
def interlocks_of_the_door_are_forgotten() -> Iterator[None]:
    """Rows are dropped from the washer's table: it no longer stops when its door comes open."""
    rows = tuple(row for row in Washer.interlocks if row[3] != ids.SIGNAL_DOOR_LOCKED)
    with mock.patch.object(Washer, "interlocks", rows):
        yield


@contextmanager
def journal_writes_two_records_at_a_time() -> Iterator[None]:
    """To spare the flash: every other record waits in RAM, and counts as stored."""
    append = Journal.append

    def combined(self: Journal, record: Any) -> bool:
        held = self.__dict__.setdefault("held", [])
        held.append(bytes(record))
        if len(held) < 2:
            return True
        done = [append(self, one) for one in held]
        held.clear()
        return all(done)

    with mock.patch.object(Journal, "append", combined):
        yield


@contextmanager
def appliance_task_waits_for_the_link() -> Iterator[None]:
    """The watchdog is fed by a task that waits for the broker."""
    from evergrow_agent.agent import Agent

    appliance = Agent._appliance

    async def after_the_link(self: Agent) -> None:
        self.board.watchdog.feed()
        while not self.link.online:
            await self.board.clock.sleep_ms(100)
        await appliance(self)

    with mock.patch.object(Agent, "_appliance", after_the_link):
        yield


@contextmanager
def ack_frees_all_that_was_announced() -> Iterator[None]:
    """Of the boot that it names, whatever seq and bitmap say."""
    with mock.patch.object(ledger, "_covers", lambda seq, bitmap, one: True):
        yield


@contextmanager
def commands_are_forgotten_with_power() -> Iterator[None]:
    """A start that the broker delivers again after a power cut starts the appliance again."""
    with mock.patch.object(Commands, "_save", lambda self: None):
        yield


@contextmanager
def birth_is_said_once() -> Iterator[None]:
    """PUBACK is believed: a birth that the broker loses leaves the device offline for the cloud."""
    say = Link._say_birth

    async def once(self: Link) -> None:
        await say(self)
        self._birth_retry_due_ms = -1

    with mock.patch.object(Link, "_say_birth", once):
        yield


@contextmanager
def refused_records_wait_for_the_next_cycle() -> Iterator[None]:
    """What the flash refused is stored only when another cycle begins, or an ack comes: perhaps never."""
    with mock.patch.object(Ledger, "mend", lambda self: None):
        yield


@contextmanager
def any_clock_is_believed() -> Iterator[None]:
    with mock.patch.object(Timebase, "utc_s", Timebase._shown):
        yield


@contextmanager
def the_tag_is_freed_with_its_record() -> Iterator[None]:
    """Nothing keeps the tag of what is acked: after a reboot the chain begins anew."""
    save = Ledger._save_mark

    def without(self: Ledger) -> None:
        tag, self._tag = self._tag, chain.START
        try:
            save(self)
        finally:
            self._tag = tag

    with mock.patch.object(Ledger, "_save_mark", without):
        yield


@contextmanager
def a_boot_chains_to_a_wrong_tag() -> Iterator[None]:
    """What the first record of a boot is chained to was read with its bytes the wrong way round."""
    load = Ledger.load

    def stale(self: Ledger) -> None:
        load(self)
        self._tag = self._tag[::-1]

    with mock.patch.object(Ledger, "load", stale):
        yield


@contextmanager
def busy_is_not_heeded() -> Iterator[None]:
    with mock.patch.object(Pacing, "held", lambda self, kind: False):
        yield


@contextmanager
def an_erased_flash_counts_from_one() -> Iterator[None]:
    """What the cloud knows of the boots before is not listened to: their numbers come again."""
    adopt = Agent._adopt
    with mock.patch.object(Agent, "_adopt", lambda self, least: adopt(self, 0)):
        yield


BUGS: dict[str, Bug] = {
    bug.__name__: bug
    for bug in (
        cloud_acks_before_it_commits,
        cloud_counts_what_comes_again,
        flash_renames_without_sync,
        boot_number_is_not_durable,
        topic_alias_outlives_its_connection,
        client_retries_without_backoff,
        feature_is_activated_before_it_is_verified,
        running_cycle_has_no_checkpoint,
        interlocks_of_the_door_are_forgotten,
        journal_writes_two_records_at_a_time,
        appliance_task_waits_for_the_link,
        ack_frees_all_that_was_announced,
        commands_are_forgotten_with_power,
        birth_is_said_once,
        refused_records_wait_for_the_next_cycle,
        any_clock_is_believed,
        the_tag_is_freed_with_its_record,
        a_boot_chains_to_a_wrong_tag,
        busy_is_not_heeded,
        an_erased_flash_counts_from_one,
    )
}
