"""What the cloud does with messages, without any I/O but the database: a batch in, one transaction, the answers out.

The caller sends the answers after `Ingest.apply` has returned, that is after the commit; so nothing is acked that a power cut
could take back (EG-ACK-002).
"""

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evergrow_cloud import (
    commands,
    configs,
    devices,
    entitlements,
    events,
    failures,
    offers,
    soundness,
    telemetry,
    trust,
    usage,
    view,
    voices,
    wire,
    wire_down,
)
from evergrow_cloud.blocks import BlockService
from evergrow_cloud.busy import BusySigns
from evergrow_cloud.errors import WireError
from evergrow_cloud.limits import Buckets, Limits
from evergrow_cloud.messages import (
    Birth,
    BlockRequest,
    EntitlementAnswer,
    Event,
    FeatureReport,
    Message,
    Response,
    State,
    Sync,
    Telemetry,
    Voice,
)
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes
from evergrow_protocol import topics
from evergrow_protocol.errors import ProtocolError

log = logging.getLogger("evergrow.cloud")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message from the broker."""

    topic: str
    payload: bytes
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to the broker."""

    topic: str
    payload: bytes
    qos: int


@dataclass(slots=True)
class Outcome:
    """What follows from a batch. `answered`: {command id: (code, result)}. `due`: there may be offers to send now."""

    outgoing: list[Outgoing] = field(default_factory=list)
    answered: dict[int, tuple[int, Any]] = field(default_factory=dict)
    due: bool = False


@dataclass(frozen=True, slots=True)
class _Item:
    tenant: str
    device: str
    kind: str
    message: Message
    raw: bytes
    retained: bool


class Ingest:
    """Applies batches of messages. Not for concurrent use."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._blocks = BlockService(store, limits)
        self._shares = Buckets(limits.message_burst, limits.messages_per_s, limits.tracked_devices)
        self._credits = Buckets(limits.telemetry_burst, limits.telemetry_per_hour / 3600, limits.tracked_devices)
        self._busy = BusySigns(limits.tracked_devices)
        self._signs: list[Outgoing] = []  # to go out with this batch's answers
        self._log_shares = Buckets(5, 1 / 60, limits.tracked_devices)

    def apply(self, batch: Sequence[Incoming], now_s: float) -> Outcome:
        """Store what is valid and answer it; count and log what is not. `now_s`: UTC seconds, with fractions.

        Raises sqlite3.OperationalError (disk full, locked): then nothing of the batch is stored.
        """
        items: list[_Item] = []
        rejections: dict[tuple[str, str], list[str]] = defaultdict(list)
        for incoming in batch:
            self._decode(incoming, now_s, items, rejections)
        signs, self._signs = self._signs, []
        try:
            outcome = self._commit(items, rejections, now_s)
        except (sqlite3.OperationalError, MemoryError):
            raise
        except Exception:
            log.exception("a batch of %d messages failed, trying one by one", len(items))
            outcome = self._one_by_one(items, rejections, now_s)
        outcome.outgoing += signs
        for (tenant, device), reasons in rejections.items():
            if self._log_shares.take((tenant, device), 1, now_s):
                log.warning("%s/%s: %d messages rejected, the last since %s", tenant, device, len(reasons), reasons[-1])
        return outcome

    def _decode(self, incoming: Incoming, now_s: float, items: list[_Item], rejections: dict[tuple[str, str], list[str]]) -> None:
        try:
            tenant, device, direction, kind = topics.parse(incoming.topic)
        except ProtocolError as error:
            log.debug("dropped a message to %.80r: %s", incoming.topic, error)
            return
        if direction != "up" or (not incoming.payload and incoming.retained):
            return
        try:
            message = wire.decode(kind, incoming.payload)
            records = len(message) if isinstance(message, tuple) else 1
            self._pace(tenant, device, kind, records, now_s)
        except WireError as error:
            rejections[tenant, device].append(f"{kind}: {error} (code {error.code})")
        else:
            items.append(_Item(tenant, device, kind, message, incoming.payload, incoming.retained))

    def _pace(self, tenant: str, device: str, kind: str, records: int, now_s: float) -> None:
        """Hold a device to its share. WireError 7 beyond it; then the device is told so (EG-BUSY-003)."""
        buckets = [(self._shares, f"more than {self._limits.messages_per_s} messages per second", records)]
        if kind == "tele":
            buckets.append((self._credits, f"more than {self._limits.telemetry_per_hour} batches per hour", 1))
        for bucket, why, amount in buckets:
            if not bucket.take((tenant, device), amount, now_s):
                sign = self._busy.sign(tenant, device, kind, bucket.wait_s((tenant, device), amount, now_s), now_s)
                if sign is not None:
                    self._signs.append(Outgoing(topics.dn(tenant, device, "busy"), sign, 1))
                raise WireError(codes.BUSY, why)

    def _commit(self, items: Sequence[_Item], rejections: dict[tuple[str, str], list[str]], now_s: float) -> Outcome:
        outcome = Outcome()
        acks: dict[tuple[int, int], tuple[str, str]] = {}
        budget = self._limits.batch_block_bytes
        with self._store.transaction():
            for item in items:
                budget = self._apply(item, now_s, outcome, acks, budget)
            for (device_id, boot), (tenant, device) in acks.items():
                watermark, later = usage.acknowledge(self._store, device_id, boot)
                outcome.outgoing.append(Outgoing(topics.dn(tenant, device, "ack"), wire_down.ack(boot, watermark, later), 1))
            for (tenant, device), reasons in rejections.items():
                devices.reject(self._store, tenant, device, len(reasons), reasons[-1])
        return outcome

    def _one_by_one(self, items: Sequence[_Item], rejections: dict[tuple[str, str], list[str]], now_s: float) -> Outcome:
        """A message that breaks the code must not take others with it: find it, leave it out."""
        whole = self._commit([], rejections, now_s)
        for item in items:
            try:
                part = self._commit([item], {}, now_s)
            except (sqlite3.OperationalError, MemoryError):
                raise
            except Exception:
                log.exception("dropped %s of %s/%s: %s", item.kind, item.tenant, item.device, item.raw[:256].hex())
                continue
            whole.outgoing += part.outgoing
            whole.answered |= part.answered
            whole.due |= part.due
        return whole

    def _apply(
        self, item: _Item, now_s: float, outcome: Outcome, acks: dict[tuple[int, int], tuple[str, str]], budget: int
    ) -> int:
        """One message. Returns what is left of the batch's budget for blocks."""
        store, message = self._store, item.message
        device_id = devices.ensure(store, item.tenant, item.device)
        over = isinstance(message, State) and not message.link  # the will speaks of the device, not for it
        if not item.retained and not over and devices.heard(store, device_id):
            offers.repeat_open(store, device_id)
            outcome.due = True
        match message:
            case Birth(header=header):
                least = devices.least_boot(store, device_id) if message.is_fresh else 0
                now_ms = int(now_s * 1000)
                if devices.record_birth(store, device_id, message, item.raw, retained=item.retained, now_ms=now_ms):
                    again = wire_down.command(store.new_id("command"), commands.REBIRTH, {})  # EG-BIRTH-009
                    outcome.outgoing.append(Outgoing(topics.dn(item.tenant, item.device, "cmd"), again, 1))
                soundness.note(store, device_id, message)
                if message.is_fresh and message.storage_fails and self._log_shares.take((item.tenant, item.device), 1, now_s):
                    log.warning("%s/%s: a new flash takes nothing, and so no usage comes (EG-ENV-007)", item.tenant, item.device)
                if not item.retained:  # EG-BIRTH-002
                    credits = (self._limits.telemetry_burst, self._limits.telemetry_per_hour)
                    welcome = wire_down.welcome(header.boot, header.seq, int(now_s), credits, least)
                    outcome.outgoing.append(Outgoing(topics.dn(item.tenant, item.device, "welcome"), welcome, 1))
                    offers.repeat_open(store, device_id, header.boot)
                    configs.born(store, device_id)
                    entitlements.born(store, device_id)
                    trust.born(store, item.tenant, item.device, message)
                    outcome.due = True
            case State():
                if devices.record_state(store, device_id, message, item.raw) and configs.reported(store, device_id, message):
                    outcome.due = True
            case Sync():
                devices.record_sync(store, device_id, message)
            case Telemetry():
                telemetry.add(store, device_id, item.raw, self._limits.telemetry_per_device)
            case Response():
                if commands.answer(store, device_id, message, item.raw):
                    outcome.answered[message.id] = (message.code, message.result)
            case Event():
                events.add(store, device_id, message, item.raw, self._limits.events_per_device)
            case Voice(header=header):
                voices.add(store, device_id, message, item.raw)
                heard = wire_down.heard(header.boot, header.seq)
                outcome.outgoing.append(Outgoing(topics.dn(item.tenant, item.device, "heard"), heard, 1))
            case FeatureReport(transfer=0):  # EG-FEAT-014, EG-FEAT-022, EG-CODE-009
                failures.told(store, device_id, message)
                if message.code and self._log_shares.take((item.tenant, item.device), 1, now_s):
                    why = f"{view.code_name(message.code)}: {message.text}"
                    log.warning("%s/%s: feature %s is out of use, %s", item.tenant, item.device, message.feature, view.clean(why))
            case FeatureReport():
                offers.report(store, device_id, message, item.raw)
                failures.told(store, device_id, message)
                outcome.due = True
            case BlockRequest():
                topic = topics.dn(item.tenant, item.device, "block")
                for block in self._blocks.serve(device_id, topic, message, now_s, budget):
                    outcome.outgoing.append(Outgoing(topic, block, 0))
                    budget -= len(block)
            case EntitlementAnswer():
                entitlements.answered(store, device_id, message)
            case records:
                for record in records:
                    if usage.record(store, device_id, record, self._limits.conflicts_per_device) == "conflict":
                        log.warning("%s/%s: two records for %s", item.tenant, item.device, record.header)
                    acks[device_id, record.header.boot] = (item.tenant, item.device)
        return budget
