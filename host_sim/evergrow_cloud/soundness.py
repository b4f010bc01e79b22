"""Is what the cloud has of a device's usage all there is? Gaps and broken chains as ingest found them, damage as it was told.

Ingest keeps all of this up to date, so that it costs little to ask for a whole fleet; `audit` computes it anew from the records.
"""

from dataclasses import dataclass

from evergrow_cloud import usage
from evergrow_cloud.messages import Birth
from evergrow_cloud.store import Store


@dataclass(frozen=True, slots=True)
class Soundness:
    """`conflicts`: records that came under the number of another, and are counted nowhere.

    `missing`: numbers that are not there before others that are, in `gaps` boots, the first since `since_s`.

    `unchained`: records that do not follow on the one before. `damaged` and `unread`: bad places and parts that could not be
    read in the device's last boot that told of any; `lost`: records that it knows to be lost, in all its boots.
    """

    conflicts: int
    missing: int
    gaps: int
    since_s: int | None
    unchained: int
    damaged: int
    unread: int
    lost: int

    @property
    def sound(self) -> bool:
        return not (self.conflicts or self.missing or self.unchained or self.unread or self.lost)


def of_device(store: Store, device_id: int) -> Soundness:
    gaps = store.rows(
        "SELECT gap_since_s,"
        " (SELECT max(seq) - count(*) FROM usage AS u WHERE u.device_id = b.device_id AND u.boot = b.boot)"
        " FROM boots AS b WHERE device_id = ? AND gap_since_s IS NOT NULL",
        device_id,
    )
    last = store.row(
        "SELECT damaged, unread FROM boots WHERE device_id = ? AND damaged + unread > 0 ORDER BY boot DESC LIMIT 1", device_id
    )
    lost = store.row("SELECT coalesce(sum(lost), 0) FROM boots WHERE device_id = ?", device_id)
    conflicts = store.row("SELECT conflicts FROM devices WHERE id = ?", device_id)
    assert lost is not None
    return Soundness(
        conflicts=conflicts[0] if conflicts else 0,
        missing=sum(missing for _, missing in gaps),
        gaps=len(gaps),
        since_s=min((since_s for since_s, _ in gaps), default=None),
        unchained=usage.unchained(store, device_id),
        damaged=last[0] if last else 0,
        unread=last[1] if last else 0,
        lost=int(lost[0]),
    )


def note(store: Store, device_id: int, birth: Birth) -> None:
    """Keep what a birth tells of damage: of each boot the most. A fresh flash has no boot yet that it could be kept for."""
    if birth.is_fresh or not any(birth.damage):
        return
    store.execute(
        "INSERT INTO boots (device_id, boot, damaged, unread, lost) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " damaged = max(damaged, excluded.damaged), unread = max(unread, excluded.unread), lost = max(lost, excluded.lost)",
        device_id,
        birth.header.boot,
        *birth.damage,
    )
