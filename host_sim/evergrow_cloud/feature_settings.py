"""What can be set of the code features of a device (SPEC section 18), by the names that their publishers gave, within the bounds
to which the device holds them.

The declarations are in the bodies that this cloud offered. Of a feature that it knows nothing about any number may be set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evergrow_cloud import bodies, feature_id, offers
from evergrow_cloud.devices import Device
from evergrow_cloud.errors import CloudError
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes
from evergrow_protocol.feature_code import MAX_SETTINGS

NAME_CHARS = 24
_MAX_VALUE = 0x7FFFFFFF
_SETTINGS, _NAMES = 4, 8  # of a declaration

Rows = list[list[Any]]
"""[[publisher, feature, {setting: value}], ...], as `dn/cfg` has it."""


@dataclass(frozen=True, slots=True)
class Setting:
    id: int
    name: str
    least: int
    most: int
    default: int


@dataclass(frozen=True, slots=True)
class Settable:
    """A feature. `settings`: None when this cloud does not know what it declares."""

    publisher: int
    feature: int
    name: str
    settings: tuple[Setting, ...] | None = None

    @property
    def label(self) -> str:
        return self.name or f"{self.publisher}/{self.feature}"

    def setting(self, name: str) -> int:
        """The id of a setting, by name or number. CloudError 5 if it has no such."""
        for setting in self.settings or ():
            if name in (setting.name, str(setting.id)):
                return setting.id
        if self.settings is None and name.isdecimal() and 0 < int(name) <= feature_id.MAX_ID:
            return int(name)
        known = ", ".join(setting.name for setting in self.settings or ()) or "none by name"
        raise CloudError(f"{self.label} has no setting {name!r}; there are {known}", codes.OUT_OF_RANGE)

    def check(self, number: int, value: int) -> int:
        """`value` if that setting may have it, CloudError 5 otherwise."""
        least, most, name = -_MAX_VALUE, _MAX_VALUE, str(number)
        for setting in self.settings or ():
            if setting.id == number:
                least, most, name = setting.least, setting.most, setting.name
        if not least <= value <= most:
            raise CloudError(f"{name} of {self.label} is {least} to {most}, not {value}", codes.OUT_OF_RANGE)
        return value

    def named(self, number: int) -> str:
        return next((setting.name for setting in self.settings or () if setting.id == number), str(number))


def of_device(store: Store, device: Device) -> list[Settable]:
    """The code features that the device has, as far as they came from here, by their newest version that it took."""
    present = None if device.birth is None else {(row.publisher, row.feature) for row in device.birth.features}
    found: dict[tuple[int, int], Settable] = {}
    for transfer in reversed(offers.transfers(store, device.id)):
        if transfer.state not in (offers.TRIAL, offers.CONFIRMED) or transfer.report is None or transfer.report.feature is None:
            continue
        owner = publisher, feature = transfer.report.feature[:2]
        if owner in found or (present is not None and owner not in present):
            continue
        for body in bodies.of_transfer(store, transfer.transfer, feature):
            if (settable := _settable(publisher, feature, body)) is not None:
                found[owner] = settable
                break
    return sorted(found.values(), key=lambda one: (one.publisher, one.feature))


def find(known: Sequence[Settable], text: str) -> Settable:
    """A feature by its name, or as PUBLISHER/FEATURE, which need not be there yet. CloudError 5."""
    named = [one for one in known if one.name == text]
    if len(named) == 1:
        return named[0]
    if named:
        raise CloudError(f"{text!r} is a feature of several publishers: say PUBLISHER/FEATURE", codes.OUT_OF_RANGE)
    try:
        return of(known, *feature_id.parse(text))
    except CloudError as error:
        names = ", ".join(one.name for one in known) or "none with settings"
        raise CloudError(f"no feature of this device has that name, there is {names}; and {error}", error.code) from None


def of(known: Sequence[Settable], publisher: int, feature: int) -> Settable:
    owner = publisher, feature
    return next((one for one in known if (one.publisher, one.feature) == owner), Settable(publisher, feature, ""))


def merged(rows: Rows, feature: Settable, changes: Mapping[int, int | None]) -> Rows:
    """`rows` with these settings of that feature changed; None: no longer set."""
    owner = [feature.publisher, feature.feature]
    before: dict[int, int] = next((row[2] for row in rows if row[:2] == owner), {})
    after = {number: value for number, value in {**before, **changes}.items() if value is not None}
    others = [row for row in rows if row[:2] != owner]
    return sorted([*others, [*owner, dict(sorted(after.items()))]] if after else others, key=lambda row: row[:2])


def _settable(publisher: int, feature: int, body: dict[int, Any]) -> Settable | None:
    """None for a body that declares no settings, or not as it should: a device would not have taken it."""
    try:
        needs = body[bodies.NEEDS]
        names = needs.get(_NAMES, {})
        settings = []
        for number, (least, most, default) in list(needs.get(_SETTINGS, {}).items())[:MAX_SETTINGS]:
            if not all(type(value) is int for value in (number, least, most, default)):
                return None
            settings.append(Setting(number, str(names.get(number, number))[:NAME_CHARS], least, most, default))
        return Settable(publisher, feature, str(body[bodies.NAME]), tuple(settings)) if settings else None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
