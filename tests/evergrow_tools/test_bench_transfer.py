"""What the benchmark of transfers says is the same in each run, and within its goals."""

import pytest

from evergrow_tools import bench_install_heap, bench_transfer


def test_a_transfer_over_a_bad_line_meets_its_goals_and_is_the_same_each_time() -> None:
    """EG-FEAT-010: time goes to the line, not to waiting for requests; virtual time, so that it is the same on every machine."""
    line = {"LTE-M": bench_transfer.LINES["LTE-M"]}
    result = bench_transfer.run(line, seeds=8)
    assert result["wire_factor"] <= bench_transfer.GOAL_BYTES, "without topic aliases"
    assert result["wire_factor_with_aliases"] < result["wire_factor"] < result["wire_factor_single_blocks"]
    assert sum(result["rest_bytes"].values()) == result["wire_bytes"] - result["envelope_bytes"] - result["body_bytes"]
    assert result["lines"]["LTE-M"]["time_factor"] <= bench_transfer.GOAL_TIME
    assert result == bench_transfer.run(line, seeds=8)
    assert "time over a line of 100 ms round trip" in bench_transfer.format(result)


def test_an_install_takes_little_more_heap_than_what_stays_of_it() -> None:
    """EG-FEAT-011: on the real MicroPython, with what is live at each operation of the flash."""
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    result = bench_install_heap.run()
    stays = result["before"]["free"] - result["after"]["free"]
    most = result["before"]["free"] - result["least"]["free"]
    assert result["body_bytes"] >= bench_install_heap.BODY_BYTES
    assert most <= stays + result["body_bytes"]
    assert result["least"]["largest_free"] >= result["body_bytes"], "the next one fits as well"
    assert "largest block" in bench_install_heap.format(result)
