"""What the flash of a day is measured by is the day of the agent, whole, and the real file system's work."""

import pytest

from evergrow_tools import bench_flash


def test_a_day_of_flash_is_three_records_and_their_checkpoints() -> None:
    """EG-USE-002, EG-ACK-001: each record is written once and freed once, and a day of checkpoints wears no block out."""
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    found = bench_flash.run()
    assert found["records"] == 3
    assert found["files"]["use.*"][0] == 6  # appended, and its segment removed
    assert 3 * 4 < found["files"]["cycle"][0] < 200
    assert found["operations"] == sum(row[0] for row in found["files"].values())
    assert found["programmed_bytes"] > found["bytes"]
    assert 0 < found["worst_block_erases"] <= found["erases"] < 100
    text = bench_flash.format(found)
    assert "a day of a washer: 3 cycles" in text and f"{found['years']} years" in text
