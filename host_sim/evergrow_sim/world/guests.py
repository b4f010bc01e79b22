"""What the root of the world grants and takes back, and what a publisher offers whom only a grant makes known."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from evergrow_agent import grants
from evergrow_protocol import registry_common as common
from evergrow_protocol import registry_washer as ids
from evergrow_protocol.cbor import dumps
from evergrow_sim.publisher import feature_manifest
from evergrow_sim.world.brisk import DRAIN, LOCK, fill, programme, spin
from evergrow_sim.world.features import CLASS_ID, MAKER, PARTNER, SPIN_1400, VENDOR_ID, WARM_RINSE, Offer, signer
from evergrow_sim.world.flash import PowerFlash
from evergrow_sim.world.trials import LEASED, PAID, TALLY, TRIED

ROOT, GUEST = ("root", b"root", 1), ("guest", b"southrinse", 3)

GUEST_SPIN = 1008
"""A feature's id, and that of its programme; so is the next one."""
GUEST_RINSE = 1009
GUEST_TALLY = 1010
"""Code, which counts the phases of a cycle in METER."""
METER = 1021

_SIGNALS = (ids.SIGNAL_WATER_ML, ids.SIGNAL_DRUM_RPM, ids.SIGNAL_DOOR_LOCKED)
_ACTUATORS = (ids.ACTUATOR_INLET, ids.ACTUATOR_DRAIN, ids.ACTUATOR_DRUM_RPM, ids.ACTUATOR_DOOR_LOCK)
_FLASH_BYTES, _HEAP_BYTES, _CALL_MS = 65_536, 4096, 50
_EVERY = 0xFFFF_FFFF

GRANTS = ("wide", "wide", "no inlet", "no drum", "no meter", "no signal", "no heap", "brief")
"""Kinds of grants; `brief` ends soon."""
BRIEF_S = 240
REVOCABLE = {
    "guest": ("publishers", GUEST[2]),
    "guest's key": ("kids", GUEST[0].encode()),
    "partner": ("publishers", PARTNER[2]),
    "guest spin": ("features", (GUEST[2], GUEST_SPIN, 0, _EVERY)),
    "guest tally": ("features", (GUEST[2], GUEST_TALLY, 0, _EVERY)),
    "rinse": ("features", (PARTNER[2], WARM_RINSE, 0, 1)),
    "tried": ("features", (PARTNER[2], TRIED, 0, _EVERY)),
    "tally": ("features", (PARTNER[2], TALLY, 0, _EVERY)),
    "paid": ("features", (PARTNER[2], PAID, 0, _EVERY)),
    "leased": ("features", (PARTNER[2], LEASED, 0, _EVERY)),
    "spin": ("features", (MAKER[2], SPIN_1400, 0, _EVERY)),
}
"""What a list may name, each under a name."""


@dataclass(frozen=True)
class Granted:
    """What a publisher may touch, and until when (UTC seconds, None: for ever)."""

    sequence: int
    signals: frozenset[int]
    actuators: frozenset[int]
    meters: frozenset[int]
    heap_bytes: int
    not_after: int | None = None

    def covers(self, needs: "Granted") -> bool:
        inside = needs.signals <= self.signals and needs.actuators <= self.actuators and needs.meters <= self.meters
        return inside and needs.heap_bytes <= self.heap_bytes


@dataclass(frozen=True)
class Revoked:
    """A revocation list."""

    sequence: int
    kids: tuple[bytes, ...]
    publishers: tuple[int, ...]
    features: tuple[tuple[int, int, int, int], ...]

    def names(self, publisher: int, feature: int, sequence: int) -> bool:
        rows = [row for row in self.features if row[:2] == (publisher, feature)]
        return publisher in self.publishers or any(first <= sequence <= last for _, _, first, last in rows)

    def stops(self, publisher: int, feature: int, sequence: int) -> bool:
        """Whether that version may not be installed: it is named, or nobody may sign for its publisher any more."""
        keys = {who[2]: who[0].encode() for who in (MAKER, PARTNER, GUEST)}
        return self.names(publisher, feature, sequence) or keys.get(publisher) in self.kids


def _needs(signals: tuple[int, ...], actuators: tuple[int, ...], meters: tuple[int, ...] = (), heap_bytes: int = 0) -> Granted:
    return Granted(0, frozenset(signals), frozenset(actuators), frozenset(meters), heap_bytes)


NEEDS = {
    (GUEST[2], GUEST_SPIN): _needs((ids.SIGNAL_DOOR_LOCKED,), (ids.ACTUATOR_DRAIN, ids.ACTUATOR_DRUM_RPM)),
    (GUEST[2], GUEST_RINSE): _needs(
        (ids.SIGNAL_DOOR_LOCKED, ids.SIGNAL_WATER_ML), (ids.ACTUATOR_INLET, ids.ACTUATOR_DRAIN, ids.ACTUATOR_DRUM_RPM)
    ),
    (GUEST[2], GUEST_TALLY): _needs((ids.SIGNAL_DRUM_RPM,), (), (METER,), _HEAP_BYTES),
}
"""What the guest's features touch, whatever the agent makes of them."""

_SOURCE = f"""
def start(api):
    def changed(event):
        api.count({METER}, 1)
        api.read({ids.SIGNAL_DRUM_RPM})
    api.on({common.EVENT_PHASE_CHANGED}, changed)
"""


@cache
def catalogue() -> dict[str, Offer]:
    """What the guest offers, by name."""
    code = {0: [ids.SIGNAL_DRUM_RPM], 2: [METER], 5: _HEAP_BYTES, 6: _CALL_MS}
    tally = dumps({0: 3, 1: GUEST_TALLY, 2: "guest tally", 3: "1.0.0", 10: code, 11: _SOURCE.encode()})
    found = (
        _offer("guest spin", _programme(GUEST_SPIN, "guest spin", [LOCK, spin(450, 5)]), b"spin", GUEST_SPIN),
        _offer("guest rinse", _programme(GUEST_RINSE, "guest rinse", [LOCK, fill(3300), DRAIN]), b"rinse", GUEST_RINSE),
        _offer("guest tally", tally, b"tally", GUEST_TALLY),
    )
    return {offer.name: offer for offer in found}


def _programme(feature: int, name: str, steps: list[dict[int, Any]]) -> bytes:
    return b"\xa5" + dumps({0: 2, 1: feature, 2: name, 3: "1.0.0"})[1:] + dumps(5) + programme(feature, steps, 60)


def _offer(name: str, body: bytes, component: bytes, feature: int) -> Offer:
    envelope = signer(*GUEST).envelope(feature_manifest(body, (GUEST[1], component), VENDOR_ID, CLASS_ID, 1))
    return Offer(name, envelope, body, (GUEST[2], feature, 1))


# -- documents of the root


def provision(flash: PowerFlash) -> None:
    """Write the root's key to a flash."""
    grants.provision(flash, signer(*ROOT).key.public)


def grant(kind: str, sequence: int, utc_s: int) -> bytes:
    """A grant of the guest, signed. `kind`: one of GRANTS."""
    key = signer(*GUEST).key
    content: dict[int, Any] = {0: 1, 1: GUEST[2], 2: sequence, 3: key.kid, 4: key.alg, 5: key.public, 6: key.prefix}
    actuator = {"no inlet": ids.ACTUATOR_INLET, "no drum": ids.ACTUATOR_DRUM_RPM}.get(kind)
    content[7] = [one for one in _SIGNALS if kind != "no signal" or one != ids.SIGNAL_DRUM_RPM]
    content[8] = [one for one in _ACTUATORS if one != actuator]
    content[9] = [] if kind == "no meter" else [METER]
    content[10] = _FLASH_BYTES
    content[11] = 0 if kind == "no heap" else 2 * _HEAP_BYTES
    if kind == "brief":
        content[13] = utc_s + BRIEF_S
    return signer(*ROOT).message(dumps(content))


def revocations(names: tuple[str, ...], sequence: int, by: tuple[str, bytes, int] = ROOT) -> tuple[bytes, Revoked]:
    """(A list of these of REVOCABLE, signed; what it says)."""
    rows: dict[str, list[Any]] = {"kids": [], "publishers": [], "features": []}
    for name in names:
        kind, row = REVOCABLE[name]
        rows[kind].append(row)
    said = Revoked(sequence, tuple(rows["kids"]), tuple(rows["publishers"]), tuple(rows["features"]))
    content = {0: 2, 1: sequence, 2: rows["kids"], 3: rows["publishers"], 4: [list(row) for row in rows["features"]]}
    return signer(*by).message(dumps(content)), said
