from evergrow_mqtt.backoff import Backoff
from mqttworld import SeededRandom


class Fixed:
    def __init__(self, value):
        self.value = value

    def bytes(self, n):
        return self.value.to_bytes(n, "big")


def test_delays_are_spread_between_zero_and_a_limit_that_doubles_up_to_the_cap():
    backoff = Backoff(1000, 60_000, 900_000, SeededRandom())
    highest = 1000
    for _ in range(40):
        assert 0 <= backoff.next_ms() <= highest
        highest = min(60_000, highest * 2)


def test_the_jitter_is_full():
    lowest = Backoff(1000, 60_000, 900_000, Fixed(0))
    assert [lowest.next_ms() for _ in range(4)] == [0, 0, 0, 0]
    delays = []
    random = SeededRandom(5)
    for _ in range(300):
        backoff = Backoff(1000, 60_000, 900_000, random)
        delays.append(backoff.next_ms())
    assert min(delays) < 100 and max(delays) > 900


def test_a_success_starts_small_again():
    backoff = Backoff(1000, 60_000, 900_000, SeededRandom())
    for _ in range(10):
        backoff.next_ms()
    backoff.reset()
    assert backoff.next_ms() <= 1000


def test_a_refusal_waits_at_least_half_of_the_long_time():
    for value in (0, 0xFFFFFFFF):
        delay_ms = Backoff(1000, 60_000, 900_000, Fixed(value)).refused_ms()
        assert 450_000 <= delay_ms <= 900_000


def test_a_thousand_failures_do_not_grow_a_number_without_end():
    backoff = Backoff(1000, 60_000, 900_000, SeededRandom())
    for _ in range(1000):
        assert backoff.next_ms() <= 60_000
