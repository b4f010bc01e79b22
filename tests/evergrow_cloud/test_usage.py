"""The ledger: every record once, acked when stored, summed without loss or repetition."""

from collections.abc import Iterable
from typing import Any

import cbor2
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scripted_device import acked, envelope, usage_body

from evergrow_cloud import devices, usage, wire, wire_down
from evergrow_cloud.messages import Header, Sync, Usage
from evergrow_cloud.store import Store
from evergrow_cloud.usage import Share


def make(boot: int, seq: int, t: Any = None, **fields: Any) -> Usage:
    (record,) = wire.decode("usage", envelope(boot, seq, usage_body(**fields), t))  # type: ignore[misc]
    return record


def put(store: Store, *records: Usage, device: str = "washer-1", tenant: str = "acme") -> list[str]:
    with store.transaction():
        device_id = devices.ensure(store, tenant, device)
        return [usage.record(store, device_id, record, max_conflicts=3) for record in records]


def ack_of(store: Store, boot: int = 7, device_id: int = 1) -> list[Any]:
    with store.transaction():
        seq, later = usage.acknowledge(store, device_id, boot)
    return cbor2.loads(wire_down.ack(boot, seq, later))


def test_a_record_counts_once_however_often_it_arrives(store: Store) -> None:
    """EG-ACK-003"""
    record = make(7, 1, features=[[1, 1001]])
    assert put(store, record, record) == ["new", "again"]
    assert put(store, record) == ["again"]
    assert usage.totals(store).cycles == 1
    assert usage.ledger(store) == [Share(1, 1001, 1, 1, 941, 51240)]


def test_a_feature_listed_twice_in_a_record_counts_once(store: Store) -> None:
    put(store, make(7, 1, features=[[1, 1001], [1, 1001]]))
    assert usage.ledger(store) == [Share(1, 1001, 1, 1, 941, 51240)]


def test_the_ack_is_contiguous_with_a_bitmap_of_what_is_later(store: Store) -> None:
    """EG-ACK-001"""
    put(store, make(7, 1), make(7, 2), make(7, 4), make(7, 12))
    assert ack_of(store) == [7, 2, b"\x02\x02"]
    put(store, make(7, 3))
    assert ack_of(store) == [7, 4, b"\x80"]
    assert ack_of(store, boot=8) == [8, 0]


def test_a_gap_that_closes_acks_everything_behind_it(store: Store) -> None:
    put(store, *(make(7, seq) for seq in range(2, 3000)))
    assert acked(ack_of(store)) == set(range(2, usage.ACK_WINDOW + 1))
    put(store, make(7, 1))
    assert ack_of(store) == [7, 2999]


def test_a_sequence_number_far_ahead_costs_nothing(store: Store) -> None:
    """EG-ACK-001: the bitmap is bounded."""
    put(store, make(7, 2**32 - 1))
    assert ack_of(store) == [7, 0]


def test_another_record_under_a_taken_number_replaces_nothing(store: Store) -> None:
    """EG-ENV-003"""
    first, second = make(7, 1, energy_wh=100, features=[[1, 1001]]), make(7, 1, energy_wh=999, features=[[2, 1002]])
    assert put(store, first, second, second) == ["new", "conflict", "conflict"]
    assert usage.totals(store).energy_wh == 100
    assert [share.publisher for share in usage.ledger(store)] == [1]
    assert [record.usage.raw for record in usage.records(store, 1)] == [first.raw]
    assert store.rows("SELECT raw FROM usage_conflicts") == [(second.raw,)]
    assert devices.find(store, "washer-1").conflicts == 1
    assert ack_of(store) == [7, 1]


def test_conflicts_are_kept_up_to_a_bound_and_counted_beyond(store: Store) -> None:
    put(store, *(make(7, 1, energy_wh=number) for number in range(10)))
    assert store.rows("SELECT count(*) FROM usage_conflicts") == [(3,)]
    assert devices.find(store, "washer-1").conflicts == 9


def test_boots_and_devices_are_counted_apart(store: Store) -> None:
    put(store, make(7, 1), make(8, 1))
    put(store, make(7, 1), device="washer-2")
    put(store, make(7, 1), tenant="other")
    assert usage.totals(store).cycles == 4
    assert usage.totals(store).devices == 3
    assert usage.totals(store, "acme").cycles == 3
    assert usage.totals(store, "nobody") == usage.Totals(0, 0, 0, 0, 0)


def test_a_merged_record_stands_for_its_cycles(store: Store) -> None:
    """EG-USE-006"""
    put(store, make(7, 1))
    for number, besides in ((2, {}), (3, {1: 0, 3: [1, 1001]})):
        body = {2: 9000, 4: 3000, 5: 90000, 9: 12} | besides
        merged = envelope(7, number, dict(sorted(body.items())))
        put(store, wire.decode("usage", merged)[0])  # type: ignore[index]
    assert usage.totals(store) == usage.Totals(devices=1, cycles=25, finished=1, energy_wh=6941, water_ml=231240)
    assert usage.ledger(store) == []


def test_a_stopped_cycle_is_used_but_not_finished(store: Store) -> None:
    put(store, make(7, 1, features=[[1, 1001]]), make(7, 2, outcome=3, features=[[1, 1001]]))
    assert usage.ledger(store) == [Share(1, 1001, 2, 1, 1882, 102480)]


def test_the_largest_meters_do_not_overflow_the_totals(store: Store) -> None:
    most = 2**32 - 1
    put(store, *(make(7, seq, energy_wh=most, water_ml=most, features=[[1, 1001]]) for seq in range(1, 5)))
    assert usage.totals(store).energy_wh == usage.ledger(store)[0].energy_wh == 4 * most


def test_times_since_boot_are_dated_by_the_pair_of_their_boot(store: Store, clock: Any) -> None:
    """EG-TIME-002 EG-TIME-003"""
    put(store, make(7, 1, t=[60_000]), make(7, 2, t=1_795_000_000), make(8, 1, t=[500]))
    assert [(record.utc_s, record.time_source) for record in usage.records(store, 1)] == [
        (None, "unknown"),
        (1_795_000_000, "device"),
        (None, "unknown"),
    ]
    with store.transaction():
        devices.record_sync(store, 1, Sync(Header(7, 1, None, 100_000), 100_000, 1_795_000_100))
    put(store, make(7, 3, t=[160_999]))
    assert [(record.utc_s, record.time_source) for record in usage.records(store, 1)] == [
        (1_795_000_060, "sync"),
        (1_795_000_000, "device"),
        (1_795_000_160, "sync"),
        (None, "unknown"),
    ]
    assert store.rows("SELECT mono_ms, utc_s FROM usage WHERE boot = 7 AND seq = 1") == [(60_000, None)]
    assert all(record.received_s == clock.utc_s for record in usage.records(store, 1))


def test_the_first_time_pair_of_a_boot_counts(store: Store) -> None:
    """EG-TIME-003"""
    put(store, make(7, 1, t=[1000]))
    ack_of(store)
    for utc_s in (1000, 2000):
        with store.transaction():
            devices.record_sync(store, 1, Sync(Header(7, 1, None, 0), 0, utc_s))
    assert [record.utc_s for record in usage.records(store, 1)] == [1001]


RECORDS = [
    make(boot, seq, energy_wh=97 * boot + seq, water_ml=1000 * seq, outcome=seq % 4, features=features)
    for boot in (3, 4)
    for seq, features in enumerate(([], [[1, 1001]], [[1, 1001], [2, 1002]], [[2, 1002]], [], [[1, 1003]]), start=1)
]


class Deliveries(RuleBasedStateMachine):
    """Records of two devices arrive in any order, any number of times, some with the transaction rolled back."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(":memory:")
        self.truth: dict[str, dict[tuple[int, int], Usage]] = {"a": {}, "b": {}}
        with self.store.transaction():
            self.ids = {name: devices.ensure(self.store, "acme", name) for name in self.truth}

    def teardown(self) -> None:
        self.store.close()

    @rule(device=st.sampled_from(["a", "b"]), records=st.lists(st.sampled_from(RECORDS), min_size=1, max_size=8))
    def deliver(self, device: str, records: list[Usage]) -> None:
        put(self.store, *records, device=device)
        self.truth[device] |= {(record.header.boot, record.header.seq): record for record in records}

    @rule(device=st.sampled_from(["a", "b"]), records=st.lists(st.sampled_from(RECORDS), min_size=1, max_size=8))
    def lose_power_before_the_commit(self, device: str, records: list[Usage]) -> None:
        try:
            with self.store.transaction():
                for record in records:
                    usage.record(self.store, self.ids[device], record, 3)
                usage.acknowledge(self.store, self.ids[device], records[0].header.boot)
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass

    @invariant()
    def totals_equal_the_truth(self) -> None:
        everything = [record for records in self.truth.values() for record in records.values()]
        found = usage.totals(self.store)
        assert (found.cycles, found.energy_wh) == (len(everything), sum(record.energy_wh or 0 for record in everything))
        assert {(s.publisher, s.feature): s for s in usage.ledger(self.store)} == dict(shares(everything))

    @invariant()
    def acks_name_what_is_stored_and_nothing_else(self) -> None:
        for device, records in self.truth.items():
            for boot in (3, 4):
                stored = {seq for known, seq in records if known == boot}
                assert acked(ack_of(self.store, boot, self.ids[device])) == stored


def shares(records: list[Usage]) -> Iterable[tuple[tuple[Any, int], Share]]:
    for key in {tuple(feature) for record in records for feature in record.features}:
        of = [record for record in records if key in record.features]
        yield (
            key,
            Share(  # type: ignore[misc]
                *key,
                cycles=len(of),
                finished=sum(record.outcome == 0 for record in of),
                energy_wh=sum(record.energy_wh or 0 for record in of),
                water_ml=sum(record.water_ml or 0 for record in of),
            ),
        )


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=40, stateful_step_count=20)
