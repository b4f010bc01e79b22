from evergrow_protocol import topics
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, OUT_OF_RANGE, UNKNOWN_KIND, ProtocolError
from support import raises


def test_topics_have_five_levels():
    assert topics.up("acme", "washer-1", "usage") == "eg1/acme/washer-1/up/usage"
    assert topics.dn("acme", "washer-1", "ack") == "eg1/acme/washer-1/dn/ack"


def test_one_filter_covers_what_a_device_receives():
    """EG-TOP-002"""
    assert topics.dn_filter("acme", "washer-1") == "eg1/acme/washer-1/dn/#"


def test_ids_are_short_and_plain():
    """EG-TOP-001"""
    for good in ("a", "0", "-", "a" * 32, "washer-0042"):
        assert topics.check_id(good) == good
    for bad in ("", "a" * 33, "A", "a b", "a/b", "a+", "#", "é", "a_b", "a.b", "\x00"):
        assert raises(ProtocolError, topics.check_id, bad).code == OUT_OF_RANGE
        assert raises(ProtocolError, topics.up, "acme", bad, "usage").code == OUT_OF_RANGE
        assert raises(ProtocolError, topics.dn_filter, bad, "d").code == OUT_OF_RANGE
    for bad in (None, 5, b"a"):
        assert raises(ProtocolError, topics.check_id, bad).code == BAD_TYPE


def test_a_kind_belongs_to_one_direction():
    """EG-TOP-005"""
    assert raises(ProtocolError, topics.up, "acme", "d", "ack").code == UNKNOWN_KIND
    assert raises(ProtocolError, topics.dn, "acme", "d", "usage").code == UNKNOWN_KIND


def test_only_birth_and_state_are_retained():
    """EG-TOP-004"""
    assert sorted([kind for kind, (_, retain) in topics.UP.items() if retain]) == ["birth", "state"]
    assert not [kind for kind, (_, retain) in topics.DN.items() if retain]


def test_what_may_be_lost_has_qos_0():
    assert sorted([kind for kind, (qos, _) in topics.UP.items() if not qos]) == ["get", "tele"]
    assert sorted([kind for kind, (qos, _) in topics.DN.items() if not qos]) == ["block"]


def test_every_topic_parses_to_what_it_was_made_of():
    for direction, kinds, make in (("up", topics.UP, topics.up), ("dn", topics.DN, topics.dn)):
        for kind in kinds:
            assert topics.parse(make("acme", "washer-1", kind)) == ("acme", "washer-1", direction, kind)


def test_other_topics_are_refused():
    for topic, code in (
        ("", MALFORMED),
        ("eg1/acme/d/up", MALFORMED),
        ("eg1/acme/d/up/usage/more", MALFORMED),
        ("eg2/acme/d/up/usage", MALFORMED),
        ("eg1/acme/d/up/ack", UNKNOWN_KIND),
        ("eg1/acme/d/sideways/usage", UNKNOWN_KIND),
        ("eg1/acme/d/up/", UNKNOWN_KIND),
        ("eg1/Acme/d/up/usage", OUT_OF_RANGE),
        ("eg1/acme//up/usage", OUT_OF_RANGE),
    ):
        assert raises(ProtocolError, topics.parse, topic).code == code


def test_homes_have_topics_of_their_own_and_no_device_is_called_home():
    """EG-HOME-001, EG-TOP-007"""
    assert topics.home("acme", "h1", "event") == "eg1/acme/home/h1/event"
    assert topics.home_filter("acme", "h1") == "eg1/acme/home/h1/+"
    assert topics.parse("eg1/acme/home/h1/scene") == ("acme", "h1", "home", "scene")
    assert raises(ProtocolError, topics.home, "acme", "h1", "usage").code == UNKNOWN_KIND
    assert raises(ProtocolError, topics.parse, "eg1/acme/home/h1/usage").code == UNKNOWN_KIND
    assert raises(ProtocolError, topics.parse, "eg1/acme/home/H1/event").code == OUT_OF_RANGE
    for make in (lambda: topics.up("acme", "home", "usage"), lambda: topics.dn("acme", "home", "ack")):
        assert raises(ProtocolError, make).code == OUT_OF_RANGE
    assert raises(ProtocolError, topics.dn_filter, "acme", "home").code == OUT_OF_RANGE
