"""Telemetry: sets of signals, sampled at intervals or when they change, in batches."""

from evergrow_agent.telemetry import SAMPLES, SignalSet, Telemetry
from evergrow_protocol import varint
from evergrow_protocol.cbor import loads
from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError

T = 1_795_339_200


class Timebase:
    def __init__(self):
        self.now = T

    def t(self):
        return self.now


class Bench:
    def __init__(self, signals=(1, 2, 3, 4), interval_s=10, sets=None):
        if sets is None:
            sets = [SignalSet(interval_s, interval_s, False, {signal: 0 for signal in signals})] if signals else []
        self.values = {signal: 0 for one in sets for signal in one._signals}
        self.broken = ()
        self.timebase = Timebase()
        self.telemetry = Telemetry(self.read, self.timebase)
        self.telemetry.configure(sets)
        self.telemetry.boot = 7
        self.now_ms = 0

    def read(self, signal):
        if signal in self.broken:
            raise OSError(5)
        return self.values[signal]

    def tick(self, seconds=0, active=True):
        self.now_ms += 1000 * seconds
        return self.telemetry.tick(self.now_ms, active)

    def take(self):
        return batch(self.telemetry.take())

    def row(self, **values):
        """Sets the signals and lets a second pass."""
        for name, value in values.items():
            self.values[int(name[1:])] = value
        return self.tick(1)


def batch(data):
    """[boot, seq, t, {0: dt or 2: gaps, 1: {signal: [first, difference, ...]}, ? 3: lost}]"""
    message = loads(bytes(data), deterministic=True)
    body = message[3]
    for signal, column in body[1].items():
        body[1][signal] = varint.values(column)
    if 2 in body:
        body[2] = varint.values(body[2], zigzag=False)
    return message


def test_a_batch_is_columns_of_first_value_and_differences():
    """EG-TELE-003"""
    bench = Bench((2, 4))
    for n in range(SAMPLES):
        bench.values = {2: 200 + 5 * n, 4: 2000 if n % 2 else 100}
        assert bench.tick(10 if n else 0) == (n == SAMPLES - 1)
        bench.timebase.now += 10
    assert bench.take() == [7, 1, T, {0: 10, 1: {2: [200] + [5] * 9, 4: [100] + [1900, -1900] * 4 + [1900]}}]
    assert bench.telemetry.take() is None


def test_the_example_of_the_specification():
    """EG-TELE-003: the bytes of SPEC section 7."""
    bench = Bench((2, 3))
    for n in range(4):
        bench.values = {2: 200 + (0, 5, 10, 8)[n], 3: (0, 45, 45, 45)[n]}
        bench.tick(10 if n else 0)
    bench.tick(5, active=False)
    text = "84 07 01 1a 6b02b3c0 a2 00 0a 01 a2 02 45 90030a0a03 03 44 005a0000"
    assert bytes(bench.telemetry.take()).hex() == text.replace(" ", "")


def test_ten_samples_of_four_signals_of_a_washer_take_at_most_120_bytes():
    """EG-TELE-001"""
    bench = Bench()
    for n in range(SAMPLES):
        bench.values = {1: 12000 + 37 * n, 2: 231 + 6 * n, 3: 45 if n % 3 else 0, 4: 2050 - 3 * n}
        bench.tick(10)
    assert len(bench.telemetry.take()) <= 80


def test_the_widest_values_of_32_bits_fit():
    bench = Bench()
    bench.telemetry.lost = 0xFFFFFFFF
    bench.telemetry.boot = 0xFFFFFFFF
    bench.telemetry._seq = 0xFFFFFFFE
    bench.timebase.now = [0xFFFFFFFFFF, 0xFFFFFFFF, 1]
    for n in range(SAMPLES):
        bench.values = {signal: 0x7FFFFFFF if n % 2 else -0x80000000 for signal in (1, 2, 3, 4)}
        bench.tick(10)
    message = bench.take()
    assert message[:3] == [0xFFFFFFFF, 0xFFFFFFFF, [0xFFFFFFFFFF, 0xFFFFFFFF, 1]]
    assert message[3][1][4][:3] == [-0x80000000, 0xFFFFFFFF, -0xFFFFFFFF] and message[3][3] == 0xFFFFFFFF


def test_a_value_that_no_signal_has_is_no_answer():
    """EG-TELE-006: samples are of 32 bits with their sign."""
    for wrong in (1 << 60, 1 << 31, -(1 << 31) - 1, -(1 << 90)):
        bench = Bench((1, 2))
        for n in range(SAMPLES):
            bench.values = {1: wrong if n % 2 else 7 + n, 2: wrong}
            bench.tick(10)
        assert bench.take()[3][1] == {1: [7, 0, 2, 0, 2, 0, 2, 0, 2, 0]}


def test_samples_are_taken_at_the_interval_however_often_it_ticks():
    """EG-TELE-004"""
    bench = Bench((1,), interval_s=10)
    for n in range(201):
        bench.values = {1: n}
        bench.tick(1 if n else 0)
        if n == 95:
            assert bench.take()[3] == {0: 10, 1: {1: [0] + [10] * 9}}
    assert bench.take()[3] == {0: 10, 1: {1: [100] + [10] * 9}}


def test_the_end_of_the_cycle_completes_a_short_batch():
    bench = Bench((1,))
    for _ in range(3):
        assert not bench.tick(10)
    assert bench.tick(10, active=False)
    assert bench.take()[3] == {0: 10, 1: {1: [0, 0, 0]}}
    assert not bench.tick(10, active=False)
    assert bench.telemetry.take() is None
    assert not bench.tick(1234) and not bench.telemetry.lost  # a pause is no loss


def test_a_late_sample_begins_a_new_batch_that_tells_how_many_are_missing():
    """EG-TELE-005: samples of a batch with dt_s are evenly spaced."""
    bench = Bench((1,))
    bench.tick()
    bench.tick(10)
    assert bench.tick(35)
    assert bench.take()[3] == {0: 10, 1: {1: [0, 0]}}
    bench.tick(5)
    bench.tick(0, active=False)
    assert bench.take()[3] == {0: 10, 1: {1: [0, 0]}, 3: 2}


def test_a_batch_that_nobody_takes_is_overwritten_and_the_gap_shows():
    """EG-TELE-002, EG-TELE-005"""
    bench = Bench((1,))
    for _ in range(3 * SAMPLES):
        bench.tick(10)
    assert bench.telemetry.dropped == 2
    message = bench.take()
    assert message[1] == 3 and message[3][3] == 2 * SAMPLES
    for _ in range(SAMPLES):
        bench.tick(10)
    assert 3 not in bench.take()[3]


def test_a_batch_that_is_being_sent_is_not_overwritten():
    bench = Bench((1,))
    for _ in range(SAMPLES):
        bench.tick(10)
    taken = bench.telemetry.take()
    before = bytes(taken)
    for n in range(2 * SAMPLES):
        bench.values = {1: n * n}
        bench.tick(10)
    assert bytes(taken) == before


def test_a_signal_that_the_appliance_does_not_have_is_left_out():
    """EG-TELE-007"""
    bench = Bench((1, 2))
    read = bench.telemetry._read

    def none_such(signal):
        if signal == 2:
            raise ProtocolError(OUT_OF_RANGE, "no signal 2")
        return read(signal)

    bench.telemetry._read = none_such
    bench.values = {1: 5, 2: 6}
    bench.tick(10)
    bench.tick(1, active=False)
    assert list(bench.take()[3][1]) == [1]


def test_a_sensor_that_does_not_answer_keeps_its_value_and_one_that_never_did_has_none():
    """EG-TELE-006"""
    bench = Bench((1, 2, 1000))
    bench.values = {1: 5, 2: 6, 1000: 1}
    bench.broken = (1000,)
    bench.tick()
    bench.broken = (2, 1000)
    bench.values = {1: 7, 2: 9, 1000: 1}
    bench.tick(10)
    bench.tick(1, active=False)
    assert bench.take()[3][1] == {1: [5, 2], 2: [6, 0]}
    bench.broken = (1, 2, 1000)
    bench.tick(10)
    assert not bench.tick(1, active=False) and bench.telemetry.take() is None


def test_without_signals_there_is_no_telemetry():
    bench = Bench(())
    for _ in range(2 * SAMPLES):
        assert not bench.tick(10)
    assert bench.telemetry.take() is None


def test_the_time_is_that_of_the_first_sample():
    bench = Bench((1,))
    bench.timebase.now = [5000]
    bench.tick()
    bench.timebase.now = T
    bench.tick(10)
    bench.tick(0, active=False)
    assert bench.take()[2] == [5000]


def test_a_change_within_its_band_is_no_sample():
    """EG-TELE-004: at most every min_s, at least every max_s, and when a signal has changed by its band."""
    bench = Bench(sets=[SignalSet(1, 60, True, {2: 5, 4: 0}, 5)])
    bench.row(_2=200, _4=1)  # the first
    for _ in range(9):
        bench.row(_2=204, _4=1000)  # less than the band; none for 4
    bench.row(_2=205)
    bench.row(_2=199)
    for _ in range(59):
        bench.row(_2=199)
    assert bench.telemetry.sets[0].columns.count() == 3
    bench.row(_2=199)  # 60 s
    assert bench.row(_2=194)
    body = bench.take()[3]
    assert body == {2: [0, 10, 1, 60, 1], 1: {2: [200, 5, -6, 0, -5], 4: [1, 999, 0, 0, 0]}}


def test_changes_are_looked_at_no_more_often_than_the_least_interval():
    bench = Bench(sets=[SignalSet(10, 60, True, {2: 1}, 3)])
    for n in range(40):
        bench.row(_2=n)
    assert bench.take()[3] == {2: [0, 10, 10], 1: {2: [0, 10, 10]}}


def test_gaps_add_up_to_the_time_that_passed():
    bench = Bench(sets=[SignalSet(1, 100, True, {2: 1}, 10)])
    for n in range(10):
        bench.values[2] = n
        bench.now_ms += 1600
        bench.telemetry.tick(bench.now_ms, True)
    gaps = bench.take()[3][2]
    assert sum(gaps) == 9 * 1600 // 1000 and gaps[0] == 0 and all(gap >= 1 for gap in gaps[1:])


def test_sets_are_sampled_side_by_side_and_the_oldest_batch_goes_first():
    """EG-TELE-004"""
    always = SignalSet(2, 2, True, {1: 0}, 3)
    running = SignalSet(1, 1, False, {2: 0}, 2)
    bench = Bench(sets=[always, running])
    for n in range(5):
        bench.tick(1, active=n > 1)
    assert [list(bench.take()[3][1]) for _ in range(2)] == [[2], [1]]
    assert not bench.telemetry.ready


def test_another_configuration_counts_what_it_throws_away():
    """EG-TELE-005"""
    bench = Bench((1,))
    for _ in range(SAMPLES + 3):
        bench.tick(10)
    bench.telemetry.configure([SignalSet(1, 1, True, {1: 0}, 1)])
    bench.tick(1)
    message = bench.take()
    assert message[1] == 2 and message[3] == {0: 1, 1: {1: [0]}, 3: SAMPLES + 3}
