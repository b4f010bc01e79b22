"""Credits, and a cloud that is busy."""

from agentworld import Cloud, Device
from evergrow_agent.pacing import ALL, GET, HOLD_MAX_S, TELEMETRY, USAGE, Pacing
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import BUSY
from stillclock import Clock

HEAP = "1M"


def bench():
    clock = Clock()
    return clock, Pacing(clock)


def taken(pacing, tries=1000):
    return len([1 for _ in range(tries) if pacing.take()])


def test_credits_are_a_burst_and_a_rate():
    """EG-BUSY-002"""
    clock, pacing = bench()
    assert taken(pacing) == 1000  # no welcome has said anything
    pacing.grant((3, 60))
    assert taken(pacing) == 3
    clock.now_ms += 59_999
    assert taken(pacing) == 0
    clock.now_ms += 1
    assert taken(pacing) == 1
    clock.now_ms += 24 * 3_600_000
    assert taken(pacing) == 3
    pacing.grant((0, 0))
    assert taken(pacing) == 0
    pacing.grant(None)
    assert taken(pacing) == 1000


def test_usage_takes_credits_and_needs_none():
    """EG-BUSY-002"""
    clock, pacing = bench()
    pacing.grant((3, 60))
    for _ in range(2):
        pacing.spend()
    assert taken(pacing) == 1
    for _ in range(5):
        pacing.spend()
    clock.now_ms += 60_000
    assert taken(pacing) == 1


def test_a_kind_is_held_for_as_long_as_was_said_last():
    """EG-BUSY-001"""
    clock, pacing = bench()
    pacing.hold(USAGE, 60)
    assert [pacing.held(kind) for kind in (TELEMETRY, USAGE, GET)] == [False, True, False]
    clock.now_ms += 59_999
    assert pacing.held(USAGE)
    clock.now_ms += 1
    assert not pacing.held(USAGE)
    pacing.hold(ALL, 0xFFFFFFFF)
    assert [pacing.held(kind) for kind in (TELEMETRY, USAGE, GET)] == [True] * 3 and not pacing.take()
    pacing.hold(TELEMETRY, 1)
    clock.now_ms += 1000
    assert pacing.take() and pacing.held(USAGE)
    clock.now_ms += 1000 * HOLD_MAX_S
    assert not pacing.held(USAGE)


async def test_a_busy_cloud_hears_nothing_of_a_kind_until_its_time_is_over():
    """EG-BUSY-001, EG-BUSY-004"""
    cloud = Cloud()
    cloud.acks = False

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        await device.run_cycle()
        await device.until(lambda: cloud.of("usage"))
        cloud.down("busy", [USAGE, 300])
        await device.until(lambda: device.agent.link.pacing.held(USAGE))
        heard = len(cloud.of("usage"))
        cloud._link.drop()
        await device.run_cycle()
        await device.until(lambda: device.agent.link.connects == 2)
        cloud.acks = True
        await device.clock.sleep_ms(200_000)
        assert len(cloud.of("usage")) == heard and device.agent.ledger.pending == 2
        await device.until(lambda: device.agent.ledger.pending == 0, 200)
        assert sorted(cloud.usage) == [(1, 1), (1, 2)]

    await Device(cloud).live(story)


async def test_telemetry_is_held_back_first_and_what_is_lost_is_told():
    """EG-BUSY-002, EG-TELE-002, EG-TELE-005"""
    cloud = Cloud()
    cloud.welcomes = False

    async def story(device):
        await device.until(lambda: cloud.of("state"))
        birth = cloud.of("birth")[-1]
        cloud.down("welcome", [birth[0], birth[1], 1_795_339_200, {1: [3, 60]}])
        await device.until(lambda: cloud.of("sync"))
        cloud.down("cfg", [1, {1: [[1, 1, 1, {1: 0}, 2]]}])  # a batch every two seconds
        await device.until(lambda: len(cloud.of("tele")) == 3)
        since_ms = device.clock.now_ms
        await device.until(lambda: len(cloud.of("tele")) == 6)
        assert device.clock.now_ms - since_ms > 150_000
        assert cloud.of("tele")[-1][3][3] > 40
        await device.run_cycle()
        await device.until(lambda: cloud.usage, 60)
        await device.until(lambda: device.agent.ledger.pending == 0, 60)

    await Device(cloud).live(story)


async def test_who_asks_too_early_is_told_when_to_ask_again():
    """EG-BUSY-005"""
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        device.agent.link.answer(5, BUSY)
        await device.until(lambda: cloud.of("rsp"))
        assert cloud.of("rsp")[0][3] == [5, BUSY, 10]

    await Device(cloud).live(story)


async def test_what_is_no_busy_holds_nothing():
    cloud = Cloud()

    async def story(device):
        await device.until(lambda: cloud.of("sync"))
        for payload in (dumps([4, 60]), dumps([1, 0]), dumps([1]), dumps({1: 60})):
            cloud.down("busy", payload)
        await device.until(lambda: device.agent.link.dropped == 4)
        assert not device.agent.link.pacing.held(TELEMETRY)

    await Device(cloud).live(story)
