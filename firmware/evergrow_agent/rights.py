"""Whether a feature may be installed and used now, and what it may drive: grants, revocations and entitlements seen together.

It stands beside `features`, which knows what is installed. What it refuses is left out at the start of a cycle; the appliance's
own programmes never ask. `use` and `trial` are about entitlements alone.
"""

from evergrow_agent.programme import Programme
from evergrow_protocol.errors import NOT_AUTHORISED, STALE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from evergrow_agent.entitlements import Entitlements
    from evergrow_agent.features import Record
    from evergrow_agent.grants import Grants
    from evergrow_agent.seentime import SeenTime
    from evergrow_protocol.cose import Key
    from evergrow_protocol.feature import Feature
    from evergrow_protocol.feature_code import Needs

    Owner = tuple[int, int]  # (publisher, feature)


class Rights:
    """`features`: the installed ones."""

    def __init__(self, features: "Any", grants: "Grants", entitlements: "Entitlements", seen: "SeenTime") -> None:
        self._features = features
        self._grants = grants
        self._entitlements = entitlements
        self._seen = seen

    def admit(self, owner: "Owner", programme: "Programme") -> "tuple[int, ...] | None":
        """A feature's programme is about to start: what it may drive, None for everything (EG-TRUST-007, EG-ENT-005).

        Raises ProtocolError NOT_AUTHORISED, NOT_ENTITLED.
        """
        self._check(owner)
        self._grants.check_programme(owner[0], programme)
        return self._grants.actuators(owner[0])

    def admits_unlock(self, owner: "Owner", actuator: int) -> bool:
        """Whether a feature may raise the limit of an actuator in the cycle that is about to start."""
        try:
            self._check(owner)
            self._grants.check_unlocks(owner[0], {actuator: 0})
            return True
        except ProtocolError:
            return False

    def admit_code(self, owner: "Owner", needs: "Needs | None" = None) -> "tuple[int, ...] | None":
        """Whether the code of a feature may run now, and what it may drive; `needs`: what it declares, where that is known.

        Raises as `admit`, and TOO_LARGE (EG-CODE-004).
        """
        self._check(owner)
        if needs:
            self._grants.check_needs(owner[0], needs)
        return self._grants.actuators(owner[0])

    # -- before a feature is installed

    def keys(self) -> "list[Key] | None":
        """See `Grants.keys`."""
        return self._grants.keys()

    def check_offer(self, publisher: int, news: "list[Record]") -> "int | None":
        """Whether a publisher may install these versions now; what is left of its quota of flash then, None for no limit.

        Raises ProtocolError EXPIRED, or NOT_AUTHORISED for one that is revoked and here already.
        """
        self._seen.tick()
        self._grants.check_time(publisher, self._seen.now_s)
        quota = self._grants.quota(publisher)
        left = quota or 0
        for record in self._features.records:
            same = any([record.same_component(new) for new in news])
            for new in news:
                if record.file and record.same_component(new):
                    self._check_revoked(publisher, record.feature, new.sequence)
            if record.publisher == publisher and record.file and not same:
                left -= record.size
        return None if quota is None else left

    def check_body(self, record: "Record", body: "Feature", appliance: "Any", beside: "list[Record]") -> None:
        """Whether a version whose content is known may be installed, together with others (EG-TRUST-006, 011; EG-CODE-010).

        Raises ProtocolError NOT_AUTHORISED, TOO_LARGE, STALE.
        """
        publisher = record.publisher
        self._check_revoked(publisher, body.id, record.sequence)
        self._grants.check_unlocks(publisher, body.unlocks)
        if body.needs is not None:
            from evergrow_protocol import feature_code  # only a device that is offered code needs it

            needs = feature_code.parse(body.needs)
            others = 0
            for one in self._features.records + beside:
                if one.publisher != publisher:
                    for meter in one.meters:
                        if meter in needs.meters:
                            raise ProtocolError(STALE, f"publisher {one.publisher} has meter {meter}")
                elif one.in_force and not one.same_component(record):
                    others += one.heap_bytes
            self._grants.check_needs(publisher, needs, others)
        if body.programme is not None:
            self._grants.check_programme(publisher, Programme(body.programme, appliance.signals, appliance.limits))

    # -- what is installed

    def in_use(self) -> "list[tuple[int, int, int]]":
        """[(publisher, feature, sequence)] of what is installed and not revoked, as birth lists them."""
        return [row for row in self._features.active() if not self._grants.revoked(*row)]

    def revoked(self) -> "list[tuple[int, int, int]]":
        """The others: installed, and out of use (EG-TRUST-012)."""
        return [row for row in self._features.active() if self._grants.revoked(*row)]

    def use(self, owner: "Owner", boot: int, start_ms: int) -> None:
        """The cycle that started then uses a feature: count it, once, durably, if its uses count. OSError: it is not."""
        self._entitlements.use(owner[0], owner[1], boot, start_ms)

    def trial(self, owner: "Owner") -> bool:
        """Whether a feature is used under a trial (EG-ENT-011)."""
        return self._entitlements.trial(*owner)

    def tick(self) -> None:
        """Time passes."""
        self._seen.tick()

    def save_time(self) -> None:
        """A cycle that uses a feature starts or ends: what was counted of time is made durable (EG-ENT-008)."""
        if self._seen.needed:
            self._seen.tick()
            self._seen.save()

    def _check(self, owner: "Owner") -> None:
        record = self._in_force(owner)
        if record is None:
            raise ProtocolError(NOT_AUTHORISED, f"feature {owner[0]}/{owner[1]} is not in force")
        self._check_revoked(owner[0], owner[1], record.sequence)
        if record.entitlement:
            self._entitlements.check(owner[0], owner[1], record.sequence)

    def _check_revoked(self, publisher: int, feature: int, sequence: int) -> None:
        if self._grants.revoked(publisher, feature, sequence):
            raise ProtocolError(NOT_AUTHORISED, f"feature {publisher}/{feature}, sequence {sequence}, is revoked")

    def _in_force(self, owner: "Owner") -> "Record | None":
        for record in self._features.records:
            if record.active and (record.publisher, record.feature) == owner:
                found: "Record" = record
                return found
        return None
