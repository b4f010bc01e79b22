"""Blocks that come several in one message, taken as they arrive: evergrow_agent.fetch."""

from evergrow_agent.fetch import SLOW_MS, Fetcher
from evergrow_agent.transfer import RUN_BLOCKS
from evergrow_protocol import messages
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import EXPIRED, MALFORMED, OUT_OF_RANGE, ProtocolError
from installkit import Clock
from support import raises, raises_async

HEAP = "1M"

BLOCK = 64


def pattern(size):
    return bytes([(i * 7 + (i >> 8)) & 255 for i in range(size)])


class Line:
    """A cloud that answers requests with as many blocks in a message as it may, cut into parts of `part` bytes.

    `stop_after`: the link breaks once, after so many bytes of blocks; `first_empty`: the first part has none.
    """

    def __init__(self, payload, part, stop_after=-1, run=RUN_BLOCKS, first_empty=False):
        self.payload = payload
        self.part = part
        self.run = run
        self.left = stop_after
        self.first_empty = first_empty
        self.clock = Clock()
        self.stored = b""
        self.asked = 0
        self.fetcher = Fetcher(self.clock, self.get, BLOCK, 0, lambda: None)

    async def get(self, transfer, payload, block_bytes, first, wanted):
        self.asked += 1
        numbers = [first + i for i in range(8 * len(wanted)) if wanted[i >> 3] >> (i & 7) & 1]
        while numbers:
            run = [numbers.pop(0)]
            while numbers and len(run) < self.run and numbers[0] == run[-1] + 1:
                run.append(numbers.pop(0))
            if not self.say(transfer, payload, run[0], self.payload[run[0] * BLOCK : (run[-1] + 1) * BLOCK]):
                return

    def say(self, transfer, payload, block, data):
        """False: the link broke."""
        end = 0 if self.first_empty else min(self.part, len(data))
        self.fetcher.on_blocks(transfer, payload, block, len(data), data[:end])
        while end < len(data):
            if 0 <= self.left <= end:
                self.left = -1
                self.fetcher.on_connected()
                return False
            self.fetcher.on_more(data[end : end + self.part])
            end = min(end + self.part, len(data))
        if self.left > 0:
            self.left = max(0, self.left - len(data))
        return True

    def store(self, chunk):
        self.stored += bytes(chunk)

    async def fetch(self, start=0):
        self.fetcher.begin(1)
        await self.fetcher.fetch(1, len(self.payload), self.store, start)


async def test_a_payload_arrives_whole_however_its_messages_are_cut():
    """EG-FEAT-028, EG-FEAT-010"""
    for size in (1, BLOCK, BLOCK + 1, 8 * BLOCK, 21 * BLOCK + 5):
        for part in (1, BLOCK - 1, BLOCK, BLOCK + 1, 100, 10 * BLOCK):
            for run in (1, 3, RUN_BLOCKS):
                line = Line(pattern(size), part, run=run, first_empty=part == 100)
                await line.fetch()
                assert line.stored == line.payload, (size, part, run)
                assert line.fetcher.blocks == (size + BLOCK - 1) // BLOCK


async def test_a_link_that_breaks_at_any_byte_of_a_message_costs_no_more_than_what_was_not_whole():
    """EG-FEAT-028, EG-FEAT-010"""
    payload = pattern(10 * BLOCK + 5)
    for stop_after in range(0, 8 * BLOCK, 7):
        line = Line(payload, 10, stop_after)
        await line.fetch()
        assert line.stored == payload, stop_after
        assert line.fetcher.blocks == 11


async def test_a_transfer_goes_on_from_within_a_block():
    """EG-FEAT-016, EG-FEAT-028"""
    payload = pattern(10 * BLOCK + 5)
    line = Line(payload, 50)
    await line.fetch(3 * BLOCK + 9)
    assert line.stored == payload[3 * BLOCK + 9 :]


async def test_bytes_that_are_not_whole_blocks_are_dropped_with_all_that_follow():
    """EG-FEAT-010"""
    line = Line(pattern(4 * BLOCK + 5), BLOCK)
    fetcher = line.fetcher

    async def lie(transfer, payload, block_bytes, first, wanted):
        for block, size in ((0, BLOCK + 1), (0, 4 * BLOCK + 4), (0, 4 * BLOCK + 6), (4, BLOCK), (5, 5), (1 << 31, BLOCK), (0, 0)):
            line.say(transfer, payload, block, b"!" * size)
        line.say(transfer + 1, payload, 0, b"!" * BLOCK)
        line.say(transfer, payload + 1, 0, b"!" * BLOCK)
        fetcher.on_more(b"!" * BLOCK)
        await line.get(transfer, payload, block_bytes, first, wanted)
        line.say(transfer, payload, 0, b"!" * BLOCK)

    fetcher._send_get = lie
    await line.fetch()
    assert line.stored == line.payload


async def test_the_rest_of_a_message_does_not_reach_the_next_payload():
    """EG-FEAT-010"""
    line = Line(pattern(4 * BLOCK), BLOCK)
    fetcher = line.fetcher

    async def begin_and_cancel(transfer, payload, block_bytes, first, wanted):
        fetcher.on_blocks(transfer, payload, 0, 4 * BLOCK, b"?" * 10)
        fetcher.cancel(transfer)

    fetcher._send_get = begin_and_cancel
    assert (await raises_async(ProtocolError, line.fetch())).code == EXPIRED

    async def rest(transfer, payload, block_bytes, first, wanted):
        fetcher.on_more(b"?" * (4 * BLOCK - 10))
        await line.get(transfer, payload, block_bytes, first, wanted)

    fetcher._send_get = rest
    await line.fetch()
    assert line.stored == line.payload


async def test_a_transfer_that_takes_its_time_is_told_once_and_a_quick_one_is_not():
    """EG-FEAT-029"""
    told = []
    line = Line(pattern(90 * BLOCK), BLOCK)

    async def on_slow():
        told.append(line.clock.now_ms)

    line.fetcher.on_slow = on_slow
    await line.fetch()
    assert not told

    async def slowly(*request):
        await line.clock.sleep_ms(4000)
        await line.get(*request)

    line.stored = b""
    line.fetcher._send_get = slowly
    began_ms = line.clock.now_ms
    await line.fetch()
    assert len(told) == 1 and SLOW_MS <= told[0] - began_ms <= SLOW_MS + 4000
    assert line.stored == line.payload


def test_the_beginning_of_a_message_tells_what_is_in_it():
    """EG-FEAT-028"""
    data = dumps([5, 1, 2, pattern(300)])
    for here in (9, 10, 100, len(data)):
        found = messages.parse_blocks_begin(memoryview(data)[:here], len(data) - here)
        assert found[:4] == (5, 1, 2, 300), here
        assert bytes(found[4]) == data[len(data) - 300 : here]
    longer = dumps([5, 1, 2, pattern(300), "new"])
    assert messages.parse_blocks_begin(memoryview(longer)[:100], len(longer) - 100)[3] == 300  # EG-ENC-006


def test_what_cannot_be_the_beginning_of_blocks_is_refused():
    """EG-ENC-004, EG-ENC-007"""
    data = dumps([5, 1, 2, pattern(300)])
    for broken, left, code in (
        (data[:50], len(data) - 51, MALFORMED),  # the bytes end early
        (data[:50], len(data) - 49, MALFORMED),  # something is behind them
        (dumps([5, 1, pattern(300)])[:50], 257, MALFORMED),
        (dumps([5, 1, 2, pattern(20), pattern(300)])[:50], 280, MALFORMED),  # the bytes of blocks end within a first part
        (dumps([-1, 1, 2, pattern(300)])[:50], 257, OUT_OF_RANGE),
        (b"\x84\x05\x01", 300, MALFORMED),
    ):
        error = raises(ProtocolError, messages.parse_blocks_begin, memoryview(broken), left)
        assert error.code == code, (broken, error.text)
