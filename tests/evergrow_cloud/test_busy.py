"""A cloud that has enough says so, once, and then takes what comes after the time that it named."""

from scripted_device import envelope, usage_body

from evergrow_cloud import strict
from evergrow_cloud.busy import BusySigns
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Buckets, Limits
from evergrow_cloud.store import Store

NOW_S = 1_795_339_200.0
TELE = {0: 10, 1: {1: b"\x0a"}}


def sent(service: Ingest, kind: str, seqs: range, body: object, now_s: float) -> list[tuple[str, list[object]]]:
    batch = [Incoming(f"eg1/acme/w1/up/{kind}", envelope(7, seq, body)) for seq in seqs]
    return [(one.topic.rpartition("/")[2], strict.loads(one.payload)) for one in service.apply(batch, now_s).outgoing]


def test_the_device_is_told_once_for_each_time(store: Store) -> None:
    """EG-BUSY-003, EG-BUSY-004"""
    service = Ingest(store, Limits(message_burst=10, messages_per_s=0.5))
    assert sent(service, "usage", range(1, 21), usage_body(), NOW_S) == [("ack", [7, 10]), ("busy", [2, 2])]
    assert sent(service, "usage", range(11, 21), usage_body(), NOW_S + 1) == []
    assert sent(service, "usage", range(11, 13), usage_body(), NOW_S + 4) == [("ack", [7, 12])]
    assert sent(service, "usage", range(13, 14), usage_body(), NOW_S + 4) == [("busy", [2, 2])]


def test_telemetry_beyond_its_credits_is_refused_and_usage_is_not(store: Store) -> None:
    """EG-BUSY-002, EG-BUSY-003, EG-TELE-002"""
    service = Ingest(store, Limits(telemetry_burst=2, telemetry_per_hour=60))
    assert sent(service, "tele", range(1, 5), TELE, NOW_S) == [("busy", [1, 60])]
    assert sent(service, "usage", range(1, 3), usage_body(), NOW_S) == [("ack", [7, 2])]
    assert sent(service, "tele", range(5, 6), TELE, NOW_S + 60) == []
    assert store.rows("SELECT count(*) FROM telemetry") == [(3,)]


def test_the_welcome_carries_the_credits(store: Store) -> None:
    """EG-BUSY-002"""
    service = Ingest(store, Limits(telemetry_burst=2, telemetry_per_hour=60))
    birth = {0: 0, 1: 1, 2: 1, 3: "m", 4: "1", 5: ["m", "1", "x"], 6: [], 7: 1024, 8: 512, 9: 0}
    assert sent(service, "birth", range(1, 2), birth, NOW_S) == [("welcome", [7, 1, int(NOW_S), {1: [2, 60]}])]


def test_signs_are_bounded_and_survive_a_clock_that_is_set_back() -> None:
    signs = BusySigns(2)
    assert signs.sign("t", "a", "birth", 5, NOW_S) is None  # it cannot wait
    assert signs.sign("t", "a", "tele", 1e9, NOW_S) is not None
    assert signs.sign("t", "a", "tele", 5, NOW_S + 3599) is None
    assert signs.sign("t", "a", "tele", 5, NOW_S - 86_400) is not None
    for name in ("b", "c"):
        assert signs.sign("t", name, "tele", 5, NOW_S) is not None
    assert len(signs._until_s) == 2


def test_a_bundle_that_is_larger_than_the_share_is_taken_in_the_end() -> None:
    bucket = Buckets(10, 0.5, 100)
    assert bucket.take("k", 23, NOW_S) and not bucket.take("k", 23, NOW_S + 19)
    assert bucket.take("k", 23, NOW_S + 20)


def test_a_bucket_tells_how_long_it_takes() -> None:
    bucket = Buckets(10, 0.5, 100)
    assert bucket.wait_s("k", 4, NOW_S) == 0
    assert bucket.take("k", 10, NOW_S)
    assert bucket.wait_s("k", 4, NOW_S) == 8 and bucket.wait_s("k", 4, NOW_S + 6) == 2
    assert bucket.wait_s("k", 1000, NOW_S) == 20
