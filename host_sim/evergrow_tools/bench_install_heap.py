"""The heap through an install: the real agent on MicroPython, its code in a ROM, and a code feature of 10 KB of byte code.

The feature is offered, pulled, verified, put on trial and confirmed; blocks come from a file, so that no network takes part. At
every operation of the flash the heap is collected and looked at. So what is counted is what is live, not what a collection would
free; in what happens between two operations more may be live for a moment.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evergrow_protocol.suit_envelope import Envelope
from evergrow_sim.publisher import Signer
from evergrow_tools import bench_micropython, feature_build, feature_files, mpy, suit_build
from evergrow_tools.bench_micropython import BenchError

HEAP = "320K"
BODY_BYTES = 10_000
BLOCK_BYTES = 1024
CODE_HEAP_BYTES = 16_384
_WORD_BLOCK = 32  # bytes of a block of the heap, where words have 64 bits
_VENDOR = "evergrow.example"

# Arguments: where the ROM image is, its length, a JSON file.
_PROGRAM = """
import gc
gc.threshold(8192)  # as rom_boot
import asyncio, sys, uctypes, vfs, micropython, json
vfs.mount(vfs.VfsRom(uctypes.bytearray_at(int(sys.argv[1]), int(sys.argv[2]))), "/rom")
sys.path[:] = [".frozen", "/rom"]
from evergrow_sim import device as sim
from evergrow_agent.agent import Agent
from evergrow_sim.appliances.catalogue import make
with open(sys.argv[3]) as file:
    config = json.load(file)

def look(what):
    gc.collect()
    print("look", what, gc.mem_free())
    micropython.mem_info()

class Flash:
    watched = False
    def __init__(self, flash):
        self._flash = flash
    def __getattr__(self, name):
        method = getattr(self._flash, name)
        def call(*args):
            found = method(*args)
            if Flash.watched:
                look(name)
            return found
        return call

plain = sim.open_flash(config["flash"])
sim.trust.provision(plain, [sim._key(row) for row in config["trust"]])
board = sim.SimBoard(make("washer", sim.Random(1)), Flash(plain), 1, 1)
agent = Agent(board, sim._identity(config), sim._agent_config(config))
agent.boot()

async def main():
    if not agent._served:
        agent._make_services()
    installer = agent.installer
    size = config["block_bytes"]

    async def send_get(transfer, payload, block_bytes, first, wanted):
        await asyncio.sleep(0)
        with open(config["payloads"][payload], "rb") as file:
            for i in range(8 * len(wanted)):
                if wanted[i >> 3] >> (i & 7) & 1:
                    file.seek((first + i) * size)
                    installer.on_block(transfer, payload, first + i, file.read(size))
        return True

    done = asyncio.Event()

    async def say(report):
        print("report", report[2], report[1], report.get(9, ""))
        if report[2] >= 4:
            done.set()
        elif report[2] == 3:
            agent.lifecycle.on_birth()
            agent.lifecycle.on_welcome()
            installer.wake()
        return True

    installer._fetcher._send_get = send_get
    installer._told._send = say
    running = asyncio.create_task(installer.run())
    await asyncio.sleep(0)
    look("before")
    Flash.watched = True
    installer.on_offer(1, config["envelope_bytes"])
    await done.wait()
    Flash.watched = False
    running.cancel()
    look("after")

asyncio.run(main())
"""


EXPECTED = (*bench_micropython.EXPECTED, feature_files.FeatureError)


def run(folder: Path | None = None) -> dict[str, Any]:
    """{"before", "least", "after": {"free", "largest_free"}}, the latter of "least" being the least largest; "heap_bytes"."""
    if folder is None:
        with TemporaryDirectory() as name:
            return run(Path(name))
    mpy.build(folder / "mpy", closed=True)
    signer = Signer("bench", b"northwash", 2)
    built = _build(folder / "feature")
    payloads = {0: signer.envelope(bytes(Envelope(built.envelope).manifest)), **built.payloads}
    said = bench_micropython.run_in_rom(_PROGRAM, _config(folder, signer, payloads), folder / "mpy", HEAP)
    if "report 4 0" not in said:
        raise BenchError(f"the install did not end as it should: {said[-2000:]}")
    return _read(said) | {"body_bytes": len(payloads[1]), "envelope_bytes": len(payloads[0])}


def format(result: Mapping[str, Any]) -> str:
    """The figures of `run` as text."""
    before, least, after = result["before"], result["least"], result["after"]
    lines = [
        f"heap through an install of a code feature of {result['body_bytes']} B, MicroPython, heapsize={HEAP}, 64-bit words:",
        f"  free before {before['free']} B, largest block {before['largest_free']} B",
        f"  least free  {least['free']} B, after `{least['at']}`: {before['free'] - least['free']} B more in use than before; "
        f"largest block never below {least['largest_free']} B",
        f"  free after  {after['free']} B, largest block {after['largest_free']} B, {result['looks']} looks",
    ]
    return "\n".join(lines)


def _build(folder: Path) -> Any:
    """The example load-sense, with functions and texts until it is large."""
    example = feature_files.examples() / "load-sense"
    folder.mkdir()
    toml = (example / feature_build.SOURCE).read_text()
    (folder / feature_build.SOURCE).write_text(re.sub(r"(?m)^heap = .*$", f"heap = {CODE_HEAP_BYTES}", toml))
    source = (example / "load_sense.py").read_text()
    while True:
        (folder / "load_sense.py").write_text(source)
        built = feature_build.build(folder)
        if len(built.payloads[1]) >= BODY_BYTES:
            return built
        text = sha256(source.encode()).hexdigest() * 3
        source += f"\n\ndef say(at):\n    if at < {len(source)}:\n        return {text!r}\n    return [at, at + 1, at * at]\n"


def _config(folder: Path, signer: Signer, payloads: Mapping[int, bytes]) -> dict[str, Any]:
    files = []
    for number in range(max(payloads) + 1):
        file = folder / f"payload.{number}"
        file.write_bytes(payloads.get(number, b""))
        files.append(str(file))
    key = signer.key
    return {
        "flash": str(folder / "flash.img"),
        "tenant": "bench",
        "device": "bench",
        "host": "127.0.0.1",
        "port": 1,
        "trust": [[key.kid.hex(), key.alg, key.public.hex(), key.publisher, key.prefix.decode()]],
        "vendor_id": suit_build.vendor_id(_VENDOR).hex(),
        "class_id": suit_build.class_id(_VENDOR, "washer").hex(),
        "rx_bytes": BLOCK_BYTES + 128,
        "block_bytes": BLOCK_BYTES,
        "payloads": files,
        "envelope_bytes": len(payloads[0]),
    }


def _read(text: str) -> dict[str, Any]:
    looks = [
        {"at": at, "free": int(free), "largest_free": int(blocks) * _WORD_BLOCK}
        for at, free, blocks in re.findall(r"look (\S+) (\d+)\n(?:.*\n)*?.*max free sz: (\d+)", text)
    ]
    least = dict(min(looks, key=lambda look: look["free"]))
    least["largest_free"] = min(look["largest_free"] for look in looks)
    return {"before": looks[0], "least": least, "after": looks[-1], "looks": len(looks)}


if __name__ == "__main__":
    print(format(run()))
