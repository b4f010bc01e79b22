"""The chain of usage records (EG-CHAIN-001), as the cloud proves it: does a record follow on the one before it?

This is the second implementation of the chain, and knows nothing of the device's.
"""

import hashlib
import hmac
from collections.abc import Sequence

from evergrow_cloud import devicekeys
from evergrow_cloud.messages import Usage
from evergrow_cloud.store import Store
from evergrow_cloud.wire import TAG_BYTES

START = bytes(TAG_BYTES)
"""Stands before the first record of a device."""


def follows(usage: Usage, before: bytes, keys: Sequence[bytes]) -> bool:
    """Whether the tag of `usage` is over it and the tag `before` it, under one of the device's usage keys."""
    return usage.tag is not None and any(
        hmac.compare_digest(hmac.digest(key, before + usage.tagged, hashlib.sha256)[:TAG_BYTES], usage.tag) for key in keys
    )


def keys_of(store: Store, device_id: int) -> list[bytes]:
    """The usage keys of a device, newest first; empty when it is not enrolled."""
    row = store.row("SELECT tenant, device FROM devices WHERE id = ?", device_id)
    return devicekeys.subkeys(store, row[0], row[1], devicekeys.USAGE) if row else []


def tag_before(store: Store, device_id: int, boot: int, seq: int) -> bytes:
    """The tag that the record (boot, seq) must be chained to, as far as is known now."""
    row = store.row(
        "SELECT tag FROM usage WHERE device_id = ? AND (boot, seq) < (?, ?) AND tag IS NOT NULL"
        " ORDER BY boot DESC, seq DESC LIMIT 1",
        device_id,
        boot,
        seq,
    )
    return bytes(row[0]) if row else START
