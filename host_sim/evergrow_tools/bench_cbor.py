"""CBOR on MicroPython: ours beside the interpreter's own json, in C, and beside a straightforward recursive CBOR.

A usage record is encoded and decoded from and to a value. A batch of telemetry, 10 samples of 4 signals, is measured twice, from
the same 40 integers to the bytes of a payload:

- due: the samples have been taken, and each side keeps them as it likes. Ours: `Telemetry` writes the message. json: `dumps` of a
  list that is ready.
- whole: taking the samples, too. Each side is given the same 40 integers, one after the other, in a row of its own, and `add`s
  that row, 10 times; then as above.

json may keep its samples, and so send them, in any of three ways: as columns, which is what our message has; as columns of
differences, which are the shortest; as rows, which are the fastest to fill. We are to be no slower than any. Our columns are
written by machine code where there is some for this processor (`evergrow_agent.columns_native`), or by the portable code; both
are measured.

All run in one process, in the byte code that ships, taking turns, and of all turns the fastest counts: whatever else the machine
does can only add to it. So their ratios mean something on a busy machine; the microseconds themselves say little about a board.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evergrow_tools import bench_micropython, mpy

EXPECTED = bench_micropython.EXPECTED

ROUNDS = 40
CALLS_PER_ROUND = 100

OURS = "ours"
PORTABLE = "ours, portable"
JSON = ("json", "json columns", "json differences", "json rows")  # the first is of the usage record
DIRECTIONS = ("due", "whole", "encode", "decode")
ENCODE_GOAL = 1.0  # of the time of any json, in C, of the same batch

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
from evergrow_agent import columns
from evergrow_agent.telemetry import SignalSet, Telemetry
from evergrow_protocol.cbor import Encoder, loads

usage = [7, 1234, 1735689600, {0: 3, 1: 850, 2: 48000, 3: 5400, 4: 400, 5: 1400, 6: 0, 7: 1, 8: 2, 9: 3}]
steps = {
    1: [2301, 1, -2, 0, 3, -1, 0, 2, 1, -1],
    2: [400, 5, -12, 30, 3, -1, 0, 2, 1, -1],
    3: [60000, -120, 250, -3, 10, 11, 12, -13, 0, 0],
    4: [100, 0, 0, 0, 0, 0, 1, 0, 0, 0],
}
rows = []
for i in range(10):
    rows.append([sum(steps[signal][: i + 1]) for signal in (1, 2, 3, 4)])
encoder = Encoder(bytearray(256))

def ours(value):
    encoder.rewind()
    encoder.encode(value)
    return encoder.result()

def ours_strict(item):
    return loads(item, deterministic=True)

def plain_loads(item):
    return plain_load(item, 0)[0]

# Each side has a row that readings are written into, takes it by `add`, and makes the payload by `due`.

class Ours:
    def __init__(self, put):
        one = SignalSet(10, 10, True, {1: 0, 2: 0, 3: 0, 4: 0}, 10)
        one.t = 1735689600
        one.seq = 1234
        one.columns.put = put
        self.one = one
        self.row = columns.row(4)
        self.add = one.columns.add
        self.telemetry = Telemetry(None, None)
        self.telemetry.boot = 7
        self.telemetry.configure([one])

    def begin(self):
        self.one.columns.clear()
        self.one.columns.silent = 0

    def due(self):
        return self.telemetry._encode(self.one)

class Columns:
    def __init__(self, dumps):
        self.dumps = dumps
        self.row = [0] * 4
        self.kept = {signal: [0] * 10 for signal in (1, 2, 3, 4)}
        self.columns = [self.kept[signal] for signal in (1, 2, 3, 4)]
        self.batch = [7, 1234, 1735689600, {0: 10, 1: self.kept}]
        self.begin()

    def begin(self):
        self.count = 0

    def add(self, values):
        count = self.count
        i = 0
        for column in self.columns:
            column[count] = values[i]
            i += 1
        self.count = count + 1

    def due(self):
        return self.dumps(self.batch)

class Differences(Columns):
    def begin(self):
        self.count = 0
        self.last = [0] * 4

    def add(self, values):
        count = self.count
        columns = self.columns
        last = self.last
        i = 0
        for value in values:
            columns[i][count] = value - last[i]
            last[i] = value
            i += 1
        self.count = count + 1

class Rows(Columns):
    def __init__(self, dumps):
        self.dumps = dumps
        self.row = [0] * 4
        self.rows = [[0] * 4 for _ in range(10)]
        self.batch = [7, 1234, 1735689600, {0: 10, 1: [1, 2, 3, 4], 2: self.rows}]
        self.begin()

    def add(self, values):
        self.rows[self.count][:] = values
        self.count += 1

def due(side):
    return side.due()

def whole(side):
    side.begin()
    row = side.row
    add = side.add
    for readings in rows:
        i = 0
        for value in readings:
            row[i] = value
            i += 1
        add(row)
    return side.due()

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
        name: {"us": min(times[name]), "heap_bytes": heap_bytes(*functions[name])} for name in functions
    }

item = bytes(ours(usage))
text = json.dumps(usage)
assert plain_dumps(usage) == item and ours_strict(item) == usage == plain_loads(item)
result = {
    "usage record": {
        "bytes": {"ours": len(item), "json": len(text), "straightforward": len(item)},
        "encode": measured({"ours": (ours, usage), "json": (json.dumps, usage), "straightforward": (plain_dumps, usage)}),
        "decode": measured({"ours": (ours_strict, item), "json": (json.loads, text), "straightforward": (plain_loads, item)}),
    }
}

sides = {
    "ours, portable": Ours(columns.put_column),
    "json columns": Columns(json.dumps),
    "json differences": Differences(json.dumps),
    "json rows": Rows(json.dumps),
    "straightforward": Differences(plain_dumps),
}
if columns.fastest is not columns.put_column:
    sides["ours"] = Ours(columns.fastest)
sizes = {}
for name, side in sides.items():
    made = whole(side)
    if isinstance(made, int):
        size, made = made, bytes(side.one.out[:made])
        message = ours_strict(made)
        assert message[:3] == [7, 1234, 1735689600] and sorted(message[3][1]) == [1, 2, 3, 4]
    sizes[name] = len(made)
assert json.dumps([[row[i] for row in rows] for i in range(4)]) == json.dumps(sides["json columns"].columns)
assert json.dumps([steps[signal] for signal in (1, 2, 3, 4)]) == json.dumps(sides["json differences"].columns)
assert sides["json rows"].rows == rows
result["10x4 batch"] = {
    "bytes": sizes,
    "due": measured({name: (due, side) for name, side in sides.items()}),
    "whole": measured({name: (whole, side) for name, side in sides.items()}),
}
print(json.dumps(result))
"""


def run(rounds: int = ROUNDS, calls: int = CALLS_PER_ROUND) -> dict[str, Any]:
    """Measure on MicroPython: `{payload: {"bytes": {side: size}, direction: {side: {us, heap_bytes}}}}`.

    `us`: of a call, in the fastest of `rounds`; `heap_bytes`: what a call allocates. OURS is missing in a batch where there is
    no machine code for this processor. We decode in deterministic mode, with all checks.

    Raises what EXPECTED names.
    """
    with TemporaryDirectory() as folder:
        mpy.build(Path(folder), ["evergrow_protocol", "evergrow_agent"])
        case = {"path": [folder], "rounds": rounds, "calls": calls}
        result: dict[str, Any] = bench_micropython.run(_STRAIGHTFORWARD + _MEASURE, case, "256K")
    return result


def worst(result: dict[str, Any], side: str) -> dict[str, float] | None:
    """For each reading of the batch, the time of `side` as a multiple of that of the fastest json; None if it was not there."""
    readings = {name: result["10x4 batch"][name] for name in ("due", "whole")}
    if not all(side in figures for figures in readings.values()):
        return None
    return {
        name: figures[side]["us"] / min(peer["us"] for key, peer in figures.items() if key in JSON)
        for name, figures in readings.items()
    }


def format(result: dict[str, Any]) -> str:
    """`run`'s figures as a table for people."""
    lines = [f"{'CBOR on MicroPython':<28}{'bytes':>6}{'heap':>7}   our time, as a multiple of"]
    for name in ("10x4 batch", "usage record"):
        payload = result[name]
        for direction in [direction for direction in DIRECTIONS if direction in payload]:
            figures = payload[direction]
            lines.append(f"{name}, {direction}")
            for side in (OURS, PORTABLE):
                if side in figures:
                    lines.append(_row(side, payload["bytes"][side], figures[side], figures))
            for peer in (*JSON, "straightforward"):
                if peer in figures:
                    lines.append(_row(peer, payload["bytes"][peer], figures[peer], {}))
    for side in (OURS, PORTABLE):
        found = worst(result, side)
        if found is None:
            lines.append(f"goal: {side}: no machine code for this processor")
            continue
        met = "met" if max(found.values()) <= ENCODE_GOAL else "NOT met"
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.items())
        lines.append(f"goal, {side}: no slower than the fastest json, {ENCODE_GOAL:.2f}: {met} ({ratios})")
    return "\n".join(lines)


def _row(side: str, size: int, figures: dict[str, Any], beside: dict[str, Any]) -> str:
    ratios = [f"{peer} {figures['us'] / beside[peer]['us']:.2f}" for peer in (*JSON, "straightforward") if peer in beside]
    return f"  {side:<26}{size:>6}{figures['heap_bytes']:>7}   {', '.join(ratios)}".rstrip()


if __name__ == "__main__":
    print(format(run()))
