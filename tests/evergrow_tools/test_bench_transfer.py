"""What the benchmark of transfers says is the same in each run, and within its goals."""

from evergrow_tools import bench_transfer


def test_a_transfer_over_a_bad_line_meets_its_goals_and_is_the_same_each_time() -> None:
    """EG-FEAT-010: time goes to the line, not to waiting for requests; virtual time, so that it is the same on every machine."""
    line = {"LTE-M": bench_transfer.LINES["LTE-M"]}
    result = bench_transfer.run(line, seeds=8)
    assert result["wire_factor"] <= bench_transfer.GOAL_BYTES
    assert result["lines"]["LTE-M"]["time_factor"] <= bench_transfer.GOAL_TIME
    assert result == bench_transfer.run(line, seeds=8)
    assert "time over a line of 100 ms round trip" in bench_transfer.format(result)
