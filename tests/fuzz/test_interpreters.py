"""CPython and MicroPython judge every input alike: what is fuzzed on the host is what runs on a board."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from evergrow_protocol.errors import BAD_DIGEST, TOO_LARGE
from evergrow_tools import mpy

sys.path.insert(0, str(Path(__file__).parent))

import corpus
import targets

INPUTS = 250  # of each target
LAUNCHER = Path(sysconfig.get_path("scripts")) / "micropython"

_PROGRAM = """
import sys
import gc
import json
import binascii
sys.path.insert(0, sys.argv[1])
import fuzztargets
outcomes = []
for line in open(sys.argv[1] + "/inputs"):
    gc.collect()
    try:
        outcomes.append(fuzztargets.outcome(sys.argv[2], binascii.unhexlify(line.strip())))
    except Exception as exc:
        outcomes.append(repr(exc))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpy")
    mpy.build(folder, ["evergrow_protocol", "evergrow_agent", "evergrow_sim.publisher"])
    source = Path(__file__).parents[1] / "portable" / "fuzztargets.py"
    mpy.compile_all(folder, [mpy.Module("fuzztargets", source, "fuzztargets.mpy")], opt=0)
    (folder / "program.py").write_text(_PROGRAM)
    return folder


@pytest.mark.skipif(not LAUNCHER.exists(), reason="no MicroPython wheel here")
@pytest.mark.parametrize("target", targets.TARGETS)
def test_both_interpreters_give_the_same_code(built: Path, target: str) -> None:
    """EG-ENC-004"""
    inputs = targets.mutants(target, targets.seeds(target) + corpus.load(target), INPUTS)
    (built / "inputs").write_text("".join(f"{data.hex()}\n" for data in inputs))
    command = [str(LAUNCHER), "-X", "heapsize=512K", str(built / "program.py"), str(built), target]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = [targets.outcome(target, data) for data in inputs]
    given = json.loads(done.stdout)
    if target == "patch":  # a copy from before the beginning: one inflater refuses it, the other goes on, and may make too much
        expected, given = ([BAD_DIGEST if code == TOO_LARGE else code for code in codes] for codes in (expected, given))
    wrong = [(data.hex(), here, there) for data, here, there in zip(inputs, expected, given, strict=True) if here != there]
    assert not wrong, f"{len(wrong)} of {len(inputs)}; the first: input, CPython, MicroPython = {wrong[0]}"
