"""The secrets that devices share with their cloud (EG-KEY-001), and the subkeys made of them.

They are in the database and nowhere else: no log, no answer and no output shows one. Where more is at stake than a simulation,
this table is what to replace by a key service; nothing but this module reads it.
"""

import hashlib
import hmac

from evergrow_cloud.errors import EnrolError
from evergrow_cloud.store import Store
from evergrow_protocol import topics

SIZE = 32
USAGE = b"eg1 usage"


def enrol(store: Store, tenant: str, device: str, key: bytes, *, replace: bool = False) -> None:
    """Keep the device key (SIZE bytes) of a device, seen or not. The same again changes nothing.

    Raises EnrolError where the device has another key already, unless it is to `replace` it: the old one is kept, since records
    that were made under it are proven by it. ProtocolError for a bad tenant or device id.
    """
    topics.check_id(tenant)
    topics.check_id(device)
    if len(key) != SIZE:
        raise EnrolError(f"a device key has {SIZE} bytes, not {len(key)}")
    with store.transaction():
        known = _keys(store, tenant, device)
        if known and hmac.compare_digest(known[0], key):
            return
        if known and not replace:
            raise EnrolError(f"{tenant}/{device} has a device key already; a board that was replaced needs --replace")
        insert = "INSERT INTO device_keys (tenant, device, key, enrolled_s) VALUES (?, ?, ?, ?)"
        store.execute(insert, tenant, device, key, store.utc_s())


def subkeys(store: Store, tenant: str, device: str, label: bytes) -> list[bytes]:
    """HMAC-SHA256(device key, label) for the current key, and then for those it replaced, newest first. Empty: not enrolled."""
    return [hmac.digest(key, label, hashlib.sha256) for key in _keys(store, tenant, device)]


def _keys(store: Store, tenant: str, device: str) -> list[bytes]:
    rows = store.rows("SELECT key FROM device_keys WHERE tenant = ? AND device = ? ORDER BY id DESC", tenant, device)
    return [key for (key,) in rows]
