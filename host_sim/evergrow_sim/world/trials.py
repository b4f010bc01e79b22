"""Features that are tried before they are kept: good ones, one whose programme faults, one that asks, code that crashes."""

from functools import cache

from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.cbor import dumps
from evergrow_sim.publisher import feature_manifest
from evergrow_sim.world.brisk import DRAIN, LOCK, programme, spin
from evergrow_sim.world.features import CLASS_ID, PARTNER, VENDOR_ID, Offer, signer

TRIED = 1003
"""A feature's id, and that of its programme; so are the next ones."""
ASKED = 1004
TALLY = 1005
"""Code, which counts the phases of a cycle in METER."""
PAID = 1006
"""Whose programme needs an entitlement."""
LEASED = 1007
"""Whose programme needs one that ends."""
METER = 1020

HANG_SIGNAL = ids.SIGNAL_POWER_W
"""Reading it never returns, as far as the code of features is concerned (see `computing`)."""

_HEAP, _CALL_MS = 4096, 50
_PUBLISHER = 2
_FAULTY: dict[int, object] = {
    0: common.PHASE_WASH, 3: [[ids.SIGNAL_TEMP, 0, 990]], 5: 10, 6: common.ERROR_HEATER_TIMEOUT
}  # fmt: skip

_SOURCE = """
def start(api):
    def changed(event):
        api.count({meter}, 1)
        {then}
    api.on({event}, changed)
"""


@cache
def catalogue() -> dict[str, Offer]:
    """All there are, by name. A name with a number is a later version of the same component."""
    found = (
        _programme("tried", 1, [LOCK, spin(400, 5)], cycles=2),
        _programme("tried-2", 2, [LOCK, _FAULTY], cycles=2),
        _programme("tried-3", 3, [LOCK, DRAIN, spin(500, 5)], seconds=30, cycles=1),
        _asked(),
        _sold("paid", PAID),
        _sold("leased", LEASED),
        _code("tally", 1, f"api.read({ids.SIGNAL_DRUM_RPM})"),
        _code("tally-2", 2, "1 // 0", broken=True),
        _code("tally-3", 3, f"[api.read({ids.SIGNAL_DRUM_RPM}) for _ in range(9)]", broken=True),
        _code("tally-4", 4, f"api.read({HANG_SIGNAL})", broken=True),
        _code("tally-5", 5, "pass"),
    )
    return {offer.name: offer for offer in found}


def _programme(name: str, sequence: int, steps: list[dict[int, object]], seconds: int = 0, cycles: int = 0) -> Offer:
    data = _body(TRIED, "tried", sequence, steps, 8, [seconds, cycles])
    return _offer(name, data, b"tried", TRIED, sequence, cycles=cycles)


def _asked() -> Offer:
    return _offer("asked", _body(ASKED, "asked", 1, [LOCK, spin(300, 5)], 9, 1), b"asked", ASKED, 1, consent=True)


def _sold(name: str, feature: int) -> Offer:
    return _offer(name, _body(feature, name, 1, [LOCK, spin(350, 5)], 12, 1), name.encode(), feature, 1)


def _body(feature: int, name: str, sequence: int, steps: list[dict[int, object]], key: int, value: object) -> bytes:
    """A programme, and one more entry of the feature's map (SPEC section 9)."""
    head = dumps({0: 2, 1: feature, 2: name, 3: f"{sequence}.0.0"})[1:]
    return b"\xa6" + head + dumps(5) + programme(feature, steps, 60) + dumps(key) + dumps(value)


def _code(name: str, sequence: int, then: str, broken: bool = False) -> Offer:
    source = _SOURCE.format(meter=METER, then=then, event=common.EVENT_PHASE_CHANGED)
    needs = {0: [ids.SIGNAL_DRUM_RPM, ids.SIGNAL_POWER_W], 2: [METER], 5: _HEAP, 6: _CALL_MS}
    body = {0: 3, 1: TALLY, 2: "tally", 3: f"{sequence}.0.0", 8: [0, 2], 10: needs, 11: source.encode()}
    return _offer(name, dumps(body), b"tally", TALLY, sequence, cycles=2, broken=broken)


def _offer(
    name: str,
    body: bytes,
    component: bytes,
    feature: int,
    sequence: int,
    cycles: int = 0,
    consent: bool = False,
    broken: bool = False,
) -> Offer:
    maker = signer(*PARTNER)
    envelope = maker.envelope(feature_manifest(body, (PARTNER[1], component), VENDOR_ID, CLASS_ID, sequence))
    brings = (_PUBLISHER, feature, sequence)
    return Offer(name, envelope, body, brings, trial_cycles=cycles, consent=consent, broken=broken)
