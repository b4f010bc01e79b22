"""What the root key of this device says: which publishers may publish, what they may touch, and what it revoked (SPEC 12).

    file `root`       [algorithm, public key] of the root, written at provisioning
    file `grant.N`    the payload of publisher N's grant
    file `revoked`    the payload of the revocation list

All are `checked` files, replaced whole, so that a power cut leaves the old or the new (EG-TRUST-008). What is revoked is never
stored as such: it follows from the list each time, so that nothing but a newer list can bring it back (EG-TRUST-013).
"""

from hashlib import sha256

from evergrow_agent import checked, trust
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.cose import ALG_HSS_LMS, Key
from evergrow_protocol.errors import (
    EXPIRED,
    NOT_AUTHORISED,
    STALE,
    STORAGE,
    TOO_LARGE,
    UNKNOWN_KIND,
    ProtocolError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from evergrow_agent.programme import Programme
    from evergrow_protocol.feature_code import Needs
    from evergrow_protocol.grant import Grant, Revocations

    Buffer = bytes | bytearray | memoryview

ROOT = "root"
LIST = "revoked"
PREFIX = "grant."
MAX_GRANTS = 16
MAX_JUMP = 1 << 26  # two years of seconds


class _Nothing:
    """The list before the first one."""

    sequence = 0
    kids = ()
    publishers = ()

    def names(self, publisher: int, feature: int, sequence: int) -> bool:
        return False


def provision(flash: "Any", public: bytes, alg: int = ALG_HSS_LMS) -> None:
    """Write the root key, atomically. OSError."""
    checked.save(flash, ROOT, dumps([alg, public]))


def root_key(alg: int, public: bytes) -> Key:
    """The root as a key; its id is the start of its digest, as that of every key."""
    return Key(sha256(public).digest()[:8], alg, public, 0, b"")


class Grants:
    """Reads what is on `flash`. Never raises for what it finds there.

    `readable`: whether the flash answered; while it does not, nobody is trusted and nothing refused for good, and `load` tries
    again. `damaged`: whether something was found damaged, or could not be read. Keys that were provisioned as a ring (see
    `trust`) may do everything, unless they are revoked.
    """

    def __init__(self, flash: "Any") -> None:
        self._flash = flash
        self.load()

    def load(self) -> bool:
        """Read all of it; whether the flash answered."""
        self.readable = True
        self.damaged = False
        self.revocations: "Revocations | _Nothing" = _Nothing()
        self._root: "Key | None" = None
        self._ring: "list[Key]" = []
        self._grants: "dict[int, Grant]" = {}
        self._doubt = False  # the list is damaged: whom it names is not known
        for load in (self._load_ring, self._load_root, self._load_list, self._load_grants):
            try:
                load()
            except OSError:
                self.readable = False
            except ProtocolError:  # As when a newer firmware, which took it, was replaced by an older one.
                self.damaged = True
        self.damaged |= not self.readable
        return self.readable

    # -- what counts

    def keys(self) -> "list[Key] | None":
        """The keys that may sign features now; None while they cannot be read."""
        if not self.readable:
            return None
        return [key for key in self._all_keys() if not self._key_revoked(key)]

    def check_time(self, publisher: int, now_s: int) -> None:
        """Raises ProtocolError EXPIRED when a publisher's grant is not valid now (EG-TRUST-005)."""
        found = self._grants.get(publisher)
        if found and not found.not_before <= now_s <= (now_s if found.not_after is None else found.not_after):
            raise ProtocolError(EXPIRED, f"the grant of publisher {publisher} is not valid at {now_s}")

    def revoked(self, publisher: int, feature: int, sequence: int) -> bool:
        """Whether this version of a feature must not be used (EG-TRUST-012), or nobody vouches for its publisher."""
        if self._doubt or self.revocations.names(publisher, feature, sequence):
            return True
        return bool(self._root) and publisher not in [key.publisher for key in self._all_keys()]

    def actuators(self, publisher: int) -> "tuple[int, ...] | None":
        """What a publisher's features may drive; None: everything."""
        found = self._grants.get(publisher)
        return found.actuators if found else None

    def check_programme(self, publisher: int, programme: "Programme") -> None:
        """Raises ProtocolError NOT_AUTHORISED when it names what is not in the publisher's grant (EG-TRUST-006)."""
        found = self._grants.get(publisher)
        if found is None:
            return
        for _, step in zip(range(programme.count), programme.steps()):  # once: those of a continuous one never end
            _within(step.signals(), found.signals, "signal")
            _within(step.actuators(), found.actuators, "actuator")

    def check_unlocks(self, publisher: int, unlocks: "dict[int, int]") -> None:
        """The same for the actuators that a feature unlocks."""
        found = self._grants.get(publisher)
        if found:
            _within(list(unlocks), found.actuators, "actuator")

    def check_needs(self, publisher: int, needs: "Needs", heap_bytes: int = 0) -> None:
        """The same for what a code feature declares; `heap_bytes` are declared by the publisher's others. TOO_LARGE for heap."""
        found = self._grants.get(publisher)
        if found:
            _within(needs.signals, found.signals, "signal")
            _within(needs.actuators, found.actuators, "actuator")
            _within(needs.meters, found.meters, "meter")
            heap_bytes += needs.heap_bytes
            if heap_bytes > found.heap_bytes:
                raise ProtocolError(TOO_LARGE, f"{heap_bytes} bytes of heap, granted are {found.heap_bytes}")

    def quota(self, publisher: int) -> "int | None":
        """Bytes of flash that a publisher's features may take; None: no limit."""
        found = self._grants.get(publisher)
        return found.flash_bytes if found else None

    def sequences(self) -> "list[tuple[int, int]] | None":
        """[(publisher, sequence)] as birth says it; None without a root key (EG-TRUST-014)."""
        return sorted([(one.publisher, one.sequence) for one in self._grants.values()]) if self._root else None

    # -- what arrives

    def accept_steps(self, content: int, data: "Buffer", now_s: int) -> "Generator[int, None, tuple[int, int]]":
        """Verify a grant or a list and keep it; yields the number of hash calls so far, so that others can run in between.

        Returns (publisher, sequence); publisher 0 for a list. Raises ProtocolError with the code of section 12, OSError.
        """
        if not self.readable:
            raise ProtocolError(STORAGE, "the grants cannot be read")
        if self._root is None:
            raise ProtocolError(NOT_AUTHORISED, "this device has no root key")
        from evergrow_protocol import grant  # With the first one: many devices never need it.

        payload = yield from grant.open_steps(data, self._root)
        if content == grant.GRANT:
            return self._take_grant(payload, now_s)
        if content == grant.REVOCATIONS:
            return self._take_list(payload, now_s)
        raise ProtocolError(UNKNOWN_KIND, f"content {content}")

    def _take_grant(self, payload: "Buffer", now_s: int) -> "tuple[int, int]":
        from evergrow_protocol.grant import parse_grant

        new = parse_grant(payload)
        publisher = new.publisher
        name = PREFIX + str(publisher)
        assert self._root
        old = self._grants.get(publisher)
        others = [self._root] + [one.key for one in self._grants.values() if one.publisher != publisher]
        if self._key_revoked(new.key):
            raise ProtocolError(NOT_AUTHORISED, f"publisher {publisher} or its key is revoked")
        if old and _same(self._flash, name, old.sequence, new.sequence, payload, now_s):
            return publisher, new.sequence
        if new.key.kid in [key.kid for key in others]:
            raise ProtocolError(STALE, "the key id is that of another key")
        if new.not_after is not None and now_s > new.not_after:
            raise ProtocolError(EXPIRED, f"the grant ended at {new.not_after}, it is {now_s}")
        if old is None and len(self._grants) >= MAX_GRANTS:
            raise ProtocolError(STORAGE, f"{MAX_GRANTS} grants are the limit")
        checked.replace(self._flash, name, bytes(payload))
        self._grants[publisher] = new
        return publisher, new.sequence

    def _take_list(self, payload: "Buffer", now_s: int) -> "tuple[int, int]":
        from evergrow_protocol.grant import parse_revocations

        new = parse_revocations(payload)
        old = self.revocations.sequence
        if not old or not _same(self._flash, LIST, old, new.sequence, payload, now_s):
            checked.replace(self._flash, LIST, bytes(payload))
            self.revocations = new
            self._doubt = False
        return 0, new.sequence

    # -- how

    def _load_ring(self) -> None:
        self._ring = trust.load(self._flash)

    def _load_root(self) -> None:
        content = self._content(ROOT)
        if content:
            alg, public = loads(content)
            self._root = root_key(alg, public)

    def _load_list(self) -> None:
        self._doubt = True
        content = self._content(LIST)
        if content:
            from evergrow_protocol.grant import parse_revocations

            self.revocations = parse_revocations(content)
        self._doubt = content == b""

    def _load_grants(self) -> None:
        for name in self._flash.names():
            if name.startswith(PREFIX):
                content = self._content(name)
                if content:
                    from evergrow_protocol.grant import parse_grant

                    try:
                        found = parse_grant(content)
                        self._grants[found.publisher] = found
                    except ProtocolError:
                        self.damaged = True

    def _content(self, name: str) -> "bytes | None":
        """b"" for a damaged file: then its publisher is not trusted until a grant comes."""
        content = checked.load(self._flash, name)
        self.damaged |= content == b""
        return content

    def _all_keys(self) -> "list[Key]":
        return self._ring + [one.key for one in self._grants.values()]

    def _key_revoked(self, key: Key) -> bool:
        return self._doubt or key.kid in self.revocations.kids or key.publisher in self.revocations.publishers


def follows(old: int, new: int, now_s: int) -> bool:
    """Whether a sequence number, perhaps a time, may come after another: a slip must not use the numbers up (EG-TRUST-003)."""
    return old < new <= max(old, now_s) + MAX_JUMP


def _same(flash: "Any", name: str, old: int, new: int, payload: "Buffer", now_s: int) -> bool:
    """Whether it is what is there. Raises ProtocolError STALE for a sequence that does not follow (EG-TRUST-003)."""
    if new == old and checked.load(flash, name) == bytes(payload):
        return True
    if not follows(old, new, now_s):
        raise ProtocolError(STALE, f"sequence {new} does not follow {old}")
    return False


def _within(ids: "list[int]", granted: "tuple[int, ...]", what: str) -> None:
    for number in ids:
        if number not in granted:
            raise ProtocolError(NOT_AUTHORISED, f"{what} {number} is not granted to this publisher")
