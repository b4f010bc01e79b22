"""The simulated broker as MQTT wants it: packets in, packets out, time moved by hand. Another library reads its answers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import world_broker_kit as kit

from evergrow_sim.world.broker_acl import Acl
from evergrow_sim.world.broker_settings import Limits, Switches
from evergrow_sim.world.trace import Trace

NEVER = 0xFFFF_FFFF
HOUR_MS = 3_600_000


@pytest.fixture
def site() -> kit.Site:
    return kit.Site()


both = pytest.mark.parametrize("version", [5, 4])


# --- CONNECT ---


def test_connack_says_what_there_is():
    site = kit.Site(limits=Limits(packet_bytes=5000, receive_maximum=7, topic_aliases=3))
    info = kit.Peer(site.broker).send(kit.connect("a"))[0]
    assert (info.receive_max, info.topic_alias_max, info.max_packet_size, info.max_qos) == (7, 3, 5000, 1)
    assert info.retain_available and info.wildcard_subscription_available
    assert not info.subscription_id_available and not info.shared_subscription_available


def test_an_empty_client_id_is_assigned_from_a_counter(site):
    names = [kit.Peer(site.broker).send(kit.connect(""))[0].assigned_client_id for _ in range(2)]
    assert names == ["auto-1", "auto-2"]
    assert kit.Peer(site.broker, 4).send(kit.connect("", 4)) == [b"\x20\x02\0\0"]


def test_an_assigned_id_is_never_one_that_somebody_has(site):
    site.connect("auto-1")
    assert kit.Peer(site.broker).send(kit.connect(""))[0].assigned_client_id == "auto-2"


def test_an_empty_client_id_that_wants_a_session_is_refused_in_3_1_1(site):
    peer = kit.Peer(site.broker, 4)
    assert peer.send(kit.connect("", 4, clean=False)) == [b"\x20\x02\0\2"]
    assert peer.state == "closed"


def test_who_says_nothing_is_thrown_out(site):
    peer = kit.Peer(site.broker)
    site.pass_ms(9_999)
    assert peer.state == "open"
    site.pass_ms(1)
    assert (peer.state, peer.raw()) == ("closed", [])


def test_credentials_are_checked_and_never_traced():
    trace = Trace()
    asked = []

    def check(client_id: str, username: str, password: bytes | None) -> int:
        asked.append((client_id, username, password))
        return 0 if password == b"secret" else 0x86

    site = kit.Site(authenticate=check, trace=trace)
    site.connect("a", username="u", password=b"secret")
    assert kit.Peer(site.broker).send(kit.connect("a", username="u", password=b"guess"))[0].reason_code == 0x86
    assert kit.Peer(site.broker, 4).send(kit.connect("a", 4, username="u")) == [b"\x20\x02\0\4"]
    assert asked == [("a", "u", b"secret"), ("a", "u", b"guess"), ("a", "u", None)]
    assert not any(word in repr(trace.last()) for word in ("secret", "guess"))


def test_a_second_connection_takes_over(site):
    first = site.connect("same", clean=False, expiry_s=100)
    first.send(kit.subscribe(("a", 1)))
    second = site.connect("same", clean=False, expiry_s=100)
    assert [one.reason_code for one in first.read()] == [0x8E]
    assert first.state == "closed" and second.session_present
    site.connect("other").send(kit.publish("a", b"x"))
    assert second.messages() == [("a", b"x")]


@both
def test_a_second_connect_on_one_connection_ends_it(version, site):
    peer = site.connect("a", version)
    found = peer.send(kit.connect("a", version))
    assert peer.state == "closed"
    assert [one.reason_code for one in found if version == 5] == ([0x82] if version == 5 else [])


# --- sessions ---


@both
def test_a_session_outlives_its_connection(version, site):
    peer = site.connect("a", version, clean=False, expiry_s=10)
    assert not peer.session_present
    peer.send(kit.subscribe(("t/+", 1), version=version))
    peer.lose()
    other = site.connect("b")
    other.send(kit.publish("t/1", b"kept", 1), kit.publish("t/2", b"not kept", 0))
    again = site.connect("a", version, clean=False, expiry_s=10)
    assert again.session_present
    assert again.messages() == [("t/1", b"kept")]
    other.send(kit.publish("t/3", b"live", 0))
    assert again.messages() == [("t/3", b"live")]


@both
def test_a_clean_start_forgets_the_session(version, site):
    peer = site.connect("a", version, clean=False, expiry_s=10)
    peer.send(kit.subscribe(("t", 1), version=version))
    peer.lose()
    again = site.connect("a", version, clean=True)
    assert not again.session_present
    assert site.connect("b").send(kit.publish("t", b"x", 1))[0].reason_code == 0x10
    assert again.messages() == []


def test_a_session_ends_when_its_time_is_up(site):
    peer = site.connect("a", clean=False, expiry_s=10)
    peer.lose()
    site.pass_ms(9_999)
    assert "a" in site.broker.sessions
    site.pass_ms(1)
    assert site.broker.sessions == {}


def test_a_session_that_never_expires_stays(site):
    site.connect("five", clean=False, expiry_s=NEVER).lose()
    site.connect("four", 4, clean=False).lose()
    site.pass_ms(1000 * HOUR_MS)
    assert list(site.broker.sessions) == ["five", "four"]


def test_disconnect_may_change_the_expiry(site):
    site.connect("a", clean=False, expiry_s=10).send(kit.disconnect(properties=b"\x11\0\0\0\x64"))
    site.connect("b", clean=False, expiry_s=10).send(kit.disconnect(properties=b"\x11\0\0\0\x00"))
    assert list(site.broker.sessions) == ["a"]
    site.pass_ms(99_999)
    assert list(site.broker.sessions) == ["a"]
    site.pass_ms(1)
    assert site.broker.sessions == {}


def test_disconnect_cannot_make_a_session_that_was_not_wanted(site):
    peer = site.connect("a")
    assert peer.send(kit.disconnect(properties=b"\x11\0\0\0\x64"))[0].reason_code == 0x82


def test_unacknowledged_messages_come_again_first_in_order_and_marked(site):
    peer = site.connect("a", clean=False, expiry_s=100, properties=b"\x21\x00\x02")
    peer.send(kit.subscribe(("t", 1)))
    sender = site.connect("b")
    for i in range(4):
        sender.send(kit.publish("t", bytes([i]), 1))
    first = peer.read()
    third = peer.send(kit.puback(first[0].packet_id))
    peer.lose()
    again = site.connect("a", clean=False, expiry_s=100, properties=b"\x21\x00\x02")
    found = again.read()
    assert [(one.payload, one.duplicate) for one in found] == [(b"\1", True), (b"\2", True)]
    assert [one.packet_id for one in found] == [first[1].packet_id, third[0].packet_id]
    found = again.send(*[kit.puback(one.packet_id) for one in found])
    assert [(one.payload, one.duplicate) for one in found] == [(b"\3", False)]


def test_a_resumed_session_keeps_to_a_smaller_receive_maximum(site):
    peer = site.connect("a", clean=False, expiry_s=100)
    peer.send(kit.subscribe(("t", 1)))
    for i in range(4):
        site.connect("b").send(kit.publish("t", bytes([i]), 1))
    peer.lose()
    again = site.connect("a", clean=False, expiry_s=100, properties=b"\x21\x00\x01")
    for i in range(4):
        (one,) = again.read()
        assert (one.payload, one.duplicate) == (bytes([i]), True)
        again.connection.receive(kit.puback(one.packet_id))
    assert again.read() == []


# --- messages ---


@both
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_reaches_who_subscribed_at_the_lower_qos(version, qos, site):
    sender, peer = site.connect("a", version), site.connect("b")
    peer.send(kit.subscribe(("t/#", 0)))
    site.connect("c").send(kit.subscribe(("u", 1)))
    found = sender.send(kit.publish("t/x", b"hello", qos, version=version, packet_id=9))
    assert len(found) == qos
    message = peer.read()[0]
    assert (message.topic, message.payload, message.qos, message.retain) == ("t/x", b"hello", 0, False)


def test_overlapping_subscriptions_bring_one_message_at_the_highest_qos(site):
    peer = site.connect("a")
    peer.send(kit.subscribe(("t/+", 0), ("t/#", 1), ("#", 0)))
    site.connect("b").send(kit.publish("t/x", b"1", 1))
    assert [one.qos for one in peer.read()] == [1]


def test_properties_of_a_message_go_along_unchanged(site):
    peer = site.watcher()
    properties = b"\x01\x01\x03\0\4text\x08\0\5reply\x09\0\3\0\1\2\x26\0\1k\0\1v\x26\0\1k\0\1w"
    site.connect("a").send(kit.publish("t", b"x", properties=properties))
    one = peer.read()[0]
    assert (one.payload_format_indicator, one.content_type, one.response_topic) == (1, "text", "reply")
    assert (one.correlation_data, one.user_properties) == (b"\0\1\2", [("k", "v"), ("k", "w")])


def test_no_local_and_retain_as_published_are_kept_to(site):
    peer = site.connect("a")
    peer.send(kit.subscribe(("t", 4), ("u", 8), ("v", 0)))
    found = peer.send(*[kit.publish(topic, b"x", retain=True) for topic in "tuv"])
    assert [(one.topic, one.retain) for one in found] == [("u", True), ("v", False)]


def test_unsubscribe_says_what_it_found(site):
    peer = site.connect("a")
    peer.send(kit.subscribe(("t", 1)))
    assert peer.send(kit.unsubscribe("t", "u"))[0].reason_codes == [0, 0x11]
    assert peer.send(kit.publish("t", b"x", 1))[0].reason_code == 0x10


def test_a_message_expires_in_the_queue_and_tells_what_is_left(site):
    peer = site.connect("a", clean=False, expiry_s=100)
    peer.send(kit.subscribe(("t", 1)))
    peer.lose()
    sender = site.connect("b")
    for payload, expiry_s in ((b"soon", 5), (b"later", 10)):
        sender.send(kit.publish("t", payload, 1, properties=b"\x02\0\0\0" + bytes([expiry_s])))
    sender.send(kit.publish("t", b"never", 1))
    site.pass_ms(5_500)
    found = kit.Peer(site.broker).send(kit.connect("a", clean=False))[1:]
    assert [(one.payload, one.message_expiry_interval) for one in found] == [(b"later", 5), (b"never", None)]


def test_a_topic_alias_stands_for_its_topic_on_this_connection_only(site):
    watcher, peer = site.watcher(), site.connect("a")
    alias = b"\x23\0\x02"
    peer.send(kit.publish("t", b"1", properties=alias), kit.publish("", b"2", properties=alias))
    peer.send(kit.publish("u", b"3", properties=alias), kit.publish("", b"4", properties=alias))
    assert watcher.messages() == [("t", b"1"), ("t", b"2"), ("u", b"3"), ("u", b"4")]
    assert peer.send(kit.publish("", b"5", properties=b"\x23\0\1"))[0].reason_code == 0x82
    again = site.connect("a", clean=False)
    assert again.send(kit.publish("", b"5", properties=alias))[0].reason_code == 0x82
    assert watcher.messages() == []


@pytest.mark.parametrize("alias", [b"\x23\0\x0b", b"\x23\xff\xff"])
def test_an_alias_above_the_limit_is_refused(alias, site):
    assert site.connect("a").send(kit.publish("t", b"1", properties=alias))[0].reason_code == 0x94


def test_the_clients_receive_maximum_is_kept_to(site):
    peer = site.connect("a", properties=b"\x21\x00\x03")
    peer.send(kit.subscribe(("t", 1)))
    sender = site.connect("b")
    for i in range(8):
        sender.send(kit.publish("t", bytes([i]), 1))
    sender.send(kit.publish("t", b"qos 0"))
    found = peer.read()
    assert [one.payload for one in found] == [b"\0", b"\1", b"\2", b"qos 0"]
    ids = [one.packet_id for one in found if one.packet_id]
    assert [one.payload for one in peer.send(kit.puback(ids[1]))] == [b"\3"]
    assert [one.payload for one in peer.send(kit.puback(ids[0]), kit.puback(ids[2]))] == [b"\4", b"\5"]
    assert peer.send(kit.puback(ids[0])) == [], "a second acknowledgement opens no window"


def test_the_brokers_receive_maximum_is_enforced():
    """Which a client can only exceed where acknowledgements take time."""
    site = kit.Site(limits=Limits(receive_maximum=3), switches=Switches(puback_delay_ms=500))
    peer = site.connect("a")
    assert peer.send(*[kit.publish("t", b"", 1, packet_id=1 + i) for i in range(3)]) == []
    site.pass_ms(500)
    assert [one.packet_id for one in peer.read()] == [1, 2, 3]
    found = peer.send(*[kit.publish("t", b"", 1, packet_id=4 + i) for i in range(4)])
    assert [one.reason_code for one in found] == [0x93] and peer.state == "closed"


def test_a_message_larger_than_the_client_takes_is_skipped(site):
    peer = site.connect("a", properties=b"\x27\0\0\0\x40")
    peer.send(kit.subscribe(("t", 1)))
    sender = site.connect("b")
    for qos in (0, 1):
        sender.send(kit.publish("t", b"x" * 60, qos), kit.publish("t", b"small", qos))
    assert peer.messages() == [("t", b"small"), ("t", b"small")]
    assert site.broker.sessions["a"].inflight == 0


# --- retained messages ---


@both
def test_retained_messages_meet_new_subscribers(version, site):
    sender = site.connect("a", version)
    for topic, payload, qos in (("t/1", b"old", 0), ("t/2", b"2", 1), ("t/1", b"new", 0), ("u", b"3", 0)):
        sender.send(kit.publish(topic, payload, qos, version=version, retain=True))
    peer = site.connect("b")
    found = peer.send(kit.subscribe(("t/+", 1)))[1:]
    assert [(one.topic, one.payload, one.qos) for one in found] == [("t/1", b"new", 0), ("t/2", b"2", 1)]
    assert all(one.retain for one in found)
    sender.send(kit.publish("t/1", b"", version=version, retain=True))
    assert len(site.broker.retained) == 2
    assert [one.payload for one in site.connect("c").send(kit.subscribe(("t/#", 0)))[1:]] == [b"2"]


def test_retain_handling_is_kept_to(site):
    site.connect("a").send(kit.publish("t", b"x", retain=True))
    peer = site.connect("b")
    found = [len(peer.send(kit.subscribe(("t", options)))) - 1 for options in (32, 16, 0)]
    assert found == [0, 0, 1]
    assert len(site.connect("c").send(kit.subscribe(("t", 16)))) - 1 == 1


def test_a_retained_message_expires(site):
    site.connect("a").send(kit.publish("t", b"x", retain=True, properties=b"\x02\0\0\0\x05"))
    site.pass_ms(4_000)
    assert site.connect("b").send(kit.subscribe(("t", 1)))[1].message_expiry_interval == 1
    site.pass_ms(1_000)
    assert len(site.connect("c").send(kit.subscribe(("t", 1)))) == 1


# --- wills ---


@both
def test_a_will_is_published_for_who_vanishes(version, site):
    watcher = site.watcher()
    for ending in ("lost", "silent", "nonsense"):
        peer = site.connect("a", version, keepalive_s=10, will=("will", ending.encode(), 1, False))
        if ending == "lost":
            peer.lose()
        elif ending == "silent":
            site.pass_ms(15_000)
        else:
            peer.send(b"\xff")
        assert watcher.messages() == [("will", ending.encode())]


@both
def test_a_polite_client_has_no_will(version, site):
    watcher = site.watcher()
    peer = site.connect("a", version, will=("will", b"gone", 1, False))
    peer.send(kit.disconnect())
    assert peer.state == "closed" and watcher.messages() == []


def test_disconnect_with_will_publishes_it(site):
    watcher = site.watcher()
    site.connect("a", will=("will", b"gone", 1, True)).send(kit.disconnect(4))
    assert watcher.messages() == [("will", b"gone")] and len(site.broker.retained) == 1


def test_a_delayed_will_waits_and_a_return_cancels_it(site):
    watcher = site.watcher()
    options = {"clean": False, "expiry_s": 100, "will": ("will", b"gone", 1, False), "will_delay_s": 10}
    site.connect("a", **options).lose()
    site.pass_ms(9_999)
    peer = site.connect("a", **options)
    site.pass_ms(HOUR_MS)
    assert watcher.messages() == []
    peer.lose()
    site.pass_ms(10_000)
    assert watcher.messages() == [("will", b"gone")]
    site.pass_ms(HOUR_MS)
    assert watcher.messages() == []


def test_a_delayed_will_comes_with_the_end_of_the_session(site):
    watcher = site.watcher()
    options = {"will": ("will", b"gone", 1, False), "will_delay_s": 1000}
    site.connect("a", expiry_s=5, clean=False, **options).lose()
    site.pass_ms(5_000)
    site.connect("b", expiry_s=500, clean=False, **options).lose()
    assert watcher.messages() == [("will", b"gone")]
    site.connect("b", clean=True)
    assert watcher.messages() == [("will", b"gone")]


def test_takeover_publishes_the_will_unless_it_has_a_delay_and_the_session_goes_on(site):
    watcher = site.watcher()
    for delay_s, clean, published in ((0, False, 1), (0, True, 1), (10, False, 0), (10, True, 1)):
        options = {"clean": False, "expiry_s": 100}
        site.connect("a", will=("will", b"gone", 0, False), will_delay_s=delay_s, **options)
        site.connect("a", **{**options, "clean": clean}).send(kit.disconnect())
        site.pass_ms(HOUR_MS)
        assert len(watcher.messages()) == published, (delay_s, clean)


# --- time ---


@both
def test_silence_beyond_one_and_a_half_keepalives_ends_the_connection(version, site):
    peer = site.connect("a", version, keepalive_s=10)
    site.pass_ms(14_999)
    assert peer.state == "open"
    assert peer.send(kit.PINGREQ) != []
    site.pass_ms(14_999)
    peer.connection.receive(b"\xc0")  # half a packet proves nothing
    site.pass_ms(1)
    assert peer.state == "closed"
    assert [one.reason_code for one in peer.read()] == [0x8D] if version == 5 else peer.raw() == []


def test_keepalive_0_is_for_ever(site):
    peer = site.connect("a")
    site.pass_ms(1000 * HOUR_MS)
    assert peer.state == "open"


def test_the_owner_of_the_timer_is_woken_when_it_must_be_earlier():
    woken = []
    site = kit.Site(wake=lambda: woken.append(site.broker.due_ms))
    site.connect("a", keepalive_s=100)
    site.connect("b", keepalive_s=1)
    assert woken == [11_000, 2_500]
    site.pass_ms(1_500)
    assert site.broker.due_ms == 151_000


# --- access ---

ACL = """
topic read public/#
user cloud
topic readwrite eg1/#
pattern write eg1/acme/%c/up/+
pattern read eg1/acme/%c/dn/#
""".splitlines()


def test_an_acl_guards_each_device():
    site = kit.Site(acl=Acl.parse(ACL), switches=Switches(on_denied="answer"))
    cloud = site.connect("any", username="cloud")
    assert cloud.send(kit.subscribe(("eg1/+/+/up/#", 1), ("#", 1)))[0].reason_codes == [1, 0x87]
    device = site.connect("w1")
    wanted = ("eg1/acme/w1/dn/#", "eg1/acme/w1/dn/cmd", "eg1/acme/w2/dn/#", "eg1/acme/+/dn/#", "eg1/acme/w1/#", "public/x")
    found = device.send(kit.subscribe(*[(name, 1) for name in wanted]))[0]
    assert found.reason_codes == [1, 1, 0x87, 0x87, 0x87, 1]
    codes = [
        device.send(kit.publish(topic, b"x", 1))[0].reason_code
        for topic in ("eg1/acme/w1/up/tele", "eg1/acme/w2/up/tele", "eg1/acme/w1/dn/cmd", "public/x")
    ]
    assert codes == [0, 0x87, 0x87, 0x87]
    assert cloud.messages() == [("eg1/acme/w1/up/tele", b"x")]
    cloud.send(kit.publish("eg1/acme/w1/dn/cmd", b"y", 1), kit.publish("eg1/acme/w2/dn/cmd", b"y", 1))
    assert device.messages() == [("eg1/acme/w1/dn/cmd", b"y")]


@pytest.mark.parametrize("client_id", ["+", "#", "w1/dn", "w1/#"])
def test_a_client_id_cannot_be_a_wildcard_of_the_acl(client_id):
    site = kit.Site(acl=Acl.parse(ACL))
    peer = site.connect(client_id)
    assert peer.send(kit.subscribe((f"eg1/acme/{client_id}/dn/x".replace("#", "x"), 1)))[0].reason_codes == [0x87]


def test_an_acl_that_gets_tighter_holds_for_what_is_subscribed_already(site):
    peer = site.connect("a")
    peer.send(kit.subscribe(("#", 1)))
    site.broker.acl = Acl.parse(["topic write #", "topic read allowed/#"])
    site.connect("b").send(kit.publish("allowed/x", b"1"), kit.publish("other", b"2"))
    assert peer.messages() == [("allowed/x", b"1")]


def test_the_will_of_a_client_obeys_its_acl():
    site = kit.Site(acl=Acl.parse(ACL))
    cloud = site.connect("any", username="cloud")
    cloud.send(kit.subscribe(("eg1/#", 1)))
    for topic in ("eg1/acme/w2/up/state", "eg1/acme/w1/up/state"):
        site.connect("w1", will=(topic, b"x", 1, False)).lose()
    assert cloud.messages() == [("eg1/acme/w1/up/state", b"x")]


@pytest.mark.parametrize("line", ["topic", "topic read", "topic deny x", "allow all", "pattern"])
def test_an_acl_line_that_says_nothing_is_a_value_error(line):
    with pytest.raises(ValueError, match="ACL line"):
        Acl.parse([line])
