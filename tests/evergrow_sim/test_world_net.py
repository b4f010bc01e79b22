"""The network in memory: TCP as its users see it, and what bad lines do to it."""

import asyncio
import errno
import socket
from collections.abc import Iterator

import pytest

from evergrow_sim.world.net import Link, NetPort
from evergrow_sim.world.tcp import WINDOW_BYTES, Stream
from evergrow_sim.world.world import World


@pytest.fixture
def world() -> Iterator[World]:
    with World(1) as world:
        yield world


class Echo:
    """Listens at server:7 and sends everything back. `streams`: its ends, in the order of their coming."""

    def __init__(self, world: World) -> None:
        self.streams: list[Stream] = []
        self.got = bytearray()
        self.errors: list[int] = []
        self.ended = 0
        self.listener = world.network.listen("server", 7, self.accept)

    async def accept(self, stream: Stream) -> None:
        self.streams.append(stream)
        buf = bytearray(4096)
        try:
            while size := await stream.readinto(buf):
                self.got += buf[:size]
                await stream.write(memoryview(buf)[:size])
        except OSError as exc:
            self.errors.append(exc.errno)
            raise
        self.ended += 1
        await stream.close()


async def dial(world: World, who: str = "w1") -> Stream:
    stream = await world.network.port_for(who).connect("server", 7)
    await asyncio.sleep(0)  # who accepts has started
    return stream


async def read(stream: Stream, size: int) -> bytes:
    """Exactly so many bytes, or fewer at the end."""
    data, buf = b"", bytearray(4096)
    while len(data) < size:
        got = await stream.readinto(memoryview(buf)[: size - len(data)])
        if not got:
            break
        data += buf[:got]
    return data


async def told(stream: Stream) -> int:
    """The error that a reader is told."""
    with pytest.raises(OSError) as info:
        await stream.readinto(bytearray(10))
    return info.value.errno or 0


def test_bytes_arrive_whole_and_in_order_after_the_delay(world: World) -> None:
    Echo(world)

    async def work() -> None:
        stream = await dial(world)
        assert world.loop.now_ms == 40
        data = bytes(range(256)) * 40
        await stream.write(memoryview(data))
        assert await read(stream, len(data)) == data
        assert world.loop.now_ms == 80

    world.run(work())


def test_a_buffer_may_be_reused_as_soon_as_write_returns(world: World) -> None:
    Echo(world)

    async def work() -> None:
        stream = await dial(world)
        buf = bytearray(b"first")
        await stream.write(memoryview(buf))
        buf[:] = b"again"
        await stream.write(memoryview(buf))
        assert await read(stream, 10) == b"firstagain"

    world.run(work())


def test_close_sends_what_was_written_then_the_end(world: World) -> None:
    echo = Echo(world)

    async def work() -> None:
        stream = await dial(world)
        await stream.write(b"last words")
        await stream.close()
        assert await told(stream) == errno.EBADF
        await world.loop.sleep_us(1_000_000)
        assert echo.got == b"last words"

    world.run(work())
    assert world.network.live == {}


def test_the_end_from_the_other_side_is_read_as_zero(world: World) -> None:
    echo = Echo(world)

    async def work() -> None:
        stream = await dial(world)
        await echo.streams[0].write(b"bye")
        await echo.streams[0].close()
        assert await read(stream, 100) == b"bye"
        await stream.close()

    world.run(work())
    world.run(until_ms=10_000)
    assert world.network.live == {}


def test_writing_to_an_end_that_was_closed_is_answered_with_a_reset(world: World) -> None:
    echo = Echo(world)

    async def work() -> None:
        stream = await dial(world)
        await echo.streams[0].close()
        await stream.write(b"are you there?")
        assert await read(stream, 1) == b""
        await world.loop.sleep_us(100_000)
        assert await told(stream) == errno.ECONNRESET
        with pytest.raises(OSError):
            await stream.write(b"still?")

    world.run(work())
    assert world.network.live == {}


def test_nobody_listening_refuses(world: World) -> None:
    async def work() -> None:
        with pytest.raises(OSError) as info:
            await dial(world)
        assert info.value.errno == errno.ECONNREFUSED

    world.run(work())


def test_a_listener_that_closed_refuses_and_its_port_is_free_again(world: World) -> None:
    Echo(world).listener.close()
    Echo(world)
    with pytest.raises(OSError) as info:
        Echo(world)
    assert info.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("fault", "kind", "code"), [("refuse", ConnectionRefusedError, errno.ECONNREFUSED), ("dns_fail", socket.gaierror, None)]
)
def test_a_link_can_refuse_and_find_no_names(world: World, fault: str, kind: type[OSError], code: int | None) -> None:
    Echo(world)
    setattr(world.network.link("w1"), fault, True)

    async def work() -> None:
        with pytest.raises(kind) as info:
            await dial(world)
        assert code in (None, info.value.errno)
        await dial(world, "w2")  # only the link of w1 is bad
        world.network.link("w1").heal()
        await dial(world)

    world.run(work())


def test_a_half_open_connection_says_nothing_for_ever(world: World) -> None:
    echo = Echo(world)

    async def work() -> None:
        stream = await dial(world)
        link = world.network.link("w1")
        link.half_open = True
        await stream.write(b"lost")
        await world.loop.sleep_us(10**9)
        link.heal()
        await stream.write(b"lost, too")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.readinto(bytearray(10)), 1000)
        assert echo.got == b"" and echo.errors == [] and echo.ended == 0
        fresh = await dial(world)
        await fresh.write(b"ok")
        assert await read(fresh, 2) == b"ok"

    world.run(work())


def test_a_stalled_connection_loses_nothing(world: World) -> None:
    Echo(world)

    async def work() -> None:
        stream = await dial(world)
        link = world.network.link("w1")
        link.stalled = True
        await stream.write(b"patience")
        await world.loop.sleep_us(30_000_000)
        link.stalled = False
        assert await read(stream, 8) == b"patience"
        assert 30_000 < world.loop.now_ms < 90_000

    world.run(work())


def test_connecting_over_a_dead_line_times_out_as_tcp_does(world: World) -> None:
    Echo(world)
    world.network.link("w1").stalled = True

    async def work() -> None:
        with pytest.raises(TimeoutError):
            await dial(world)

    world.run(work())
    assert world.loop.now_ms == 63_000


def test_loss_delays_and_never_loses_or_reorders(world: World) -> None:
    Echo(world)
    data = bytes([n % 251 for n in range(20_000)])

    async def work(who: str) -> int:
        stream = await dial(world, who)
        started_ms = world.loop.now_ms
        await stream.write(data[:10_000])
        await stream.write(data[10_000:])
        assert await read(stream, len(data)) == data
        return world.loop.now_ms - started_ms

    link = world.network.link("w1")
    link.loss, link.jitter_ms = 0.2, 100
    assert (world.run(work("w1")) or 0) > 1000 > (world.run(work("w2")) or 0)


def test_bandwidth_bounds_each_direction(world: World) -> None:
    echo = Echo(world)
    world.network.link("w1").bytes_per_s = 1000

    async def work() -> None:
        stream = await dial(world)
        await stream.write(bytes(5000))
        await read(stream, 5000)

    world.run(work())
    assert 5000 < world.loop.now_ms - 80 <= 5000 + 1460  # the echo of the first segment starts when that is there
    assert len(echo.got) == 5000


def test_a_link_that_splits_delivers_everything_in_pieces(world: World) -> None:
    Echo(world)
    world.network.link("w1").split = True

    async def work() -> list[int]:
        stream = await dial(world)
        await stream.write(bytes(range(200)))
        data, sizes, buf = b"", [], bytearray(4096)
        while len(data) < 200:
            sizes.append(await stream.readinto(buf))
            data += buf[: sizes[-1]]
        assert data == bytes(range(200))
        return sizes

    sizes = world.run(work())
    assert sizes and len(sizes) > 4 and max(sizes) <= 48


def test_connections_overtake_one_another_and_bytes_of_one_never(world: World) -> None:
    echo = Echo(world)
    world.network.link("w1").jitter_ms = 1000

    async def work() -> None:
        first, second = await dial(world), await dial(world)
        for n in range(50):
            await first.write(bytes([2 * n]))
            await second.write(bytes([2 * n + 1]))
        await asyncio.gather(read(first, 50), read(second, 50))

    world.run(work())
    assert list(echo.got) != sorted(echo.got)
    for parity in (0, 1):
        assert [n for n in echo.got if n % 2 == parity] == list(range(parity, 100, 2))


def test_a_reset_is_told_to_both_ends(world: World) -> None:
    echo = Echo(world)

    async def work() -> None:
        stream = await dial(world)
        other = await dial(world, "w2")
        world.loop.call_later(1, world.network.reset, "w1")
        assert await told(stream) == errno.ECONNRESET
        await world.loop.sleep_us(1)
        assert echo.errors == [errno.ECONNRESET]
        await other.write(b"x")
        assert await read(other, 1) == b"x"

    world.run(work())
    assert len(world.network.live) == 1


def test_a_link_may_reset_by_chance(world: World) -> None:
    echo = Echo(world)
    world.network.link("w1").reset = 0.2

    async def work() -> None:
        stream = await dial(world)
        with pytest.raises(OSError):
            while True:
                await stream.write(b"ping")
                await read(stream, 4)

    world.run(work())
    assert 4 <= len(echo.got) < 400


def test_an_end_that_aborts_resets_the_other(world: World) -> None:
    echo = Echo(world)

    async def work() -> None:
        stream = await dial(world)
        echo.streams[0].abort()
        assert await told(stream) == errno.ECONNRESET

    world.run(work())
    assert world.network.live == {}


def test_a_writer_waits_until_there_is_room(world: World) -> None:
    async def accept(stream: Stream) -> None:
        await world.loop.sleep_us(5_000_000)
        assert stream.out.backlog == 0
        await read(stream, 2 * WINDOW_BYTES)

    world.network.listen("server", 7, accept)

    async def work() -> int:
        stream = await dial(world)
        await stream.write(bytes(WINDOW_BYTES))
        assert world.loop.now_ms < 100
        await stream.write(bytes(WINDOW_BYTES))
        assert stream.out.backlog <= WINDOW_BYTES
        return world.loop.now_ms

    assert (world.run(work()) or 0) >= 5000


def test_a_writer_that_waits_is_told_of_a_reset(world: World) -> None:
    async def accept(stream: Stream) -> None:
        await asyncio.Event().wait()

    world.network.listen("server", 7, accept)
    world.loop.call_later(5, world.network.reset, "w1")

    async def work() -> None:
        stream = await dial(world)
        with pytest.raises(ConnectionResetError):
            await stream.write(bytes(3 * WINDOW_BYTES))

    world.run(work())


def test_who_lost_power_is_missed_only_by_those_who_send(world: World) -> None:
    echo = Echo(world)

    async def work() -> None:
        stream = await dial(world)
        await stream.write(b"on its way")
        world.network.power_off("w1")
        await world.loop.sleep_us(60_000_000)
        assert echo.got == b"on its way" and not echo.errors
        await echo.streams[0].write(b"hello?")
        await world.loop.sleep_us(60_000_000)
        assert not echo.errors
        world.network.power_on("w1")
        await echo.streams[0].write(b"hello?")
        await world.loop.sleep_us(1_000_000)
        assert echo.errors == [errno.ECONNRESET]

    world.run(work())
    assert world.network.live == {}


class Collector:
    """A receiver."""

    def __init__(self, stream: Stream) -> None:
        self.calls: list[object] = []
        stream.attach(self)

    def receive(self, data: bytes) -> None:
        self.calls.append(data)

    def lost(self) -> None:
        self.calls.append("lost")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


def test_a_receiver_is_called_with_what_arrives_and_with_the_end(world: World) -> None:
    collectors: list[Collector] = []
    world.network.listen("server", 7, lambda stream: collectors.append(Collector(stream)))

    async def work() -> None:
        stream = await dial(world)
        await stream.write(b"one")
        await world.loop.sleep_us(1000)
        await stream.write(b"two")
        await stream.close()
        await world.loop.sleep_us(1_000_000)
        (await dial(world)).abort()
        await world.loop.sleep_us(1_000_000)

    world.run(work())
    assert [collector.calls for collector in collectors] == [[b"one", b"two", "lost"], ["lost"]]


def test_a_receiver_is_paused_while_too_much_is_unread(world: World) -> None:
    ends: list[tuple[Stream, Collector]] = []
    world.network.listen("server", 7, lambda stream: ends.append((stream, Collector(stream))))

    async def work() -> None:
        stream = await dial(world)
        far, collector = ends[0]
        far.post(bytes(WINDOW_BYTES))
        assert collector.calls == []
        far.post(bytes(WINDOW_BYTES))
        far.post(b"x")
        assert collector.calls == ["pause"]
        await read(stream, WINDOW_BYTES + 1)
        assert collector.calls == ["pause", "resume"]
        await read(stream, WINDOW_BYTES)
        far.shut()
        far.post(b"after the end")
        assert await read(stream, 10) == b""

    world.run(work())


def test_a_fault_of_who_accepts_is_a_fault_of_the_world(world: World) -> None:
    async def accept(stream: Stream) -> None:
        raise KeyError("a bug of the broker")

    world.network.listen("server", 7, accept)
    with pytest.raises(KeyError, match="a bug"):
        world.run(dial(world))
        world.run(until_ms=1000)


def test_the_same_seed_makes_the_same_noise_and_another_does_not() -> None:
    def digest(seed: int) -> str:
        with World(seed) as world:
            Echo(world)
            link = world.network.link("w1")
            link.loss, link.jitter_ms, link.split = 0.1, 50, True

            async def work() -> None:
                stream = await dial(world)
                await stream.write(bytes(500))
                await read(stream, 500)

            world.run(work())
            return world.trace.digest()

    assert digest(1) == digest(1) != digest(2)


def test_faults_of_a_link_heal_and_its_delay_stays() -> None:
    link = Link(delay_ms=300)
    link.loss = link.reset = 0.5
    link.half_open = link.stalled = link.refuse = link.dns_fail = link.split = True
    link.bytes_per_s = 10
    link.heal()
    assert vars(link) == vars(Link(delay_ms=300))


def test_a_port_lives_by_the_clock_it_was_given(world: World) -> None:
    clock = object()
    assert world.network.port_for("w1", clock).clock is clock
    port: NetPort = world.network.port_for("w1")
    assert port.clock.ticks_ms() == 0
