"""Batches of messages: one transaction, answers after it, and no message that harms another."""

import sqlite3
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_device import BIRTH, ONLINE, envelope, usage_body

from evergrow_cloud import devices, ingest, offers, telemetry, usage
from evergrow_cloud.ingest import Incoming, Ingest, Outcome
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store

NOW_S = 1_795_339_200.5


def message(kind: str, payload: bytes, *, device: str = "washer-1", retained: bool = False) -> Incoming:
    return Incoming(f"eg1/acme/{device}/up/{kind}", payload, retained)


def record(seq: int, *, device: str = "washer-1", boot: int = 7, **fields: Any) -> Incoming:
    return message("usage", envelope(boot, seq, usage_body(**fields)), device=device)


def answers(outcome: Outcome) -> list[tuple[str, Any]]:
    return [(item.topic.removeprefix("eg1/acme/"), cbor2.loads(item.payload)) for item in outcome.outgoing]


@pytest.fixture
def service(store: Store) -> Ingest:
    return Ingest(store, Limits())


def test_a_live_birth_is_welcomed_with_utc(service: Ingest, store: Store) -> None:
    """EG-BIRTH-002 EG-TIME-001"""
    outcome = service.apply([message("birth", envelope(7, 1, BIRTH))], NOW_S)
    assert answers(outcome) == [("washer-1/dn/welcome", [7, 1, 1_795_339_200, {1: [1000, 3600]}])]
    assert outcome.outgoing[0].qos == 1
    assert devices.find(store, "washer-1").online


def test_a_retained_birth_is_kept_but_not_answered(service: Ingest, store: Store) -> None:
    """EG-BIRTH-002"""
    outcome = service.apply([message("birth", envelope(7, 1, BIRTH), retained=True)], NOW_S)
    assert answers(outcome) == []
    found = devices.find(store, "washer-1")
    assert found.birth is not None and not found.online


def test_a_birth_of_a_lower_boot_is_answered_and_asked_for_again(service: Ingest) -> None:
    """EG-BIRTH-009"""
    service.apply([message("birth", envelope(8, 1, BIRTH))], NOW_S)
    told = dict(answers(service.apply([message("birth", envelope(7, 2, BIRTH))], NOW_S)))
    assert told["washer-1/dn/welcome"][:2] == [7, 2]
    assert told["washer-1/dn/cmd"][1:3] == [3, {}]
    assert len(answers(service.apply([message("birth", envelope(8, 2, BIRTH))], NOW_S))) == 1, "it was late, and is over"


def test_a_device_with_a_new_flash_is_told_which_boot_numbers_are_taken(service: Ingest, store: Store) -> None:
    """EG-BIRTH-006 EG-BIRTH-007"""
    fresh = BIRTH | {9: 4}
    credits = [1000, 3600]

    def welcomed(boot: int, seq: int, birth: dict[int, Any]) -> Any:
        ((_, welcome),) = answers(service.apply([message("birth", envelope(boot, seq, birth))], NOW_S))
        assert welcome[:3] == [boot, seq, 1_795_339_200]
        return welcome[3]

    assert welcomed(1, 1, fresh) == {1: credits}  # never heard of
    assert welcomed(1, 2, fresh) == {1: credits}  # and that welcome was lost
    service.apply([message("sync", envelope(1, 1, [2000, 1_795_339_200]))], NOW_S)
    assert welcomed(1, 1, fresh) == {0: 1 + devices.BOOTS_UNHEARD, 1: credits}  # now boot 1 is taken
    assert welcomed(9, 1, BIRTH) == {1: credits}  # other births need no such thing
    assert welcomed(1, 1, fresh) == {0: 9 + devices.BOOTS_UNHEARD, 1: credits}
    service.apply([record(3, boot=12)], NOW_S)
    assert welcomed(40, 1, fresh) == {0: 12 + devices.BOOTS_UNHEARD, 1: credits}
    found = devices.find(store, "washer-1")
    assert found.birth is not None and (found.birth.header.boot, found.birth.is_fresh) == (9, False)
    service.apply([message("state", envelope(40, 1, ONLINE))], NOW_S)
    service.apply([message("state", envelope(28, 1, ONLINE)), message("birth", envelope(28, 1, BIRTH))], NOW_S)
    service.apply([message("state", envelope(1, 0, {0: 0}))], NOW_S)  # the will of the number that was left
    assert devices.find(store, "washer-1").online
    service.apply([record(1, boot=0xFFFFFFFE)], NOW_S)
    assert welcomed(1, 1, fresh) == {0: 0xFFFFFFFF, 1: credits}


def test_a_new_flash_that_takes_nothing_is_told_of_and_its_telemetry_is_kept(
    service: Ingest, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """EG-ENV-007: it takes no boot number away."""
    service.apply([message("birth", envelope(9, 1, BIRTH))], NOW_S)
    service.apply([message("birth", envelope(0x80000007, 1, BIRTH | {9: 5}))], NOW_S)
    assert not caplog.records
    batch = message("tele", envelope(0x80000007, 1, {0: 10, 1: {2: b"\x90\x03"}}))
    outcome = service.apply([message("birth", envelope(0x80000007, 2, BIRTH | {9: 7})), batch], NOW_S)
    ((_, welcome),) = answers(outcome)
    assert "washer-1: a new flash takes nothing" in caplog.text
    device_id = devices.find(store, "washer-1").id
    assert [one.header.boot for one in telemetry.newest(store, device_id)] == [0x80000007]
    assert welcome[3][0] == devices.least_boot(store, device_id) == 9 + devices.BOOTS_UNHEARD


def test_a_batch_is_acked_once_per_device_and_boot(service: Ingest) -> None:
    """EG-ACK-001 EG-ACK-002"""
    batch = [record(1), record(2), record(4), record(1, device="washer-2"), record(1, boot=6), record(1)]
    assert sorted(answers(service.apply(batch, NOW_S))) == [
        ("washer-1/dn/ack", [6, 1]),
        ("washer-1/dn/ack", [7, 2, b"\x02"]),
        ("washer-2/dn/ack", [7, 1]),
    ]
    assert answers(service.apply([record(1)], NOW_S)) == [("washer-1/dn/ack", [7, 2, b"\x02"])]


def test_a_bad_message_harms_only_itself(service: Ingest, store: Store) -> None:
    """EG-ENC-004 EG-TOP-005"""
    batch = [
        message("usage", b"\xff"),
        message("nonsense", b"\x00"),
        message("get", b""),
        Incoming("eg1/acme/washer-1/up", b"\x00"),
        Incoming("eg1/acme/UPPER/up/usage", record(1).payload),
        Incoming("eg2/acme/washer-1/up/usage", record(1).payload),
        Incoming("eg1/acme/washer-1/dn/ack", b"\x82\x07\x01"),
        Incoming("eg1/a\ud800/x/up/usage", b"\x00"),
        record(1),
        message("birth", b"", retained=True),
    ]
    assert answers(service.apply(batch, NOW_S)) == [("washer-1/dn/ack", [7, 1])]
    service.apply([message("usage", b"\xff"), message("state", b"\x01")], NOW_S)
    found = devices.find(store, "washer-1")
    assert found.rejected == 2 + 2
    assert found.last_rejection is not None and found.last_rejection.startswith("state: ")


def test_garbage_makes_no_devices(service: Ingest, store: Store) -> None:
    service.apply([message("usage", b"\xff", device=f"washer-{number}") for number in range(50)], NOW_S)
    assert devices.every(store) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["birth", "state", "sync", "usage", "tele", "rsp", "get", "feat", "other"]),
            st.binary(max_size=40)
            | st.tuples(
                st.integers(1, 9),
                st.integers(0, 9),
                st.just([5]),
                st.recursive(
                    st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=4) | st.none() | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(0, 10), inner, max_size=11),
                    max_leaves=12,
                ),
            ).map(lambda parts: cbor2.dumps(list(parts))),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_nothing_a_device_says_stops_the_cloud(service: Ingest, hostile: list[tuple[str, bytes, bool]]) -> None:
    """EG-ENC-004"""
    batch = [message(kind, payload, device="hostile", retained=retained) for kind, payload, retained in hostile]
    outcome = service.apply([*batch, record(1)], NOW_S)
    assert ("washer-1/dn/ack", [7, 1]) in answers(outcome)


def test_a_message_that_finds_a_bug_is_left_out(service: Ingest, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original = telemetry.add

    def buggy(store: Store, device_id: int, raw: bytes, keep: int) -> None:
        original(store, device_id, raw, keep)
        raise ValueError("a bug")

    monkeypatch.setattr(ingest.telemetry, "add", buggy)
    tele = message("tele", envelope(7, 1, {0: 1, 1: {1: b"\x0a"}}))
    assert answers(service.apply([record(1), tele, record(2)], NOW_S))[-1] == ("washer-1/dn/ack", [7, 2])
    assert store.rows("SELECT count(*) FROM telemetry") == [(0,)]


def test_a_full_disk_acks_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """EG-ACK-002"""
    with Store(tmp_path / "cloud.db") as store:
        service = Ingest(store, Limits())
        service.apply([record(1)], NOW_S)
        (pages,) = store.row("PRAGMA page_count") or (0,)
        store.row(f"PRAGMA max_page_count = {pages}")
        batch = [record(seq) for seq in range(2, 400)]
        with pytest.raises(sqlite3.OperationalError, match="full"):
            service.apply(batch, NOW_S)
        assert usage.totals(store).cycles == 1
        store.row("PRAGMA max_page_count = 100000")
        assert answers(service.apply(batch, NOW_S)) == [("washer-1/dn/ack", [7, 399])]


def test_a_flood_is_held_to_its_share_and_not_acked(store: Store) -> None:
    service = Ingest(store, Limits(message_burst=10, messages_per_s=1))
    outcome = service.apply([*(record(seq) for seq in range(1, 16)), record(1, device="washer-2")], NOW_S)
    assert answers(outcome) == [
        ("washer-1/dn/ack", [7, 10]),
        ("washer-2/dn/ack", [7, 1]),
        ("washer-1/dn/busy", [2, 1]),
    ]
    assert devices.find(store, "washer-1").rejected == 5
    again = answers(service.apply([record(11), record(12)], NOW_S + 1))
    assert again == [("washer-1/dn/ack", [7, 11]), ("washer-1/dn/busy", [2, 1])]


def test_a_damaged_feature_is_logged(service: Ingest, caplog: pytest.LogCaptureFixture) -> None:
    """EG-FEAT-014"""
    service.apply([message("feat", envelope(7, 1, {0: 0, 1: 14, 2: 5, 3: [1, 1001, 4]}))], NOW_S)
    assert "feature=1001" in caplog.text and "out of use, bad digest" in caplog.text


def test_a_will_does_not_bring_its_device_back(service: Ingest, store: Store) -> None:
    """EG-STATE-001"""
    service.apply([message("birth", envelope(7, 1, BIRTH)), message("state", envelope(7, 1, ONLINE))], NOW_S)
    service.apply([message("state", envelope(7, 0, {0: 0}))], NOW_S)
    assert not devices.find(store, "washer-1").online


def test_telemetry_is_kept_up_to_a_bound_for_each_device(store: Store) -> None:
    """EG-TELE-002"""
    service = Ingest(store, Limits(telemetry_per_device=10))
    service.apply([message("tele", envelope(7, 1, {0: 1, 1: {1: b"\x0a"}}), device="washer-2")], NOW_S)
    batch = [message("tele", envelope(7, seq, {0: 1, 1: {1: bytes((2 * seq % 128,))}})) for seq in range(1, 301)]
    service.apply(batch, NOW_S)
    kept = telemetry.newest(store, devices.find(store, "washer-1").id, limit=1000)
    assert 10 <= len(kept) <= 10 + 64
    assert kept[-1].columns == {1: (300 % 64,)}
    assert len(telemetry.newest(store, devices.find(store, "washer-2").id)) == 1


def test_many_block_requests_do_not_fill_the_memory(store: Store) -> None:
    transfer = offers.offer(store, "acme", "washer-1", b"e", {1: bytes(4096)})
    service = Ingest(store, Limits(batch_block_bytes=5000))
    batch = [message("birth", envelope(7, 1, BIRTH))]
    batch += [message("get", envelope(7, seq, [transfer, 1, 512, 0, b"\xff"])) for seq in range(1, 50)]
    blocks = [item for item in service.apply(batch, NOW_S).outgoing if item.topic.endswith("/block")]
    assert 8 <= len(blocks) <= 9
    assert {item.qos for item in blocks} == {0}
