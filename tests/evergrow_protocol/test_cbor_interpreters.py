"""CPython and MicroPython agree on every input: the same bytes, the same refusals, at the same offsets."""

import random
import subprocess
import sysconfig
from pathlib import Path

import pytest

from evergrow_protocol.cbor import CborError, dumps, loads

PROTOCOL = Path(__file__).parents[2] / "protocol"
MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"

CASES = 3000
HEADS = (0, 1, 23, 24, 25, 26, 27, 28, 31)

# Runs on both: one line in, an item in hex; one line out, what came of it in either mode.
REPORT = """
def report(line):
    outcomes = []
    for deterministic in (False, True):
        try:
            outcomes.append(dumps(loads(bytes.fromhex(line), deterministic=deterministic)).hex())
        except CborError as error:
            outcomes.append("%d at %d" % (error.code, error.offset))
    return ", ".join(outcomes)
"""
PROGRAM = (
    "import sys\nsys.path.insert(0, sys.argv[1])\nfrom evergrow_protocol.cbor import CborError, dumps, loads\n"
    + REPORT
    + "for line in sys.stdin:\n    print(report(line.strip()))\n"
)


def some_item(rng: random.Random, depth: int) -> bytes:
    """One item, now and then wrong: too long a head, a count that does not fit, text that is not UTF-8."""
    major = rng.randrange(8 if depth else 4)
    if major == 7:
        floats = (
            b"\xf9" + rng.randbytes(2),
            b"\xfa" + rng.randbytes(4),
            b"\xfb" + rng.randbytes(8),
            b"\xfb" + rng.randbytes(2) + b"\0" * 6,
        )
        return rng.choice((b"\xf4", b"\xf5", b"\xf6", b"\xf7", b"\xf8\x20", b"\xff", *floats))
    if major < 2:
        info = rng.choice(HEADS[:-2])
        return bytes((major << 5 | info,)) + rng.randbytes(0 if info < 24 else 1 << (info - 24))
    count = rng.choice((0, 1, 2, 3, 5, 24))
    parts = count * (1 if major == 4 else 2 if major == 5 else 0)
    if major == 6:
        count, parts = rng.randrange(24), 1
    if major in (4, 5):
        content = b"".join(some_item(rng, depth - 1) for _ in range(parts))
    elif major == 6:
        content = some_item(rng, depth - 1)
    else:
        content = rng.choice((b"a" * count, rng.randbytes(count), "\u6c34".encode() * (count // 3) + b"z" * (count % 3)))
    size = rng.choice((0, 0, 0, 0, 0, 1, 2))
    if major in (4, 5) and rng.random() < 0.1:
        return bytes((major << 5 | 31,)) + content + b"\xff"
    if not size and count < 24:
        return bytes((major << 5 | count,)) + content
    return bytes((major << 5 | 24 + size,)) + count.to_bytes(1 << size, "big") + content


def test_both_interpreters_give_the_same_answer_to_every_input() -> None:
    if not MICROPYTHON.exists():
        pytest.skip("no MicroPython in this environment")
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown when the test fails; put it here to replay
    rng = random.Random(seed)
    items = [some_item(rng, 3) if rng.random() < 0.9 else rng.randbytes(rng.randrange(20)) for _ in range(CASES)]
    namespace: dict[str, object] = {"CborError": CborError, "dumps": dumps, "loads": loads}
    exec(REPORT, namespace)
    report = namespace["report"]
    assert callable(report)
    expected = [report(item.hex()) for item in items]
    finished = subprocess.run(
        [str(MICROPYTHON), "-X", "heapsize=512K", "-c", PROGRAM, str(PROTOCOL)],
        input="\n".join(item.hex() for item in items) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr
    answers = finished.stdout.splitlines()
    assert len(answers) == CASES
    for item, here, there in zip(items, expected, answers, strict=True):
        assert there == here, item.hex()
