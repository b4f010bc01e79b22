"""What features are called, for people: a device says which transfer brought a feature, and the name is in what was offered."""

from collections.abc import Iterable, Iterator, Mapping

import cbor2

from evergrow_cloud import manifests
from evergrow_cloud.messages import FeatureVersion
from evergrow_cloud.store import Store

MAX_CHARS = 64

_ID, _NAME = 1, 2  # of a feature's body (SPEC section 9)

Names = Mapping[tuple[int, int], str]
"""{(publisher, feature): name}"""


def learn(store: Store, device_id: int, transfer: int, feature: FeatureVersion) -> None:
    """The device uses `feature`, which that transfer brought. A transfer that holds no body of that number names nothing."""
    rows = store.rows("SELECT data FROM transfer_payloads JOIN blobs USING (sha256) WHERE transfer = ?", transfer)
    for name in _names([data for (data,) in rows], feature.feature):
        store.execute(
            "INSERT INTO feature_names VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET name = excluded.name",
            device_id,
            feature.publisher,
            feature.feature,
            name,
        )
        return


def of_device(store: Store, device_id: int) -> Names:
    rows = store.rows("SELECT publisher, feature, name FROM feature_names WHERE device_id = ?", device_id)
    return {(publisher, feature): name for publisher, feature, name in rows}


def _names(payloads: Iterable[bytes], feature: int) -> Iterator[str]:
    for payload in payloads:
        for data in (payload, *manifests.integrated(payload)):
            try:
                body = cbor2.loads(data)
                if body[_ID] == feature and isinstance(body[_NAME], str):
                    yield body[_NAME][:MAX_CHARS]
            except Exception:  # cbor2 raises much for what is no CBOR; a patch is none, for example
                continue
