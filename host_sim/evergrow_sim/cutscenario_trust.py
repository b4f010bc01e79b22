"""What the agent does with grants, revocation lists and entitlements, as scenarios for `cutpoints`. Portable."""

from evergrow_agent import grants
from evergrow_agent.entitlements import Entitlements
from evergrow_agent.grants import Grants
from evergrow_agent.seentime import SeenTime
from evergrow_protocol import hmac
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.cose import ALG_HSS_LMS
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.grant import GRANT, REVOCATIONS
from evergrow_sim.cutscenario_ports import Clock
from evergrow_sim.publisher import Signer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOW = 1_795_339_200
_DAY = 86_400
SUBKEY = bytes(range(32))
SUBJECT = "acme/d1"
_P, _Q = 7, 9  # publishers
_FEATURE = 1001

_root: "list[Signer]" = []


def root() -> Signer:
    if not _root:
        _root.append(Signer("root", b"root", 1))  # 32,000 hashes: once a process
    return _root[0]


def grant_of(publisher: int, sequence: int, actuators: "list[int]") -> "tuple[int, bytes]":
    rights = {7: [1, 2], 8: actuators, 9: [4], 10: 8192, 11: 0}
    key = {3: b"kid-%d" % publisher, 4: ALG_HSS_LMS, 5: bytes(60), 6: b"p%d" % publisher}
    content: "dict[int, Any]" = {0: GRANT, 1: publisher, 2: sequence}
    content.update(key)
    content.update(rights)
    return GRANT, root().message(dumps(content))


def list_of(sequence: int, publishers: "list[int]", features: "list[list[int]]") -> "tuple[int, bytes]":
    return REVOCATIONS, root().message(dumps({0: REVOCATIONS, 1: sequence, 2: [], 3: publishers, 4: features}))


def accept(store: Grants, change: "tuple[int, bytes]") -> None:
    """Raises ProtocolError."""
    for _ in store.accept_steps(change[0], change[1], NOW):
        pass


def take(held: Entitlements, sequence: int, uses: int) -> None:
    """An entitlement to feature 1001 of publisher 7. Raises ValueError."""
    claims = dumps({2: SUBJECT, 4: NOW + _DAY, -65537: {0: _P, 1: _FEATURE, 2: sequence, 4: uses}})
    header = dumps({1: 5})
    tag = hmac.digest(SUBKEY, dumps(["MAC0", header, b"", claims]))
    answer = held.take(dumps(Tag(17, [header, {}, claims, tag])))
    if answer[3]:
        raise ValueError(f"refused with {answer[3]}")


class Trust:
    """Grants and lists: updated, added, revoked; each wholly or not at all; nothing comes back (EG-TRUST-008, EG-TRUST-013)."""

    # (sequences, what publisher P may drive, the list's sequence, P's feature is revoked, Q is revoked) after each change
    stages = (
        ([(_P, 1)], (1, 2), 0, False, True),
        ([(_P, 2)], (1,), 0, False, True),
        ([(_P, 2), (_Q, 1)], (1,), 0, False, False),
        ([(_P, 2), (_Q, 1)], (1,), 1, True, False),
        ([(_P, 2), (_Q, 1)], (1,), 2, True, True),
    )

    def __init__(self) -> None:
        self._done = 0
        self._wrong = ""

    def prepare(self, flash: "Any") -> None:
        grants.provision(flash, root().key.public)
        self._accept(Grants(flash), grant_of(_P, 1, [1, 2]))

    def live(self, flash: "Any") -> None:
        store = Grants(flash)
        changes = (
            grant_of(_P, 2, [1]),
            grant_of(_Q, 1, [2]),
            list_of(1, [], [[_P, _FEATURE, 0, 5]]),
            list_of(2, [_Q], [[_P, _FEATURE, 0, 5]]),
        )
        for number, change in enumerate(changes):
            self._accept(store, change)
            self._done = number + 1

    def recover(self, flash: "Any") -> None:
        Grants(flash)

    def state(self, flash: "Any") -> "Any":
        return self._look(Grants(flash)), sorted(flash.names())

    def check(self, flash: "Any") -> "str | None":
        store = Grants(flash)
        if store.damaged:
            return "something is damaged, or cannot be read"
        found = self._look(store)
        if found not in self.stages[self._done : self._done + 2]:
            return f"{found} after {self._done} changes"
        for older in (grant_of(_P, 1, [1, 2]), list_of(1, [], [])):  # whatever comes later, nothing older is taken
            if self._done == 4:
                self._accept(store, older, refused=True)
        return self._wrong or (None if self._look(Grants(flash)) == found else "an older one was taken")

    def _look(self, store: Grants) -> "Any":
        revoked = store.revoked(_P, _FEATURE, 5), store.revoked(_Q, _FEATURE, 5)
        return (store.sequences(), store.actuators(_P), store.revocations.sequence) + revoked

    def _accept(self, store: Grants, change: "tuple[int, bytes]", refused: bool = False) -> None:
        try:
            accept(store, change)
            if refused:
                self._wrong = "an older one was accepted"
        except ProtocolError:
            if not refused:
                raise


class Entitled:
    """Entitlements and their uses: issued, used, renewed, ended; no use is free, none is eaten twice (EG-ENT-009, EG-ENT-010)."""

    # (sequence, uses left) after each change; a use under way when power failed is counted or not, its cycle counts it later
    stages = ((1, 3), (1, 2), (1, 1), (2, 2), (2, 1), (3, 0))

    def __init__(self) -> None:
        self._done = 0

    def prepare(self, flash: "Any") -> None:
        take(self._open(flash), 1, 3)

    def live(self, flash: "Any") -> None:
        held = self._open(flash)
        changes = (
            lambda: held.use(_P, _FEATURE, 4, 1),
            lambda: held.use(_P, _FEATURE, 4, 2),
            lambda: take(held, 2, 2),
            lambda: held.use(_P, _FEATURE, 4, 3),
            lambda: take(held, 3, 0),
        )
        for number, change in enumerate(changes):
            change()
            self._done = number + 1

    def recover(self, flash: "Any") -> None:
        self._open(flash)

    def state(self, flash: "Any") -> "Any":
        return self._look(self._open(flash)), sorted(flash.names())

    def check(self, flash: "Any") -> "str | None":
        held = self._open(flash)
        found = self._look(held)
        if held.damaged or found not in self.stages[self._done : self._done + 2]:
            return f"{found} after {self._done} changes, damaged: {held.damaged}"
        # The cycle that lost power is told after the boot and counted once, wherever the power failed.
        if self._done in (0, 1, 3):
            held.use(_P, _FEATURE, 4, (1, 2, 0, 3)[self._done])
            if self._look(self._open(flash)) != self.stages[self._done + 1]:
                return f"counted again: {self._look(held)} after {self._done} changes"
        return None

    def _look(self, held: Entitlements) -> "Any":
        for (_, _), one in held.held():
            return one.what.sequence, one.what.uses - one.used
        return None

    def _open(self, flash: "Any") -> Entitlements:
        clock: "Any" = Clock(NOW)
        return Entitlements(flash, SUBKEY, SUBJECT, SeenTime(flash, clock, clock))


SCENARIOS = {"trust": Trust, "entitlement": Entitled}
