"""What users say of features, and what they wish for (SPEC section 15): how they take part in what is made next."""

from dataclasses import dataclass
from typing import cast

from evergrow_cloud import wire
from evergrow_cloud.messages import Voice
from evergrow_cloud.store import Store

RATING, WISH = 1, 2
KIND_NAMES = {RATING: "rating", WISH: "wish"}


@dataclass(frozen=True, slots=True)
class Saying:
    """A stored saying. `text` is None when the user gave none, or when it was forgotten (EG-VOICE-004)."""

    id: int
    device: str
    voice: Voice
    text: str | None
    received_s: int


@dataclass(frozen=True, slots=True)
class Opinion:
    """Of one feature: how many ratings, and their mean."""

    publisher: int
    feature: int
    ratings: int
    mean: float


def add(store: Store, device_id: int, voice: Voice, raw: bytes) -> None:
    """Store a saying once, however often it arrives (EG-VOICE-005). The text is kept apart from what must not be forgotten."""
    feature = voice.feature
    store.execute(
        "INSERT INTO voices (device_id, boot, seq, received_s, kind, value, publisher, feature, text, raw)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        device_id,
        voice.header.boot,
        voice.header.seq,
        store.utc_s(),
        voice.kind,
        voice.value,
        feature and feature.publisher,
        feature and feature.feature,
        voice.text,
        wire.without_text(raw),
    )


def newest(store: Store, limit: int = 100, tenant: str | None = None) -> list[Saying]:
    """The last `limit` sayings, oldest first."""
    rows = store.rows(
        "SELECT voices.id, tenant, device, raw, text, received_s FROM voices JOIN devices ON devices.id = device_id"
        " WHERE ? IS NULL OR tenant = ? ORDER BY voices.id DESC LIMIT ?",
        tenant,
        tenant,
        limit,
    )
    return [
        Saying(number, f"{row_tenant}/{device}", cast(Voice, wire.decode("voice", raw)), text, received_s)
        for number, row_tenant, device, raw, text, received_s in reversed(rows)
    ]


def opinions(store: Store, tenant: str | None = None) -> list[Opinion]:
    """What users think of each publisher's features."""
    rows = store.rows(
        "SELECT publisher, feature, count(*), avg(value) FROM voices JOIN devices ON devices.id = device_id"
        " WHERE kind = ? AND feature IS NOT NULL AND (? IS NULL OR tenant = ?)"
        " GROUP BY publisher, feature ORDER BY publisher, feature",
        RATING,
        tenant,
        tenant,
    )
    return [Opinion(*row) for row in rows]


def forget(store: Store, device_id: int) -> int:
    """Erase the texts of a device's users; ratings and wishes stay. Returns how many there were (EG-VOICE-004)."""
    with store.transaction():
        return store.execute("UPDATE voices SET text = NULL WHERE device_id = ? AND text IS NOT NULL", device_id).rowcount
