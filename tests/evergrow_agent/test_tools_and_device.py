"""What the publisher's tools build, on the real installer: a feature that requires another, and their removal."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "portable"))

from evergrow_protocol.errors import OK, STALE
from evergrow_tools import suit_build
from installkit import CLASS, VENDOR, World, programme, signer, unlock

SPIN, RINSE = (b"maker", b"spin"), (b"acme", b"rinse")
CONFIRMED, REFUSED, REMOVED = 4, 6, 7


def test_requirements_and_removals_that_the_tools_wrote_do_what_they_say() -> None:
    """EG-SUIT-005, EG-SUIT-009"""
    asyncio.run(_live())


async def _live() -> None:
    maker, acme = signer("maker", b"maker", 1), signer()
    world = World(keys=[maker.key, acme.key])

    async def offer(transfer: int, by: object, encoded: bytes, payload: bytes = b"") -> tuple[int, int]:
        report = await world.offer([by.envelope(encoded), payload], transfer)  # type: ignore[attr-defined]
        return report[1], report[2]

    def built(component: tuple[bytes, ...], body: bytes, sequence: int, requires: dict[tuple[bytes, ...], list[int]]) -> bytes:
        images = [suit_build.Image(body, "evergrow:1")]
        return suit_build.build_manifest(component, images, sequence, VENDOR, CLASS, requires)

    body = programme()
    needing = built(RINSE, body, 1, {SPIN: [1, 2]})
    assert await offer(1, acme, needing, body) == (STALE, REFUSED)
    spin = unlock(version="1.3")
    assert await offer(2, maker, built(SPIN, spin, 1, {}), spin) == (OK, CONFIRMED)
    assert await offer(3, acme, needing, body) == (OK, CONFIRMED)
    assert await offer(4, maker, suit_build.build_removal(SPIN, 2, VENDOR, CLASS)) == (STALE, REFUSED)
    assert await offer(5, acme, suit_build.build_removal(RINSE, 2, VENDOR, CLASS)) == (OK, REMOVED)
    assert await offer(6, maker, suit_build.build_removal(SPIN, 2, VENDOR, CLASS)) == (OK, REMOVED)
    assert world.features.active() == []
