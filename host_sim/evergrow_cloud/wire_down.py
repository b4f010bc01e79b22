"""Every message that devices and homes get, as the cloud encodes it (SPEC sections 3 to 9)."""

from typing import Any

from evergrow_cloud import strict
from evergrow_cloud.fields import MAX_UINT32, uint


def welcome(boot: int, birth_seq: int, utc_s: int, credits: tuple[int, int] | None = None, least_boot: int = 0) -> bytes:
    """dn/welcome. `credits`: batches of telemetry at once, and per hour; None: as many as the device likes.

    `least_boot`: a device whose flash is new or erased is to use boot numbers above it; 0 for any.
    """
    ext: dict[int, Any] = {0: least_boot} if least_boot else {}
    if credits is not None:
        ext[1] = list(credits)
    return strict.dumps([boot, birth_seq, utc_s, ext] if ext else [boot, birth_seq, utc_s])


def busy(kind: int, retry_s: int) -> bytes:
    """dn/busy: hold back 1 telemetry, 2 usage, 3 requests for blocks, or 0 all three, for so long."""
    return strict.dumps([kind, retry_s])


def ack(boot: int, seq: int, later: bytes = b"") -> bytes:
    """dn/ack: all of `boot` up to `seq`, and those of the bitmap `later` (EG-ACK-001)."""
    return strict.dumps([boot, seq, later] if later else [boot, seq])


def command(id: int, command: int, args: dict[int, Any], deadline_utc_s: int | None = None) -> bytes:
    """dn/cmd."""
    return strict.dumps([id, command, args] if deadline_utc_s is None else [id, command, args, deadline_utc_s])


def config(version: int, values: dict[int, Any]) -> bytes:
    """dn/cfg: the whole configuration that is desired."""
    return strict.dumps([version, values])


def offer(transfer: int, envelope_bytes: int, content: int = 0) -> bytes:
    """dn/offer: the size of payload 0, which the device then pulls. `content`: 0 a feature, 1 a grant, 2 a revocation list."""
    return strict.dumps([transfer, envelope_bytes, content] if content else [transfer, envelope_bytes])


def cancel(transfer: int) -> bytes:
    """dn/cancel: an offer is not meant any more."""
    return strict.dumps([transfer])


def block(transfer: int, payload: int, number: int, data: bytes) -> bytes:
    """dn/block: block `number`, or several from it on."""
    return strict.dumps([transfer, payload, number, data])


def entitlement(token: bytes) -> bytes:
    """dn/ent."""
    return strict.dumps([token])


def heard(boot: int, seq: int) -> bytes:
    """dn/heard: this saying is stored."""
    return strict.dumps([boot, seq])


def scene(scene: int, utc_s: int) -> bytes:
    """home/scene: set at `utc_s`."""
    return strict.dumps([uint(scene, "scene", MAX_UINT32), utc_s])
