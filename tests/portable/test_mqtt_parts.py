"""Messages larger than the receive buffer, which the session hands over in parts."""

from evergrow_mqtt import session
from evergrow_mqtt.config import Config
from evergrow_mqtt.session import Session
from mqttworld import CONNACK_4, CONNACK_5, feed, packet, publish

HEAP = "512K"


def sent(state):
    """All bytes that the session wants to send now."""
    made = b""
    chunk = state.next_chunk()
    while chunk is not None:
        made += bytes(chunk)
        state.chunk_sent(0)
        chunk = state.next_chunk()
    return made


def connected(version=5, packet_bytes=0, state=None):
    config = Config("dev", "host", 1883, version=version, rx_bytes=256, tx_bytes=512, packet_bytes=packet_bytes)
    state = state or Session(config)
    state.begin(version, 0)
    sent(state)
    events = feed(state, CONNACK_5 if version == 5 else CONNACK_4)
    assert [event[0] for event in events] == [session.EV_CONNACK]
    return state


def in_parts(state, data):
    """The events of `data`, parts of one message joined."""
    joined = []
    for event in feed(state, data):
        if event[0] == session.EV_PART and not event[1]:
            first = joined[-1]
            assert first[0] == session.EV_PART and event[3] == first[3] - len(event[2])
            event = (first[0], first[1], first[2] + event[2], event[3], event[4], first[5])
            joined.pop()
        joined.append(event)
    return joined


def test_an_allowed_message_larger_than_the_buffer_is_handed_over_in_parts():
    payload = bytes([i % 251 for i in range(400)])
    for version in (4, 5):
        for retain in (False, True):
            state = connected(version, packet_bytes=4096)
            data = publish(version, "big/topic", payload, retain=retain) + publish(version, "small", b"y")
            for step in (1, 255, 256, 257, len(data)):
                found = []
                for at in range(0, len(data), step):
                    found += feed(state, data[at : at + step])
                parts = found[:-1]
                assert found[-1] == (session.EV_MESSAGE, "small", b"y", 0, False, False)
                assert (parts[0][1], parts[0][5]) == ("big/topic", retain)
                assert not [part for part in parts[1:] if part[1]]
                assert b"".join([part[2] for part in parts]) == payload
                assert parts[-1][3] == 0
                assert sent(state) == b""


def test_a_message_of_one_byte_more_than_the_buffer_is_two_parts():
    state = connected(packet_bytes=300)
    data = publish(5, "a", b"x" * (257 - 7))
    assert len(data) == 257
    assert [event[3] for event in feed(state, data)] == [1, 0]
    assert in_parts(state, data) == [(session.EV_PART, "a", b"x" * 250, 0, 0, False)]


def test_a_qos_1_message_in_parts_is_the_takers_to_acknowledge_after_the_last():
    for version in (4, 5):
        state = connected(version, packet_bytes=4096)
        events = feed(state, publish(version, "big", b"x" * 1000, 9, dup=True))
        assert [event[4] for event in events] == [0] * (len(events) - 1) + [9]
        assert sent(state) == b""


def test_what_is_larger_than_allowed_is_drained_as_before():
    for data in (publish(5, "big", b"x" * 1000), publish(5, "big", b"x" * 1000, 9)):
        state = connected(packet_bytes=900)
        assert feed(state, data + publish(5, "a", b"")) == [
            (session.EV_OVERSIZED, "big", len(data)),
            (session.EV_MESSAGE, "a", b"", 0, False, False),
        ]


def test_properties_that_do_not_fit_into_the_buffer_cost_the_message_alone():
    state = connected(packet_bytes=4096)
    user = b"\x26" + b"\x00\x01k" + b"\x01\xf4" + b"v" * 500
    data = packet(0x30, b"\x00\x03big" + bytes([len(user) & 127 | 128, len(user) >> 7]) + user + b"payload")
    assert feed(state, data + publish(5, "a", b"")) == [
        (session.EV_OVERSIZED, "big", len(data)),
        (session.EV_MESSAGE, "a", b"", 0, False, False),
    ]


def test_a_link_that_breaks_within_a_message_in_parts_leaves_nothing_behind():
    state = connected(packet_bytes=4096)
    data = publish(5, "big", b"x" * 1000)
    assert len(feed(state, data[:600])) > 1
    state.link_lost()
    connected(state=state)
    assert feed(state, publish(5, "a", b"y")) == [(session.EV_MESSAGE, "a", b"y", 0, False, False)]
