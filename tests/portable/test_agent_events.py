"""Events and alarms: told once, late if need be, never wrongly."""

from evergrow_agent.alarms import Alarms
from evergrow_agent.events import ALARMS_MAX, QUEUE_MAX, Events
from evergrow_agent.guard import GE, Guard
from evergrow_agent.timebase import Timebase
from evergrow_protocol.cbor import loads
from evergrow_protocol.errors import INVALID_STATE
from stillclock import Clock
from support import raises_code
from tinyappliance import LEVEL, RPM, TinyAppliance

NOW_S = 1_795_339_200


def make():
    events = Events(Timebase(Clock(None, 5000)))
    events.boot = 7
    return events


def take(events):
    """All that waits, decoded."""
    found = []
    envelope = events.first()
    while envelope:
        found.append(loads(envelope, deterministic=True))
        events.sent(envelope)
        envelope = events.first()
    return found


def test_an_event_says_what_when_and_whose():
    """EG-EVT-001, EG-EVT-005: the time is that of the event, also when it is sent much later."""
    events = make()
    events.note(3, 0)
    events.note(1007, -4, (2, 1001))
    events._timebase._clock.utc = NOW_S
    assert take(events) == [[7, 1, [5000], {0: 3, 1: 0, 2: 0}], [7, 2, [5000], {0: 1007, 1: 0, 2: -4, 3: [2, 1001]}]]


def test_an_event_that_is_sent_again_is_the_same_bytes():
    """EG-EVT-006"""
    events = make()
    events.note(3, 0)
    first = events.first()
    events.note(4, 1)
    assert events.first() is first
    events.sent(b"another")
    assert events.first() is first
    events.sent(first)
    assert loads(events.first())[1] == 2


def test_an_alarm_is_told_when_it_comes_and_when_it_goes_and_not_between():
    """EG-EVT-002"""
    events = make()
    for _ in range(3):
        events.alarm(20, True, 95)
    assert events.raised() == [20]
    for _ in range(3):
        events.alarm(20, False, 60)
    assert events.raised() == []
    assert [message[3] for message in take(events)] == [{0: 20, 1: 1, 2: 95}, {0: 20, 1: 2, 2: 60}]


def test_an_acknowledged_alarm_stays_raised_and_is_acknowledged_once():
    """EG-EVT-004"""
    events = make()
    raises_code(INVALID_STATE, events.acknowledge, 20)
    events.alarm(20, True)
    events.acknowledge(20)
    events.acknowledge(20)
    assert events.raised() == [20] and events.alarms[20]
    events.alarm(20, False)
    raises_code(INVALID_STATE, events.acknowledge, 20)
    events.alarm(20, True)
    assert not events.alarms[20], "what comes again was not seen yet"
    assert [message[3][1] for message in take(events)] == [1, 3, 2, 1]


def test_without_room_notes_go_first_and_the_next_event_says_how_many_went():
    """EG-EVT-003"""
    events = make()
    events.alarm(20, True)
    for number in range(QUEUE_MAX + 4):
        events.note(3, number)
    events.note(4, 0)
    found = take(events)
    assert len(found) == QUEUE_MAX
    assert found[0][3] == {0: 20, 1: 1}
    seqs = [message[1] for message in found]
    assert sum([message[3].get(4, 0) for message in found]) + len(found) >= seqs[-1] - 1
    assert seqs[-1] == QUEUE_MAX + 6, "what was dropped has used its number up"


def test_a_queue_of_alarms_alone_is_bounded_too():
    """EG-EVT-003"""
    events = make()
    for _ in range(QUEUE_MAX):
        events.alarm(20, True)
        events.alarm(20, False)
    assert len(take(events)) == QUEUE_MAX
    for number in range(ALARMS_MAX + 3):
        events.alarm(100 + number, True)
    assert len(events.raised()) == ALARMS_MAX


def test_a_condition_becomes_an_alarm_only_when_it_has_lasted():
    """EG-EVT-002"""
    appliance = TinyAppliance()
    appliance.alarms = ((20, LEVEL, GE, 1000, 60), (21, RPM, GE, 900, 0))
    events = make()
    alarms = Alarms(Guard(appliance), events)
    appliance.values[LEVEL] = 1000
    alarms.tick(0)
    alarms.tick(59_999)
    assert events.raised() == []
    appliance.values[LEVEL] = 999
    alarms.tick(60_000)
    appliance.values[LEVEL] = 1000
    alarms.tick(61_000)
    alarms.tick(120_999)
    assert events.raised() == [], "it was interrupted"
    alarms.tick(121_000)
    assert events.raised() == [20]
    appliance.values[RPM] = 900
    alarms.tick(121_500)
    assert events.raised() == [20, 21]


def test_a_sensor_that_does_not_answer_neither_raises_nor_clears():
    """EG-EVT-002"""
    appliance = TinyAppliance()
    appliance.alarms = ((20, LEVEL, GE, 1000, 0),)
    events = make()
    alarms = Alarms(Guard(appliance), events)
    appliance.broken = True
    alarms.tick(0)
    assert events.raised() == []
    appliance.broken = False
    appliance.values[LEVEL] = 2000
    alarms.tick(1)
    appliance.broken = True
    alarms.tick(2)
    assert events.raised() == [20]
