"""What the agent says and hears beside usage: events, alarms, sayings, and the other appliances of the home."""

from agentworld import NOW_S, Cloud, Device
from evergrow_agent.guard import GE
from evergrow_agent.home import STALE_S, Home
from evergrow_agent.timebase import Timebase
from evergrow_protocol.cbor import dumps, loads
from evergrow_protocol.errors import BAD_TYPE, INVALID_STATE, MALFORMED, OK, OUT_OF_RANGE, STALE
from evergrow_protocol.messages import VOICE_RATING, VOICE_WISH
from stillclock import Clock
from support import raises_code
from tinyappliance import LEVEL, TinyAppliance

HEAP = "1M"
LEAK = 20


def leaking():
    appliance = TinyAppliance()
    appliance.alarms = ((LEAK, LEVEL, GE, 1, 5),)
    return appliance


async def test_the_end_of_a_cycle_is_an_event_for_the_cloud_and_for_the_home():
    """EG-EVT-001, EG-HOME-001, EG-HOME-002"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.run_cycle()
        await device.until(lambda: cloud.at_home)
        (event,) = cloud.of("event")
        assert event[:2] == [1, 1] and event[3] == {0: 3, 1: 0, 2: 0}
        assert cloud.at_home == [("event", ["d1", event])]

    await Device(cloud, home="h1").live(story)


async def test_without_a_home_nothing_is_said_to_one():
    """EG-HOME-001"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.run_cycle()
        await device.until(lambda: cloud.of("event"))
        await device.clock.sleep_ms(5000)
        assert not cloud.at_home

    await Device(cloud).live(story)


async def test_an_alarm_is_in_the_state_until_it_is_over_and_can_be_acknowledged():
    """EG-EVT-002, EG-EVT-004"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        cloud.down("cmd", [1, 4, {0: LEAK}])
        await device.until(lambda: cloud.of("rsp"))
        device.appliance.values[LEVEL] = 500
        await device.until(lambda: cloud.of("state")[-1][3].get(8) == [LEAK])
        cloud.down("cmd", [2, 4, {0: LEAK}])
        await device.until(lambda: len(cloud.of("event")) == 2 or len(cloud.of("event")) > 2)
        cloud.down("cmd", [3, 4, {}])
        device.appliance.values[LEVEL] = 0
        await device.until(lambda: 8 not in cloud.of("state")[-1][3])
        await device.until(lambda: len(cloud.of("rsp")) == 3)
        assert [message[3] for message in cloud.of("rsp")] == [[1, INVALID_STATE], [2, OK], [3, MALFORMED]]
        told = [message[3] for message in cloud.of("event") if message[3][0] == LEAK]
        assert [(body[0], body[1]) for body in told] == [(LEAK, 1), (LEAK, 3), (LEAK, 2)]

    device = Device(cloud, appliance=leaking())
    device.appliance.step = lambda seconds=1: None
    await device.live(story)


async def test_what_a_user_says_arrives_is_heard_and_is_about_the_last_cycle():
    """EG-VOICE-001, EG-VOICE-002"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.run_cycle()
        assert device.agent.say(VOICE_RATING, 5, feature=(2, 1001)) == (1, 1)
        assert device.agent.say(VOICE_WISH, 1, "quiet, please") == (1, 2)
        await device.until(lambda: len(cloud.of("voice")) == 2)
        assert cloud.of("voice")[0][3] == {0: 1, 1: [1, 1], 2: [2, 1001], 3: 5}
        cloud.down("heard", [1, 1])
        await device.until(lambda: device.agent.voice.pending == 1)
        before = len(cloud.of("voice"))
        await device.until(lambda: len(cloud.of("voice")) > before)  # the other one, again and again
        assert cloud.of("voice")[-1][1] == 2
        cloud.down("heard", [1, 2])
        await device.until(lambda: not device.agent.link.busy)

    await Device(cloud).live(story)


MINE = "eg1/acme/d1/dn/#"


async def test_a_device_that_moves_gives_up_the_subscription_of_its_old_home():
    """EG-HOME-001: on a session that the broker keeps, too, and when it moves back, or while there is no link."""
    cloud = Cloud()

    async def story(device):
        link = device.agent.link
        await device.until(lambda: cloud.of("sync") and not link.busy)
        assert cloud.filters == [MINE, "eg1/acme/home/h1/+"]
        cloud.down("cfg", [1, {3: "h2"}])
        await device.until(lambda: cloud.filters == [MINE, "eg1/acme/home/h2/+"])
        link.join("h3")
        link.join("h2")
        await device.until(lambda: not link.busy)
        assert cloud.filters == [MINE, "eg1/acme/home/h2/+"]
        cloud._link.drop()
        link.join("h1")
        link.join("h3")
        await device.until(lambda: cloud.filters == [MINE, "eg1/acme/home/h3/+"])
        link.join("")
        await device.until(lambda: cloud.filters == [MINE])

    await Device(cloud, home="h1").live(story)


async def test_a_broker_that_refuses_a_home_costs_nothing_else():
    """EG-HOME-001"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync") and not device.agent.link.busy)
        cloud.suback_code = 0x87
        device.agent.link.join("h1")
        await device.until(lambda: "0x87" in device.agent.link.last_error)
        await device.run_cycle()
        await device.until(lambda: cloud.usage)
        assert device.agent.link.connects == 1

    await Device(cloud).live(story)


async def test_other_appliances_and_scenes_are_heard_and_retained_or_foreign_ones_are_not():
    """EG-HOME-001, EG-HOME-003"""
    cloud = Cloud()
    heard = []

    async def story(device):
        device.agent.home.on_event = lambda *event: heard.append(event)
        device.agent.home.on_scene = lambda scene: heard.append(scene)
        await device.until(lambda: cloud.of("sync"))
        cloud.tell_home("event", ["d2", [4, 1, NOW_S, {0: 3, 1: 0, 2: 0}]])
        cloud.tell_home("event", ["d1", [4, 1, NOW_S, {0: 3, 1: 0}]])
        cloud.tell_home("event", ["d3", [4, 1, [77], {0: 1007, 1: 0, 9: "new"}]])
        cloud.tell_home("scene", [2, NOW_S])
        cloud.tell_home("event", ["d2", [4, 1, NOW_S]])
        await device.until(lambda: len(heard) == 3)
        assert heard == [("d2", 3, 0), ("d3", 1007, None), 2]
        assert device.agent.link.dropped == 1

    device = Device(cloud, home="h1")
    await device.live(story)
    assert sum(device.agent.crashes.values()) == 0


def test_what_was_meant_long_ago_is_stale_where_the_time_is_known():
    """EG-HOME-004"""
    clock = Clock(NOW_S, 5000)
    timebase = Timebase(clock)
    timebase.set_utc_s(NOW_S)
    home = Home("d1", timebase)
    home.receive_scene(dumps([1, NOW_S - STALE_S]))
    raises_code(STALE, home.receive_scene, dumps([1, NOW_S - STALE_S - 1]))
    raises_code(STALE, home.receive_event, dumps(["d2", [1, 1, NOW_S + STALE_S + 1, {0: 3, 1: 0}]]))
    clock.utc = None
    home.receive_scene(dumps([1, NOW_S - 10 * STALE_S]))


def test_malformed_home_messages_are_refused_with_their_codes():
    """EG-ENC-004"""
    home = Home("d1", Timebase(Clock(NOW_S, 5000)))
    raises_code(MALFORMED, home.receive_event, dumps(["d2"]))
    raises_code(BAD_TYPE, home.receive_event, dumps(["d2", {}]))
    raises_code(BAD_TYPE, home.receive_event, dumps([7, [1, 1, NOW_S, {0: 3, 1: 0}]]))
    raises_code(OUT_OF_RANGE, home.receive_event, dumps(["D2", [1, 1, NOW_S, {0: 3, 1: 0}]]))
    raises_code(BAD_TYPE, home.receive_event, dumps(["d2", [1, 1, NOW_S, {0: 3, 1: 0, 2: "x"}]]))
    raises_code(MALFORMED, home.receive_scene, dumps([1]))


def test_an_announcement_is_the_event_under_the_name_of_its_device():
    """EG-HOME-002"""
    assert loads(Home("d1", Timebase(Clock(NOW_S, 5000))).announce(dumps([1, 2, [3], {0: 3}]))) == ["d1", [1, 2, [3], {0: 3}]]
