"""Programmes as data: what is accepted, what is refused and with which code."""

from evergrow_agent.programme import MAX_BYTES, MAX_STEPS, Programme
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import (
    BAD_TYPE,
    MALFORMED,
    NOT_DETERMINISTIC,
    OUT_OF_RANGE,
    TOO_LARGE,
    UNSUPPORTED,
    ProtocolError,
)
from evergrow_sim.appliances.washer import Washer
from support import raises

SIGNALS = (1, 2, 3)
ACTUATORS = (1, 2, 3, 4)


def load(data):
    return Programme(data, SIGNALS, ACTUATORS)


def with_step(**changes):
    """A programme of one valid step with the keys `k<n>` changed; `drop` takes one out."""
    step = {0: 4, 1: {2: 1}, 2: [[3, 2, 600, 10]], 3: [[1, 1, 200]], 4: 20, 5: 300, 6: 3, 7: [[4, 45, 12, 4]]}
    for name, value in changes.items():
        if name == "drop":
            del step[value]
        else:
            step[int(name[1:].replace("m", "-"))] = value
    return dumps([1000, [step], {0: 600}])


def refused(data):
    return raises(ProtocolError, load, data).code


def test_base_programmes_are_valid_and_read_back_step_by_step():
    for number, data in Washer.programmes.items():
        programme = Programme(data, Washer.signals, Washer.limits)
        assert programme.id == number and len(data) < 512
        steps = 0
        for step in programme.steps():
            steps += 1
            assert 0 <= step.hold_ms <= step.limit_ms
        assert steps == programme.count > 5


def test_step_has_what_was_written():
    programme = load(with_step())
    assert (programme.id, programme.count, programme.nominal_s) == (1000, 1, 600)
    for step in programme.steps():
        assert step.phase == 4 and step.writes == {2: 1}
        assert step.regulators == [[3, 2, 600, 10]] and step.until == [[1, 1, 200]] and step.pulses == [[4, 45, 12, 4]]
        assert (step.hold_ms, step.limit_ms, step.error) == (20000, 300000, 3)
        assert sorted(step.actuators()) == [2, 3, 4] and step.signals() == [2, 1]


def test_steps_can_be_walked_more_than_once():
    programme = load(with_step())
    assert [step.phase for step in programme.steps()] == [step.phase for step in programme.steps()]


def test_least_step_needs_phase_and_limit():
    assert load(dumps([1, [{0: 1, 5: 1}]])).count == 1
    assert refused(with_step(drop=0)) == BAD_TYPE
    assert refused(with_step(drop=5)) == BAD_TYPE


def test_unknown_keys_are_ignored_and_unknown_critical_keys_refused():
    """EG-PROG-001"""
    assert load(with_step(k9=[1, "text", b"bytes"])).count == 1
    assert refused(with_step(km1=0)) == UNSUPPORTED
    assert refused(dumps([1, [{0: 1, 5: 1}], {-3: 1}])) == UNSUPPORTED
    assert load(dumps([1, [{0: 1, 5: 1}], {7: "later"}])).nominal_s == 0


def test_numbers_are_bounded():
    """EG-PROG-001"""
    cases = (
        {"k0": 65536},
        {"k0": -1},
        {"k5": 0},
        {"k5": 14401},
        {"k4": 301},
        {"k4": -1},
        {"k6": 65536},
        {"k1": {2: 65536}},
        {"k1": {2: -32769}},
        {"k2": [[3, 2, 70000, 0]]},
        {"k3": [[1, 2, 0]]},
        {"k3": [[1, -1, 0]]},
        {"k7": [[4, 45, 0, 4]]},
        {"k7": [[4, 45, 4, -1]]},
        {"k7": [[4, 45, 4, 14401]]},
    )
    for case in cases:
        assert refused(with_step(**case)) == OUT_OF_RANGE, case
    assert refused(dumps([65536, [{0: 1, 5: 1}]])) == OUT_OF_RANGE
    assert refused(dumps([1, [{0: 1, 5: 1}], {0: 43201}])) == OUT_OF_RANGE


def test_what_it_may_not_name_is_refused():
    """A publisher's grant is the list of what its programmes may read and drive."""
    cases = (
        {"k1": {9: 1}},
        {"k2": [[9, 2, 0, 0]]},
        {"k2": [[3, 9, 0, 0]]},
        {"k3": [[9, 0, 0]]},
        {"k7": [[9, 1, 1, 1]]},
        {"k1": {"2": 1}},
    )
    for case in cases:
        assert refused(with_step(**case)) == OUT_OF_RANGE, case
    raises(ProtocolError, Programme, Washer.programmes[1], Washer.signals, (1, 2))


def test_other_types_are_refused():
    for value in (None, True, "1", b"1", [1], {1: 1}, 1.5):
        for key in (0, 4, 5, 6):
            assert refused(with_step(**{f"k{key}": value})) == BAD_TYPE, (key, value)
    for value in (None, True, "1", 1, b"1"):
        for key in (1, 2, 3, 7):
            assert refused(with_step(**{f"k{key}": value})) == BAD_TYPE, (key, value)
    assert refused(with_step(k1={2: True})) == BAD_TYPE
    assert refused(with_step(k2=[[3, 2, 600, None]])) == BAD_TYPE
    assert refused(with_step(k3=[7])) == BAD_TYPE
    for value in (0, [], None, "x"):
        assert refused(dumps([1, [value]])) == BAD_TYPE
        assert refused(dumps([1, [{0: 1, 5: 1}], value])) == BAD_TYPE
    assert refused(dumps([1, [{"0": 1, 5: 1}]])) == BAD_TYPE
    for value in (0, {}, "programme", None, b"x"):
        assert refused(dumps(value)) == BAD_TYPE


def test_an_actuator_is_driven_in_one_way_only():
    """EG-PROG-001"""
    assert refused(with_step(k1={3: 1})) == MALFORMED
    assert refused(with_step(k7=[[2, 1, 1, 1]])) == MALFORMED
    assert refused(with_step(k2=[[3, 2, 600, 10], [3, 1, 600, 10]])) == MALFORMED


def test_shape_is_checked():
    """EG-PROG-001"""
    assert refused(b"") == MALFORMED
    assert refused(dumps([1])) == MALFORMED
    assert refused(dumps([1, []])) == MALFORMED
    assert refused(dumps([1, [{0: 1, 5: 1}], {}, 0])) == MALFORMED
    assert refused(with_step() + b"\x00") == MALFORMED
    assert refused(with_step(k2=[[3, 2, 600]])) == MALFORMED
    assert refused(with_step(k3=[[1, 1, 200, 0]])) == MALFORMED
    assert refused(b"\x82\x18\x01\x81\xa2\x00\x01\x05\x01") == NOT_DETERMINISTIC
    assert refused(b"\x82\x01\x9f\xa2\x00\x01\x05\x01\xff") == NOT_DETERMINISTIC


def test_size_is_bounded():
    """EG-PROG-001"""
    step = {0: 1, 5: 1}
    assert load(dumps([1, [step] * MAX_STEPS])).count == MAX_STEPS
    assert refused(dumps([1, [step] * (MAX_STEPS + 1)])) == TOO_LARGE
    assert refused(dumps([1, [{0: 1, 5: 14400}] * 4])) == TOO_LARGE
    assert refused(with_step(k9=b"\0" * MAX_BYTES)) == TOO_LARGE
    assert refused(with_step(k3=[[1, 1, 200]] * 5)) == TOO_LARGE
    assert refused(with_step(k1={number: 1 for number in range(9)})) == TOO_LARGE
    assert refused(b"\x82\x01\x9b\xff\xff\xff\xff\xff\xff\xff\xff") in (MALFORMED, TOO_LARGE)


def test_every_truncation_is_a_typed_error():
    data = Washer.programmes[3]
    for size in range(len(data)):
        raises(ProtocolError, Programme, data[:size], Washer.signals, Washer.limits)


def test_any_damage_is_a_typed_error_or_another_valid_programme():
    state = 1
    accepted = 0
    for _ in range(1500):
        data = bytearray(Washer.programmes[4])
        for _ in range(1 + state % 3):
            state = (state * 1103515245 + 12345) % 2147483648
            data[state // 65536 % len(data)] = state // 256 % 256
        try:
            for step in Programme(data, Washer.signals, Washer.limits).steps():
                assert step.limit_ms > 0
            accepted += 1
        except ProtocolError:
            pass
    assert 0 < accepted < 1500
