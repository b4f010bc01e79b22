"""The trace: a digest of everything, the last events, nothing that could differ between two runs."""

import hashlib

import pytest

from evergrow_sim.world.trace import Event, Trace, TraceError, line


def test_the_digest_is_of_all_events_and_nothing_else() -> None:
    trace = Trace(keep=2)
    trace.add(0, "w1", "power on", 1)
    trace.add(5, "w1", "up", b"\x00\xff", "ä", True)
    text = "(0, 'w1', 'power on', (1,))\n(5, 'w1', 'up', (b'\\x00\\xff', '\\xe4', True))\n"
    assert trace.digest() == hashlib.sha256(text.encode()).hexdigest()
    assert trace.count == 2


def test_the_digest_does_not_depend_on_when_it_is_asked_for() -> None:
    once, often = Trace(), Trace()
    for n in range(1000):
        once.add(n, "a", "b", n)
        often.add(n, "a", "b", n)
        often.digest()
    assert once.digest() == often.digest()


def test_every_part_of_an_event_counts() -> None:
    events: list[Event] = [(1, "a", "b", ()), (2, "a", "b", ()), (1, "x", "b", ()), (1, "a", "x", ()), (1, "a", "b", (1,))]
    events += [(1, "a", "b", ("1",)), (1, "a", "b", (b"1",))]
    digests = set()
    for t_ms, who, what, details in events:
        trace = Trace()
        trace.add(t_ms, who, what, *details)
        digests.add(trace.digest())
    assert len(digests) == len(events)


@pytest.mark.parametrize("detail", [1.5, None, {"a"}, bytearray(b"a"), object()])
def test_a_detail_whose_text_may_differ_is_refused(detail: object) -> None:
    with pytest.raises(TraceError, match=type(detail).__name__):
        Trace().add(0, "w1", "what", detail)  # type: ignore[arg-type]


def test_only_the_last_events_are_kept_and_all_are_told_to_the_sink() -> None:
    seen: list[Event] = []
    trace = Trace(keep=3, sink=seen.append)
    for n in range(10):
        trace.add(n, "w1", "tick")
    assert [event[0] for event in trace.last()] == [7, 8, 9]
    assert [event[0] for event in seen] == list(range(10))


def test_a_line_is_for_people() -> None:
    assert line((3_723_004, "w1", "up", (3, b"\x01\x02", "x"))) == "  1:02:03.004 w1           up 3 2:0102 x"
    assert line((0, "w1", "up", (bytes(100),))).endswith("100:" + "00" * 24 + "...")
