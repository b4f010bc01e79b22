"""How the features of a device fare, counted from outside, and whether the device and the cloud draw the right conclusions.

`Lives` sees which versions are in force when a cycle begins, how it ends, and how often code was called. A trial is over when
it must be, with the outcome that it must have (EG-FEAT-019, 024); code that fails is stopped (EG-CODE-006); and what the cloud
has been told of each offer is what the device has made of it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from evergrow_agent import records
from evergrow_agent.lifecycle import MAX_BAD_CYCLES, MAX_BOOTS
from evergrow_agent.runtime import FAILURES_MAX
from evergrow_cloud import devices, offers
from evergrow_cloud.errors import UnknownDevice
from evergrow_cloud.store import Store
from evergrow_protocol.registry_common import EVENT_PHASE_CHANGED, OUTCOME_FAULT
from evergrow_sim.world.features import Offer
from evergrow_sim.world.guests import GUEST, GUEST_TALLY
from evergrow_sim.world.plant import Plant
from evergrow_sim.world.trials import TALLY

Version = tuple[int, int, int]
"""(publisher, feature, sequence)"""

_ON_DEVICE = {offers.STAGED: records.STAGED, offers.TRIAL: records.TRIAL}


class Lives:
    """Of one device; made before its first boot. `offered` {transfer: offer}, which somebody else fills.

    `tallied`: how many phases TALLY has to tell of in the record of the cycle that just ended, None when that is not sure.
    `asked`: names of the offers that people answered to, and heard that they were; `agreed`: to which they may have;
    `removed`: the (publisher, feature) that somebody removed; `cancelled`: transfers. `report(what)` is called with what may
    not be.
    """

    def __init__(self, plant: Plant, offered: dict[int, Offer], report: Callable[[str], None]) -> None:
        self.tallied: int | None = 0
        self.asked: set[str] = set()
        self.agreed: set[str] = set()
        self.cancelled: set[int] = set()
        self.removed: set[tuple[int, int]] = set()
        self._offered = offered
        self._report = report
        self._good: Counter[Version] = Counter()
        self._bad: Counter[Version] = Counter()
        self._good_here: Counter[Version] = Counter()  # in this boot
        self._bad_here: Counter[Version] = Counter()
        self._calls_here: Counter[Version] = Counter()
        self._boots: Counter[Version] = Counter()
        self._at_start: list[Version] = []
        self._phases: int | None = 0
        self._agent: Any = None
        self._begin, self._end = plant.begin, plant.end
        setattr(plant, "begin", self._begun)  # noqa: B010 - as CycleLog does it
        setattr(plant, "end", self._ended)  # noqa: B010
        plant.watchers.append(self._watched)

    # -- what is seen

    def _watched(self, agent: Any) -> None:
        for counter in (self._good_here, self._bad_here, self._calls_here):
            counter.clear()
        self._phases = 0
        make, tick = agent._make_services, agent.cycle.tick

        def made() -> None:
            self._agent = None  # what is seen before is that of the boot before
            make()
            self._agent = agent
            self._boots.update(_versions(agent, records.TRIAL))

        def ticked(now_ms: int) -> int:
            event: int = tick(now_ms)
            if event == EVENT_PHASE_CHANGED and self._agent is agent:
                self._called(agent)
            return event

        agent._make_services, agent.cycle.tick = made, ticked

    def _called(self, agent: Any) -> None:
        """Code is about to be called."""
        running = [one.owner for one in agent.code.runtime.features] if agent.code.runtime else []
        active = agent.features.active()
        for version in [one for one in self._calls_here if one not in active]:
            del self._calls_here[version]  # installed anew, it begins anew (EG-CODE-009)
        for version in active:
            offer = self._offer(version)
            if version[1] != TALLY or version[:2] not in running or offer is None:
                continue
            if offer.broken:
                self._phases = None
                if self._calls_here[version] >= FAILURES_MAX:
                    self._report(f"{offer.name!r} is called again after {self._calls_here[version]} calls, all of which failed")
            elif self._phases is not None:
                self._phases += 1
            self._calls_here[version] += 1

    def _begun(self, boot: int, programme: int) -> None:
        self._begin(boot, programme)
        self._at_start = []
        if self._agent is not None:
            active = self._agent.features.active()
            self._at_start = [version for version in active if version[1] in (programme, TALLY)]

    def _ended(self, complete: bool) -> None:
        agent = self._agent
        self.tallied, self._phases = self._phases if complete else None, 0
        if complete and agent is not None:
            fault = agent.runner.outcome == OUTCOME_FAULT
            for version in self._at_start:
                if version[1] != TALLY or self.tallied:
                    (self._bad if fault else self._good)[version] += 1
                    (self._bad_here if fault else self._good_here)[version] += 1
        self._end(complete)
        if not complete:
            self._agent = None

    # -- what must follow from it

    def pending(self, transfer: int, state: int | None, agent: Any) -> str:
        """"" if an offer may well be open, and in the state that the cloud knows of; else why not."""
        offer = self._offered[transfer]
        if state is None or state not in _ON_DEVICE:
            return f"the offer of {offer.name!r} is open"
        here = [record for record in agent.features.of_transfer(transfer) if record.state == _ON_DEVICE[state]]
        if not here:
            return f"{offer.name!r} is {offers.STATE_NAMES[state]} for the cloud, and not on the device"
        if state == offers.STAGED:
            if transfer in self.cancelled:
                return f"{offer.name!r} is cancelled, and waits all the same"
            return "" if offer.consent and offer.name not in self.asked else f"{offer.name!r} waits for nobody"
        return self._overdue(offer, agent)

    def _overdue(self, offer: Offer, agent: Any) -> str:
        version = offer.brings
        assert version is not None
        running = [one.owner for one in agent.code.runtime.features] if agent.code.runtime else []
        idle = version[1] in (TALLY, GUEST_TALLY) and version[:2] not in running  # code that does not run is not confirmed
        if not idle and self._good_here[version] >= offer.trial_cycles:
            return f"{offer.name!r} is on trial after {self._good_here[version]} good cycles"
        if self._bad_here[version] >= MAX_BAD_CYCLES or (offer.broken and self._calls_here[version] >= FAILURES_MAX):
            return f"{offer.name!r} is on trial after {self._bad_here[version]} bad cycles, {self._calls_here[version]} calls"
        return ""

    def believed(self, store: Store, name: str, agent: Any) -> str:
        """"" if the cloud knows that it is there, in which boot, and which features are in force."""
        try:
            known = devices.find(store, name)
        except UnknownDevice:
            return "the cloud does not know it"
        if not known.online:
            return "the cloud believes it to be offline"
        birth = known.birth
        if birth is not None and birth.header.boot != agent.boot_number:
            return f"the cloud knows boot {birth.header.boot}, this is {agent.boot_number}"
        told = sorted(map(tuple, birth.features)) if birth else None
        actual = sorted(agent.rights.in_use())
        return "" if told == actual else f"the cloud believes {told} to be in force, {actual} are"

    def explain(self, store: Store, agent: Any, damaged: bool) -> str:
        """"" if all transfers that are over have ended as they must. `damaged`: the flash may have lost versions."""
        active = agent.features.active()
        broken = {offer.brings[:2] for offer in self._offered.values() if offer.brings and offer.broken}  # may be out of use
        if broken:
            broken.add((GUEST[2], GUEST_TALLY))  # which code hung is not known: all is left out then (EG-CODE-008)
        for transfer, offer in self._offered.items():
            found = offers.get(store, transfer)
            if found is None or found.open or offer.brings is None:
                continue
            version = offer.brings
            states = [record.state for record in agent.features.of_transfer(transfer)]
            if found.state == offers.CONFIRMED:
                if records.TRIAL in states or records.STAGED in states:
                    return f"{offer.name!r} is confirmed for the cloud, and waits on the device"
                newer = any(one[:2] == version[:2] and one[2] >= version[2] for one in active)
                if not newer and version[:2] not in self.removed | broken and not damaged:
                    return f"{offer.name!r} is confirmed for the cloud, and not in force"
                if offer.consent and offer.name not in self.agreed:
                    return f"nobody agreed to {offer.name!r}, and it is confirmed"
                if self._good[version] < offer.trial_cycles and not offer.broken:
                    return f"{offer.name!r} was confirmed after {self._good[version]} of {offer.trial_cycles} good cycles"
            elif states and not damaged:
                return f"{offer.name!r} is {offers.STATE_NAMES[found.state or 0]} for the cloud, and still here: {states}"
        return ""

    def may_revert(self, offer: Offer) -> bool:
        """Whether something happened for which a version on trial is reverted."""
        version = offer.brings
        assert version is not None
        enough = self._bad[version] >= MAX_BAD_CYCLES or self._boots[version] >= MAX_BOOTS
        return enough or offer.broken or version[:2] in self.removed

    def _offer(self, version: Version) -> Offer | None:
        return next((offer for offer in self._offered.values() if offer.brings == version), None)


def _versions(agent: Any, state: int) -> list[Version]:
    return [(record.publisher, record.feature, record.sequence) for record in agent.features.in_state(state)]
