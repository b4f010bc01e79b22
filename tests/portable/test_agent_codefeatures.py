"""What runs is what is in force: code features come, fail and go with the index."""

from evergrow_agent.codefeatures import CodeFeatures
from evergrow_agent.records import CONFIRMED, MAX_FAILED_BOOTS, TRIAL, Record
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import REVERT, STORAGE, TOO_LARGE, ProtocolError
from evergrow_protocol.feature import CODE, UNLOCK


class Body:
    needs = dumps({5: 1, 6: 1})
    code = b""


class Features:
    def __init__(self):
        self.records = []
        self.problems = []

    def verify(self, record):
        return Body()

    def bring(self, feature, sequence, kind=CODE, state=CONFIRMED):
        record = Record(2, b"c", feature, sequence, kind, "file", state=state)
        record.whole = True
        self.records = [one for one in self.records if one.feature != feature] + [record]
        return record


class Lifecycle:
    def __init__(self, features):
        self.features = features

    def runs(self, publisher, feature, runs):
        pass

    def fail(self, publisher, feature, why):
        for record in self.features.records:
            if record.feature == feature:
                record.broken = why
                record.whole = record.state == TRIAL
                return not record.whole


class Runtime:
    """Notes what it is told. `failing`: what `start` raises, None for nothing."""

    def __init__(self):
        self.struck = False
        self.done = []
        self.failing = None

    def start(self, owner, needs, code, granted=None):
        self.done.append(("start", owner[1]))
        if self.failing:
            raise self.failing

    def stop(self, owner):
        self.done.append(("stop", owner[1]))

    def forgive(self):
        self.done.append(("forgive", 0))


class Bench:
    def __init__(self):
        self.features = Features()
        self.runtime = Runtime()
        self.made = 0
        self.code = CodeFeatures(self.features, Lifecycle(self.features), self._make)
        self.failed = []
        self.code.failed = lambda: self.failed.append(True)

    def _make(self):
        self.made += 1
        return self.runtime

    def sync(self):
        self.runtime.done.clear()
        self.code.sync()
        return self.runtime.done


def test_without_code_there_is_no_run_time():
    bench = Bench()
    bench.features.bring(1002, 1, UNLOCK)
    bench.sync()
    assert bench.code.runtime is None and not bench.made


def test_a_version_is_started_once_and_replaced_by_the_next():
    """EG-CODE-001"""
    bench = Bench()
    bench.features.bring(1001, 1)
    assert bench.sync() == [("start", 1001)]
    assert bench.sync() == []
    bench.features.bring(1001, 2)
    assert bench.sync() == [("stop", 1001), ("forgive", 0), ("start", 1001)]
    bench.features.records = []
    assert bench.sync() == [("stop", 1001), ("forgive", 0)]


def test_one_on_trial_that_does_not_start_is_left_to_be_reverted():
    """EG-CODE-006"""
    bench = Bench()
    record = bench.features.bring(1001, 1, state=TRIAL)
    bench.runtime.failing = SystemExit()
    bench.sync()
    assert "SystemExit" in record.broken and record.active and not bench.failed


def test_a_confirmed_one_that_fails_is_out_of_use_and_neither_started_again_nor_forgiven_when_others_come():
    """EG-CODE-006, EG-CODE-009"""
    bench = Bench()
    record = bench.features.bring(1001, 1)
    bench.runtime.failing = ProtocolError(TOO_LARGE, "takes 9000 bytes of heap, declared 8192")
    bench.sync()
    assert not record.active and "9000 bytes" in record.broken and bench.failed
    bench.features.bring(1002, 1, UNLOCK)
    assert bench.sync() == []
    bench.runtime.failing = None
    bench.features.bring(1001, 2)
    assert bench.sync() == [("stop", 1001), ("forgive", 0), ("start", 1001)]


def test_what_the_watchdog_ended_is_held_against_nobody():
    """EG-CODE-008, EG-CODE-009"""
    bench = Bench()
    record = bench.features.bring(1001, 1)
    bench.runtime.struck = True
    assert bench.sync() == []
    assert not record.active and not record.broken and bench.features.problems == [(REVERT, 2, 1001, 1)]


def test_a_flash_that_cannot_be_read_is_not_held_against_the_code():
    """EG-CODE-009: else three boots with a bad flash, or little memory, and a good feature is out of use for good."""
    for trouble in (OSError(5), MemoryError()):
        bench = Bench()
        record = bench.features.bring(1001, 1)

        def verify(record, trouble=trouble):
            raise trouble

        bench.features.verify = verify
        assert bench.sync() == [] and bench.failed
        assert not record.active and not record.broken and bench.features.problems == [(STORAGE, 2, 1001, 1)]


def test_a_confirmed_one_that_was_stopped_in_three_boots_is_not_started_any_more():
    """EG-CODE-009"""
    bench = Bench()
    record = bench.features.bring(1001, 1)
    record.bad = MAX_FAILED_BOOTS
    assert bench.sync() == [] and not record.active
    bench.features.bring(1001, 2)
    assert bench.sync() == [("start", 1001)]


def test_what_comes_to_a_device_without_code_is_not_blamed_for_what_was_there_before():
    """EG-CODE-008: the version that hung was reverted at boot, before any code was started."""
    bench = Bench()
    assert bench.sync() == []
    bench.features.bring(1001, 2)
    assert bench.sync() == [("forgive", 0), ("start", 1001)]
