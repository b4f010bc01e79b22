from evergrow_agent.timebase import JUMPED, UNCONFIRMED, Timebase
from evergrow_protocol.errors import OUT_OF_RANGE, ProtocolError
from stillclock import Clock
from support import raises

NOW_S = 1_795_339_200


def test_time_is_monotonic_until_utc_is_known():
    """EG-TIME-001"""
    clock = Clock(None, 5000)
    timebase = Timebase(clock)
    assert timebase.t() == [5000] and timebase.utc_s() is None
    timebase.set_utc_s(NOW_S)
    assert timebase.t() == NOW_S and timebase.utc_s() == NOW_S


def test_a_clock_that_nobody_has_confirmed_is_doubtful():
    """EG-TIME-004"""
    timebase = Timebase(Clock(NOW_S, 5000))
    assert timebase.t() == [5000, NOW_S, UNCONFIRMED] and timebase.utc_s() is None and timebase.sync() is None
    timebase.set_utc_s(NOW_S)
    assert timebase.t() == NOW_S and timebase.steps == 0 and timebase.sync() == (5000, NOW_S)


def test_a_clock_that_jumps_is_doubtful_until_it_is_confirmed_again():
    """EG-TIME-004: both ways; what drifts is no jump."""
    for jump_s in (11, 400 * 86_400, -11, -86_400):
        clock = Clock(None, 5000)
        timebase = Timebase(clock)
        timebase.set_utc_s(NOW_S)
        for _ in range(100):
            clock.now_ms += 3_600_000
            clock.utc += 3600 + 2
            assert timebase.utc_s() == clock.utc
        clock.utc += jump_s
        assert timebase.t() == [clock.now_ms, clock.utc, JUMPED] and timebase.utc_s() is None and timebase.jumps == 1
        timebase.set_utc_s(NOW_S + 5)
        assert timebase.t() == NOW_S + 5 and timebase.jumps == 1


def test_a_clock_that_jumps_back_to_nowhere_is_not_told_of():
    """EG-TIME-004"""
    clock = Clock(None, 5000)
    timebase = Timebase(clock)
    timebase.set_utc_s(NOW_S)
    clock.utc = 7
    assert timebase.t() == [5000]


def test_a_clock_that_is_plainly_wrong_is_not_believed():
    for utc_s in (0, 946684800, 1_599_999_999, 1 << 32):
        assert Timebase(Clock(utc_s, 5000)).t() == [5000]


def test_utc_jumps_both_ways():
    clock = Clock(NOW_S, 5000)
    timebase = Timebase(clock)
    timebase.set_utc_s(NOW_S)
    for utc_s in (NOW_S + 100_000, NOW_S - 100_000):
        timebase.set_utc_s(utc_s)
        assert timebase.utc_s() == utc_s
    assert timebase.steps == 2


def test_what_the_welcome_spent_on_its_way_does_not_move_the_clock():
    clock = Clock(NOW_S, 5000)
    timebase = Timebase(clock)
    timebase.set_utc_s(NOW_S - 1)
    timebase.set_utc_s(NOW_S + 1)
    assert clock.utc == NOW_S and timebase.steps == 0


def test_a_time_that_cannot_be_is_refused():
    timebase = Timebase(Clock(NOW_S, 5000))
    timebase.set_utc_s(NOW_S)
    for utc_s in (0, -1, 1_599_999_999, 1 << 32):
        assert raises(ProtocolError, timebase.set_utc_s, utc_s).code == OUT_OF_RANGE
    assert timebase.utc_s() == NOW_S


def test_the_sync_pair_is_due_once_per_boot_when_utc_is_known():
    """EG-TIME-003"""
    clock = Clock(None, 5000)
    timebase = Timebase(clock)
    assert timebase.sync() is None
    timebase.set_utc_s(NOW_S)
    assert timebase.sync() == (5000, NOW_S)
    clock.now_ms, clock.utc = 7000, NOW_S + 2
    assert timebase.sync() == (7000, NOW_S + 2)  # not yet published: the pair of now
    timebase.synced()
    timebase.set_utc_s(NOW_S + 500)
    assert timebase.sync() is None


def test_a_board_that_keeps_time_syncs_when_it_is_confirmed():
    """EG-TIME-003, EG-TIME-004"""
    timebase = Timebase(Clock(NOW_S + 3600, 5000))
    assert timebase.sync() is None
    timebase.set_utc_s(NOW_S)
    assert timebase.sync() == (5000, NOW_S)
