"""What the messages of devices say, as values (SPEC sections 3 to 9). `wire.decode` makes them."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Feature(NamedTuple):
    """A feature as usage names it."""

    publisher: int
    feature: int


class Use(NamedTuple):
    """What the cycles in a merged record used of a feature; `trials` of them under a trial."""

    publisher: int
    feature: int
    cycles: int
    duration_s: int
    energy_wh: int
    water_ml: int
    trials: int


class FeatureVersion(NamedTuple):
    """A feature as birth and reports name it: `sequence` is that of its manifest."""

    publisher: int
    feature: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Header:
    """What all messages share. Exactly one of `utc_s` (seconds) and `mono_ms` (milliseconds since boot) is set.

    `doubtful_utc_s`: beside `mono_ms`, what a clock believes that nobody has confirmed, or that has jumped (EG-TIME-004).
    """

    boot: int
    seq: int
    utc_s: int | None
    mono_ms: int | None
    doubtful_utc_s: int | None = None


@dataclass(frozen=True, slots=True)
class Birth:
    header: Header
    minor: int
    registry_version: int
    device_class: int
    model: str
    firmware: str
    interpreter: tuple[str, ...]
    features: tuple[FeatureVersion, ...]
    max_packet_bytes: int
    block_bytes: int
    flags: int
    heap_free_bytes: int | None
    grants: tuple[tuple[int, int], ...] | None = None  # (publisher, sequence), of a device with a root key
    revocations: int | None = None
    damage: tuple[int, int, int] = (0, 0, 0)  # to its usage records in this boot: bad places, parts not read, records lost

    @property
    def boot_is_random(self) -> bool:
        """The device has no flash to count its boots in: a larger number is not a later boot."""
        return bool(self.flags & 1)

    @property
    def storage_fails(self) -> bool:
        """The device cannot keep its usage: what happens now may not survive a power cut there."""
        return bool(self.flags & 2)

    @property
    def is_fresh(self) -> bool:
        """The device's flash is new or erased: its boot number is for this birth alone, until a welcome says which are taken."""
        return bool(self.flags & 4)

    @property
    def rights_damaged(self) -> bool:
        """Something is damaged of what the device may use, or could not be read: grants, revocations or entitlements."""
        return bool(self.flags & 8)


class ConfigReport(NamedTuple):
    """`version` of the configuration that is in force, 0 for none; `code` of the last that came, and its version if not OK."""

    version: int
    code: int
    refused: int | None


@dataclass(frozen=True, slots=True)
class State:
    header: Header
    link: int
    operation: int | None
    programme: int | None
    phase: int | None
    remaining_s: int | None
    remote_enable: bool | None
    error: int | None
    alarms: tuple[int, ...] = ()
    config: ConfigReport | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened, or an alarm was raised, cleared or acknowledged: `what`. `feature`: whose event it is, None for the
    appliance's own. `dropped`: events before this one that the device had no room for.
    """

    header: Header
    event: int
    what: int
    value: int | None
    feature: Feature | None
    dropped: int


@dataclass(frozen=True, slots=True)
class Voice:
    """What a user said at the appliance. `usage`: (boot, seq) of the record it is about. `text` is the user's own words."""

    header: Header
    kind: int
    value: int
    usage: tuple[int, int] | None
    feature: Feature | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Sync:
    """At `mono_ms` since this boot it was `utc_s`."""

    header: Header
    mono_ms: int
    utc_s: int


@dataclass(frozen=True, slots=True)
class Usage:
    """One cycle. `raw` is the envelope as it arrived; meters the appliance does not have are None; `temp_max` in 0.1 degC.

    With `merged_cycles` it is the sum of that many cycles, for each of which the device had no room; programme and outcome then
    mean nothing (EG-USE-006). `uses` are its sums by feature, and `unlisted` counts the uses that are not in them.
    Bit i of `trials`: the i-th of `features` was used under a trial.
    `tag` chains the record to the one before it, `tagged` is what the tag is over (EG-CHAIN-001); None and empty without one.
    """

    header: Header
    programme: int
    outcome: int
    duration_s: int
    features: tuple[Feature, ...]
    energy_wh: int | None
    water_ml: int | None
    temp_max: int | None
    spin_max_rpm: int | None
    error: int | None
    merged_cycles: int | None
    uses: tuple[Use, ...]
    unlisted: int
    trials: int
    meters: dict[int, int]
    raw: bytes
    tag: bytes | None
    tagged: bytes


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Columns of equal length: the values, deltas already summed.

    `offsets_s`: when each sample was taken, in seconds after the first, which is at the header's time; `dt_s`: their distance,
    None where it differs. `lost`: samples that the device lost since the batch before.
    """

    header: Header
    dt_s: int | None
    offsets_s: tuple[int, ...]
    columns: dict[int, tuple[int, ...]]
    lost: int


@dataclass(frozen=True, slots=True)
class Response:
    header: Header
    id: int
    code: int
    result: Any


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """Blocks `first` + i of a payload, for every i in `wanted`; up to `run` that follow one another may come in one message."""

    header: Header
    transfer: int
    payload: int
    block_bytes: int
    first: int
    wanted: tuple[int, ...]
    run: int = 1


@dataclass(frozen=True, slots=True)
class FeatureReport:
    header: Header
    transfer: int
    code: int
    state: int
    feature: FeatureVersion | None
    bytes: int | None
    blocks: int | None
    ms: int | None
    verify_ms: int | None
    hash_calls: int | None
    text: str | None


@dataclass(frozen=True, slots=True)
class EntitlementAnswer:
    """What became of an entitlement; all 0 but the code for one that the device could not read."""

    header: Header
    publisher: int
    feature: int
    sequence: int
    code: int


Message = (
    Birth
    | State
    | Sync
    | tuple[Usage, ...]
    | Telemetry
    | Response
    | BlockRequest
    | FeatureReport
    | EntitlementAnswer
    | Event
    | Voice
)
