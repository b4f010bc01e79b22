"""How large patches are: real edits, as they stand in this repository's history, beside bsdiff4 and detools with heatshrink.

Each edit is one commit's change of a portable module: as source, as the byte code that mpy-cross makes, and as that which
`feature build --delta-from` makes of it, with names and constants in the order of the older version. Every patch of ours is also
applied on the real MicroPython, and must give the new content.
"""

import io
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evergrow_tools import bench_micropython, mpy, mpy_order, patch
from evergrow_tools.bench_micropython import BenchError

EXPECTED = bench_micropython.EXPECTED

MOST_EDITS = 60
_LARGEST = 16_000  # bytes: what the window of 2**14 holds
_HEATSHRINK = ((8, 7), (10, 5), (11, 4), (12, 5))  # (window, lookahead) bits; the best is taken, for each patch
_SOURCES = Path(__file__).parents[2]
_PACKAGES = ("protocol/evergrow_protocol", "firmware/evergrow_mqtt", "firmware/evergrow_agent")

_PROGRAM = """
import sys
import gc
import json
import time
from hashlib import sha256
case = json.load(open(sys.argv[1]))
sys.path.insert(0, case["path"])
from evergrow_agent import delta

def reader(file):
    def read(offset, buf):
        file.seek(offset)
        return file.readinto(buf)
    return read

took_us = made = right = 0
for name, old_size, patch_size, size, digest in case["patches"]:
    old = open(case["path"] + "/" + name + ".old", "rb")
    change = open(case["path"] + "/" + name + ".patch", "rb")
    gc.collect()
    hasher = sha256()
    start = time.ticks_us()
    for piece in delta.apply(reader(old), old_size, reader(change), patch_size, size):
        hasher.update(piece)
        made += len(piece)
    took_us += time.ticks_diff(time.ticks_us(), start)
    right += hasher.digest().hex() == digest
print(json.dumps({"right": right, "ms": took_us / 1000, "bytes": made}))
"""


@dataclass(frozen=True)
class Edit:
    """One content that became another. `form`: source, byte code, or ordered: byte code in the order of the old."""

    form: str
    old: bytes
    new: bytes


def run() -> dict[str, Any]:
    """Sizes in bytes, summed over the edits of each form; how often each kind of patch is the smallest or as small."""
    try:
        import bsdiff4
        import detools
    except ImportError as error:
        raise BenchError(f"{error.name} is not installed: run pip install 'evergrow[bench]'") from None
    edits = list(_edits())
    rows: dict[str, dict[str, Any]] = {}
    patches = []
    for edit in edits:
        sizes = {"deflate": len(patch.make(edit.old, edit.new)), "bsdiff4": len(bsdiff4.diff(edit.old, edit.new))}
        sizes["detools"] = min(_detools(detools, edit, window, ahead) for window, ahead in _HEATSHRINK)
        row = rows.setdefault(edit.form, {"edits": 0, "whole": 0, "no_larger_than_detools": 0, "no_larger_than_bsdiff4": 0})
        row["edits"] += 1
        row["whole"] += len(edit.new)
        for name, size in sizes.items():
            row[name] = row.get(name, 0) + size
        for peer in ("detools", "bsdiff4"):
            row[f"no_larger_than_{peer}"] += sizes["deflate"] <= sizes[peer]
        patches.append(edit)
    return {"forms": rows, "device": _on_device(patches)}


def _edits() -> Iterator[Edit]:
    """From the newest on, as long as there is a history."""
    log = _git("log", "--no-renames", "--diff-filter=M", "--raw", "--abbrev=40", "--format=", "--", *_PACKAGES).decode()
    found = 0
    for line in log.splitlines():
        fields, _, name = line.partition("\t")
        _, _, old, new, _ = fields.split()
        if not name.endswith(".py") or found >= MOST_EDITS:
            continue
        texts = [_git("cat-file", "blob", blob) for blob in (old, new)]
        forms = {"source": texts}
        with suppress(mpy.MpyError):  # a version that was not for boards
            forms["byte code"] = [mpy.compile_text(text.decode()) for text in texts]
            forms["ordered"] = [forms["byte code"][0], mpy_order.like(*forms["byte code"])]
        for form, (before, after) in forms.items():
            if before != after and 0 < len(before) <= _LARGEST and 0 < len(after) <= _LARGEST:
                found += form == "source"
                yield Edit(form, before, after)
    if not found:
        raise BenchError("this clone has no history to take edits from: fetch it, git fetch --unshallow")


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(_SOURCES), *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise BenchError("the edits are taken from this repository's history, and git cannot read it here") from None


def _detools(detools: Any, edit: Edit, window: int, ahead: int) -> int:
    made = io.BytesIO()
    detools.create_patch(
        io.BytesIO(edit.old),
        io.BytesIO(edit.new),
        made,
        compression="heatshrink",
        heatshrink_window_sz2=window,
        heatshrink_lookahead_sz2=ahead,
    )
    return len(made.getvalue())


def _on_device(edits: list[Edit]) -> dict[str, Any]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        compiled = mpy.build(folder, ["evergrow_protocol", "evergrow_agent"])
        rows = []
        for number, edit in enumerate(edits):
            data = patch.make(edit.old, edit.new)
            (folder / f"{number}.old").write_bytes(edit.old)
            (folder / f"{number}.patch").write_bytes(data)
            rows.append([str(number), len(edit.old), len(data), len(edit.new), sha256(edit.new).hexdigest()])
        told = bench_micropython.run(_PROGRAM, {"path": name, "patches": rows}, "256K")
        size = next(module.size for module in compiled if module.module.name == "evergrow_agent.delta")
        return {"patches": len(rows), "mpy_bytes": size, **told}


def format(result: dict[str, Any]) -> str:
    """A table of sums, and what the device made of it."""
    lines = [f"{'':<12}{'edits':>6}{'whole':>10}{'ours':>9}{'detools':>9}{'bsdiff4':>9}   no larger than detools, bsdiff4"]
    for form, row in result["forms"].items():
        better = f"{row['no_larger_than_detools']:>6} of {row['edits']}, {row['no_larger_than_bsdiff4']} of {row['edits']}"
        sizes = f"{row['whole']:>10}{row['deflate']:>9}{row['detools']:>9}{row['bsdiff4']:>9}"
        lines.append(f"{form:<12}{row['edits']:>6}{sizes}{better}")
    if "ordered" in result["forms"]:
        ordered, plain = (result["forms"][form] for form in ("ordered", "byte code"))
        ratio = ordered["deflate"] / plain["detools"]
        lines.append(f"Ordered is what `feature build --delta-from` ships: {ratio:.2f} of what detools makes of the compiler's.")
        met = "met" if ordered["deflate"] <= ordered["detools"] else "NOT met"
        each = f"{ordered['no_larger_than_detools']} of {ordered['edits']} edits one by one"
        lines.append(f"goal: no larger than detools with heatshrink makes of the same: {met} in sum, {each}")
    device = result["device"]
    kib = device["bytes"] / 1024
    lines.append(
        f"On MicroPython {device['right']} of {device['patches']} patches give the new content: {device['ms'] / kib:.2f} ms"
        f" for each KiB of it; delta.mpy has {device['mpy_bytes']} B."
    )
    return "\n".join(lines)
