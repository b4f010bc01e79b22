"""The benchmark of the world runs and says what it measured."""

import pytest

from evergrow_tools import bench_world


def test_the_benchmark_measures_speed_memory_and_cuts() -> None:
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    speeds = ((1, 0.1, 4), (3, 0.1, 4), (3, 0.1, 1))
    result = bench_world.run(speeds, span=(1, 1.0, 4), profiled=(1, 0.1, 4), cut=("boot", 6))
    assert [speed["washers"] for speed in result["speeds"]] == [1, 3, 3]
    assert result["span"]["records"] == 1
    assert {"evergrow_agent", "evergrow_sim.world"} <= {group for group, _, _ in result["profile"]["groups"]}
    assert result["cuts"]["points"] > 0
    text = bench_world.format(result)
    assert "device-days/s" in text and "of the whole fleet" in text
    assert "goal of 3,000 x for 3, washes a day: 1: " in text  # met or not: this machine may be busy


def test_both_readings_of_the_goal_are_said() -> None:
    text = bench_world._goal({"washers": 100, "washes": 1, "device_factor": 32000, "fleet_factor": 320})
    assert "met (32,000 x) as washer-seconds" in text and "NOT met (320 x) as seconds in the life of the whole fleet" in text
