"""CBOR on MicroPython: ours beside the interpreter's own json, in C, and beside a straightforward recursive CBOR.

A batch of telemetry is not encoded from a value when it is published: the agent encodes each sample as it is taken
(`evergrow_agent.columns`). So it is measured twice, beside a json that is made of the same samples: what is left to do when the
batch is published, and all of it, from the first sample on.

All run in one process on the same two payloads, taking turns, so that their ratios mean something on a busy machine; the
microseconds themselves say little about a board.
"""

from pathlib import Path
from typing import Any

import evergrow_agent
import evergrow_protocol
from evergrow_tools import bench_micropython

EXPECTED = bench_micropython.EXPECTED

ROUNDS = 15
CALLS_PER_ROUND = 100

OURS = "ours"
PEERS = ("json in C", "straightforward")
ENCODE_GOAL = 1.0  # of the time of C's json on the same data, the columns being filled as samples come

# What a first draft looks like: recursive, a new bytes object for every item and again for every container, no checks.
_STRAIGHTFORWARD = """
import struct

def head(major, n):
    major <<= 5
    if n < 24:
        return bytes([major | n])
    if n < 0x100:
        return bytes([major | 24, n])
    if n < 0x10000:
        return struct.pack(">BH", major | 25, n)
    if n < 0x100000000:
        return struct.pack(">BI", major | 26, n)
    return struct.pack(">BQ", major | 27, n)

def plain_dumps(value):
    if value is None:
        return b"\\xf6"
    if isinstance(value, bool):
        return b"\\xf5" if value else b"\\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return head(3, len(data)) + data
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join([plain_dumps(item) for item in value])
    if isinstance(value, dict):
        pairs = sorted([(plain_dumps(key), plain_dumps(item)) for key, item in value.items()])
        return head(5, len(value)) + b"".join([key + item for key, item in pairs])
    raise TypeError(value)

def plain_load(data, pos):
    first = data[pos]
    major = first >> 5
    n = first & 31
    pos += 1
    if n > 23:
        size = 1 << (n - 24)
        n = int.from_bytes(data[pos : pos + size], "big")
        pos += size
    if major == 0:
        return n, pos
    if major == 1:
        return -1 - n, pos
    if major == 2:
        return data[pos : pos + n], pos + n
    if major == 3:
        return data[pos : pos + n].decode(), pos + n
    if major == 4:
        items = []
        for _ in range(n):
            item, pos = plain_load(data, pos)
            items.append(item)
        return items, pos
    if major == 5:
        pairs = {}
        for _ in range(n):
            key, pos = plain_load(data, pos)
            pairs[key], pos = plain_load(data, pos)
        return pairs, pos
    return {20: False, 21: True, 22: None}[n], pos
"""

_MEASURE = """
import gc, json, sys, time

case = json.load(open(sys.argv[1]))
rounds, calls = case["rounds"], case["calls"]
sys.path[:0] = case["path"]
from evergrow_agent.telemetry import SignalSet, Telemetry
from evergrow_protocol.cbor import Encoder, loads

usage = [7, 1234, 1735689600, {0: 3, 1: 850, 2: 48000, 3: 5400, 4: 400, 5: 1400, 6: 0, 7: 1, 8: 2, 9: 3}]
columns = {
    1: [2301, 1, -2, 0, 3, -1, 0, 2, 1, -1],
    2: [400, 5, -12, 30, 3, -1, 0, 2, 1, -1],
    3: [60000, -120, 250, -3, 10, 11, 12, -13, 0, 0],
    4: [100, 0, 0, 0, 0, 0, 1, 0, 0, 0],
}
batch = [7, 1234, 1735689600, {0: 10, 1: columns}]
rows = []
for i in range(10):
    rows.append([sum(columns[signal][: i + 1]) for signal in (1, 2, 3, 4)])
encoder = Encoder(bytearray(256))

def ours(value):
    encoder.rewind()
    encoder.encode(value)
    return encoder.result()

def ours_strict(item):
    return loads(item, deterministic=True)

def plain_loads(item):
    return plain_load(item, 0)[0]

# The agent's own telemetry, with its set of four signals at the end of ten samples.
one = SignalSet(10, 10, True, {1: 0, 2: 0, 3: 0, 4: 0}, 10)
one.t = 1735689600
telemetry = Telemetry(None, None)
telemetry.boot = 7
telemetry.configure([one])
telemetry._seq = 1233

def sample_ours():
    one.columns.clear()
    one.columns.silent = 0
    for values in rows:
        one.columns.add(values)

def publish_ours(_):
    one.seq = 1234
    return telemetry._encode(one)

def all_ours(_):
    sample_ours()
    return publish_ours(None)

# The same with lists of differences, as who encodes when the batch is published must keep them.
kept = {signal: [0] * 10 for signal in (1, 2, 3, 4)}
kept_columns = [kept[signal] for signal in (1, 2, 3, 4)]
kept_last = [0] * 4
kept_batch = [7, 1234, 1735689600, {0: 10, 1: kept}]

def sample_lists():
    last = kept_last
    for i in range(4):
        last[i] = 0
    count = 0
    for values in rows:
        i = 0
        for value in values:
            kept_columns[i][count] = value - last[i]
            last[i] = value
            i += 1
        count += 1

def all_json(_):
    sample_lists()
    return json.dumps(kept_batch)

def all_plain(_):
    sample_lists()
    return plain_dumps(kept_batch)

def round_us(function, argument):
    gc.collect()
    start = time.ticks_us()
    for _ in range(calls):
        function(argument)
    return time.ticks_diff(time.ticks_us(), start) / calls

def heap_bytes(function, argument):
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    function(argument)
    used = gc.mem_alloc() - before
    gc.enable()
    return used

def measured(functions):
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, (function, argument) in functions.items():
            times[name].append(round_us(function, argument))
    return {
        name: {"us": sorted(times[name])[rounds // 2], "heap_bytes": heap_bytes(*functions[name])} for name in functions
    }

item = bytes(ours(usage))
text = json.dumps(usage)
assert plain_dumps(usage) == item and ours_strict(item) == usage == plain_loads(item)
result = {
    "usage record": {
        "cbor_bytes": len(item),
        "json_bytes": len(text),
        "encode": measured({"ours": (ours, usage), "json in C": (json.dumps, usage), "straightforward": (plain_dumps, usage)}),
        "decode": measured(
            {"ours": (ours_strict, item), "json in C": (json.loads, text), "straightforward": (plain_loads, item)}
        ),
    }
}
size = all_ours(None)
item = bytes(one.out[:size])
assert all_json(None) == json.dumps(batch) and all_plain(None) == plain_dumps(batch)
message = ours_strict(item)
assert message[:3] == batch[:3] and sorted(message[3][1]) == [1, 2, 3, 4]
result["10x4 batch"] = {
    "cbor_bytes": size,
    "json_bytes": len(json.dumps(batch)),
    "encode": measured(
        {"ours": (publish_ours, None), "json in C": (json.dumps, batch), "straightforward": (plain_dumps, batch)}
    ),
    "encode, with the samples": measured(
        {"ours": (all_ours, None), "json in C": (all_json, None), "straightforward": (all_plain, None)}
    ),
}
print(json.dumps(result))
"""


def run(rounds: int = ROUNDS, calls: int = CALLS_PER_ROUND) -> dict[str, Any]:
    """Measure on MicroPython: `{payload: {cbor_bytes, json_bytes, encode, decode or "encode, with the samples"}}`.

    Each of these maps "ours" and each of PEERS to `us` (a call, median of `rounds`), `heap_bytes` (that a call allocates)
    and `ratio` (our time / its time). We decode in deterministic mode, with all checks.

    Raises what EXPECTED names.
    """
    paths = [str(Path(package.__file__ or "").parents[1]) for package in (evergrow_protocol, evergrow_agent)]
    case = {"path": paths, "rounds": rounds, "calls": calls}
    result: dict[str, Any] = bench_micropython.run(_STRAIGHTFORWARD + _MEASURE, case, "256K")
    for payload in result.values():
        for figures in _measured(payload).values():
            for peer in figures.values():
                peer["ratio"] = figures[OURS]["us"] / peer["us"]
    return result


def format(result: dict[str, Any]) -> str:
    """`run`'s figures as a table for people."""
    lines = [f"{'CBOR on MicroPython':<24}{'bytes':>7}{'heap':>8}{'our time, as a multiple of':>30}"]
    for name, payload in result.items():
        lines.append(f"{name + ', CBOR / JSON':<24}{payload['cbor_bytes']:>7} / {payload['json_bytes']}")
        for direction, figures in _measured(payload).items():
            peers = ", ".join(f"{peer} {figures[peer]['ratio']:.2f} (heap {figures[peer]['heap_bytes']})" for peer in PEERS)
            lines.append(f"  {direction:<29}{figures[OURS]['heap_bytes']:>8}    {peers}")
    ratio = result["10x4 batch"]["encode"]["json in C"]["ratio"]
    met = "met" if ratio <= ENCODE_GOAL else "NOT met"
    lines.append(f"goal: a batch that is due is encoded in {ENCODE_GOAL:.2f} of the time of json in C: {met} ({ratio:.2f})")
    return "\n".join(lines)


def _measured(payload: dict[str, Any]) -> dict[str, Any]:
    """What was timed: {direction: {peer: figures}}."""
    return {name: figures for name, figures in payload.items() if isinstance(figures, dict)}


if __name__ == "__main__":
    print(format(run()))
