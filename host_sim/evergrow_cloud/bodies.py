"""Feature bodies in what was offered (SPEC section 9), for people: what a feature is called, and what can be set of it."""

from collections.abc import Iterator
from typing import Any

import cbor2

from evergrow_cloud import manifests
from evergrow_cloud.store import Store

ID, NAME, NEEDS = 1, 2, 10


def of_transfer(store: Store, transfer: int, feature: int) -> Iterator[dict[int, Any]]:
    """The bodies of that feature id among what was offered, those in the envelope included. What is no body is passed over."""
    for (payload,) in store.rows("SELECT data FROM transfer_payloads JOIN blobs USING (sha256) WHERE transfer = ?", transfer):
        for data in (payload, *manifests.integrated(payload)):
            try:
                body = cbor2.loads(data)
                if body[ID] == feature:
                    yield body
            except Exception:  # cbor2 raises much for what is no CBOR; a patch is none, for example
                continue
