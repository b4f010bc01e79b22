"""What happens around one feature, as a little story: it is offered, tried, cancelled, agreed to, replaced, removed."""

from evergrow_sim.world import brisk
from evergrow_sim.world.features import WARM_RINSE
from evergrow_sim.world.rand import Rand
from evergrow_sim.world.trials import ASKED, PAID, TRIED

Step = tuple[int, str, int | str]
"""(ms after the step before, what, argument): see `scenario.Act`."""


def draw(rand: Rand) -> list[Step]:
    """One of them."""
    return rand.choice((_tried, _faulty, _superseded, _cancelled, _asked, _removed, _counted, _crashing, _crashing))(rand)


def _cycles(rand: Rand, count: int, programme: int) -> list[Step]:
    return [(rand.between(50_000, 140_000), "start", programme) for _ in range(count)]


def _soon(rand: Rand) -> int:
    """Mostly before a transfer is over."""
    return rand.choice((0, rand.between(0, 2_000), rand.between(0, 60_000)))


def _tried(rand: Rand) -> list[Step]:
    return [(0, "offer", "tried"), *_cycles(rand, 4, TRIED)]


def _faulty(rand: Rand) -> list[Step]:
    before: list[Step] = [(0, "offer", "tried"), *_cycles(rand, 3, TRIED)] if rand.chance(0.5) else []
    return [*before, (_soon(rand), "offer", "tried-2"), *_cycles(rand, 6, TRIED)]


def _superseded(rand: Rand) -> list[Step]:
    return [(0, "offer", "tried"), (_soon(rand), "offer", "tried-3"), *_cycles(rand, 3, TRIED)]


def _cancelled(rand: Rand) -> list[Step]:
    name = rand.choice(("tried", "asked", "tally", "rinse-2"))
    again: list[Step] = [(_soon(rand), "offer", name)] if rand.chance(0.3) else []
    return [(0, "offer", name), (_soon(rand), "cancel", name), *again, *_cycles(rand, 2, TRIED)]


def _asked(rand: Rand) -> list[Step]:
    said: list[Step] = [(rand.between(1_000, 200_000), rand.choice(("agree", "decline")), "asked")] if rand.chance(0.8) else []
    return [(0, "offer", "asked"), *said, *_cycles(rand, 2, ASKED)]


def _removed(rand: Rand) -> list[Step]:
    name, programme = rand.choice((("rinse", WARM_RINSE), ("tried", TRIED)))
    return [(0, "offer", name), *_cycles(rand, 1, programme), (_soon(rand), "remove", name), *_cycles(rand, 2, programme)]


def paid(rand: Rand) -> list[Step]:
    """Fewer uses are sold than are tried; now and then more are sold, or the right ends."""
    uses = rand.between(1, 3)
    more: list[Step] = [(_soon(rand), "entitle", rand.between(0, 2)), *_cycles(rand, 3, PAID)] if rand.chance(0.5) else []
    return [(0, "offer", "paid"), (_soon(rand), "entitle", uses), *_cycles(rand, uses + 2, PAID), *more]


def _counted(rand: Rand) -> list[Step]:
    return [(0, "offer", "tally"), *_cycles(rand, 3, brisk.SHORT_SPIN)]


def _crashing(rand: Rand) -> list[Step]:
    before = _counted(rand) if rand.chance(0.5) else []
    bad = rand.choice(("tally-2", "tally-3", "tally-4"))
    after: list[Step] = [(_soon(rand), "offer", "tally-5"), *_cycles(rand, 2, brisk.SHORT_SPIN)] if rand.chance(0.5) else []
    return [*before, (_soon(rand), "offer", bad), *_cycles(rand, 5, rand.choice((brisk.SHORT_WASH, brisk.SHORT_SPIN))), *after]
