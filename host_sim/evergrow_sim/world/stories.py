"""What happens around one feature, as a little story: it is offered, tried, cancelled, agreed to, replaced, removed."""

from evergrow_sim.world import brisk
from evergrow_sim.world.features import WARM_RINSE
from evergrow_sim.world.guests import GRANTS, GUEST_RINSE, GUEST_SPIN, REVOCABLE
from evergrow_sim.world.rand import Rand
from evergrow_sim.world.root import FORGED
from evergrow_sim.world.trials import ASKED, LEASED, PAID, TRIED

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


def rented(rand: Rand) -> list[Step]:
    """For a while, and people try longer; now and then it is prolonged, perhaps with the right time."""
    steps: list[Step] = [(0, "offer", "leased"), (_soon(rand), "lease", _lease(rand)), *_cycles(rand, 5, LEASED)]
    if rand.chance(0.5):
        steps += [(_soon(rand), "lease", _lease(rand)), *_cycles(rand, 4, LEASED)]
    return steps


def _lease(rand: Rand) -> str:
    again = rand.choice(("", "", "/set"))
    return f"{rand.choice((60, 180, 400, 800))}/{rand.choice((0, 0, 60, 300))}{again}"


_GUESTS = (("guest spin", GUEST_SPIN), ("guest rinse", GUEST_RINSE), ("guest tally", brisk.SHORT_SPIN))


def guest(rand: Rand) -> list[Step]:
    """What a publisher offers who is known by a grant alone, if it was granted."""
    steps: list[Step] = []
    for _ in range(rand.between(1, 3)):
        name, programme = rand.choice(_GUESTS)
        steps += [(_soon(rand), "offer", name), *_cycles(rand, 3, programme)]
    return steps


_RECALLED = (
    ("rinse", WARM_RINSE, "rinse"),
    ("tried", TRIED, "tried"),
    ("leased", LEASED, "leased"),
    ("guest spin", GUEST_SPIN, "guest"),
    ("guest rinse", GUEST_RINSE, "guest"),
    ("guest spin", GUEST_SPIN, "guest spin"),
    ("guest tally", brisk.SHORT_SPIN, "guest tally"),
    ("tally", brisk.SHORT_SPIN, "tally"),
    ("spin", brisk.SHORT_WASH, "spin"),
)
"""(feature, a programme that uses it, what a list names)."""


def root(rand: Rand, span_ms: int) -> list[Step]:
    """What the root grants and revokes in a home: something that is in use, or anything."""
    story = rand.choice((_recalled, _recalled, _narrowed, None))
    return story(rand) if story else _any(rand, span_ms)


def _recalled(rand: Rand) -> list[Step]:
    """A feature is in use, perhaps at this moment, and is revoked."""
    name, programme, revoked = rand.choice(_RECALLED)
    steps: list[Step] = [(rand.between(5_000, 60_000), "grant", "wide")] if name.startswith("guest") else []
    if rand.chance(0.5):
        steps += [(_soon(rand), "revoke", rand.choice(("", "paid")))]
    if name == "leased":
        steps += [(_soon(rand), "lease", "2000/60")]
    steps += [(rand.between(5_000, 30_000), "offer", name), *_cycles(rand, rand.between(1, 3), programme)]
    steps += [(rand.choice((rand.between(500, 8_000), rand.between(0, 90_000))), "revoke", revoked)]
    steps += _cycles(rand, 2, programme)
    if rand.chance(0.7):
        steps += [(_soon(rand), "unplug", rand.between(0, 10_000))] if rand.chance(0.7) else []
        steps += [(_soon(rand), "attack", rand.choice((FORGED, "first", "first")))]
    return steps + _cycles(rand, 3, programme)


def _narrowed(rand: Rand) -> list[Step]:
    """A publisher may do less than before, and perhaps more again."""
    name, programme = rand.choice(_GUESTS)
    steps: list[Step] = [(rand.between(5_000, 60_000), "grant", "wide"), (_soon(rand), "offer", name)]
    for kind in (rand.choice(GRANTS), rand.choice(GRANTS)):
        steps += [*_cycles(rand, 2, programme), (_soon(rand), "grant", kind)]
    return [*steps, *_cycles(rand, 2, programme)]


def _any(rand: Rand, span_ms: int) -> list[Step]:
    """At any moment; and what enemies try."""
    steps: list[Step] = [(rand.between(0, span_ms // 3), "grant", rand.choice(GRANTS))] if rand.chance(0.8) else []
    for _ in range(rand.between(1, 4)):
        wait_ms = rand.choice((rand.between(0, 5_000), rand.between(30_000, 400_000)))
        what = rand.choice(("grant", "revoke", "revoke", "attack"))
        names = ",".join(sorted({rand.choice(tuple(REVOCABLE)) for _ in range(rand.between(0, 3))}))
        argument = {"grant": rand.choice(GRANTS), "revoke": names, "attack": rand.choice((FORGED, "first", "first"))}[what]
        steps.append((wait_ms, what, argument))
    return steps


def _counted(rand: Rand) -> list[Step]:
    return [(0, "offer", "tally"), *_cycles(rand, 3, brisk.SHORT_SPIN)]


def _crashing(rand: Rand) -> list[Step]:
    before = _counted(rand) if rand.chance(0.5) else []
    bad = rand.choice(("tally-2", "tally-3", "tally-4"))
    after: list[Step] = [(_soon(rand), "offer", "tally-5"), *_cycles(rand, 2, brisk.SHORT_SPIN)] if rand.chance(0.5) else []
    return [*before, (_soon(rand), "offer", bad), *_cycles(rand, 5, rand.choice((brisk.SHORT_WASH, brisk.SHORT_SPIN))), *after]
