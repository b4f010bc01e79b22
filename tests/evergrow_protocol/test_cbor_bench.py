"""The measurement of the codec runs, and its payloads keep the budgets of the wire."""

import sysconfig
from pathlib import Path

import pytest

from evergrow_tools import bench_cbor


def test_the_measurement_runs_and_its_payloads_keep_their_budgets() -> None:
    if not (Path(sysconfig.get_path("scripts")) / "micropython").exists():
        pytest.skip("no MicroPython in this environment")
    result = bench_cbor.run(rounds=1, calls=1)
    assert result["usage record"]["cbor_bytes"] <= 48
    assert result["10x4 batch"]["cbor_bytes"] <= 120
    text = bench_cbor.format(result)
    assert all(peer in text for peer in bench_cbor.PEERS)
