"""The root of the world: what it has granted and taken back, what its enemies try, and whether a device has heard of it."""

from evergrow_cloud import trust
from evergrow_sim.world import guests
from evergrow_sim.world.cloud import CloudEnd
from evergrow_sim.world.features import MAKER
from evergrow_sim.world.guests import GUEST, Granted, Revoked
from evergrow_sim.world.trusted import Trusted

FORGED = "forged"
_FORGED_SEQUENCE = 1000


class Root:
    """Whose documents `cloud` has for all devices. `lists`: {sequence: what it says} of all that were signed; `changes`: how
    often something was."""

    def __init__(self, cloud: CloudEnd) -> None:
        self.lists: dict[int, Revoked] = {}
        self.changes = 0
        self._cloud = cloud
        self._kinds: list[str] = []  # of the grants so far
        self._signed: list[bytes] = []  # lists

    def grant(self, kind: str) -> None:
        """Grant something to the guest; see `guests.GRANTS`."""
        self.changes += 1
        self._kinds.append(kind)
        self._cloud.publish_trust(guests.grant(kind, len(self._kinds), self._cloud.utc_s()))

    def revoke(self, names: str) -> None:
        """A new list, of these of `guests.REVOCABLE`, with "," between; none: what was revoked may be used again."""
        self.changes += 1
        data, said = guests.revocations(tuple(filter(None, names.split(","))), len(self._signed) + 1)
        self.lists[said.sequence] = said
        self._signed.append(data)
        self._cloud.publish_trust(data)

    def attack(self, device: str, how: str) -> None:
        """Somebody who got into the cloud offers a device the first list again, or a FORGED one by which nothing is revoked."""
        forged, _ = guests.revocations((), _FORGED_SEQUENCE, MAKER)
        for data in [forged] if how == FORGED else self._signed[:1]:
            self._cloud.offer(device, data, {}, trust.REVOCATIONS)

    def transferred(self, transfer: int) -> trust.Document | None:
        """What a transfer brings; None for a feature."""
        row = self._cloud.store.row(
            "SELECT data FROM transfers JOIN blobs ON sha256 = envelope WHERE transfer = ? AND content > 0", transfer
        )
        return trust.read(row[0]) if row else None

    def missing(self, trusted: Trusted) -> str:
        """"" if a device has the newest list, and the newest grant unless that is nothing for it; else what it lacks."""
        listed, granted = trusted.list, trusted.granted
        if self._signed and not (isinstance(listed, Revoked) and listed.sequence == len(self._signed)):
            return f"it has {listed}, and not list {len(self._signed)}"
        revoked = isinstance(listed, Revoked) and listed.stops(GUEST[2], 0, 0)
        if not self._kinds or revoked or self._kinds[-1] == "brief":
            return ""
        if not (isinstance(granted, Granted) and granted.sequence == len(self._kinds)):
            return f"it has {granted}, and not grant {len(self._kinds)}"
        return ""
