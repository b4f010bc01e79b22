"""When records were made, and how far that is known."""

from typing import Any

from scripted_device import envelope, usage_body

from evergrow_cloud import devices, usage, view, wire
from evergrow_cloud.messages import Header, Sync
from evergrow_cloud.store import Store
from evergrow_protocol import registry

T = 1_795_000_000
DRAWN = 0x80000001


def put(store: Store, boot: int, seq: int, t: Any, received_s: int) -> None:
    (record,) = wire.decode("usage", envelope(boot, seq, usage_body(), t))  # type: ignore[misc]
    with store.transaction():
        device_id = devices.ensure(store, "acme", "w1")
        usage.record(store, device_id, record, max_conflicts=3)
        store.execute("UPDATE usage SET received_s = ? WHERE boot = ? AND seq = ?", received_s, boot, seq)


def sync(store: Store, boot: int, mono_ms: int, utc_s: int) -> None:
    with store.transaction():
        devices.record_sync(store, 1, Sync(Header(boot, 1, None, mono_ms), mono_ms, utc_s))


def told(store: Store) -> list[tuple[int, int | None, str, tuple[int | None, int | None] | None]]:
    return [
        (one.usage.header.boot, one.utc_s, one.time_source, None if one.bounds is None else tuple(one.bounds))
        for one in usage.records(store, 1)
    ]


def test_a_boot_that_never_learnt_the_time_lies_between_its_neighbours(store: Store) -> None:
    """EG-TIME-006"""
    put(store, 5, 1, [60_000], T + 9000)
    assert told(store) == [(5, None, "unknown", (None, T + 9000))]
    put(store, 4, 1, T - 500, T + 9000)
    put(store, 6, 1, [10_000], T + 9000)
    sync(store, 6, 100_000, T + 1100)
    assert told(store) == [
        (4, T - 500, "device", None),
        (5, None, "unknown", (T - 500, T + 1000)),
        (6, T + 1010, "sync", None),
    ]
    sync(store, 4, 0, T - 100)
    put(store, 7, 1, T + 500, T + 9000)  # what contradicts bounds nothing
    assert told(store)[1][3] == (T - 100, T + 500)


def test_a_doubtful_time_is_replaced_by_the_pair_and_said_to_be_doubtful_without_one(store: Store) -> None:
    """EG-TIME-003, EG-TIME-004, EG-TIME-006; nothing stored is rewritten (EG-TIME-002)."""
    put(store, 5, 1, [60_000, 1_700_000_000, 1], T)
    assert told(store) == [(5, 1_700_000_000, "doubtful", (None, T))]
    shown = view.record(next(usage.records(store, 1)), registry.load(), {})
    assert shown["time_source"] == "doubtful" and shown["time_latest"] == view.iso(T)
    sync(store, 5, 100_000, T)
    assert told(store) == [(5, T - 40, "sync", None)]
    assert store.rows("SELECT utc_s, mono_ms FROM usage") == [(None, 60_000)]


def test_drawn_boot_numbers_have_no_neighbours(store: Store) -> None:
    """EG-TIME-006"""
    put(store, DRAWN, 1, [1000], T)
    put(store, DRAWN + 1, 1, T - 900, T)
    put(store, 3, 1, [1000], T)
    assert [bounds for *_, bounds in told(store)] == [(None, T), (None, T), None]


def test_neighbours_that_contradict_each_other_bound_nothing(store: Store) -> None:
    put(store, 4, 1, T + 100, T + 200)
    put(store, 5, 1, [1000], T + 200)
    put(store, 6, 1, T, T + 200)
    assert told(store)[1][3] == (None, T + 200)
