"""The client over links without a network, in virtual time: no test waits, and no order depends on the machine."""

import asyncio

from evergrow_mqtt.client import Client
from evergrow_mqtt.config import Config
from evergrow_mqtt.errors import Closed, HandlerError, LinkError, ProtocolViolation, Refused
from mqttworld import SeededRandom, Server, World, publish
from support import raises_async


class Device:
    """A client in a world, and what happened to it."""

    def __init__(self, world, on_message=None, on_oversized=None, on_part=None, **settings):
        settings.setdefault("rx_bytes", 512)
        settings.setdefault("tx_bytes", 1024)
        self.world = world
        self.messages = []
        self.errors = []
        self.sessions = []
        self.client = Client(
            Config("dev", "host", 1883, **settings), world, SeededRandom(7), on_message or self._keep, on_oversized, on_part
        )

    def _keep(self, topic, payload, retain, dup):
        self.messages.append((topic, bytes(payload), retain, dup))

    async def on_connect(self, session_present):
        self.sessions.append(session_present)
        await self.client.subscribe("dn/#", 1)

    async def run(self):
        await self.client.run(self.on_connect, self.errors.append)


async def until(condition, world, step_ms=100):
    """Let things happen, time included, until `condition()`."""

    async def wait():
        while not condition():
            await world.clock.sleep_ms(step_ms)

    await world.clock.run(wait())


async def finish(device, running):
    await device.world.clock.run(device.client.close())
    await device.world.clock.run(wait_for(running))


async def wait_for(task):
    return await task


def publisher(device, *args):
    return asyncio.create_task(device.client.publish(*args))


# --- connecting ---


async def test_connect_returns_what_the_server_said_and_close_says_goodbye():
    for version in (5, 4):
        world = World(Server(version))
        device = Device(world, version=version, keepalive_s=30)
        info = await world.clock.run(device.client.connect())
        assert (info.version, info.session_present, info.code) == (version, False, 0)
        assert device.client.connected
        await world.clock.run(device.client.close())
        assert world.server.connects == [(version, False, "dev", 30)]
        assert world.server.disconnects == [0]
        assert not device.client.connected and world.links[0].closed
        await raises_async(Closed, device.client.connect())
        await raises_async(Closed, device.client.publish("a", b"x", 1))


async def test_version_0_falls_back_to_3_1_1_and_remembers_it():
    for manner in ("code", "hang up"):
        server = Server(4)
        world = World(server)
        device = Device(world, version=0)
        if manner == "hang up":
            server.opened = lambda link, opened=server.opened, server=server: hang_up_on_version_5(link, opened, server)
        info = await world.clock.run(device.client.connect())
        assert info.version == 4
        assert [each[0] for each in server.connects][-1] == 4
        attempts = len(world.links)
        world.links[-1].drop()
        await world.clock.settle()
        await world.clock.run(device.client.connect())
        assert len(world.links) == attempts + 1
        await world.clock.run(device.client.close())


def hang_up_on_version_5(link, opened, server):
    opened(link)
    if not server.connects and not getattr(server, "tried", False):
        server.tried = True
        link.drop()


async def test_a_server_that_never_answers_connect_is_detected():
    server = Server()
    server.mute = (1,)
    world = World(server)
    device = Device(world, connect_timeout_ms=15_000)
    await world.clock.run(raises_async(LinkError, device.client.connect()))
    assert world.clock.now_ms == 15_000 and world.links[0].closed


async def test_the_time_budget_of_connect_includes_the_network():
    world = World(Server())
    world.unreachable = True
    device = Device(world, connect_timeout_ms=15_000)
    await world.clock.run(raises_async(LinkError, device.client.connect()))
    assert world.clock.now_ms == 15_000


async def test_no_route_to_the_server_is_a_link_error_with_its_cause():
    world = World(Server(), refuse=1)
    error = await world.clock.run(raises_async(LinkError, Device(world).client.connect()))
    assert error.cause.args[0] == 111


async def test_a_refusal_carries_its_reason_code():
    server = Server()
    server.connack_code = 0x86
    world = World(server)
    error = await world.clock.run(raises_async(Refused, Device(world).client.connect()))
    assert error.code == 0x86 and error.permanent


async def test_cancelling_connect_closes_the_stream():
    server = Server()
    server.mute = (1,)
    world = World(server)
    device = Device(world)
    task = asyncio.create_task(device.client.connect())
    await world.clock.settle()
    task.cancel()
    await world.clock.settle()
    assert task.done() and world.links[0].closed
    await raises_async(asyncio.CancelledError, wait_for(task))
    server.mute = ()
    await world.clock.run(device.client.connect())
    await world.clock.run(device.client.close())


# --- messages ---


async def test_messages_flow_both_ways_with_both_qualities_of_service():
    for version in (5, 4):
        world = World(Server(version))
        device = Device(world, version=version)
        await world.clock.run(device.client.connect())
        assert await world.clock.run(device.client.subscribe("dn/#", 1)) == 1
        await world.clock.run(device.client.publish("up/a", b"0", 0))
        await world.clock.run(device.client.publish("up/b", b"1" * 600, 1, True))
        world.links[0].push(publish(version, "dn/a", b"0"))
        world.links[0].push(publish(version, "dn/b", b"1", 7, retain=True))
        await world.clock.settle()
        assert [message[:5] for message in world.server.published] == [
            ("up/a", b"0", 0, False, False),
            ("up/b", b"1" * 600, 1, False, True),
        ]
        assert device.messages == [("dn/a", b"0", False, False), ("dn/b", b"1", True, False)]
        assert world.server.acked == [(7, 0)]
        await world.clock.run(device.client.unsubscribe("dn/#"))
        await world.clock.run(device.client.close())


async def test_the_acknowledgement_follows_the_handler():
    world = World(Server())
    seen = []
    device = Device(world, on_message=lambda topic, payload, retain, dup: seen.append(list(world.server.acked)))
    await world.clock.run(device.client.connect())
    world.links[0].push(publish(5, "dn/a", b"x", 7))
    await world.clock.settle()
    assert seen == [[]] and world.server.acked == [(7, 0)]
    await world.clock.run(device.client.close())


async def test_a_failing_handler_leaves_the_message_to_be_delivered_again():
    server = Server()
    server.to_deliver = [("dn/a", b"first"), ("dn/b", b"second")]
    world = World(server)
    calls = []

    def on_message(topic, payload, retain, dup):
        calls.append((topic, dup))
        if len(calls) == 1:
            raise OSError(28)  # flash is full, say; it must not be taken for a fault of the link

    device = Device(world, on_message=on_message)
    running = asyncio.create_task(device.run())
    await until(lambda: len(calls) == 3, world)
    assert calls == [("dn/a", False), ("dn/a", True), ("dn/b", True)], (calls, device.errors)
    assert isinstance(device.errors[0], HandlerError) and device.errors[0].cause.args[0] == 28
    assert server.disconnects == [0x83]
    await finish(device, running)


async def test_an_oversized_message_is_reported_and_the_connection_lives():
    world = World(Server())
    drained = []
    device = Device(world, on_oversized=lambda topic, size: drained.append((topic, size)), rx_bytes=128)
    await world.clock.run(device.client.connect())
    big = publish(5, "dn/big", b"x" * 3000, 9)
    world.links[0].push(big)
    world.links[0].push(publish(5, "dn/small", b"y"))
    await world.clock.settle()
    assert drained == [("dn/big", len(big))]
    assert device.messages == [("dn/small", b"y", False, False)]
    assert world.server.acked == [(9, 0x83)]
    await world.clock.run(device.client.close())


async def test_a_message_in_parts_is_handed_over_and_one_that_its_taker_refuses_ends_the_connection():
    world = World(Server())
    parts = []

    def on_part(topic, payload, left, retain):
        parts.append((topic, bytes(payload), left))
        if payload[0] == 0x21:
            raise ValueError("no")

    device = Device(world, on_part=on_part, rx_bytes=128, packet_bytes=4096)
    running = asyncio.create_task(device.run())
    await until(lambda: device.sessions, world)
    world.links[0].push(publish(5, "dn/big", b"x" * 1000))
    await until(lambda: parts and not parts[-1][2], world)
    assert parts[0][0] == "dn/big" and not [part for part in parts[1:] if part[0]]
    assert b"".join([part[1] for part in parts]) == b"x" * 1000
    world.links[0].push(publish(5, "dn/big", b"y" * 1000, 9))
    await until(lambda: world.server.acked, world)
    assert world.server.acked == [(9, 0)] and not parts[-1][2]
    world.links[0].push(publish(5, "dn/big", b"!" * 1000, 10))
    await until(lambda: device.errors, world)
    assert world.server.acked == [(9, 0)]
    assert isinstance(device.errors[0], HandlerError)
    await finish(device, running)


async def test_qos_0_needs_a_connection():
    world = World(Server())
    device = Device(world)
    await raises_async(LinkError, device.client.publish("up/a", b"x"))
    await raises_async(LinkError, device.client.subscribe("dn/#"))
    await raises_async(Refused, device.client.publish("up/a", b"x", 2))


async def test_a_refused_publish_raises_and_is_not_sent_again():
    """EG-BRK-002: a broker may deny with PUBACK 0x87 and then drop the link: repeating the message would loop for ever."""
    server = Server()
    server.denied = {"up/secret": 0x87}
    world = World(server)
    device = Device(world)
    running = asyncio.create_task(device.run())
    error = await world.clock.run(raises_async(Refused, device.client.publish("up/secret", b"x", 1)))
    assert error.code == 0x87
    await world.clock.run(device.client.publish("up/fine", b"y", 1))
    assert server.on_wire == ["up/secret", "up/fine"]
    await finish(device, running)


async def test_a_message_on_which_the_server_hangs_up_is_given_up_and_others_get_through():
    server = Server(4)
    server.hangs_up_on = "up/secret"
    world = World(server)
    device = Device(world, version=4)
    running = asyncio.create_task(device.run())
    poison = publisher(device, "up/secret", b"x", 1)
    good = publisher(device, "up/fine", b"y", 1)
    await world.clock.run(raises_async(LinkError, wait_for(poison)))
    await world.clock.run(wait_for(good))
    assert server.on_wire.count("up/secret") <= 7
    await finish(device, running)


async def test_a_refused_subscription_raises_with_its_reason_code():
    for version, code in ((5, 0x87), (4, 0x80)):
        server = Server(version)
        server.suback_code = code
        world = World(server)
        device = Device(world, version=version)
        await world.clock.run(device.client.connect())
        error = await world.clock.run(raises_async(Refused, device.client.subscribe("dn/#", 1)))
        assert error.code == code and device.client.connected
        await world.clock.run(device.client.close())


async def test_publishers_wait_for_room_in_the_order_they_came():
    server = Server()
    server.mute = (3,)
    world = World(server)
    device = Device(world, tx_bytes=256)
    await world.clock.run(device.client.connect())
    tasks = [publisher(device, "up/a", bytes([each]) * 100, 1) for each in range(8)]
    await world.clock.settle()
    assert len(server.published) == 2
    server.mute = ()
    for packet_id in (1, 2):
        world.links[0].push(b"\x40\x02" + packet_id.to_bytes(2, "big"))
    for task in tasks:
        await world.clock.run(wait_for(task))
    assert [message[1][0] for message in server.published] == list(range(8))
    await world.clock.run(device.client.close())


async def test_telemetry_does_not_starve_a_waiting_report():
    server = Server()
    server.mute = (3,)
    world = World(server)
    device = Device(world, tx_bytes=256)
    await world.clock.run(device.client.connect())
    first = publisher(device, "up/a", b"x" * 150, 1)
    await world.clock.settle()
    report = publisher(device, "up/b", b"y" * 150, 1)
    await world.clock.settle()
    telemetry = [publisher(device, "up/t", b"z" * 20) for _ in range(5)]
    await world.clock.settle()
    assert len(server.published) == 1
    server.mute = ()
    world.links[0].push(b"\x40\x02\x00\x01")
    for task in [first, report] + telemetry:
        await world.clock.run(wait_for(task))
    assert [message[0] for message in server.published[:2]] == ["up/a", "up/b"]
    await world.clock.run(device.client.close())
    assert len(server.published) == 7


async def test_a_cancelled_publisher_does_not_tear_a_packet_and_its_message_still_arrives():
    server = Server()
    server.mute = (3,)
    world = World(server)
    device = Device(world)
    await world.clock.run(device.client.connect())
    task = publisher(device, "up/a", b"x" * 400, 1)
    await asyncio.sleep(0)
    task.cancel()
    await world.clock.settle()
    assert [message[:2] for message in server.published] == [("up/a", b"x" * 400)]
    server.mute = ()
    await world.clock.run(device.client.publish("up/b", b"y", 1))
    assert len(server.published) == 2
    await world.clock.run(device.client.close())


# --- links that fail ---


async def test_a_half_open_link_is_noticed_within_keepalive_and_grace():
    world = World(Server())
    device = Device(world, keepalive_s=60, ping_grace_ms=10_000)
    await world.clock.run(device.client.connect())
    world.links[0].silent = True
    await until(lambda: not device.client.connected, world)
    assert 70_000 <= world.clock.now_ms <= 70_100


async def test_a_half_open_link_is_noticed_while_telemetry_is_being_sent():
    world = World(Server())
    device = Device(world, keepalive_s=60, ping_grace_ms=10_000)
    await world.clock.run(device.client.connect())
    world.links[0].silent = True

    async def telemetry():
        while True:
            await device.client.publish("up/t", b"x")
            await world.clock.sleep_ms(5_000)

    await world.clock.run(raises_async(LinkError, telemetry()))
    assert world.clock.now_ms <= 75_000


async def test_a_peer_that_does_not_read_is_noticed():
    world = World(Server())
    device = Device(world, keepalive_s=60, ping_grace_ms=10_000)
    await world.clock.run(device.client.connect())
    world.links[0].stuck = True
    stuck = publisher(device, "up/a", b"x", 1)
    await until(lambda: not device.client.connected, world)
    assert world.clock.now_ms <= 70_100
    await world.clock.run(device.client.connect())
    await world.clock.run(wait_for(stuck))
    await world.clock.run(device.client.close())


async def test_an_idle_link_is_kept_alive():
    world = World(Server())
    device = Device(world, keepalive_s=60)
    await world.clock.run(device.client.connect())
    await world.clock.run(world.clock.sleep_ms(3_600_000))
    assert device.client.connected and world.server.pings in (59, 60)
    await world.clock.run(device.client.close())


async def test_garbage_ends_the_connection_with_a_reason():
    world = World(Server())
    device = Device(world)
    running = asyncio.create_task(device.run())
    await until(lambda: device.client.connected, world)
    world.links[0].push(b"\x00\x00")
    await until(lambda: len(device.sessions) == 2, world)
    assert isinstance(device.errors[0], ProtocolViolation)
    assert world.server.disconnects == [0x82]
    await finish(device, running)


async def test_being_taken_over_is_a_refusal_and_not_a_fight():
    world = World(Server())
    device = Device(world, refused_backoff_ms=600_000)
    running = asyncio.create_task(device.run())
    await until(lambda: device.sessions, world)
    at_ms = world.clock.now_ms
    world.links[0].push(b"\xe0\x01\x8e")
    await until(lambda: len(device.sessions) == 2, world, 10_000)
    assert device.errors[0].code == 0x8E
    assert world.clock.now_ms - at_ms >= 300_000
    await finish(device, running)


async def test_a_permanent_refusal_is_never_a_hot_loop():
    """EG-BRK-002"""
    server = Server()
    server.connack_code = 0x87
    world = World(server)
    device = Device(world, refused_backoff_ms=900_000)
    running = asyncio.create_task(device.run())
    await until(lambda: world.clock.now_ms > 6 * 3_600_000, world, 600_000)
    assert 24 <= len(world.attempts_ms) <= 6 * 3600 // 450 + 1
    assert {error.code for error in device.errors} == {0x87}
    server.connack_code = 0
    await until(lambda: device.client.connected, world, 10_000)
    await finish(device, running)


async def test_an_unreachable_server_is_tried_with_growing_pauses():
    world = World(Server(), refuse=12)
    device = Device(world, backoff_base_ms=1_000, backoff_cap_ms=60_000)
    running = asyncio.create_task(device.run())
    await until(lambda: device.client.connected, world)
    assert len(device.errors) == 12
    pauses = [b - a for a, b in zip(world.attempts_ms, world.attempts_ms[1:])]
    assert all(pause <= min(60_000, 1_000 << i) for i, pause in enumerate(pauses))
    assert max(pauses) > 10_000
    await finish(device, running)


async def test_a_waiting_publisher_is_served_by_a_later_connection():
    world = World(Server(), refuse=3)
    device = Device(world)
    task = publisher(device, "up/a", b"x", 1)
    await asyncio.sleep(0)
    running = asyncio.create_task(device.run())
    await world.clock.run(wait_for(task))
    assert [message[:2] for message in world.server.published] == [("up/a", b"x")]
    await finish(device, running)


async def test_a_subscription_fails_with_the_link():
    server = Server()
    server.mute = (8,)
    world = World(server)
    device = Device(world)
    await world.clock.run(device.client.connect())
    task = asyncio.create_task(device.client.subscribe("dn/#"))
    await world.clock.settle()
    world.links[0].drop()
    await world.clock.run(raises_async(LinkError, wait_for(task)))


async def test_closing_fails_whoever_waits():
    server = Server()
    server.mute = (3,)
    world = World(server)
    device = Device(world, tx_bytes=256)
    running = asyncio.create_task(device.run())
    await until(lambda: device.client.connected, world)
    tasks = [publisher(device, "up/a", b"x" * 150, 1) for _ in range(4)]
    await world.clock.settle()
    await finish(device, running)
    for task in tasks:
        await world.clock.run(raises_async(Closed, wait_for(task)))
    assert server.disconnects == [0]


async def test_closing_while_offline_ends_the_pause_at_once():
    world = World(Server(), refuse=1000)
    device = Device(world, backoff_base_ms=100_000)
    running = asyncio.create_task(device.run())
    task = publisher(device, "up/a", b"x", 1)
    await until(lambda: device.errors, world)
    at_ms = world.clock.now_ms
    await finish(device, running)
    await world.clock.run(raises_async(Closed, wait_for(task)))
    assert world.clock.now_ms == at_ms


async def test_closing_while_connecting_ends_the_attempt():
    server = Server()
    server.mute = (1,)
    world = World(server)
    device = Device(world)
    running = asyncio.create_task(device.run())
    await world.clock.settle()
    await finish(device, running)
    assert world.clock.now_ms == 0 and world.links[0].closed


async def test_closing_does_not_wait_for_ever_for_a_peer_that_does_not_read():
    world = World(Server())
    device = Device(world)
    await world.clock.run(device.client.connect())
    world.links[0].stuck = True
    await world.clock.run(device.client.close())
    assert world.clock.now_ms <= 5_000 and world.links[0].closed


async def test_closing_from_on_connect_ends_run():
    world = World(Server())
    device = Device(world)

    async def on_connect(session_present):
        await device.client.close()

    await world.clock.run(device.client.run(on_connect))
    assert world.server.disconnects == [0]


async def test_what_was_published_before_close_is_sent_before_goodbye():
    world = World(Server())
    device = Device(world)
    await world.clock.run(device.client.connect())
    for each in range(5):
        await device.client.publish("up/t", bytes([each]) * 100)
    await world.clock.run(device.client.close())
    assert len(world.server.published) == 5 and world.server.disconnects == [0]


async def test_cancelling_run_drops_the_link_without_goodbye_so_that_the_will_speaks():
    world = World(Server())
    device = Device(world)
    running = asyncio.create_task(device.run())
    await until(lambda: device.client.connected, world)
    running.cancel()
    await world.clock.settle()
    assert running.done() and world.links[0].closed and world.server.disconnects == []


async def test_a_failing_on_connect_ends_the_connection_and_is_reported():
    world = World(Server())
    device = Device(world)
    calls = []

    async def on_connect(session_present):
        calls.append(session_present)
        if len(calls) == 1:
            raise ValueError("a bug of the application")

    running = asyncio.create_task(device.client.run(on_connect, device.errors.append))
    await until(lambda: len(calls) == 2, world)
    assert isinstance(device.errors[0], HandlerError) and isinstance(device.errors[0].cause, ValueError)
    await finish(device, running)


async def test_on_connect_may_publish_and_a_lost_link_does_not_stop_the_supervisor():
    server = Server()
    server.mute = (3,)
    world = World(server)
    device = Device(world)

    async def on_connect(session_present):
        device.sessions.append(session_present)
        await device.client.publish("up/birth", b"x", 1)

    running = asyncio.create_task(device.client.run(on_connect))
    await until(lambda: device.sessions, world)
    await world.clock.settle()
    world.links[0].drop()
    server.mute = ()
    await until(lambda: len(device.sessions) == 2, world)
    await world.clock.settle()
    assert [message[0] for message in server.published][:2] == ["up/birth", "up/birth"]
    await finish(device, running)


async def test_every_message_survives_a_link_that_breaks_at_any_byte():
    """Each byte of a whole conversation, both ways, is the last of its first connection once."""
    for version, keeps_session in ((5, True), (4, False)):
        cut, whole = 1, None
        while whole is None:
            whole = await conversation(version, keeps_session, [cut])
            cut += 1
        assert cut > 150


async def test_every_message_survives_links_that_break_again_and_again():
    for seed in range(1, 25):
        random = SeededRandom(seed)
        await conversation(5, seed % 2 == 0, [40 + byte for byte in random.bytes(6)])


async def conversation(version, keeps_session, cuts):
    """Three reports up, two commands down, over links cut at `cuts`. True if the first link was not cut at all."""
    server = Server(version, keeps_session)
    server.props = b"\x21\x00\x02\x22\x00\x02" if version == 5 else b""
    commands = [("dn/a", b"one"), ("dn/b", b"two")]
    server.to_deliver = list(commands)
    world = World(server, cuts)
    device = Device(world, version=version, backoff_base_ms=100, backoff_cap_ms=1000)
    running = asyncio.create_task(device.run())
    reports = [("up/usage", bytes([each]) * 20) for each in range(3)]
    tasks = [publisher(device, topic, payload, 1) for topic, payload in reports]
    for task in tasks:
        await world.clock.run(wait_for(task), 600_000)
    # A server that forgets the session forgets commands too: that is what end-to-end acknowledgements are for.
    if keeps_session:
        await until(lambda: {message[:2] for message in device.messages} == set(commands), world)
    assert {message[:2] for message in server.published} >= set(reports)
    await finish(device, running)
    return True if len(world.links) == 1 else None
