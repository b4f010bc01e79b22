"""How long a device takes to verify a feature's signature: HSS/LMS W4 H10, on the real MicroPython, beside its floor and Ed25519.

Ed25519 is what a board without it in C would run, `bench_ed25519`, in the same process. The floor is what the hashing alone
costs: as many bare `sha256` calls in the same process, over 55 bytes (one step of a hash chain) and over 64. What lies between is
the interpreter.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evergrow_tools import bench_ed25519, bench_micropython, ed25519_keys, keys, mpy
from evergrow_tools.bench_micropython import BenchError

ROUNDS = 20
MESSAGE = b"the encoded digest of a manifest"

# Runs inside MicroPython, given JSON with the signature; prints JSON.
_PROGRAM = """
import sys
import json
import time
import binascii
from hashlib import sha256
case = json.load(open(sys.argv[1]))
sys.path.insert(0, case["path"])
from evergrow_protocol import lms
import bench_ed25519
public, message, signature = [binascii.unhexlify(case[name]) for name in ("public", "message", "signature")]
counts = []
for count in lms.verify_steps(public, (message,), signature):
    counts.append(count)
steps = [after - before for before, after in zip([0] + counts, counts)]

def best(work):
    fastest = None
    for _ in range(case["rounds"]):
        start = time.ticks_us()
        work()
        took = time.ticks_diff(time.ticks_us(), start)
        fastest = took if fastest is None else min(fastest, took)
    return fastest / 1000

def floor(size):
    block = bytearray(size)
    def work():
        for _ in range(counts[-1]):
            sha256(block).digest()
    return best(work)

edwards = [binascii.unhexlify(case["ed25519"][name]) for name in ("public", "message", "signature")]
good = lms.verify(public, (message,), signature)
print(json.dumps({
    "verified": good and bench_ed25519.verify(*edwards) and not bench_ed25519.verify(edwards[0], b"", edwards[2]),
    "ed25519_ms": best(lambda: bench_ed25519.verify(*edwards)),
    "hash_calls": counts[-1],
    "yields": len(counts),
    "max_hashes_between_yields": max(steps),
    "verify_ms": best(lambda: lms.verify(public, (message,), signature)),
    "sha256_55_ms": floor(55),
    "sha256_64_ms": floor(64),
}))
"""


EXPECTED = (*bench_micropython.EXPECTED, keys.KeyFileError)


def run() -> dict[str, Any]:
    """Verify one signature on MicroPython, as it ships (.mpy). Times are the best of ROUNDS, in ms; sizes in bytes."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        key = keys.new_key(folder, "bench", 1, "bench")
        signature = key.sign(MESSAGE)
        compiled = mpy.build(folder / "mpy", ["evergrow_protocol"])
        peer = mpy.compile_all(folder / "peer", [mpy.Module("bench_ed25519", Path(bench_ed25519.__file__), "bench_ed25519.mpy")])[
            0
        ]
        shutil.copy(peer.path, folder / "mpy")
        second = ed25519_keys.new_key(folder, "second", 1, "bench")
        case = {
            "path": str(folder / "mpy"),
            "public": key.public.public.hex(),
            "message": MESSAGE.hex(),
            "signature": signature.hex(),
            "ed25519": {
                "public": second.public.public.hex(),
                "message": MESSAGE.hex(),
                "signature": second.sign(MESSAGE).hex(),
            },
            "rounds": ROUNDS,
        }
        result: dict[str, Any] = bench_micropython.run(_PROGRAM, case)
        if not result["verified"]:
            raise BenchError("a signature that should verify did not, or one that should not did")
        size = next(module.size for module in compiled if module.module.name == "evergrow_protocol.lms")
    return {
        "parameters": "LMS H10 W4",
        "signature_bytes": len(signature),
        "mpy_bytes": size,
        "ed25519_mpy_bytes": peer.size,
        **result,
    }


def format(result: dict[str, Any]) -> str:
    """The result of `run` as text, one line for each figure."""
    floor = result["sha256_55_ms"]
    peer = result["ed25519_ms"]
    rows = (
        ("verify", f"{result['verify_ms']:8.3f} ms, {result['hash_calls']} hash calls"),
        ("sha256 of 55 B, as many", f"{floor:8.3f} ms: verifying is {result['verify_ms'] / floor:.2f} x the bare hashing"),
        ("sha256 of 64 B, as many", f"{result['sha256_64_ms']:8.3f} ms"),
        (
            "Ed25519 in Python",
            f"{peer:8.3f} ms: {peer / result['verify_ms']:.1f} x LMS; {result['ed25519_mpy_bytes']} B of .mpy",
        ),
        ("yields", f"{result['yields']:8d}, at most {result['max_hashes_between_yields']} hashes between two"),
    )
    sizes = f"signature {result['signature_bytes']} B, lms.mpy {result['mpy_bytes']} B"
    title = f"HSS/LMS verification on MicroPython, {result['parameters']}, {sizes}"
    return "\n".join([title, *(f"  {name:<25}{text}" for name, text in rows)])


if __name__ == "__main__":
    print(format(run()))
