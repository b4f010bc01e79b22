"""The benchmark of the cloud runs and says what it measured."""

from evergrow_tools import bench_cloud


def test_the_benchmark_measures_the_store_and_the_service() -> None:
    result = bench_cloud.run(records=200, single_records=5)
    assert min(result["batched_per_s"], result["single_per_s"], result["service_per_s"], result["bundles_per_s"]) > 0
    assert set(result["profile_us"]) == {"decode", "hmac", "commit", "SQL and the rest"}
    assert "records/s" in bench_cloud.format(result)
