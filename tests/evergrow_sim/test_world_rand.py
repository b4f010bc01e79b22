"""Random numbers of the world: the same everywhere, a stream for each name."""

import pytest

from evergrow_sim.world.rand import derive


def test_a_stream_is_the_same_on_every_machine_and_interpreter() -> None:
    rand = derive(7, "device", "w1")
    assert rand.bytes(8).hex() == "c9073d6b8b1085ee"
    assert [rand.below(1000) for _ in range(5)] == [310, 619, 797, 752, 533]


def test_bytes_do_not_depend_on_how_they_are_asked_for() -> None:
    whole, pieces = derive(1), derive(1)
    data = whole.bytes(300)
    assert b"".join(pieces.bytes(count) for count in (1, 2, 0, 29, 33, 200, 35)) == data


def test_streams_of_other_names_types_and_seeds_differ() -> None:
    names = [(1, "a"), (1, "b"), (2, "a"), ("1", "a"), (1, b"a"), (1, "a", "a"), (1,), (1, "aa")]
    assert len({derive(*name).bytes(16) for name in names}) == len(names)


def test_a_derived_stream_does_not_depend_on_what_was_drawn_before() -> None:
    fresh, used = derive(1, "net"), derive(1, "net")
    used.bytes(100)
    assert fresh.derive("w1").bytes(16) == used.derive("w1").bytes(16) != derive(1, "net").bytes(16)


def test_a_name_that_has_no_fixed_text_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        derive(1, object())  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 256, 257, 1 << 20])
def test_below_stays_below_and_reaches_both_ends(limit: int) -> None:
    rand = derive(limit)
    drawn = [rand.below(limit) for _ in range(2000)]
    assert min(drawn) >= 0 and max(drawn) < limit
    if limit < 100:
        assert set(drawn) == set(range(limit))


def test_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0"):
        derive(1).below(0)


def test_between_takes_both_ends() -> None:
    rand = derive(3)
    assert {rand.between(-1, 1) for _ in range(100)} == {-1, 0, 1}


def test_chance_is_about_what_it_says() -> None:
    rand = derive(4)
    assert 2700 < sum(rand.chance(0.3) for _ in range(10_000)) < 3300
    assert not any(rand.chance(0) for _ in range(10)) and all(rand.chance(1) for _ in range(10))


def test_shuffle_and_choice_lose_nothing() -> None:
    rand = derive(5)
    items = list(range(50))
    rand.shuffle(items)
    assert items != list(range(50)) and sorted(items) == list(range(50))
    assert {rand.choice("abc") for _ in range(50)} == set("abc")
