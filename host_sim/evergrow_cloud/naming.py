"""What features are called, for people: a device says which transfer brought a feature, and the name is in what was offered."""

from collections.abc import Mapping

from evergrow_cloud import bodies
from evergrow_cloud.messages import FeatureVersion
from evergrow_cloud.store import Store

MAX_CHARS = 64

Names = Mapping[tuple[int, int], str]
"""{(publisher, feature): name}"""


def learn(store: Store, device_id: int, transfer: int, feature: FeatureVersion) -> None:
    """The device uses `feature`, which that transfer brought. A transfer that holds no body of that number names nothing."""
    for body in bodies.of_transfer(store, transfer, feature.feature):
        if isinstance(name := body.get(bodies.NAME), str):
            store.execute(
                "INSERT INTO feature_names VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET name = excluded.name",
                device_id,
                feature.publisher,
                feature.feature,
                name[:MAX_CHARS],
            )
            return


def of_device(store: Store, device_id: int) -> Names:
    rows = store.rows("SELECT publisher, feature, name FROM feature_names WHERE device_id = ?", device_id)
    return {(publisher, feature): name for publisher, feature, name in rows}
