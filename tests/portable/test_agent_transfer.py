"""Block transfer: evergrow_agent.transfer, driven without a network or a clock of its own."""

import random

from evergrow_agent.transfer import (
    AHEAD_BLOCKS,
    CHUNK_BLOCKS,
    FIRST_PAUSE_MS,
    MAX_PAUSE_MS,
    MAX_SILENT_REQUESTS,
    WINDOW_BLOCKS,
    Pull,
)
from evergrow_protocol.errors import EXPIRED, ProtocolError
from support import raises

BLOCK = 64


class Cloud:
    """Answers requests over a line that loses, repeats and reorders blocks, decided by `dice`."""

    def __init__(self, payload, dice, trouble):
        self.payload = payload
        self.dice = dice
        self.trouble = trouble
        self.line = []

    def ask(self, first, wanted):
        for i in range(8 * len(wanted)):
            if wanted[i >> 3] >> (i & 7) & 1:
                at = (first + i) * BLOCK
                for _ in range(self.dice.choice((0, 1, 1, 1, 2)) if self.trouble else 1):
                    place = self.dice.randint(0, len(self.line)) if self.trouble else len(self.line)
                    self.line.insert(place, (first + i, self.payload[at : at + BLOCK]))

    def pop(self):
        return self.line.pop(0)


def pattern(size):
    return bytes((i * 7 + (i >> 8)) & 255 for i in range(size))


def pull_all(payload, dice, trouble):
    """Run a transfer to its end; returns what was stored, in order, and the Pull."""
    pull = Pull(len(payload), BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    cloud = Cloud(payload, dice, trouble)
    stored = bytearray()
    now_ms = 0
    while not pull.done:
        ask = pull.request(now_ms)
        if ask:
            pull.requested(True)
            cloud.ask(*ask)
        elif cloud.line:
            pull.on_block(now_ms, *cloud.pop())
        else:
            now_ms += pull.wait_ms(now_ms)
        window = pull.chunk()
        if window is not None:
            stored.extend(window)
            pull.advance(0)
    return bytes(stored), pull


def complete(pull, payload):
    """Answer what the current window misses."""
    first, wanted = pull.request(1 << 40)
    for block in blocks(first, wanted):
        if block < WINDOW_BLOCKS:
            assert pull.on_block(0, block, payload[block * BLOCK : (block + 1) * BLOCK])


def blocks(first, wanted):
    """The numbers of the blocks that a request is for."""
    return [first + i for i in range(8 * len(wanted)) if wanted[i >> 3] >> (i & 7) & 1]


def test_payloads_of_every_awkward_size_arrive_whole():
    window = WINDOW_BLOCKS * BLOCK
    for size in (1, BLOCK - 1, BLOCK, BLOCK + 1, window - 1, window, window + 1, 3 * window, 3 * window + BLOCK + 5):
        payload = pattern(size)
        stored, pull = pull_all(payload, random, False)
        assert stored == payload, size
        assert pull.blocks == (size + BLOCK - 1) // BLOCK


def test_lost_repeated_and_reordered_blocks_make_the_payload_whole():
    """EG-FEAT-010"""
    payload = pattern(5000)
    for seed in range(20):
        random.seed(seed)
        stored, pull = pull_all(payload, random, True)
        assert stored == payload, seed
        assert pull.blocks == (5000 + BLOCK - 1) // BLOCK


def test_a_block_of_the_wrong_length_is_dropped():
    """EG-FEAT-010"""
    pull = Pull(BLOCK + 10, BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    for block, size in ((0, BLOCK - 1), (0, BLOCK + 1), (0, 0), (1, 9), (1, 11), (1, BLOCK)):
        assert not pull.on_block(0, block, bytes(size)), (block, size)
    assert pull.blocks == 0
    assert pull.on_block(0, 1, bytes(10))
    assert pull.on_block(0, 0, bytes(BLOCK))
    assert len(pull.chunk()) == BLOCK + 10


def test_blocks_outside_the_window_and_repetitions_are_dropped():
    """EG-FEAT-010"""
    payload = pattern(20 * BLOCK)
    pull = Pull(len(payload), BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    for block in (-1, WINDOW_BLOCKS, 19, 20, 1 << 31):
        assert not pull.on_block(0, block, bytes(BLOCK))
    assert pull.on_block(0, 2, payload[2 * BLOCK : 3 * BLOCK])
    assert not pull.on_block(0, 2, bytes(BLOCK)), "what came first stands"
    complete(pull, payload)
    assert bytes(pull.chunk()) == payload[: CHUNK_BLOCKS * BLOCK]
    pull.advance(0)
    assert not pull.on_block(0, 2, bytes(BLOCK))


def test_only_missing_blocks_are_asked_for_again():
    pull = Pull(CHUNK_BLOCKS * BLOCK, BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    assert pull.request(0) == (0, b"\x0f")
    pull.requested(True)
    pull.on_block(10, 0, bytes(BLOCK))
    pull.on_block(10, 1, bytes(BLOCK))
    assert pull.request(11) is None
    assert pull.request(10 + pull.wait_ms(10)) == (2, b"\x03")


def test_a_block_that_later_ones_have_overtaken_is_asked_for_again_at_once_but_once():
    pull = Pull(WINDOW_BLOCKS * BLOCK, BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    pull.request(0)
    pull.requested(True)
    pull.on_block(10, 0, bytes(BLOCK))
    assert pull.request(10) is None
    pull.on_block(10, 3, bytes(BLOCK))
    assert pull.wait_ms(10) == 0
    assert pull.request(10) == (1, b"\x03")
    pull.requested(True)
    pull.on_block(20, 4, bytes(BLOCK))
    assert pull.request(20) is None
    assert pull.request(20 + FIRST_PAUSE_MS) == (1, bytes((0b1110011,)))


def test_the_next_blocks_are_asked_for_while_the_others_are_on_their_way():
    payload = pattern(5 * CHUNK_BLOCKS * BLOCK)
    pull = Pull(len(payload), BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    assert pull.request(0) == (0, b"\xff\xff")
    pull.requested(True)
    for block in range(CHUNK_BLOCKS):
        pull.on_block(5, block, payload[block * BLOCK : (block + 1) * BLOCK])
    assert bytes(pull.chunk()) == payload[: CHUNK_BLOCKS * BLOCK]
    pull.advance(5)
    assert pull.request(5) == (AHEAD_BLOCKS, b"\x0f")
    pull.requested(True)
    assert pull.request(6) is None


def test_blocks_that_find_no_room_behind_a_gap_are_asked_for_again_once_there_is_some():
    """EG-FEAT-010: one lost block costs those behind it that there is no room for, and nothing else."""
    payload = pattern(AHEAD_BLOCKS * BLOCK)
    pull = Pull(len(payload), BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    pull.request(0)
    pull.requested(True)
    for block in range(1, AHEAD_BLOCKS):
        taken = pull.on_block(5, block, payload[block * BLOCK : (block + 1) * BLOCK])
        assert taken == (block < WINDOW_BLOCKS), block
    assert blocks(*pull.request(5)) == [0]
    pull.requested(True)
    pull.on_block(9, 0, payload[:BLOCK])
    stored = bytearray()
    asked = []
    while not pull.done:
        while pull.chunk() is not None:
            stored.extend(pull.chunk())
            pull.advance(9)
        ask = pull.request(9)
        if ask:
            pull.requested(True)
            for block in blocks(*ask):
                asked.append(block)
                assert pull.on_block(9, block, payload[block * BLOCK : (block + 1) * BLOCK])
    assert stored == payload
    assert asked == list(range(WINDOW_BLOCKS, AHEAD_BLOCKS))


def test_a_transfer_that_was_begun_goes_on_where_it_was():
    payload = pattern(3 * CHUNK_BLOCKS * BLOCK + 21)
    chunk = CHUNK_BLOCKS * BLOCK
    for start in (1, BLOCK - 1, BLOCK, chunk - 1, chunk, 3 * chunk - 70, 3 * chunk + 3, len(payload)):
        pull = Pull(len(payload), BLOCK, bytearray(WINDOW_BLOCKS * BLOCK), start)
        stored = bytearray(payload[:start])
        asked = []
        while not pull.done:
            for block in blocks(*pull.request(1 << 40)):
                asked.append(block)
                pull.on_block(0, block, payload[block * BLOCK : (block + 1) * BLOCK])
                while pull.chunk() is not None:
                    stored.extend(pull.chunk())
                    pull.advance(0)
        assert stored == payload, start
        assert asked == list(range(start // BLOCK if start < len(payload) else 99, 13)), start


def test_no_more_is_asked_for_than_the_pace_allows():
    payload = pattern(40 * BLOCK)
    pull = Pull(len(payload), BLOCK, bytearray(WINDOW_BLOCKS * BLOCK), 0, 100)
    now_ms = 0
    while not pull.done:
        ask = pull.request(now_ms)
        if not ask:
            assert pull.wait_ms(now_ms) > 0
            now_ms += pull.wait_ms(now_ms)
            continue
        pull.requested(True)
        for block in blocks(*ask):
            pull.on_block(now_ms, block, payload[block * BLOCK : (block + 1) * BLOCK])
        while pull.chunk() is not None:
            pull.advance(now_ms)
    assert now_ms >= 1000 * (40 - WINDOW_BLOCKS) * BLOCK // 100


def test_requests_grow_rarer_and_then_the_transfer_is_given_up():
    pull = Pull(100, BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    now_ms = 0
    pauses = []
    for _ in range(MAX_SILENT_REQUESTS):
        assert pull.request(now_ms)
        pull.requested(True)
        pauses.append(pull.wait_ms(now_ms))
        assert pull.request(now_ms + pauses[-1] - 1) is None
        now_ms += pauses[-1]
    assert pauses[0] == FIRST_PAUSE_MS
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_MS
    assert raises(ProtocolError, pull.request, now_ms).code == EXPIRED


def test_an_outage_of_the_link_does_not_count_as_silence():
    pull = Pull(100, BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    now_ms = 0
    for _ in range(10 * MAX_SILENT_REQUESTS):
        assert pull.request(now_ms)
        pull.requested(False)
        now_ms += pull.wait_ms(now_ms)
    assert pull.request(now_ms)


def test_progress_survives_a_reconnect_and_the_rest_is_due_at_once():
    payload = pattern(WINDOW_BLOCKS * BLOCK)
    pull = Pull(len(payload), BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    pull.request(0)
    pull.requested(True)
    pull.on_block(5, 1, payload[BLOCK : 2 * BLOCK])
    pull.requested(True)
    pull.hurry()
    assert pull.request(6) == (0, b"\xfd")
    complete(pull, payload)
    assert bytes(pull.chunk()) == payload[: CHUNK_BLOCKS * BLOCK]


def test_with_a_pace_nothing_is_asked_for_while_a_whole_window_waits_to_be_stored():
    pull = Pull(12 * BLOCK, BLOCK, bytearray(WINDOW_BLOCKS * BLOCK), 0, 1 << 30)
    complete(pull, bytes(12 * BLOCK))
    pull.hurry()
    assert pull.request(1 << 40) is None
    pull.advance(0)
    assert pull.request(0) == (WINDOW_BLOCKS, b"\x0f")


def test_an_empty_payload_is_done_at_once():
    pull = Pull(0, BLOCK, bytearray(WINDOW_BLOCKS * BLOCK))
    assert pull.done
    assert pull.request(0) is None
