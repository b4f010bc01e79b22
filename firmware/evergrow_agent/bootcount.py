"""The boot number: different at, and larger after, every boot (EG-ENV-001).

Two slots are written in turn, each a number and a check of it, so that neither a power cut nor a decayed slot takes the
count back. A slot that decayed may have held the larger number: then one more is skipped. Gaps are legal.
"""

from evergrow_agent import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SLOTS = ("boot.0", "boot.1")
_RANDOM_FROM = 0x80000000  # Above every count that a device can reach.


def bump(flash: "Any", random: "Any", floor: int = 0) -> "tuple[int, bool]":
    """Count this boot. Returns (boot, random): `boot` is durable, unless `random` says that it was drawn.

    `floor`: a boot number known from elsewhere (the ledger) to be taken. Call once per boot, before anything is published.
    Never raises: without a usable flash the number is random, in the upper half of 32 bits.
    """
    try:
        best, best_slot, damaged = _read(flash)
        drawn = damaged == len(_SLOTS)
        boot = max(_draw(random) if drawn else best + 1 + damaged, floor + 1)
        if boot >> 32:
            boot = _draw(random)
        checked.save(flash, _SLOTS[1 - best_slot], boot.to_bytes(4, "big"))
        return boot, drawn
    except OSError:
        return max(_draw(random), min(floor + 1, 0xFFFFFFFF)), True


def _read(flash: "Any") -> "tuple[int, int, int]":
    best, best_slot, damaged = 0, 1, 0
    for slot, name in enumerate(_SLOTS):
        content = checked.load(flash, name)
        if content is None:
            continue
        if len(content) != 4:
            damaged += 1
        elif int.from_bytes(content, "big") > best:
            best, best_slot = int.from_bytes(content, "big"), slot
    return best, best_slot, damaged


def _draw(random: "Any") -> int:
    return _RANDOM_FROM | int.from_bytes(random.bytes(4), "big")
