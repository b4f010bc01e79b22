"""The features that are offered in the world: what publishers mean well, and what nobody may ever get onto a device."""

from dataclasses import dataclass
from functools import cache

from evergrow_protocol import errors as codes
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.cbor import dumps
from evergrow_protocol.cose import Key
from evergrow_sim.publisher import Signer, feature_manifest
from evergrow_sim.world.brisk import DRAIN, LOCK, fill, programme, spin

VENDOR_ID = b"evergrow-vendor."
CLASS_ID = b"evergrow-washer."

WARM_RINSE = 1001
"""A feature's id, and that of its programme."""
SPIN_1400 = 1002

MAKER, PARTNER, _STRANGER = ("maker", b"evergrow", 1), ("partner", b"northwash", 2), ("stranger", b"northwash", 2)


@dataclass(frozen=True)
class Offer:
    """A feature that can be offered. `brings`: (publisher, feature, sequence) of a good one. `code`: why a bad one is refused.

    `trial_cycles`: how many good ones it asks for; `consent`: whether a person is asked; `broken`: its code always fails.
    """

    name: str
    envelope: bytes
    payload: bytes
    brings: tuple[int, int, int] | None = None
    code: int = codes.OK
    trial_cycles: int = 0
    consent: bool = False
    broken: bool = False


@cache
def signer(name: str, prefix: bytes, publisher: int) -> Signer:
    """Made once per process: a key takes 32,000 hashes."""
    return Signer(name, prefix, publisher)


def keyring() -> list[Key]:
    """Whom the devices of the world trust."""
    return [signer(*MAKER).key, signer(*PARTNER).key]


@cache
def catalogue() -> dict[str, Offer]:
    """All there are, by name."""
    rinse, better_rinse = _rinse(1, "1.0.0"), _rinse(2, "2.0.0")
    unlock, greedy = _unlock(1400), _unlock(1600)
    signed = _signed(PARTNER, rinse, b"warm-rinse", 1)
    flipped = bytearray(signed)
    flipped[-len(signed) // 4] ^= 1
    other_rinse = rinse[:-1] + bytes((rinse[-1] ^ 1,))
    found = (
        Offer("rinse", signed, rinse, (2, WARM_RINSE, 1)),
        Offer("rinse-2", _signed(PARTNER, better_rinse, b"warm-rinse", 2), better_rinse, (2, WARM_RINSE, 2)),
        Offer("spin", _signed(MAKER, unlock, b"spin", 1), unlock, (1, SPIN_1400, 1)),
        Offer("tampered", _signed(PARTNER, rinse, b"warm-rinse", 7), other_rinse, code=codes.BAD_DIGEST),
        Offer("forged", bytes(flipped), rinse, code=-1),
        Offer("stranger", _signed(_STRANGER, greedy, b"warm-rinse", 9), greedy, code=codes.NOT_AUTHORISED),
        Offer("trespasser", _signed(PARTNER, unlock, b"spin", 9, b"evergrow"), unlock, code=codes.NOT_AUTHORISED),
        Offer("other class", _signed(MAKER, unlock, b"spin", 9, class_id=b"evergrow-fridge."), unlock, code=codes.OUT_OF_RANGE),
        Offer("greedy", _signed(MAKER, greedy, b"spin", 9), greedy, code=codes.OUT_OF_RANGE),
    )
    return {offer.name: offer for offer in found}


def _signed(
    who: tuple[str, bytes, int], body: bytes, name: bytes, sequence: int, prefix: bytes = b"", class_id: bytes = CLASS_ID
) -> bytes:
    component = (prefix or who[1], name)
    return signer(*who).envelope(feature_manifest(body, component, VENDOR_ID, class_id, sequence))


def _rinse(rinses: int, version: str) -> bytes:
    steps = [LOCK] + [fill(3300), DRAIN] * rinses + [spin(800, 20)]
    data = programme(WARM_RINSE, steps, 120 * rinses)
    head = {0: 2, 1: WARM_RINSE, 2: "warm-rinse", 3: version}
    # The programme is an item of the body, not a string in it.
    return b"\xa5" + dumps(head)[1:] + dumps(5) + data


def _unlock(rpm: int) -> bytes:
    return dumps({0: 1, 1: SPIN_1400, 2: "spin", 3: "1.0.0", 4: {ids.ACTUATOR_DRUM_RPM: rpm}})
