"""Features on their way to devices (SPEC section 9): what is offered, what the device pulls, what it reported.

`offer` may be called from any process that can open the database; the running cloud finds the row within a fraction of a second.
The cloud takes an envelope as it is. To judge it is the device's part: nothing here can make a device accept it.
"""

import hashlib
from dataclasses import dataclass
from typing import cast

from evergrow_cloud import devices, manifests, naming, wire, wire_down
from evergrow_cloud.errors import CloudError, WireError
from evergrow_cloud.messages import FeatureReport
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes

MAX_ENVELOPE_BYTES = 16_384  # EG-LIM-003
MAX_PAYLOAD_BYTES = 1 << 20
MAX_PAYLOADS = 32
ENVELOPE = 0  # the envelope's number among the payloads
FEATURE, GRANT, REVOCATIONS = range(3)  # what is in it; of the last two see `trust`

FETCHING, STAGED, TRIAL, CONFIRMED, REVERTED, REFUSED, REMOVED = range(1, 8)
STATE_NAMES = {
    FETCHING: "fetching",
    STAGED: "staged",
    TRIAL: "trial",
    CONFIRMED: "confirmed",
    REVERTED: "reverted",
    REFUSED: "refused",
    REMOVED: "removed",
}
_JUST_S = 10  # an activation is followed by a birth within that time
_FINAL = (CONFIRMED, REVERTED, REFUSED, REMOVED)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One offer to one device. `open`: the cloud will repeat it. `state` and `code` are None until the first report."""

    transfer: int
    tenant: str
    device: str
    open: bool
    state: int | None
    code: int | None
    report: FeatureReport | None
    created_s: int
    updated_s: int


@dataclass(frozen=True, slots=True)
class DueOffer:
    """An offer to be sent now, or to be taken back when it is `cancelled`."""

    transfer: int
    tenant: str
    device: str
    envelope_bytes: int
    cancelled: bool = False
    content: int = FEATURE

    def message(self) -> tuple[str, bytes]:
        """(kind, payload) of what the device is told."""
        if self.cancelled:
            return "cancel", wire_down.cancel(self.transfer)
        return "offer", wire_down.offer(self.transfer, self.envelope_bytes, self.content)


def offer(store: Store, tenant: str, device: str, envelope: bytes, payloads: dict[int, bytes], content: int = FEATURE) -> int:
    """Offer an envelope and its payloads, {N of `evergrow:N`: bytes}, to a device. Returns the transfer id. `content`: 1 and 2
    for what is no feature (see `trust`).

    The same content offered again while the first offer is open is that offer. Open offers of older versions of the same
    components are cancelled (EG-FEAT-017). Raises CloudError 8 beyond a limit and 5 for a
    payload number below 1; ProtocolError for a bad tenant or device id.
    """
    _check(envelope, payloads)
    with store.transaction():
        device_id = devices.ensure(store, tenant, device)
        contents = {ENVELOPE: _put(store, envelope)} | {number: _put(store, data) for number, data in payloads.items()}
        same = _find_open(store, device_id, contents)
        if same is not None:
            store.execute("UPDATE transfers SET due = 1 WHERE transfer = ?", same)
            return same
        transfer = store.new_id("transfer")
        now_s = store.utc_s()
        store.execute(
            "INSERT INTO transfers (transfer, device_id, envelope, created_s, updated_s, content) VALUES (?, ?, ?, ?, ?, ?)",
            transfer,
            device_id,
            contents[ENVELOPE],
            now_s,
            now_s,
            content,
        )
        for number, digest in contents.items():
            store.execute("INSERT INTO transfer_payloads VALUES (?, ?, ?)", transfer, number, digest)
        if content == FEATURE:
            _supersede(store, device_id, transfer, envelope)
    return transfer


def refused(store: Store, tenant: str, device: str, envelope: bytes) -> bool:
    """Whether the device has refused this very content, which is no feature, for what it is and not for want of room or time; and
    has had no other revocation list since, by which it might judge otherwise."""
    row = store.row(
        "SELECT 1 FROM transfers JOIN devices ON devices.id = device_id"
        " WHERE tenant = ? AND device = ? AND envelope = ? AND content > 0 AND open = 0 AND transfers.state = ?"
        " AND transfers.code NOT IN (?, ?, ?) AND NOT EXISTS (SELECT 1 FROM transfers AS later WHERE later.device_id = devices.id"
        " AND (later.report_boot, later.report_seq) > (transfers.report_boot, transfers.report_seq)"  # as the device said it
        " AND later.content > 0 AND later.content = ? AND later.state = ?)",
        tenant,
        device,
        hashlib.sha256(envelope).digest(),
        REFUSED,
        codes.BUSY,
        codes.EXPIRED,
        codes.STORAGE,
        REVOCATIONS,
        CONFIRMED,
    )
    return row is not None


def cancel(store: Store, transfer: int) -> bool:
    """Take an offer back (EG-FEAT-023). False: it is not open. What is active on the device already stays."""
    with store.transaction():
        if store.row("SELECT 1 FROM transfers WHERE transfer = ? AND open = 1", transfer) is None:
            return False
        store.execute("UPDATE transfers SET cancelled = 1, due = 1 WHERE transfer = ?", transfer)
    return True


def transfers(store: Store, device_id: int, limit: int = 100) -> list[Transfer]:
    """The newest `limit` offers to a device, oldest first."""
    rows = store.rows(f"{_SELECT} WHERE device_id = ? ORDER BY transfer DESC LIMIT ?", device_id, limit)
    return [_transfer(row) for row in reversed(rows)]


def get(store: Store, transfer: int) -> Transfer | None:
    """One offer, or None."""
    row = store.row(f"{_SELECT} WHERE transfer = ?", transfer)
    return _transfer(row) if row else None


def due(store: Store, limit: int) -> list[DueOffer]:
    """Offers to be sent now. Those to devices that are not there leave the queue: birth puts them back (`repeat_open`)."""
    rows = store.rows(
        "SELECT transfer, tenant, device, length(data), link, cancelled, content"
        " FROM transfers JOIN devices ON devices.id = device_id JOIN blobs ON sha256 = envelope"
        " WHERE due = 1 ORDER BY transfer LIMIT ?",
        limit,
    )
    for transfer, _, _, _, online, *_ in rows:
        if not online:
            sent(store, transfer)
    return [DueOffer(row[0], row[1], row[2], row[3], bool(row[5]), row[6]) for row in rows if row[4]]


def sent(store: Store, transfer: int) -> None:
    """The offer is with the broker, or its device is not there."""
    with store.transaction():
        store.execute("UPDATE transfers SET due = 0 WHERE transfer = ?", transfer)


def repeat_open(store: Store, device_id: int, boot: int = -1) -> None:
    """The device is there again: what is open is offered again (EG-BIRTH-004), but for what this `boot` has just said that it
    has: an activation is followed by a birth."""
    store.execute(
        "UPDATE transfers SET due = 1 WHERE device_id = ? AND open = 1"
        " AND NOT (cancelled = 0 AND report_boot IS ? AND state <= ? AND updated_s >= ?)",
        device_id,
        boot,
        TRIAL,
        store.utc_s() - _JUST_S,
    )


def report(store: Store, device_id: int, message: FeatureReport, raw: bytes) -> None:
    """Keep what the device said of a transfer. One for another device's transfer, or an older one of this boot, is ignored.

    A final state closes the offer, except a refusal as busy. Then the device has room for what it ignored, so that the other open
    offers are repeated.
    """
    select = "SELECT report_boot, report_seq FROM transfers WHERE transfer = ? AND device_id = ?"
    row = store.row(select, message.transfer, device_id)
    boot, seq = message.header.boot, message.header.seq
    if row is None or (row[0] == boot and seq <= row[1]):
        return
    final = message.state in _FINAL and not (message.state == REFUSED and message.code == codes.BUSY)
    store.execute(
        "UPDATE transfers SET due = 0, open = ?, state = ?, code = ?, report = ?, report_boot = ?, report_seq = ?, updated_s = ?"
        " WHERE transfer = ?",
        int(not final),
        message.state,
        message.code,
        raw,
        boot,
        seq,
        store.utc_s(),
        message.transfer,
    )
    if message.state in (TRIAL, CONFIRMED) and message.feature is not None:
        naming.learn(store, device_id, message.transfer, message.feature)
    if final:
        repeat_open(store, device_id)


def read(store: Store, device_id: int, transfer: int, payload: int, offset: int, size: int) -> bytes:
    """Up to `size` bytes of a payload from `offset` on; empty beyond its end, and for what was not offered to this device."""
    row = store.row(
        "SELECT substr(data, ?, ?) FROM transfers JOIN transfer_payloads USING (transfer) JOIN blobs USING (sha256)"
        " WHERE transfer = ? AND device_id = ? AND payload = ? AND length(data) > ?",  # substr alone cuts offsets to 32 bits
        offset + 1,
        size,
        transfer,
        device_id,
        payload,
        offset,
    )
    return bytes(row[0]) if row else b""


_SELECT = (
    "SELECT transfer, tenant, device, open, transfers.state, code, report, created_s, updated_s"
    " FROM transfers JOIN devices ON devices.id = device_id"
)


def _transfer(row: tuple[object, ...]) -> Transfer:
    values = list(row)
    values[3] = bool(values[3])
    if values[6] is not None:
        values[6] = wire.decode("feat", cast(bytes, values[6]))
    return Transfer(*values)  # type: ignore[arg-type]


def _check(envelope: bytes, payloads: dict[int, bytes]) -> None:
    if not 1 <= len(envelope) <= MAX_ENVELOPE_BYTES:
        raise WireError(codes.TOO_LARGE, f"an envelope of {len(envelope)} bytes, 1 to {MAX_ENVELOPE_BYTES} are allowed")
    if len(payloads) > MAX_PAYLOADS:
        raise WireError(codes.TOO_LARGE, f"{len(payloads)} payloads, {MAX_PAYLOADS} at most")
    for number, data in payloads.items():
        if number <= ENVELOPE:
            raise CloudError(f"payload {number}: numbers start at 1", codes.OUT_OF_RANGE)
        if len(data) > MAX_PAYLOAD_BYTES:
            raise WireError(codes.TOO_LARGE, f"payload {number} has {len(data)} bytes, {MAX_PAYLOAD_BYTES} at most")


def _put(store: Store, data: bytes) -> bytes:
    """Content is kept once, however many devices it is offered to."""
    digest = hashlib.sha256(data).digest()
    store.execute("INSERT INTO blobs VALUES (?, ?) ON CONFLICT DO NOTHING", digest, data)
    return digest


def _supersede(store: Store, device_id: int, newest: int, envelope: bytes) -> None:
    """Cancel what is open to the device of the same components, with a lower sequence number."""
    sequence, components = manifests.identify(envelope)
    for transfer, data in store.rows(
        "SELECT transfer, data FROM transfers JOIN blobs ON sha256 = envelope WHERE device_id = ? AND open = 1 AND transfer < ?",
        device_id,
        newest,
    ):
        older, others = manifests.identify(data)
        if older < sequence and components & others:
            cancel(store, transfer)


def _find_open(store: Store, device_id: int, contents: dict[int, bytes]) -> int | None:
    for (transfer,) in store.rows(
        "SELECT transfer FROM transfers WHERE device_id = ? AND open = 1 AND envelope = ?", device_id, contents[ENVELOPE]
    ):
        if dict(store.rows("SELECT payload, sha256 FROM transfer_payloads WHERE transfer = ?", transfer)) == contents:
            return int(transfer)
    return None
