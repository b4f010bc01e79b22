"""Who may use what (SPEC section 13): entitlements are issued here, sent until the device has answered, and kept with the answer.

A sequence number is never used twice for a feature of a device, and is at least the time in seconds, so that it is newer than all
that the device may have had before the database was lost.
"""

import hashlib
import hmac
from dataclasses import dataclass

import cbor2

from evergrow_cloud import devicekeys, devices, strict, wire_down
from evergrow_cloud.errors import CloudError
from evergrow_cloud.messages import EntitlementAnswer
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes

ENTITLEMENT = b"eg1 entitlement"
AGAIN = (codes.BUSY, codes.STORAGE)  # answers after which it is sent again (EG-ENT-013)

_TAG_MAC0 = 0xD1
_HMAC_256 = 5
_SUBJECT, _EXPIRES, _ISSUED, _OWN = 2, 4, 6, -65537


@dataclass(frozen=True, slots=True)
class Terms:
    """What is sold. `first`, `last`: sequence numbers of the feature, both or none; `uses`, `expires_utc_s`: None: no limit.
    `sets_time`: the device goes by the time of issue from then on, even if it has seen later (EG-ENT-014)."""

    publisher: int
    feature: int
    first: int | None = None
    last: int | None = None
    uses: int | None = None
    expires_utc_s: int | None = None
    grace_s: int = 0
    trial: bool = False
    tier: int = 0
    sets_time: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """The newest entitlement of a device to a feature. `code`: what the device answered, None before it did."""

    publisher: int
    feature: int
    sequence: int
    uses: int | None
    expires_utc_s: int | None
    trial: bool
    tier: int
    issued_s: int
    code: int | None


@dataclass(frozen=True, slots=True)
class DueEntitlement:
    """One to be sent now; `message` is the whole payload of dn/ent."""

    id: int
    tenant: str
    device: str
    message: bytes


def issue(store: Store, tenant: str, device: str, terms: Terms) -> int:
    """Issue an entitlement in place of the one that the device has to that feature. Returns its sequence number.

    Raises CloudError for a device that is not enrolled or terms that say nothing; ProtocolError for a bad id.
    """
    if (terms.first is None) != (terms.last is None):
        raise CloudError("a range of versions has a first and a last", codes.MALFORMED)
    keys = devicekeys.subkeys(store, tenant, device, ENTITLEMENT)
    if not keys:
        raise CloudError(f"{tenant}/{device} is not enrolled: `evergrow cloud enrol` gives it a key", codes.NOT_AUTHORISED)
    with store.transaction():
        device_id = devices.ensure(store, tenant, device)
        sequence = store.new_id("entitlement")
        now_s = store.utc_s()
        token = seal(keys[0], f"{tenant}/{device}", sequence, now_s, terms)
        older = "UPDATE entitlements SET due = 0, open = 0 WHERE device_id = ? AND publisher = ? AND feature = ?"
        store.execute(older, device_id, terms.publisher, terms.feature)
        store.execute(
            "INSERT INTO entitlements (device_id, publisher, feature, sequence, uses, expires_s, trial, tier, message, issued_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            device_id,
            terms.publisher,
            terms.feature,
            sequence,
            terms.uses,
            terms.expires_utc_s,
            int(terms.trial),
            terms.tier,
            wire_down.entitlement(token),
            now_s,
        )
    return sequence


def seal(key: bytes, subject: str, sequence: int, now_s: int, terms: Terms) -> bytes:
    """The COSE_Mac0 of these terms under a device's subkey."""
    own: dict[int, object] = {0: terms.publisher, 1: terms.feature, 2: sequence}
    if terms.first is not None:
        own[3] = [terms.first, terms.last]
    if terms.uses is not None:
        own[4] = terms.uses
    if terms.grace_s:
        own[5] = terms.grace_s
    if terms.trial:
        own[6] = True
    if terms.tier:
        own[7] = terms.tier
    if terms.sets_time:
        own[8] = True
    claims: dict[int, object] = {_SUBJECT: subject, _ISSUED: now_s, _OWN: own}
    if terms.expires_utc_s is not None:
        claims[_EXPIRES] = terms.expires_utc_s
    payload, protected = strict.dumps(claims), strict.dumps({1: _HMAC_256})
    tag = hmac.digest(key, cbor2.dumps(["MAC0", protected, b"", payload]), hashlib.sha256)
    return bytes([_TAG_MAC0]) + strict.dumps([protected, {}, payload, tag])


def of_device(store: Store, device_id: int) -> list[Issued]:
    """The newest entitlement to each feature."""
    rows = store.rows(
        "SELECT publisher, feature, max(sequence), uses, expires_s, trial, tier, issued_s, code FROM entitlements"
        " WHERE device_id = ? GROUP BY publisher, feature ORDER BY publisher, feature",
        device_id,
    )
    return [Issued(*[bool(value) if i == 5 else value for i, value in enumerate(row)]) for row in rows]


def due(store: Store, limit: int) -> list[DueEntitlement]:
    """Those to be sent now, to devices that are online."""
    rows = store.rows(
        "SELECT entitlements.id, tenant, device, message FROM entitlements JOIN devices ON devices.id = device_id"
        " WHERE due = 1 AND link = 1 ORDER BY entitlements.id LIMIT ?",
        limit,
    )
    return [DueEntitlement(*row) for row in rows]


def sent(store: Store, id: int) -> None:
    """It is with the broker. What the device says of it decides whether it is sent again."""
    with store.transaction():
        store.execute("UPDATE entitlements SET due = 0 WHERE id = ?", id)


def born(store: Store, device_id: int) -> bool:
    """A birth: what was not answered is sent again (EG-ENT-013). True if something is due."""
    return store.execute("UPDATE entitlements SET due = 1 WHERE device_id = ? AND open = 1", device_id).rowcount > 0


def answered(store: Store, device_id: int, answer: EntitlementAnswer) -> None:
    """The device said what became of one. An answer without a name is to the oldest that has none."""
    where, parameters = "publisher = ? AND feature = ? AND sequence = ?", [answer.publisher, answer.feature, answer.sequence]
    if not answer.sequence:
        first = "SELECT min(id) FROM entitlements WHERE device_id = ? AND open = 1"
        where, parameters = f"id = ({first})", [device_id]
    store.execute(
        f"UPDATE entitlements SET code = ?, open = ?, due = 0 WHERE device_id = ? AND open = 1 AND {where}",
        answer.code,
        int(answer.code in AGAIN),
        device_id,
        *parameters,
    )
