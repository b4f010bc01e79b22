"""What this device may use: entitlements, their uses and their time (SPEC section 13).

    file `ent.P.F`   [claims, uses, boot, start_ms] of publisher P's feature F: how many uses were counted, the cycle counted last

One `checked` file each, replaced whole: a power cut leaves the old or the new entitlement and count (EG-ENT-010). Since the cycle
stands beside the count, counting one again changes nothing (EG-ENT-009). It is told by its start: cycles whose records are merged
share a seq.
"""

from evergrow_agent import checked
from evergrow_agent.grants import follows
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import NOT_AUTHORISED, NOT_ENTITLED, OK, STALE, STORAGE, TOO_LARGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from evergrow_agent.seentime import SeenTime
    from evergrow_protocol.entitlement import Entitlement

    Buffer = bytes | bytearray | memoryview

PREFIX = "ent."
MAX_HELD = 24


class Held:
    """One entitlement, as it came and as it is read, and what was used of it. `boot`, `start_ms`: the cycle counted last."""

    def __init__(self, claims: bytes, used: int = 0, boot: int = 0, start_ms: int = 0) -> None:
        from evergrow_protocol.entitlement import parse  # With the first one: many devices never need it.

        self.claims = claims
        self.what: "Entitlement" = parse(claims)
        self.used = used
        self.boot = boot
        self.start_ms = start_ms


class Entitlements:
    """Reads what is on `flash`; never raises for what it finds there. `key`: the subkey for entitlements, None for none.
    `subject`: "tenant/device". `damaged`: whether one was found damaged, which does not hold, or could not be read. `changed()`,
    to be set, is called when another one was taken."""

    def __init__(self, flash: "Any", key: "bytes | None", subject: str, seen: "SeenTime") -> None:
        self.damaged = False
        self.changed: "Callable[[], None]" = _nothing
        self._flash = flash
        self._key = key
        self._subject = subject
        self._seen = seen
        self._readable = True
        self._held: "dict[tuple[int, int], Held]" = {}
        try:
            for name in flash.names():
                if name.startswith(PREFIX):
                    self._load(name)
        except OSError:
            self._readable = False
            self.damaged = True
        self._note_need()

    def take(self, token: "Buffer") -> "list[int]":
        """Take what came in `dn/ent`; returns what `up/ent` answers: [publisher, feature, sequence, code]. Never raises."""
        from evergrow_protocol import entitlement

        answer = [0, 0, 0, OK]
        try:
            if self._key is None:
                raise ProtocolError(NOT_AUTHORISED, "this device has no key")
            claims = entitlement.authentic(token, self._key)
            new = entitlement.parse(claims)
            if new.subject != self._subject:
                raise ProtocolError(NOT_AUTHORISED, f"issued to {new.subject}")
            answer = [new.publisher, new.feature, new.sequence, OK]
            if not self._readable:
                raise ProtocolError(STORAGE, "entitlements could not be read at boot")  # nor how much of them is used up
            self._take(new, bytes(claims))
        except ProtocolError as exc:
            answer[3] = exc.code
        except OSError:
            answer[3] = STORAGE
        except MemoryError:
            answer[3] = TOO_LARGE
        return answer

    def check(self, publisher: int, feature: int, sequence: int) -> None:
        """Raises ProtocolError NOT_ENTITLED unless an entitlement holds now for this version of a feature (EG-ENT-006)."""
        held = self._held.get((publisher, feature))
        why = "there is none" if held is None else self._why_not(held, sequence)
        if why:
            raise ProtocolError(NOT_ENTITLED, f"feature {publisher}/{feature}: {why}")

    def trial(self, publisher: int, feature: int) -> bool:
        """Whether it is used under a trial."""
        held = self._held.get((publisher, feature))
        return held is not None and held.what.trial

    def counts(self, publisher: int, feature: int) -> bool:
        """Whether its uses are counted."""
        held = self._held.get((publisher, feature))
        return held is not None and held.what.uses >= 0

    def held(self) -> "list[tuple[tuple[int, int], Held]]":
        """[((publisher, feature), what is held)], to be read."""
        return sorted(self._held.items(), key=_first)

    def use(self, publisher: int, feature: int, boot: int, start_ms: int) -> None:
        """Count a use by the cycle of that boot and start, once, durably (EG-ENT-009). Raises OSError: it is not counted."""
        if not self.counts(publisher, feature):
            return
        held = self._held[(publisher, feature)]
        if (held.boot, held.start_ms) == (boot, start_ms):
            return
        checked.replace(self._flash, _name(publisher, feature), dumps([held.claims, held.used + 1, boot, start_ms]))
        held.used += 1
        held.boot, held.start_ms = boot, start_ms

    # -- how

    def _take(self, new: "Entitlement", claims: bytes) -> None:
        at = (new.publisher, new.feature)
        name = _name(*at)
        old = self._held.get(at)
        self._seen.tick()
        if old:
            if new.sequence == old.what.sequence and claims == old.claims:
                return
            known = old.what.sequence
            if not follows(known, new.sequence, self._seen.now_s):
                raise ProtocolError(STALE, f"sequence {new.sequence} does not follow {known}")
        elif len(self._held) >= MAX_HELD:
            raise ProtocolError(STORAGE, f"{MAX_HELD} entitlements are the limit")
        self._seen.learn(new.issued, new.sets_time)
        if new.expires is not None or new.sets_time:
            self._seen.save()  # first: what it holds until must not be measured with an earlier time
        checked.replace(self._flash, name, dumps([claims, 0, 0, 0]))
        self._held[at] = Held(claims)
        self._note_need()
        self.changed()

    def _why_not(self, held: Held, sequence: int) -> str:
        what = held.what
        if not what.first <= sequence <= what.last:
            return f"it is for versions {what.first} to {what.last}, not {sequence}"
        if what.uses >= 0 and held.used >= what.uses:
            return f"all {what.uses} uses are used up"
        seen = self._seen
        seen.tick()
        if seen.now_s < what.not_before:
            return f"it begins at {what.not_before}, it is {seen.now_s}"
        if what.expires is None:
            return ""
        if seen.now_s > what.expires + what.grace_s:
            return f"it ended at {what.expires}, it is {seen.now_s}"
        if seen.offline_s > what.grace_s:
            return f"UTC is unknown for {seen.offline_s} s, allowed are {what.grace_s}"
        return ""

    def _load(self, name: str) -> None:
        content = checked.load(self._flash, name)
        try:
            if content is None:
                return
            held = Held(*loads(content))
            self._held[(held.what.publisher, held.what.feature)] = held
        except (ProtocolError, TypeError, ValueError):
            self.damaged = True

    def _note_need(self) -> None:
        self._seen.needed = any([held.what.expires is not None or held.what.not_before for held in self._held.values()])


def _first(item: "tuple[tuple[int, int], Held]") -> "tuple[int, int]":
    return item[0]


def _nothing() -> None:
    pass


def _name(publisher: int, feature: int) -> str:
    return f"{PREFIX}{publisher}.{feature}"
