"""Byte code in the order of an older version: it means the same, runs the same, and its patches are small."""

import random
import subprocess
import sysconfig
from pathlib import Path

import pytest

from evergrow_agent.mpyscan import Scan
from evergrow_tools import mpy, mpy_order, patch

PROGRAM = '''
BIG = 123456789012345678901234567890
PAIR = (1.5, "a text that is too long to be a name", b"bytes", (BIG, None))

class Base:
    kind = "base"

    def __init__(self, first, second=2, *rest, named, other=7, **more):
        self.all = (first, second, rest, named, other, sorted(more.items()))

    def told(self):
        return self.kind, self.all

class Derived(Base):
    kind = "derived"

def numbers(count):
    total = 0
    for number in range(count):
        total += number
        if number % 3 == 0:
            continue
        yield total, [x * total for x in (number, total)], {"key": number}

def outer(a, b):
    def inner(c, *, d):
        nonlocal a
        a += c
        return a, b, d
    return inner

def careful(value):
    try:
        return 10 // value
    except ZeroDivisionError as exc:
        return type(exc).__name__
    finally:
        print("finally", value)

print(PAIR, Derived(1, named=3, extra=4).told(), Base(1, 2, 3, 4, named=5).told())
print(list(numbers(9)))
print(outer(1, 2)(3, d=4), careful(0), careful(5), [careful, outer][0] is careful)
print("%s and %d" % ("text", 3), "{} {name}".format(1, name=2), b"\\x00\\xff", 2 ** 70, -5, 300)
'''
ADDED = '''
import sys
def added(alpha, beta, *, gamma=("other", 99999999999999999999)):
    return alpha.first_name + beta.second_name, gamma, "another text that is too long to be a name", sys.version
'''


def test_what_is_put_in_order_runs_as_before(tmp_path: Path) -> None:
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    old, new = mpy.compile_text(ADDED + PROGRAM), mpy.compile_text(PROGRAM)
    ordered = mpy_order.like(old, new)
    assert ordered != new and len(ordered) == len(new)
    launcher = Path(sysconfig.get_path("scripts")) / "micropython"
    (tmp_path / "main.py").write_text(f"import sys\nsys.path[:] = [{str(tmp_path)!r}]\nimport module\n")
    said = []
    for data in (new, ordered):
        (tmp_path / "module.mpy").write_bytes(data)
        said.append(subprocess.run([launcher, tmp_path / "main.py"], capture_output=True, check=True).stdout)
    assert said[0] == said[1] and b"derived" in said[0] and b"ZeroDivisionError" in said[0]


def test_a_function_more_costs_little_more_than_itself() -> None:
    old, new = mpy.compile_text(PROGRAM), mpy.compile_text(ADDED + PROGRAM)
    plain, ordered = (len(patch.make(old, data)) for data in (new, mpy_order.like(old, new)))
    assert ordered < len(mpy.compile_text(ADDED)) and ordered < 0.8 * plain


def test_every_module_means_the_same_in_any_order(tmp_path: Path) -> None:
    """`like` compares itself, and raises if anything else than the order has changed; here it has to do with much."""
    drawn = random.Random(1)
    units = mpy.compile_all(tmp_path, mpy.modules())
    changed = 0
    for unit in drawn.sample(units, 30):
        data = unit.path.read_bytes()
        other = drawn.choice(units).path.read_bytes()
        ordered = mpy_order.like(other, data)
        changed += ordered != data
        assert len(ordered) == len(data) and sorted(Scan(ordered).names) == sorted(Scan(data).names)
        assert mpy_order.like(data, ordered) == data, "and back again"
    assert changed > 10


@pytest.mark.parametrize("old", [b"", b"M", b"\x00" * 40, b"M\x06\x00\x1f\x01"])
def test_what_is_no_byte_code_gives_no_order(old: bytes) -> None:
    new = mpy.compile_text(PROGRAM)
    assert mpy_order.like(old, new) == new and mpy_order.like(new, old) == old
    assert mpy_order.like(new, new) == new
