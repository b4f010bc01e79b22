"""The registry for host programs: names, units and descriptions of every id (registry.toml). Not for boards.

Boards get the generated tables beside this file (`registry_common`, `registry_<class>`), which hold the numbers alone.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import resources
from typing import Any

FEATURE_IDS = 1000  # ids from here up are a feature's own, declared in its manifest

_TABLES = ("classes", "signals", "actuators", "phases", "programmes", "usage", "outcomes", "events", "errors", "wishes", "scenes")
_UNIT_TABLES = {"programme": "programmes", "outcome": "outcomes", "error": "errors", "phase": "phases", "event": "events"}
UNIT_TEXT = {"degC": "°C", "ml": "ml", "rpm": "rpm", "W": "W", "Wh": "Wh", "s": "s"}


class RegistryError(Exception):
    """A name or an id that the registry does not hold, or a registry file that contradicts itself."""


@dataclass(frozen=True)
class Entry:
    """One id. A value on the wire is an integer; times `scale` it is in `unit`."""

    name: str
    id: int
    description: str
    unit: str = ""
    scale: Decimal = Decimal(1)
    min: int | None = None
    max: int | None = None
    kind: str = "state"
    source: str = "appliance"
    meter: bool = False
    classes: tuple[str, ...] = ()
    matter: Mapping[str, int] = field(default_factory=dict)

    def format(self, raw: int) -> str:
        """A wire value for people: temp 602 -> '60.2 °C'."""
        if self.unit == "bool":
            return "yes" if raw else "no"
        return f"{raw * self.scale} {UNIT_TEXT.get(self.unit, self.unit)}".rstrip()

    def parse(self, text: str) -> int:
        """The wire value of '60 degC', '60.2 °C' or a bare number in `unit`. RegistryError if no whole step of the scale."""
        number = text.strip()
        for unit in (self.unit, UNIT_TEXT.get(self.unit, "")):
            if unit:
                number = number.removesuffix(unit).rstrip()
        try:
            raw = Decimal(number) / self.scale
        except InvalidOperation:
            raise RegistryError(f"{self.name}: {text!r} is not a number in {self.unit or 'no unit'}") from None
        if not raw.is_finite() or raw != raw.to_integral_value():
            raise RegistryError(f"{self.name}: {text!r} is not a multiple of {self.scale} {self.unit}")
        return int(raw)


class Table:
    """The entries of one kind, by name and by id."""

    def __init__(self, title: str, entries: Mapping[str, Entry]) -> None:
        self.title = title
        self._by_name = dict(entries)
        self._by_id = {entry.id: entry for entry in entries.values()}
        if len(self._by_id) != len(self._by_name):
            raise RegistryError(f"{title}: an id is given twice")

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._by_id.values(), key=lambda entry: entry.id))

    def __contains__(self, key: object) -> bool:
        return key in self._by_name or key in self._by_id

    def by_name(self, name: str) -> Entry:
        try:
            return self._by_name[name]
        except KeyError:
            raise RegistryError(f"{self.title}: no {name!r}; there are {', '.join(sorted(self._by_name))}") from None

    def by_id(self, number: int) -> Entry:
        try:
            return self._by_id[number]
        except KeyError:
            raise RegistryError(f"{self.title}: no id {number}") from None

    def name(self, number: int) -> str:
        """The name of an id, or a readable stand-in for one that only a newer registry or a feature knows. Never raises."""
        entry = self._by_id.get(number)
        return entry.name if entry else f"{self.title.rstrip('s')}-{number}"


class Registry:
    """The whole registry. `tables` holds all of it by title, and each table is an attribute."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.version: int = data["version"]
        tables = {title: _table(title, data.get(title, {})) for title in _TABLES}
        self.classes = tables["classes"]
        self.signals = tables["signals"]
        self.actuators = tables["actuators"]
        self.phases = tables["phases"]
        self.programmes = tables["programmes"]
        self.usage = tables["usage"]
        self.outcomes = tables["outcomes"]
        self.events = tables["events"]
        self.errors = tables["errors"]
        self.wishes = tables["wishes"]
        self.scenes = tables["scenes"]
        self.tables = tables

    def value_text(self, entry: Entry, raw: object) -> str:
        """Any wire value for people, ids of other tables by name. Never raises: what it cannot read it shows as it is."""
        if isinstance(raw, bool) or not isinstance(raw, int):
            return str(raw)
        if entry.unit in _UNIT_TABLES:
            return self.tables[_UNIT_TABLES[entry.unit]].name(raw)
        return entry.format(raw)

    def describe_usage(self, body: Mapping[int, object]) -> dict[str, str]:
        """A usage record (map of usage field ids) as {field name: text}, in the order of the ids."""
        described = {}
        for number in sorted(body):
            if number in self.usage:
                entry = self.usage.by_id(number)
                described[entry.name] = self.value_text(entry, body[number])
            else:
                described[self.usage.name(number)] = str(body[number])
        return described


@cache
def load() -> Registry:
    """The registry that ships with this package."""
    text = resources.files("evergrow_protocol").joinpath("registry.toml").read_text(encoding="utf-8")
    return Registry(tomllib.loads(text))


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    entries = {}
    for name, row in rows.items():
        fields = dict(row)
        if "scale" in fields:
            fields["scale"] = Decimal(str(fields["scale"]))
        if "classes" in fields:
            fields["classes"] = tuple(fields["classes"])
        try:
            entry = Entry(name=name, **fields)
        except TypeError as error:
            raise RegistryError(f"{title}.{name}: {error}") from None
        if not 0 <= entry.id < FEATURE_IDS:
            raise RegistryError(f"{title}.{name}: id {entry.id} is not in 0..{FEATURE_IDS - 1}")
        entries[name] = entry
    return Table(title, entries)
