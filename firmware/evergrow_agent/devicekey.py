"""The device key: one secret that the device shares with its cloud, written at provisioning (EG-KEY-001).

Nothing is done with the key itself. Each use has a subkey of its own, so that no two uses can be played off against each other.
It is never published, logged or shown.
"""

from evergrow_agent import checked
from evergrow_protocol import hmac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "key"
SIZE = 32  # bytes
USAGE = b"eg1 usage"  # labels of the subkeys
ENTITLEMENT = b"eg1 entitlement"


def provision(flash: "Any", key: bytes) -> None:
    """Replace the device key (SIZE bytes), atomically. ValueError for another length, OSError."""
    if len(key) != SIZE:
        raise ValueError(f"a device key has {SIZE} bytes, not {len(key)}")
    checked.save(flash, FILE, key)


def subkey(flash: "Any", label: bytes) -> "bytes | None":
    """The key for one use, 32 bytes: HMAC-SHA256(device key, label). None: there is no device key, or a damaged one. OSError."""
    key = checked.load(flash, FILE)
    return hmac.digest(key, label) if key and len(key) == SIZE else None
