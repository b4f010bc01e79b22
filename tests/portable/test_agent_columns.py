"""Columns of samples: the portable code that writes one, and its twin in machine code where there is one."""

import random

from evergrow_agent.columns import Columns, fastest, put_column, row
from evergrow_protocol import varint
from evergrow_protocol.cbor import loads

LEAST = -(1 << 31)
MOST = (1 << 31) - 1
EDGES = [edge + d for edge in (0, 64, -64, 8192, -8192, 1 << 20, -(1 << 20), 1 << 29, -(1 << 29)) for d in (-1, 0, 1)]
EDGES += [LEAST, LEAST + 1, MOST - 1, MOST]


def puts():
    return [put_column] if fastest is put_column else [put_column, fastest]


def column(put, values, pos=0, at=0, stride=1):
    """The bytes of a column, and that nothing before and behind it was touched; None when `put` leaves it to another."""
    size = 2 + varint.BYTES_MAX * len(range(at, len(values), stride))
    buf = bytearray(b"\xaa" * (pos + size + 8))
    end = put(buf, pos, values, at, stride, len(values))
    if end < 0:
        return None
    assert all([byte == 0xAA for byte in buf[:pos]]) and all([byte == 0xAA for byte in buf[pos + size :]])
    return bytes(buf[pos:end])


def filled(numbers):
    values = row(len(numbers))
    for i, number in enumerate(numbers):
        values[i] = number
    return values


def differences(numbers):
    last = 0
    steps = []
    for number in numbers:
        steps.append(number - last)
        last = number
    return steps


def drawn(count, bits):
    return [random.getrandbits(bits) - (1 << bits - 1) for _ in range(count)]


def judge(numbers):
    """Each of the writers gives one byte string of what SPEC says, or leaves it to the portable one."""
    found = [column(put, filled(numbers), pos=3) for put in puts()]
    assert varint.values(loads(found[0], deterministic=True)) == differences(numbers)
    for other in found[1:]:
        assert other == found[0] or (other is None and (min(numbers) < -(1 << 29) or max(numbers) >= 1 << 29))


def test_all_writers_give_the_same_bytes_for_values_at_every_edge():
    """EG-TELE-003"""
    for one in EDGES:
        judge([one])
        for other in EDGES:
            judge([one, other, one, 0])


def test_all_writers_give_the_same_bytes_for_random_values():
    """EG-TELE-003"""
    random.seed(7)
    for bits in range(1, 33):
        for count in (1, 2, 10, 20, 40):
            judge(drawn(count, bits))


def test_a_column_is_every_so_manieth_value():
    values = filled([1, 100, 3, 90, 2, 4000])
    for put in puts():
        assert column(put, values, 0, 0, 2) == b"\x43\x02\x04\x01"
        assert column(put, values, 5, 1, 2) == b"\x45\xc8\x01\x13\x8c\x3d"


def test_a_head_grows_with_its_column():
    for put in puts():
        for count in (1, 23, 24, 50):
            found = column(put, row(count))
            assert found == (bytes([0x40 | count]) if count < 24 else bytes([0x58, count])) + bytes(count)


def test_machine_code_does_not_write_into_a_buffer_that_may_be_too_small():
    if fastest is not put_column:
        for size in range(12):
            buf = bytearray(size)
            assert fastest(buf, 0, row(2), 0, 1, 2) == -1 and buf == bytearray(size)
        assert fastest(bytearray(12), 0, row(2), 0, 1, 2) == 3


def test_a_batch_is_the_same_with_and_without_machine_code():
    random.seed(11)
    for bits in (6, 12, 20, 29, 30, 31, 32):
        for dt_s in (0, 10):
            made = []
            one = Columns([1, 23, 24, 300], 6, dt_s)
            for _ in range(6):
                if not dt_s:
                    one.gap(random.getrandbits(9))
                one.add(filled(drawn(4, bits)))
            one.silent = 4
            for one.put in puts():
                buf = bytearray(one.size_max)
                made.append(bytes(buf[: one.write(buf, 0, 70000)]))
            body = loads(made[0], deterministic=True)
            assert sorted(body[1]) == [1, 23, 300] and body[3] == 70000 and (0 in body) == (dt_s > 0)
            assert all([len(varint.values(column)) == 6 for column in body[1].values()])
            assert all([other == made[0] for other in made])
