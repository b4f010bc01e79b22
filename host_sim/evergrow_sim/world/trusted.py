"""What the root and the cloud said to one device of what it may use, and whether the device lives by it: the rule `rights`.

Read from its flash when it boots and whenever a file of it was replaced there, by nothing of the agent's; so whatever a fault
does to the flash, this knows what the device can know. When a cycle starts, `barred` is worked out; what is barred then is not
used in it, by nobody. Lists and grants only grow in sequence, and are said to be taken only once they are durable.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import cbor2

from evergrow_cloud.messages import Birth
from evergrow_protocol import errors as codes
from evergrow_protocol.registry_common import EVENT_CYCLE_ENDED, EVENT_PHASE_CHANGED
from evergrow_sim.lfs import PowerCut
from evergrow_sim.world.device import WorldDevice
from evergrow_sim.world.features import MAKER, PARTNER, SPIN_1400, Offer
from evergrow_sim.world.guests import GUEST, NEEDS, Granted, Revoked
from evergrow_sim.world.trials import LEASED
from evergrow_sim.world.truth import CycleLog

Owner = tuple[int, int]
"""(publisher, feature)"""

LIST, GRANT, LEASE, SEEN = "revoked", f"grant.{GUEST[2]}", f"ent.{PARTNER[2]}.{LEASED}", "seen"
_FILES = (LIST, GRANT, LEASE, SEEN)
_RING = (MAKER[2], PARTNER[2])
_OWN_CLAIM = -65537
_FEATURES_FROM = 1000
_SLACK_S = 4
"""Two ticks of the slowest controller."""


@dataclass(frozen=True)
class Lease:
    """An entitlement that ends, UTC seconds and seconds."""

    expires: int
    grace_s: int
    issued: int
    sets_time: bool


class Damaged:
    """In place of what is there and cannot be read."""


class Trusted:
    """Of one device; made before its first boot. `log`: of its cycles, each of which is told what is barred in it. `report(what)`
    is called with what may not be; `may_lose()`: its flash may have lost what was on it.

    `barred`: {(publisher, feature): why} in the cycle that was started last. `newest`: {publisher, 0 for the list: the highest
    sequence that was durable}.
    """

    def __init__(
        self, device: WorldDevice, log: CycleLog, report: Callable[[str], None], may_lose: Callable[[], bool]
    ) -> None:
        self.barred: dict[Owner, str] = {}
        self.newest = {0: 0, GUEST[2]: -1}
        self.list: Revoked | type[Damaged] | None = None
        self.granted: Granted | type[Damaged] | None = None
        self.lease: Lease | type[Damaged] | None = None
        self._device = device
        self._log = log
        self._report = report
        self._may_lose = may_lose
        self._unsure: set[str] = set()  # files that may or may not be what the agent believes
        self._high_s = 0  # the highest time that the device knows
        self._known_ms = 0  # when it last knew UTC, or booted
        self._granted: dict[int, int] = {}  # {transfer of what was covered by a grant: how often the root had said something}
        self._late: dict[int, int] = {}  # the same of what a grant covered no more
        self._told: set[tuple[int, int, int]] = set()  # versions that it said in this boot are out of use
        self._write = device.flash.write
        setattr(device.flash, "write", self._written)  # noqa: B010 - the flash is the device's; this listens in
        self._ran: set[Owner] = set()  # code that ran since the last record, which may tell of it
        self._end = device.plant.end
        setattr(device.plant, "end", self._ended)  # noqa: B010 - as CycleLog does it
        device.plant.watchers.append(self._watched)

    # -- what it knows

    def _written(self, name: str, data: Any) -> None:
        new = bytes(data)
        try:
            self._write(name, data)
        except OSError:
            if name in _FILES and self._device.flash.files.get(name) == new:
                self._unsure.add(name)  # perhaps it looks, and finds it there
                self._read(name)
            if name == LEASE:
                self._set_time(_parsed(_content(new), _lease))  # which it does first
            raise
        if name in _FILES:
            self._unsure.discard(name)
            self._read(name)

    def _read(self, name: str) -> None:
        content = _content(self._device.flash.files.get(name))
        if name == LIST:
            self.list = _parsed(content, _list)
            if self.list is not Damaged:
                self._grown(0, self.list.sequence if isinstance(self.list, Revoked) else 0)
        elif name == GRANT:
            self.granted = _parsed(content, _grant)
            if self.granted is not Damaged:
                self._grown(GUEST[2], self.granted.sequence if isinstance(self.granted, Granted) else -1)
        elif name == LEASE:
            before, self.lease = self.lease, _parsed(content, _lease)
            if self.lease != before:
                self._set_time(self.lease)
        elif isinstance(content, bytes):
            self._high_s = max(self._high_s, cbor2.loads(content)[0])

    def _set_time(self, lease: Any) -> None:
        if isinstance(lease, Lease) and lease.sets_time:
            self._high_s = lease.issued
            self._late.clear()
            self._known_ms = self._device.world.loop.now_ms

    def _grown(self, publisher: int, sequence: int) -> None:
        if sequence < self.newest[publisher] and not self._may_lose():
            self._report(f"{_name(publisher)} {sequence} is on flash, and {self.newest[publisher]} was")
        self.newest[publisher] = sequence

    def _watched(self, agent: Any) -> None:
        make, tick, start = agent._make_services, agent.cycle.tick, agent.cycle.start

        def made() -> None:
            self._unsure.clear()
            self._told.clear()
            self.barred = {}
            self._ran.clear()
            self._known_ms = self._device.world.loop.now_ms
            for name in (LIST, GRANT, LEASE):
                self._read(name)
            self._high_s = 0
            self._read(SEEN)
            make()

        def look() -> None:
            utc_s = agent.timebase.utc_s()
            if utc_s is not None:
                self._high_s = max(self._high_s, utc_s)
                self._known_ms = self._device.world.loop.now_ms

        def ticked(now_ms: int) -> int:
            event: int = tick(now_ms)
            look()
            running = [one.owner for one in agent.code.runtime.features] if agent._served and agent.code.runtime else []
            if event == EVENT_PHASE_CHANGED:
                self._used(running, "is run")
            if event == EVENT_CYCLE_ENDED:
                self.barred = {}
                self._ran.clear()
            self._ran.update(running)
            return event

        def started(programme: int, *more: Any) -> None:
            look()  # as it does itself
            barred = self._work_out(agent)
            try:
                start(programme, *more)
            except PowerCut:
                self.barred = {}
                raise
            self.barred = barred
            self._log.cycles[-1].barred = frozenset(barred) - self._ran
            if programme >= _FEATURES_FROM:
                self._used([owner for owner in barred if owner[1] == programme], "is started")

        agent._make_services, agent.cycle.tick, agent.cycle.start = made, ticked, started

    def _work_out(self, agent: Any) -> dict[Owner, str]:
        """What must not be used in a cycle that starts now."""
        versions = agent.features.active() if agent._served else []
        found = {version[:2]: self._why_not(*version) for version in versions}
        return {owner: why for owner, why in found.items() if why}

    def _why_not(self, publisher: int, feature: int, sequence: int) -> str:
        if LIST not in self._unsure:
            if self.list is Damaged:
                return "the list of what is revoked is damaged"
            if isinstance(self.list, Revoked) and self.list.names(publisher, feature, sequence):
                return f"list {self.list.sequence} revokes it"
        if publisher == GUEST[2] and GRANT not in self._unsure:
            if not isinstance(self.granted, Granted):
                return "nothing is granted to its publisher"
            if not self.granted.covers(NEEDS[publisher, feature]):
                return f"it is beyond grant {self.granted.sequence}"
        return self._why_ended() if (publisher, feature) == (PARTNER[2], LEASED) and LEASE not in self._unsure else ""

    def _why_ended(self) -> str:
        lease = self.lease
        if not isinstance(lease, Lease):
            return "there is no entitlement"
        if self._high_s > lease.expires + lease.grace_s:
            return f"its entitlement ended at {lease.expires}, and {self._high_s} was seen"
        unknown_s = (self._device.world.loop.now_ms - self._known_ms) // 1000
        if unknown_s * 0.99 > lease.grace_s + _SLACK_S:
            return f"UTC was unknown for {unknown_s} s"
        return ""

    # -- what it does

    def _used(self, owners: Iterable[Owner], how: str) -> None:
        for owner in owners:
            if owner in self.barred:
                self._report(f"feature {owner[0]}/{owner[1]} {how}, and {self.barred[owner]}")

    def _ended(self, complete: bool) -> None:
        if self._device.appliance.over_base:
            self._used([(MAKER[2], SPIN_1400)], "is used")
        self._end(complete)

    # -- what it says

    def born(self, birth: Birth, lists: dict[int, Revoked]) -> None:
        """`lists`: all that the root has ever signed."""
        sequence = birth.revocations or 0
        self.said(0, sequence)
        for publisher, number in birth.grants or ():
            self.said(publisher, number)
        named = lists.get(sequence)
        for feature in birth.features if named else ():
            if named and named.names(*feature):
                self._report(f"birth names {tuple(feature)}, and list {sequence} revokes it")

    def said(self, publisher: int, sequence: int) -> None:
        """It says that it has this list (publisher 0) or grant: then it is durable."""
        if sequence > max(0, self.newest.get(publisher, -1)) and not self._may_lose():
            self._report(f"it has {_name(publisher)} {sequence}, and on flash is {self.newest.get(publisher, -1)}")

    def told(self, code: int, version: tuple[int, int, int]) -> None:
        """It says that this version is out of use."""
        if code == codes.NOT_AUTHORISED:
            self._told.add(version)

    # -- what follows in the end

    def untold(self, agent: Any) -> str:
        """"" if it has told the cloud in this boot of all that is revoked, or nobody knows what is."""
        if not isinstance(self.list, Revoked) or LIST in self._unsure:
            return ""
        silent = [one for one in agent.features.active() if self.list.names(*one) and one not in self._told]
        return f"nobody was told that {silent[0]} is revoked" if silent else ""

    def offered(self, transfer: int, offer: Offer, changes: int) -> None:
        """It is offered something; `changes`: how often the root has said something new until now."""
        owner = offer.brings[:2] if offer.brings else (0, 0)
        if owner not in NEEDS or (isinstance(self.granted, Granted) and self.granted.covers(NEEDS[owner])):
            self._granted[transfer] = changes
        ended = isinstance(self.granted, Granted) and self.granted.not_after is not None and self._high_s > self.granted.not_after
        if owner in NEEDS and ended:
            self._late[transfer] = changes

    def must_refuse(self, transfer: int, changes: int) -> bool:
        """Whether it had to refuse an offer since the grant had ended before, and there was no other since."""
        return self._late.get(transfer) == changes and not self._may_lose()

    def may_refuse(self, transfer: int, offer: Offer, lists: Iterable[Revoked], changes: int) -> bool:
        """Whether it may have refused an offer since that is not authorised."""
        assert offer.brings is not None
        if any(one.stops(*offer.brings) for one in lists) or self._may_lose():
            return True
        return offer.brings[0] not in _RING and self._granted.get(transfer) != changes


def _name(publisher: int) -> str:
    return f"grant of {publisher}," if publisher else "list"


def _content(data: bytes | None) -> bytes | type[Damaged] | None:
    """Of a checked file: SHA-256(content)[:4] | content."""
    if data is None:
        return None
    return data[4:] if sha256(data[4:]).digest()[:4] == data[:4] else Damaged


def _parsed(content: bytes | type[Damaged] | None, parse: Callable[[Any], Any]) -> Any:
    return parse(cbor2.loads(content)) if isinstance(content, bytes) else content


def _list(rows: dict[int, Any]) -> Revoked:
    return Revoked(rows[1], tuple(rows[2]), tuple(rows[3]), tuple(tuple(row) for row in rows[4]))


def _grant(rows: dict[int, Any]) -> Granted:
    signals, actuators, meters = (frozenset(rows[key]) for key in (7, 8, 9))
    return Granted(rows[2], signals, actuators, meters, rows[11], rows.get(13))


def _lease(rows: list[Any]) -> Lease:
    claims = cbor2.loads(rows[0])
    own = claims[_OWN_CLAIM]
    return Lease(claims[4], own.get(5, 0), claims.get(6, 0), bool(own.get(8)))
