"""No input makes a parser do anything but accept, or refuse by code, at a cost that its length bounds.

Here for a bounded number of inputs; `make fuzz FUZZ_S=600` goes on for as long as one likes.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import corpus
import targets

THOROUGH = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "50")))
RUNS = 2500  # of the coverage-guided fuzzer, for each target
RUN = Path(__file__).parent / "run.py"
EVERY = pytest.mark.parametrize("target", targets.TARGETS)


@EVERY
def test_what_was_found_once_is_refused_within_its_cost(target: str) -> None:
    """EG-ENC-004, EG-ENC-005"""
    for data in [*targets.seeds(target), *corpus.load(target), b"", b"\0", b"\xff" * 64]:
        targets.check_cost(target, data)


@EVERY
def test_every_truncation_is_refused_within_its_cost(target: str) -> None:
    """EG-ENC-004"""
    for data in targets.seeds(target):
        for size in range(0, len(data), 1 + len(data) // 40):
            targets.check_cost(target, data[:size])


@EVERY
@THOROUGH
@given(data=st.data())
def test_mutations_are_refused_within_their_cost(target: str, data: st.DataObject) -> None:
    """EG-ENC-004, EG-ENC-005: bytes changed, cut out, put in, repeated, and taken from another good input."""
    good = targets.seeds(target) + corpus.load(target)
    mutant = data.draw(st.sampled_from(good))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(mutant)))
        end = data.draw(st.integers(start, min(start + 64, len(mutant))))
        other = data.draw(st.sampled_from(good))
        at = data.draw(st.integers(0, len(other)))
        piece = data.draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"\x9a\xff\xff\xff\xff", b"\x81" * 20, b"\x5b" + b"\xff" * 8, b"\xd8\x6b", b"\xf6", b"\x20", b"\x1b"]
                ),
                st.just(mutant[start:end] * 3),
                st.just(other[at : at + end - start]),
            )
        )
        mutant = mutant[:start] + piece + mutant[end:]
    targets.check_cost(target, mutant)


@EVERY
@THOROUGH
@given(noise=st.binary(max_size=300))
def test_noise_is_refused_within_its_cost(target: str, noise: bytes) -> None:
    """EG-ENC-004"""
    targets.check_cost(target, noise)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has wheels for Linux x86-64 only")
@EVERY
def test_what_coverage_leads_to_is_refused(target: str, tmp_path: Path) -> None:
    """EG-ENC-004"""
    command = [sys.executable, str(RUN), target, str(tmp_path), f"-runs={RUNS}", "-seed=1", "-rss_limit_mb=1024"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{done.stderr[-3000:]}\nits input: {[file.read_bytes().hex() for file in tmp_path.glob('*-crash-*')]}"
    )
