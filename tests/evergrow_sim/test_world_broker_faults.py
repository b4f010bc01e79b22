"""The simulated broker poorer than it should be, restarted, at its limits, and against hostile clients."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import world_broker_kit as kit

from evergrow_sim.world.broker_settings import Limits, Switches
from evergrow_sim.world.trace import Trace

both = pytest.mark.parametrize("version", [5, 4])


# --- switches ---


@both
def test_no_will(version):
    site = kit.Site(switches=Switches(no_will=True))
    watcher = site.watcher()
    site.connect("a", version, will=("w", b"gone", 1, True)).lose()
    site.pass_ms(1000)
    assert watcher.messages() == [] and len(site.broker.retained) == 0


def test_no_retained_is_announced_and_refused():
    site = kit.Site(switches=Switches(no_retained=True))
    assert kit.Peer(site.broker).send(kit.connect("x"))[0].retain_available is False
    assert site.connect("a").send(kit.publish("t", b"x", 1, retain=True))[0].reason_code == 0x9A
    refused = kit.Peer(site.broker).send(kit.connect("b", will=("w", b"", 0, True)))
    assert [one.reason_code for one in refused] == [0x9A]


@pytest.mark.parametrize(("version", "announce"), [(5, False), (4, False), (4, True)])
def test_no_retained_is_silent_where_it_cannot_or_will_not_be_said(version, announce):
    site = kit.Site(switches=Switches(no_retained=True, announce=announce))
    watcher, sender = site.watcher(), site.connect("a", version)
    sender.send(kit.publish("t", b"x", 1, version=version, retain=True))
    assert watcher.messages() == [("t", b"x")]
    assert site.watcher().messages() == []


def test_retained_messages_of_before_are_hidden_and_not_forgotten():
    site = kit.Site()
    site.connect("a").send(kit.publish("t", b"x", retain=True))
    site.broker.switches = Switches(no_retained=True)
    assert site.watcher().messages() == []
    site.broker.switches = Switches()
    assert site.connect("b").send(kit.subscribe(("t", 0)))[1].payload == b"x"


@pytest.mark.parametrize("announce", [True, False])
@both
def test_no_sessions(version, announce):
    site = kit.Site(switches=Switches(no_sessions=True, announce=announce))
    peer = kit.Peer(site.broker, version)
    found = peer.send(kit.connect("a", version, clean=False, expiry_s=100))
    if version == 5:
        assert found[0].session_expiry_interval == (0 if announce else None)
    peer.send(kit.subscribe(("t", 1), version=version))
    peer.lose()
    assert site.broker.sessions == {}
    assert not site.connect("a", version, clean=False, expiry_s=100).session_present


def test_ignore_receive_maximum():
    site = kit.Site(switches=Switches(ignore_receive_maximum=True), limits=Limits(inflight=5))
    peer = site.connect("a", properties=b"\x21\x00\x01")
    peer.send(kit.subscribe(("t", 1)))
    sender = site.connect("b")
    for i in range(8):
        sender.send(kit.publish("t", bytes([i]), 1))
    assert [one.payload for one in peer.read()] == [bytes([i]) for i in range(5)]


def test_deny_holds_against_an_acl_that_allows():
    site = kit.Site(switches=Switches(deny=("secret/#", "own/%c/x")))
    peer, other = site.connect("a"), site.connect("b")
    assert peer.send(kit.subscribe(("secret/+", 1), ("own/a/x", 1), ("own/b/x", 1)))[0].reason_codes == [0x87, 0x87, 1]
    codes = [other.send(kit.publish(topic, b"", 1))[0].reason_code for topic in ("secret/1", "own/b/x", "own/a/x")]
    assert codes == [0x87, 0x87, 0x10]
    site.broker.switches = Switches()
    assert other.send(kit.publish("own/b/x", b"", 1))[0].reason_code == 0


@pytest.mark.parametrize(
    ("on_denied", "version", "answer", "state"),
    [
        ("answer", 5, "4003000187", "open"),
        ("answer", 4, "40020001", "open"),
        ("answer and drop", 5, "4003000187", "closed"),
        ("answer and drop", 4, "40020001", "open"),
        ("drop", 5, "", "closed"),
        ("drop", 4, "", "closed"),
    ],
)
def test_a_denied_publish(on_denied, version, answer, state):
    site = kit.Site(switches=Switches(deny=("#",), on_denied=on_denied))
    peer = site.connect("a", version)
    peer.connection.receive(kit.publish("t", b"x", 0, version=version))
    assert (peer.raw(), peer.state) == ([], "open"), "QoS 0 has no answer"
    peer.connection.receive(kit.publish("t", b"x", 1, version=version))
    assert b"".join(peer.raw()).hex() == answer and peer.state == state


def test_refuse_connect():
    site = kit.Site(switches=Switches(refuse_connect=0x88))
    assert kit.Peer(site.broker).send(kit.connect("a"))[0].reason_code == 0x88
    assert kit.Peer(site.broker, 4).send(kit.connect("a", 4)) == [b"\x20\x02\0\3"]
    site.broker.switches = Switches()
    site.connect("a")


def test_late_acknowledgements_keep_their_order():
    site = kit.Site(switches=Switches(puback_delay_ms=500))
    watcher, peer = site.watcher(), site.connect("a")
    peer.send(kit.publish("t", b"1", 1, packet_id=1))
    assert watcher.messages() == [("t", b"1")], "routed at once"
    site.broker.switches = Switches()
    assert peer.send(kit.publish("t", b"2", 1, packet_id=2)) == []
    site.pass_ms(499)
    assert peer.read() == []
    site.pass_ms(1)
    assert [one.packet_id for one in peer.read()] == [1, 2]
    assert peer.send(kit.publish("t", b"3", 1, packet_id=3))[0].packet_id == 3


@pytest.mark.parametrize(("versions", "spoken"), [((4,), 4), ((5,), 5)])
def test_versions_that_are_not_spoken_are_refused_in_words_that_all_understand(versions, spoken):
    site = kit.Site(switches=Switches(versions=versions))
    for version in (3, 4, 5, 6):
        peer = kit.Peer(site.broker, 4)
        found = peer.send(kit.connect("a", version))
        assert (found == [b"\x20\x02\0\1"]) == (version != spoken)


# --- restart ---


def _with_state(site: kit.Site) -> tuple[kit.Peer, kit.Peer]:
    peer = site.connect("a", clean=False, expiry_s=100, will=("w", b"gone", 1, False))
    peer.send(kit.subscribe(("t", 1)))
    sender = site.connect("b")
    sender.send(kit.publish("t", b"under way", 1), kit.publish("r", b"kept", retain=True))
    return peer, sender


def test_a_restart_with_memory_keeps_what_mosquitto_keeps():
    site = kit.Site()
    watcher = site.watcher("w")
    peers = [watcher, *_with_state(site)]
    site.broker.restart()
    assert [one.state for one in peers] == ["aborted"] * 3 and site.broker.connections == []
    assert list(site.broker.sessions) == ["a"], "those that end with their connection are gone"
    watcher = site.watcher("w", "r")
    again = site.connect("a", clean=False, expiry_s=100)
    assert again.session_present
    found = again.read()
    assert [(one.payload, one.duplicate) for one in found] == [(b"under way", True)]
    assert watcher.messages() == [("r", b"kept")], "and no will: nobody was there to publish it"


def test_a_restart_without_memory_forgets_all():
    site = kit.Site()
    _with_state(site)
    site.broker.restart(with_memory=False)
    assert site.broker.sessions == {} and len(site.broker.retained) == 0
    assert not site.connect("a", clean=False, expiry_s=100).session_present


def test_a_stopped_broker_takes_nobody_and_time_goes_on_for_its_sessions():
    site = kit.Site()
    _with_state(site)
    site.broker.stop()
    peer = kit.Peer(site.broker)
    assert peer.state == "aborted"
    peer.connection.receive(kit.connect("x"))
    site.pass_ms(100_000)
    site.broker.start()
    assert not site.connect("a", clean=False).session_present


def test_a_polite_stop_says_so():
    site = kit.Site()
    five, four = site.connect("five", will=("w", b"", 0, False)), site.connect("four", 4)
    site.broker.stop(polite=True)
    assert [one.reason_code for one in five.read()] == [0x8B] and four.raw() == []
    assert (five.state, four.state) == ("closed", "closed")


def test_a_waiting_will_does_not_survive_a_restart():
    site = kit.Site()
    site.connect("a", clean=False, expiry_s=100, will=("w", b"gone", 1, False), will_delay_s=10).lose()
    site.broker.restart()
    watcher = site.watcher()
    site.pass_ms(50_000)
    assert watcher.messages() == [] and "a" in site.broker.sessions


# --- limits ---


def test_a_full_queue_drops_what_is_newest():
    trace = Trace()
    site = kit.Site(limits=Limits(queue_messages=3), trace=trace)
    site.connect("a", clean=False, expiry_s=100).send(kit.subscribe(("t", 1)))
    site.connect("a", clean=False, expiry_s=100).lose()
    sender = site.connect("b")
    for i in range(5):
        assert sender.send(kit.publish("t", bytes([i]), 1))[0].reason_code == 0
    assert site.connect("a", clean=False).messages() == [("t", bytes([i])) for i in range(3)]
    assert [event[2] for event in trace.last()].count("drop") == 2


def test_a_queue_is_bounded_in_bytes_and_expired_messages_make_room():
    site = kit.Site(limits=Limits(queue_bytes=1000))
    site.connect("a", clean=False, expiry_s=100).send(kit.subscribe(("t", 1)))
    site.connect("a", clean=False, expiry_s=100).lose()
    sender = site.connect("b")
    sender.send(kit.publish("t", b"x" * 800, 1, properties=b"\x02\0\0\0\1"), kit.publish("t", b"no room" * 20, 1))
    assert site.broker.sessions["a"].queued == 1
    site.pass_ms(1000)
    sender.send(kit.publish("t", b"room", 1))
    assert site.connect("a", clean=False).messages() == [("t", b"room")]


def test_the_retained_store_is_bounded():
    for limits in (Limits(retained_messages=2), Limits(retained_bytes=180)):
        site = kit.Site(limits=limits)
        peer = site.connect("a")
        codes = [peer.send(kit.publish(f"t{i}", b"x", 1, retain=True))[0].reason_code for i in range(4)]
        assert codes == [0x10, 0x10, 0x97, 0x97]
        assert peer.send(kit.publish("t1", b"y", 1, retain=True))[0].reason_code == 0x10, "one that is there may change"
        peer.send(kit.publish("t1", b"", 1, retain=True))
        assert peer.send(kit.publish("t9", b"x", 1, retain=True))[0].reason_code == 0x10


def test_subscriptions_sessions_and_levels_are_bounded():
    site = kit.Site(limits=Limits(subscriptions=2, sessions=2, topic_levels=4))
    peer = site.connect("a")
    assert peer.send(kit.subscribe(("a", 0), ("b", 0), ("c", 0), ("a", 1)))[0].reason_codes == [0, 0, 0x97, 1]
    assert peer.send(kit.unsubscribe("a"), kit.subscribe(("1/2/3/4/5", 1), ("1/2/3/4", 1)))[1].reason_codes == [0x8F, 1]
    site.connect("b")
    assert kit.Peer(site.broker).send(kit.connect("c"))[0].reason_code == 0x97
    assert kit.Peer(site.broker, 4).send(kit.connect("c", 4)) == [b"\x20\x02\0\3"]
    site.connect("b")
    assert peer.send(kit.publish("1/2/3/4/5", b""))[0].reason_code == 0x90


def test_a_subscriber_that_does_not_read_is_sent_no_more():
    site = kit.Site()
    peer = site.connect("a")
    peer.send(kit.subscribe(("t", 1)))
    sender = site.connect("b")
    peer.connection.pause_writing()
    sender.send(kit.publish("t", b"qos 0"), kit.publish("t", b"1", 1), kit.publish("t", b"2", 1))
    assert peer.raw() == []
    peer.connection.resume_writing()
    assert peer.messages() == [("t", b"1"), ("t", b"2")]


def test_a_client_that_sends_but_never_reads_is_thrown_out():
    site = kit.Site(limits=Limits(backlog_bytes=100))
    peer = site.connect("a")
    peer.connection.pause_writing()
    for _ in range(50):
        peer.connection.receive(kit.PINGREQ)
    assert peer.state == "open"
    peer.connection.receive(kit.PINGREQ)
    assert peer.state == "aborted"


# --- hostile bytes ---

_CONNECT = kit.connect("a")

BEFORE_CONNECT = {
    "another packet": (kit.PINGREQ, []),
    "reserved type": (b"\x00\x00", []),
    "another protocol": (b"GET / HTTP/1.1\r\n\r\n", []),
    "flags of CONNECT": (b"\x11" + _CONNECT[1:], []),
    "protocol name": (_CONNECT.replace(b"MQTT", b"MQTX"), []),
    "reserved flag": (_CONNECT.replace(b"MQTT\5\2", b"MQTT\5\3"), [0x81]),
    "will flags without a will": (_CONNECT.replace(b"MQTT\5\2", b"MQTT\5\x22"), [0x81]),
    "short": (kit.packet(0x10, _CONNECT[2:-1]), [0x81]),
    "long": (kit.packet(0x10, _CONNECT[2:] + b"x"), [0x81]),
    "will with QoS 2": (kit.connect("a", will=("w", b"", 2, False)), [0x9B]),
    "will with QoS 3": (kit.connect("a", will=("w", b"", 3, False)), [0x81]),
    "will to a wildcard": (kit.connect("a", will=("w/#", b"", 0, False)), [0x90]),
    "authentication": (kit.connect("a", properties=b"\x15\0\1x"), [0x8C]),
    "authentication data alone": (kit.connect("a", properties=b"\x16\0\1x"), [0x82]),
    "a property of PUBLISH": (kit.connect("a", properties=b"\x23\0\1"), [0x81]),
    "receive maximum 0": (kit.connect("a", properties=b"\x21\0\0"), [0x82]),
    "a property twice": (kit.connect("a", properties=b"\x21\0\1\x21\0\1"), [0x82]),
    "client id not UTF-8": (_CONNECT[:-1] + b"\xff", [0x81]),
    "client id with U+0000": (_CONNECT[:-1] + b"\0", [0x81]),
    "client id too long": (kit.connect("a" * 129), [0x85]),
    "far too large": (b"\x10\xff\xff\xff\x7f", []),
    "length of 5 bytes": (b"\x10\xff\xff\xff\xff\x01", []),
}

AFTER_CONNECT = {
    "reserved type": (b"\x00\x00", 0x82),
    "a packet of servers": (b"\xd0\x00", 0x82),
    "QoS 2": (kit.publish("t", b"", 2), 0x9B),
    "QoS 3": (kit.publish("t", b"", 3), 0x81),
    "PUBREL": (b"\x62\x02\0\1", 0x82),
    "AUTH": (b"\xf0\x00", 0x82),
    "DUP with QoS 0": (b"\x38" + kit.publish("t")[1:], 0x81),
    "no topic": (kit.publish(""), 0x82),
    "wildcard in a topic": (kit.publish("a/+"), 0x90),
    "packet id 0": (kit.publish("t", b"", 1, packet_id=0), 0x82),
    "alias 0": (kit.publish("t", properties=b"\x23\0\0"), 0x82),
    "alias without a topic before": (kit.publish("", properties=b"\x23\0\1"), 0x82),
    "subscription id from a client": (kit.publish("t", properties=b"\x0b\1"), 0x81),
    "payload format 2": (kit.publish("t", properties=b"\x01\2"), 0x82),
    "properties beyond the packet": (kit.packet(0x30, b"\0\1t\x7f"), 0x81),
    "topic beyond the packet": (kit.packet(0x30, b"\xff\xfft"), 0x81),
    "larger than the limit": (kit.packet(0x30, bytes(70_000)), 0x95),
    "larger than the limit, header only": (b"\x30\xff\xff\xff\x7f", 0x95),
    "length of 5 bytes": (b"\x30\xff\xff\xff\xff\x01", 0x81),
    "length in too many bytes": (b"\x30\x80\x00", 0x81),
    "flags of SUBSCRIBE": (b"\x80" + kit.subscribe(("t", 0))[1:], 0x81),
    "no filter": (kit.subscribe(), 0x82),
    "empty filter": (kit.subscribe(("", 0)), 0x81),
    "wildcard inside a level": (kit.subscribe(("a/b#", 0)), 0x81),
    "wildcard before the end": (kit.subscribe(("a/#/b", 0)), 0x81),
    "reserved option": (kit.subscribe(("a", 0x40)), 0x81),
    "retain handling 3": (kit.subscribe(("a", 0x30)), 0x81),
    "subscribe with QoS 3": (kit.subscribe(("a", 3)), 0x81),
    "subscribe with packet id 0": (kit.subscribe(("a", 0), packet_id=0), 0x82),
    "subscription id": (kit.subscribe(("a", 0), properties=b"\x0b\1"), 0xA1),
    "unsubscribe from nothing": (kit.unsubscribe(), 0x82),
    "PUBACK of packet id 0": (kit.puback(0), 0x82),
    "PINGREQ with a body": (b"\xc0\x01x", 0x81),
    "DISCONNECT too long": (kit.packet(0xE0, b"\0\0x"), 0x81),
}


@pytest.mark.parametrize("name", BEFORE_CONNECT)
def test_nonsense_before_connect_ends_the_connection(name):
    raw, codes = BEFORE_CONNECT[name]
    site = kit.Site()
    peer = kit.Peer(site.broker)
    assert [int(one.reason_code) for one in peer.send(raw)] == codes
    assert peer.state == "closed" and site.broker.connections == [] and site.broker.sessions == {}


AFTER_CONNECT_4 = [
    b"\x00\x00",
    b"\xd0\x00",
    b"\x62\x02\0\1",
    b"\xf0\x00",
    kit.publish("t", b"", 2, version=4),
    kit.publish("", version=4),
    kit.publish("a/#", version=4),
    kit.publish("t", b"", 1, version=4, packet_id=0),
    b"\x30\xff\xff\xff\x7f",
    kit.subscribe(version=4),
    kit.subscribe(("a/#/b", 0), version=4),
    kit.subscribe(("a", 4), version=4),
    kit.unsubscribe(version=4),
    kit.packet(0x40, b"\0\1\x10"),
    kit.packet(0xE0, b"\0"),
]


@pytest.mark.parametrize("name", AFTER_CONNECT)
def test_nonsense_after_connect_ends_that_connection_alone(name):
    raw, code = AFTER_CONNECT[name]
    site = kit.Site()
    watcher, peer = site.watcher(), site.connect("a")
    assert [int(one.reason_code) for one in peer.send(raw)] == [code]
    assert peer.state == "closed"
    peer.connection.receive(raw)
    assert watcher.state == "open" and watcher.send(kit.PINGREQ)


@pytest.mark.parametrize("raw", AFTER_CONNECT_4, ids=bytes.hex)
def test_nonsense_ends_a_connection_of_3_1_1_without_a_word(raw):
    peer = kit.Site().connect("a", 4)
    assert (peer.send(raw), peer.state) == ([], "closed")


def test_shared_subscriptions_and_qos_2_subscriptions_get_what_there_is():
    site = kit.Site()
    assert site.connect("a").send(kit.subscribe(("$share/g/t", 1), ("t", 2)))[0].reason_codes == [0x9E, 1]
    assert site.connect("b", 4).send(kit.subscribe(("$share/g/t", 1), ("t", 2), version=4)) == [b"\x90\x04\0\1\x80\1"]


def _packets() -> list[bytes]:
    after = [raw for raw, _ in AFTER_CONNECT.values() if len(raw) < 1000]
    good = [kit.publish("t", b"x", 1), kit.subscribe(("#", 1)), kit.PINGREQ, kit.puback(1), kit.connect("b")]
    return [*after, *good, *good, *good, kit.unsubscribe("#")]


@given(st.data())
def test_no_bytes_hurt_anybody_else(data):
    """Whatever one client sends, however it is split: nothing is raised, and another client works as before."""
    site = kit.Site()
    watcher = site.watcher("$safe")
    peer = site.connect("a") if data.draw(st.booleans()) else kit.Peer(site.broker)
    raw = bytearray(b"".join(data.draw(st.lists(st.sampled_from(_packets()) | st.binary(max_size=20), max_size=12))))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, max(0, len(raw) - 1)), st.integers(0, 255)), max_size=4)):
        if raw:
            raw[at] = value
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        peer.connection.receive(bytes(raw[:size]))
        del raw[:size]
    site.pass_ms(20_000)
    site.connect("b").send(kit.publish("$safe", b"y", 1))
    assert watcher.messages() == [("$safe", b"y")]


# --- determinism ---


def _busy(seed: int) -> tuple[str, list[Any]]:
    trace = Trace()
    site = kit.Site(trace=trace, limits=Limits(queue_messages=5))
    pick = random.Random(seed)
    peers: list[kit.Peer] = []
    seen = []
    for step in range(300):
        if pick.random() < 0.1 or not peers:
            peers.append(kit.Peer(site.broker))
            name = f"c{pick.randrange(9)}"
            peers[-1].connection.receive(kit.connect(name, clean=pick.random() < 0.3, expiry_s=pick.randrange(60)))
        peer = pick.choice(peers)
        if peer.state == "open":
            choice = pick.randrange(3)
            if choice == 0:
                peer.connection.receive(kit.publish(f"t/{step % 7}", bytes([step % 256]), 1))
            elif choice == 1:
                peer.connection.receive(kit.subscribe((f"t/{pick.randrange(7)}", 1)))
            else:
                peer.lose()
        site.pass_ms(pick.randrange(500))
        seen.append([one.raw() for one in peers])
        peers = [one for one in peers if one.state == "open"]
    return trace.digest(), seen


def test_the_same_script_gives_the_same_bytes_and_the_same_trace():
    assert _busy(1) == _busy(1)
    assert _busy(1) != _busy(2)
