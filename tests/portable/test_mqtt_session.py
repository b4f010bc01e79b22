"""The session alone: bytes and wishes in, bytes and events out."""

from evergrow_mqtt import session
from evergrow_mqtt.config import Config
from evergrow_mqtt.errors import LinkError, ProtocolViolation, Refused
from evergrow_mqtt.session import Session
from mqttworld import CONNACK_4, CONNACK_5, feed, packet, publish
from support import raises


def config(**settings):
    settings.setdefault("rx_bytes", 256)
    settings.setdefault("tx_bytes", 512)
    return Config("dev", "host", 1883, **settings)


def sent(state, now_ms=0):
    """All bytes that the session wants to send now."""
    made = b""
    chunk = state.next_chunk()
    while chunk is not None:
        made += bytes(chunk)
        state.chunk_sent(now_ms)
        chunk = state.next_chunk()
    return made


def connected(version=5, connack=None, state=None, **settings):
    state = state or Session(config(version=version, **settings))
    state.begin(version, 0)
    sent(state)
    events = feed(state, connack or (CONNACK_5 if version == 5 else CONNACK_4))
    assert [event[0] for event in events] == [session.EV_CONNACK]
    return state


def connack(props, present=0):
    return packet(0x20, bytes([present, 0, len(props)]) + props)


def test_connect_is_the_first_packet_and_connack_ends_the_wait():
    state = Session(config())
    assert state.state == session.IDLE
    state.begin(5, 0)
    assert state.state == session.CONNECTING
    assert sent(state)[:9] == b"\x10\x1a\x00\x04MQTT\x05"
    assert sent(state) == b""
    events = feed(state, CONNACK_5)
    assert events[0][0] == session.EV_CONNACK and state.state == session.CONNECTED


def test_each_state_takes_only_the_packets_it_may_get():
    every = [kind << 4 for kind in range(16)]
    for first in every:
        state = Session(config())
        state.begin(5, 0)
        if first != 0x20:
            assert raises(ProtocolViolation, feed, state, bytes([first, 0])).code == 0x82
    for first in (0x00, 0x10, 0x20, 0x50, 0x62, 0x70, 0x80, 0xA0, 0xC0, 0xF0):
        assert raises(ProtocolViolation, feed, connected(), bytes([first, 0])).code == 0x82


def test_packets_may_come_in_any_pieces():
    stream = CONNACK_5 + publish(5, "a/b", b"hello", 5) + publish(5, "t", b"") + b"\xd0\x00" + publish(5, "a", b"x" * 200)
    whole = connected_events(stream, len(stream))
    assert len(whole) == 4
    for size in (1, 2, 3, 7, 50):
        assert connected_events(stream, size) == whole


def connected_events(stream, size):
    state = Session(config())
    state.begin(5, 0)
    events = []
    for at in range(0, len(stream), size):
        events += feed(state, stream[at : at + size])
    return [event if event[0] != session.EV_CONNACK else event[0] for event in events]


def test_a_message_is_acknowledged_only_when_the_application_says_so():
    state = connected()
    assert feed(state, publish(5, "a", b"x", 7)) == [(session.EV_MESSAGE, "a", b"x", 7, False, False)]
    assert sent(state) == b""
    state.acknowledge(7)
    assert sent(state) == b"\x40\x02\x00\x07"


def test_retain_and_dup_flags_are_passed_on():
    state = connected(4)
    assert feed(state, publish(4, "a", b"x", 7, dup=True)) == [(session.EV_MESSAGE, "a", b"x", 7, False, True)]
    assert feed(state, publish(4, "a", b"x", retain=True)) == [(session.EV_MESSAGE, "a", b"x", 0, True, False)]


def test_qos_2_is_a_protocol_error():
    assert raises(ProtocolViolation, feed, connected(), b"\x34\x07\x00\x01a\x00\x01\x00x").code == 0x9B


def test_an_oversized_publish_is_drained_reported_and_acknowledged():
    for version in (4, 5):
        state = connected(version)
        big = publish(version, "big/topic", b"x" * 5000, 9)
        events = feed(state, big + publish(version, "small", b"y"))
        assert events == [
            (session.EV_OVERSIZED, "big/topic", len(big)),
            (session.EV_MESSAGE, "small", b"y", 0, False, False),
        ]
        assert sent(state) == (b"\x40\x03\x00\x09\x83" if version == 5 else b"\x40\x02\x00\x09")


def test_an_oversized_publish_in_single_bytes_is_reported_once():
    state = connected()
    big = publish(5, "big", b"x" * 1000, 9)
    events = []
    for at in range(len(big)):
        events += feed(state, big[at : at + 1])
    assert events == [(session.EV_OVERSIZED, "big", len(big))]
    assert feed(state, publish(5, "a", b"")) == [(session.EV_MESSAGE, "a", b"", 0, False, False)]


def test_a_topic_larger_than_the_receive_buffer_is_drained_without_a_name():
    state = connected()
    big = publish(5, "t" * 2000, b"x", 9)
    assert feed(state, big + publish(5, "a", b"")) == [
        (session.EV_OVERSIZED, None, len(big)),
        (session.EV_MESSAGE, "a", b"", 0, False, False),
    ]


def test_a_packet_of_exactly_the_buffer_size_is_read_and_one_byte_more_is_drained():
    state = connected()
    fits = publish(5, "a", b"x" * (256 - 7))
    assert len(fits) == 256
    assert feed(state, fits)[0][0] == session.EV_MESSAGE
    assert feed(state, publish(5, "a", b"x" * (257 - 7)))[0][0] == session.EV_OVERSIZED


def test_an_oversized_packet_that_is_not_a_publish_ends_the_connection():
    state = connected()
    assert raises(ProtocolViolation, feed, state, packet(0x90, b"\x00\x01" + b"\x00" * 1000)).code == 0x95


def test_publish_waits_for_the_servers_receive_maximum():
    state = connected(connack=connack(b"\x21\x00\x02"))
    ids = [state.publish(b"a", b"x", 1, False, None) for _ in range(4)]
    assert len(set(ids)) == 4
    assert sent(state).count(b"\x32") == 2
    assert feed(state, packet(0x40, bytes([0, ids[0]]))) == [(session.EV_ACK, ids[0], 0)]
    assert sent(state).count(b"\x32") == 1


def test_qos_0_does_not_wait_for_acknowledgements_behind_it():
    state = connected()
    for _ in range(100):
        assert state.publish(b"a", b"x" * 50, 0, False, None) == 0
        assert len(sent(state)) == 6 + 50
    assert state.publish(b"a", b"x" * 400, 0, False, None) == 0
    assert sent(state)[-400:] == b"x" * 400


def test_an_unacknowledged_publish_goes_out_again_with_dup_when_the_session_is_resumed():
    state = connected()
    packet_id = state.publish(b"a", b"x", 1, False, None)
    first = sent(state)
    assert state.link_lost() == 0
    connected(state=state, connack=b"\x20\x03\x01\x00\x00")
    again = sent(state)
    assert again == bytes([first[0] | 8]) + first[1:]
    assert feed(state, packet(0x40, bytes([0, packet_id]))) == [(session.EV_ACK, packet_id, 0)]


def test_an_unacknowledged_publish_goes_out_as_a_new_one_when_the_server_forgot_us():
    state = connected()
    state.publish(b"a", b"x", 1, False, None)
    first = sent(state)
    state.link_lost()
    connected(state=state)
    assert sent(state) == first


def test_a_message_queued_in_one_version_goes_out_in_another():
    state = connected()
    state.publish(b"a", b"x", 1, False, 60)
    assert b"\x02\x00\x00\x00\x3c" in sent(state)
    state.link_lost()
    connected(4, state=state)
    assert sent(state) == b"\x32\x06\x00\x01a\x00\x01x"


def test_after_a_loss_the_oldest_message_goes_alone_until_it_is_acknowledged():
    state = connected()
    ids = [state.publish(b"a", b"x", 1, False, None) for _ in range(3)]
    sent(state)
    state.link_lost()
    connected(state=state)
    assert sent(state).count(b"\x32") == 1
    feed(state, packet(0x40, bytes([0, ids[0]])))
    assert sent(state).count(b"\x32") == 2


def test_a_message_that_breaks_the_link_every_time_is_given_up():
    """MQTT 3.1.1 §3.3.5: hanging up is that version's only way to refuse a message."""
    state = connected(4)
    poison = state.publish(b"bad", b"x", 1, False, None)
    good = state.publish(b"good", b"x", 1, False, None)
    given_up = []
    for _ in range(8):
        sent(state)
        given_up.append(state.link_lost())
        connected(4, state=state)
    assert [packet_id for packet_id in given_up if packet_id] == [poison]
    assert b"good" in sent(state)
    assert feed(state, packet(0x40, bytes([0, good]))) == [(session.EV_ACK, good, 0)]


def test_links_that_break_for_other_reasons_give_nothing_up():
    state = connected(4)
    state.publish(b"a", b"x", 1, False, None)
    for _ in range(20):
        assert state.link_lost() == 0  # before it was sent
        connected(4, state=state)
    assert b"\x00\x01a" in sent(state)


def test_a_refusal_frees_the_message_and_a_late_second_puback_is_harmless():
    state = connected()
    packet_id = state.publish(b"a", b"x", 1, False, None)
    sent(state)
    refusal = packet(0x40, bytes([0, packet_id, 0x87]))
    assert feed(state, refusal) == [(session.EV_ACK, packet_id, 0x87)]
    assert feed(state, refusal) == []
    state.link_lost()
    connected(state=state, connack=b"\x20\x03\x01\x00\x00")
    assert sent(state) == b""


def test_topic_aliases_are_used_when_allowed_and_die_with_the_connection():
    state = connected(connack=connack(b"\x22\x00\x02"))
    for topic in (b"one", b"two", b"three"):
        state.publish(topic, b"x", 0, False, None)
        assert topic in sent(state)
    state.publish(b"one", b"x", 0, False, None)
    assert sent(state) == b"\x30\x07\x00\x00\x03\x23\x00\x01x"
    state.publish(b"two", b"x", 1, False, None)
    assert sent(state) == b"\x32\x09\x00\x00\x00\x01\x03\x23\x00\x02x"
    state.publish(b"three", b"x", 0, False, None)
    assert b"three" in sent(state) and b"\x23" not in sent(state)
    state.link_lost()
    connected(state=state, connack=connack(b"\x22\x00\x02", present=1))
    assert b"two" in sent(state), "the resent message names its topic again"


def test_topics_that_the_server_shortens_are_known_until_the_connection_ends():
    state = connected(state=Session(config(rx_aliases=1)))
    named = b"\x30\x08\x00\x01t\x03\x23\x00\x01x"
    short = b"\x30\x07\x00\x00\x03\x23\x00\x01y"
    assert [event[1] for event in feed(state, named + short)] == ["t", "t"]
    state.link_lost()
    connected(state=state)
    assert raises(ProtocolViolation, feed, state, short).code == 0x82


def test_limits_of_the_server_are_honoured():
    state = connected(connack=connack(b"\x24\x00\x25\x00\x27\x00\x00\x00\x40\x28\x00"))
    assert raises(Refused, state.publish, b"a", b"x", 1, False, None).code == 0x9B
    assert raises(Refused, state.publish, b"a", b"x", 0, True, None).code == 0x9A
    assert raises(Refused, state.publish, b"a", b"x" * 60, 0, False, None).code == 0x95
    assert raises(Refused, state.request, b"a/#", 1).code == 0xA2
    assert raises(Refused, state.request, b"a" * 60, 1).code == 0x95
    assert state.publish(b"a", b"x" * (64 - 6), 0, False, None) == 0
    assert len(sent(state)) == 64


def test_a_message_queued_before_the_limits_were_known_is_refused_when_they_are():
    state = Session(config())
    big = state.publish(b"a", b"x" * 100, 1, False, None)
    small = state.publish(b"a", b"x", 1, False, None)
    connected(state=state, connack=connack(b"\x27\x00\x00\x00\x40"))
    assert state.unsendable() == [(big, 0x95)]
    assert state.unsendable() == []
    assert feed(state, b"") == [] and b"\x00\x01a" + bytes([0, small]) in sent(state)


def test_what_can_never_be_sent_is_refused_at_once():
    state = connected()
    assert raises(Refused, state.publish, b"a", b"x" * 600, 0, False, None).code == 0x95
    assert raises(Refused, state.publish, b"a" * 400, b"x", 0, False, None).code == 0x90
    assert raises(Refused, state.request, b"", 1).code == 0x8F
    assert raises(Refused, state.request, b"a" * 400, 1).code == 0x95


def test_the_longest_topic_fits():
    state = connected()
    assert state.publish(b"t" * 280, b"x", 1, True, 1) > 0
    assert b"t" * 280 in sent(state)


def test_a_full_transmit_buffer_asks_to_wait_and_room_comes_with_the_acknowledgement():
    state = connected()
    first = state.publish(b"a", b"x" * 300, 1, False, None)
    assert state.publish(b"a", b"x" * 300, 1, False, None) == -1
    sent(state)
    assert state.publish(b"a", b"x" * 300, 1, False, None) == -1
    feed(state, packet(0x40, bytes([0, first])))
    assert state.publish(b"a", b"x" * 300, 1, False, None) > 0


def test_a_packet_id_under_way_is_never_given_out_twice():
    state = connected(tx_bytes=4096)
    state._last_id = 65533
    taken = [state.publish(b"a", b"x", 1, False, None) for _ in range(3)]
    assert taken == [65534, 65535, 1]
    state._last_id = 65533
    assert state.request(b"f", 1) == 2
    assert state.publish(b"a", b"x", 1, False, None) == 3


def test_subscriptions_are_answered_by_id_and_die_with_the_link():
    state = connected()
    packet_id = state.request(b"a/#", 1)
    other = state.request(b"b", None)
    assert sent(state) == b"\x82\x09\x00\x01\x00\x00\x03a/#\x01" + b"\xa2\x06\x00\x02\x00\x00\x01b"
    assert feed(state, b"\xb0\x04\x00\x02\x00\x11") == [(session.EV_ACK, other, 0x11)]
    assert feed(state, b"\x90\x04\x00\x01\x00\x01") == [(session.EV_ACK, packet_id, 1)]
    assert feed(state, b"\x90\x04\x00\x01\x00\x01") == []


def test_a_session_present_after_a_clean_start_is_a_protocol_error():
    state = Session(config(clean_start=True))
    state.begin(5, 0)
    assert raises(ProtocolViolation, feed, state, b"\x20\x03\x01\x00\x00").code == 0x82


def test_an_assigned_client_id_is_used_from_then_on():
    state = Session(Config("", "h", 1, rx_bytes=256, tx_bytes=256))
    connected(state=state, connack=connack(b"\x12\x00\x06auto-7"))
    state.link_lost()
    state.begin(5, 0)
    assert sent(state)[-8:] == b"\x00\x06auto-7"


def test_pubacks_that_cannot_be_written_stop_the_reading_and_lose_nothing():
    state = connected()
    count = 0
    while not state.congested():
        count += 1
        feed(state, publish(5, "a", b"x", count))
        state.acknowledge(count)
    assert count > 20
    assert sent(state) == b"".join(b"\x40\x02" + bytes([0, each + 1]) for each in range(count))
    assert not state.congested()


def test_a_ping_goes_out_after_silence_in_either_direction():
    for sending in (False, True):
        state = connected(keepalive_s=60)
        now_ms, pings = 0, 0
        for _ in range(20):
            now_ms += 5_000
            if sending:
                state.publish(b"a", b"x", 0, False, None)
            else:
                feed(state, publish(5, "a", b"x"), now_ms)
            state.tick(now_ms)
            if b"\xc0\x00" in sent(state, now_ms):
                pings += 1
                feed(state, b"\xd0\x00", now_ms)
        assert pings == 1, sending


def test_the_servers_keepalive_replaces_ours():
    state = connected(connack=connack(b"\x13\x00\x0a"), keepalive_s=60)
    assert state.tick(0) == 10_000
    assert connected(connack=connack(b"\x13\x00\x00"), keepalive_s=60).tick(0) == 60_000


def test_silence_after_a_ping_is_a_dead_link():
    state = connected(keepalive_s=60, ping_grace_ms=5_000)
    assert state.tick(0) == 60_000
    assert state.tick(60_000) == 65_000
    assert sent(state, 60_000) == b"\xc0\x00"
    assert state.tick(64_999) == 65_000
    raises(LinkError, state.tick, 65_000)


def test_the_grace_is_no_longer_than_the_keepalive_so_that_pings_are_never_late():
    state = connected(keepalive_s=2, ping_grace_ms=10_000)
    assert state.tick(2_000) == 4_000
    sent(state, 2_000)
    feed(state, b"\xd0\x00", 2_100)
    assert state.tick(3_999) == 4_000


def test_any_byte_after_a_ping_proves_the_link():
    state = connected(keepalive_s=60, ping_grace_ms=5_000)
    state.tick(60_000)
    sent(state, 60_000)
    feed(state, b"\x30", 64_000)
    assert state.tick(65_000) == 120_000


def test_a_server_that_answers_pings_but_acknowledges_nothing_is_left():
    state = connected(keepalive_s=10, ack_timeout_ms=30_000)
    state.publish(b"a", b"x", 1, False, None)
    sent(state, 5_000)
    for now_ms in (10_000, 20_000, 30_000):
        state.tick(now_ms)
        sent(state, now_ms)
        feed(state, b"\xd0\x00", now_ms)
    raises(LinkError, state.tick, 35_000)


def test_leaving_sends_what_is_queued_and_then_disconnect():
    state = connected()
    state.publish(b"a", b"x", 0, False, None)
    assert state.disconnect(0)
    assert sent(state) == b"\x30\x05\x00\x01a\x00x" + b"\xe0\x00"
    assert state.state == session.CLOSING
    assert feed(state, publish(5, "late", b"x", 4)) == []


def test_leaving_for_an_error_says_so_in_version_5_only():
    state = connected()
    state.publish(b"a", b"x", 0, False, None)
    assert state.disconnect(0x82)
    assert sent(state) == b"\xe0\x01\x82"
    state = connected(4)
    assert not state.disconnect(0x82)
    assert state.disconnect(0)
    assert sent(state) == b"\xe0\x00"


def test_a_disconnect_from_the_server_is_an_event_in_version_5_and_an_error_before():
    assert feed(connected(), b"\xe0\x01\x8e") == [(session.EV_DISCONNECT, 0x8E)]
    raises(ProtocolViolation, feed, connected(4), b"\xe0\x00")


def test_a_puback_for_a_message_that_is_still_being_written_is_a_violation():
    state = connected()
    packet_id = state.publish(b"a", b"x" * 400, 1, False, None)
    assert state.next_chunk() is not None
    state.chunk_sent(0)
    assert len(state.next_chunk()) == 400
    assert raises(ProtocolViolation, feed, state, packet(0x40, bytes([0, packet_id]))).code == 0x82
