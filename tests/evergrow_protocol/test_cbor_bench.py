"""The measurement of the codec runs, and its payloads keep the budgets of the wire."""

import sysconfig
from pathlib import Path

import pytest

from evergrow_tools import bench_cbor


def test_the_measurement_runs_and_its_payloads_keep_their_budgets() -> None:
    if not (Path(sysconfig.get_path("scripts")) / "micropython").exists():
        pytest.skip("no MicroPython in this environment")
    result = bench_cbor.run(rounds=1, calls=1)
    assert result["usage record"]["bytes"][bench_cbor.OURS] <= 48
    assert result["10x4 batch"]["bytes"][bench_cbor.PORTABLE] <= 120
    text = bench_cbor.format(result)
    assert all(peer in text for peer in bench_cbor.JSON)


def test_a_batch_is_compared_with_the_json_that_is_fastest_in_that_reading() -> None:
    def us(**sides: int) -> dict[str, dict[str, int]]:
        return {name.replace("_", " "): {"us": time} for name, time in sides.items()}

    batch = {"bytes": {}, "due": us(ours=3, json_columns=4, json_rows=5), "whole": us(ours=9, json_columns=8, json_rows=6)}
    assert bench_cbor.worst({"10x4 batch": batch}, bench_cbor.OURS) == {"due": 0.75, "whole": 1.5}
    assert bench_cbor.worst({"10x4 batch": batch}, bench_cbor.PORTABLE) is None
