"""Token buckets."""

from evergrow_cloud.limits import Buckets


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(burst=10, per_s=2, max_keys=5)
    assert buckets.take("a", 10, now_s=0)
    assert not buckets.take("a", 1, now_s=0)
    assert buckets.take("a", 2, now_s=1)
    assert buckets.take("a", 11, now_s=1000)
    assert not buckets.take("a", 1, now_s=1000)


def test_keys_do_not_share() -> None:
    buckets = Buckets(burst=1, per_s=1, max_keys=5)
    assert buckets.take("a", 1, now_s=0) and buckets.take("b", 1, now_s=0)


def test_a_clock_that_goes_back_gives_nothing_extra_and_takes_nothing_for_ever() -> None:
    buckets = Buckets(burst=10, per_s=1, max_keys=5)
    assert buckets.take("a", 5, now_s=1000)
    assert buckets.take("a", 5, now_s=0)
    assert not buckets.take("a", 1, now_s=0)
    assert buckets.take("a", 1, now_s=1)


def test_the_number_of_keys_is_bounded() -> None:
    buckets = Buckets(burst=1, per_s=0, max_keys=3)
    for key in range(10):
        assert buckets.take(key, 1, now_s=0)
    assert not buckets.take(9, 1, now_s=0)
    assert buckets.take(0, 1, now_s=0)
