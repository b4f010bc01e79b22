"""Features that a device took out of use by itself: damaged on flash, revoked, or stopped for what their code did (EG-FEAT-014,
EG-CODE-009). The last report of each feature is kept until the device takes a version of it again, or it is removed there.
"""

from dataclasses import dataclass

from evergrow_cloud import offers
from evergrow_cloud.messages import FeatureReport
from evergrow_cloud.store import Store

MAX_FEATURES = 64  # of one device, far more than it has room for


@dataclass(frozen=True, slots=True)
class Failure:
    publisher: int
    feature: int
    sequence: int
    code: int
    text: str | None
    utc_s: int  # when it was said last


def told(store: Store, device_id: int, report: FeatureReport) -> None:
    """Take in a report that may begin or end one. One without a feature, as of a damaged index, is none."""
    if report.feature is None:
        return
    publisher, feature, sequence = report.feature
    if report.state in (offers.TRIAL, offers.CONFIRMED, offers.REMOVED):
        store.execute(
            "DELETE FROM feature_failures WHERE device_id = ? AND publisher = ? AND feature = ?", device_id, publisher, feature
        )
    elif not report.transfer and report.state == offers.REVERTED:
        store.execute(
            "INSERT INTO feature_failures SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
            " WHERE (SELECT count(*) FROM feature_failures WHERE device_id = ?1) < ?8"
            " ON CONFLICT DO UPDATE SET sequence = ?4, code = ?5, text = ?6, utc_s = ?7",
            device_id,
            publisher,
            feature,
            sequence,
            report.code,
            report.text,
            store.utc_s(),
            MAX_FEATURES,
        )


def of_device(store: Store, device_id: int) -> list[Failure]:
    rows = store.rows(
        "SELECT publisher, feature, sequence, code, text, utc_s FROM feature_failures WHERE device_id = ?"
        " ORDER BY publisher, feature",
        device_id,
    )
    return [Failure(*row) for row in rows]
