from evergrow_agent.telemetry import SAMPLES, Telemetry
from evergrow_protocol.cbor import loads

T = 1_795_339_200


class Timebase:
    def __init__(self):
        self.now = T

    def t(self):
        return self.now


class Bench:
    def __init__(self, signals=(1, 2, 3, 4), interval_s=10):
        self.values = {signal: 0 for signal in signals}
        self.broken = ()
        self.timebase = Timebase()
        self.telemetry = Telemetry(self.read, signals, interval_s, self.timebase)
        self.telemetry.boot = 7
        self.now_ms = 0

    def read(self, signal):
        if signal in self.broken:
            raise OSError(5)
        return self.values[signal]

    def tick(self, seconds=0, active=True):
        self.now_ms += 1000 * seconds
        return self.telemetry.tick(self.now_ms, active)


def test_a_batch_is_columns_of_first_value_and_differences():
    bench = Bench((2, 4))
    for n in range(SAMPLES):
        bench.values = {2: 200 + 5 * n, 4: 2000 if n % 2 else 100}
        assert bench.tick(10 if n else 0) == (n == SAMPLES - 1)
        bench.timebase.now += 10
    batch = bench.telemetry.take()
    assert loads(batch) == [7, 1, T, {0: 10, 1: {2: [200] + [5] * 9, 4: [100] + [1900, -1900] * 4 + [1900]}}]
    assert bench.telemetry.take() is None


def test_ten_samples_of_four_signals_of_a_washer_take_at_most_120_bytes():
    """EG-TELE-001"""
    bench = Bench()
    for n in range(SAMPLES):
        bench.values = {1: 12000 + 37 * n, 2: 231 + 6 * n, 3: 45 if n % 3 else 0, 4: 2050 - 3 * n}
        bench.tick(10)
    assert len(bench.telemetry.take()) <= 120


def test_the_widest_values_of_32_bits_fit():
    bench = Bench()
    for n in range(SAMPLES):
        bench.values = {signal: 0xFFFFFFFF if n % 2 else 0 for signal in (1, 2, 3, 4)}
        bench.tick(10)
    columns = loads(bench.telemetry.take())[3][1]
    assert columns[4][:3] == [0, 0xFFFFFFFF, -0xFFFFFFFF]


def test_a_batch_that_does_not_fit_is_dropped():
    bench = Bench()
    for n in range(SAMPLES):
        bench.values = {signal: 1 << 60 if n % 2 else 0 for signal in (1, 2, 3, 4)}
        bench.tick(10)
    assert bench.telemetry.take() is None and bench.telemetry.dropped == 1
    bench.tick(10)
    bench.tick(0, active=False)
    assert loads(bench.telemetry.take())[1] == 2


def test_samples_are_taken_at_the_interval_however_often_it_ticks():
    bench = Bench((1,), interval_s=10)
    for n in range(91):
        bench.values = {1: n}
        bench.tick(1 if n else 0)
    assert loads(bench.telemetry.take())[3] == {0: 10, 1: {1: [0] + [10] * 9}}


def test_the_end_of_the_cycle_completes_a_short_batch():
    bench = Bench((1,))
    for _ in range(3):
        assert not bench.tick(10)
    assert bench.tick(10, active=False)
    assert loads(bench.telemetry.take())[3] == {0: 10, 1: {1: [0, 0, 0]}}
    assert not bench.tick(10, active=False)
    assert bench.telemetry.take() is None


def test_a_late_sample_begins_a_new_batch():
    """Samples of a batch are evenly spaced."""
    bench = Bench((1,))
    bench.tick()
    bench.tick(10)
    assert bench.tick(25)
    assert loads(bench.telemetry.take())[3] == {0: 10, 1: {1: [0, 0]}}
    bench.tick(10)
    bench.tick(0, active=False)
    assert loads(bench.telemetry.take())[3] == {0: 10, 1: {1: [0, 0]}}


def test_a_batch_that_nobody_takes_is_overwritten_and_the_gap_shows():
    """EG-TELE-002"""
    bench = Bench((1,))
    for _ in range(3 * SAMPLES):
        bench.tick(10)
    assert bench.telemetry.dropped == 2
    assert loads(bench.telemetry.take())[1] == 3


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


def test_a_sensor_that_does_not_answer_keeps_its_value():
    bench = Bench((1, 2))
    bench.values = {1: 5, 2: 6}
    bench.tick()
    bench.broken = (2,)
    bench.values = {1: 7, 2: 9}
    bench.tick(10)
    bench.tick(1, active=False)
    assert loads(bench.telemetry.take())[3][1] == {1: [5, 2], 2: [6, 0]}


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
    assert loads(bench.telemetry.take())[2] == [5000]
