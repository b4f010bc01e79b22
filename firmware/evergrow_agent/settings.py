"""The configuration that the cloud desires (`dn/cfg`, SPEC section 17): checked whole, kept on flash, then applied."""

from hashlib import sha256

from evergrow_agent import checked
from evergrow_agent.telemetry import SAMPLES, SAMPLES_MAX, SETS_MAX, SIGNALS_MAX, SignalSet
from evergrow_protocol import messages, topics
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, OK, OUT_OF_RANGE, STALE, STORAGE, TOO_LARGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Values = dict[tuple[int, int], dict[int, int]]

BYTES_MAX = 512
FEATURES_MAX = 8
VALUES_MAX = 32  # of all features together

_FILE = "config"
_DAY_S = 86_400
_UINT_MAX = 0xFFFFFFFF
_ID_MAX = 0xFFFF
_VALUE_MAX = 0x7FFFFFFF


class Settings:
    """What is in force: `keepalive_s` and `home`, 0 and "" for the device's own; `features`: {(publisher, feature): {setting:
    value}}; `version`, 0 before the first.

    `code`: what became of the configuration that came last, `refused`: its version if it was not OK. `apply(sets)`, to be set
    before `load`, is called with the sets of telemetry whenever another configuration is in force; None: the device's own.
    `check_features(features)`, may be set, raises ProtocolError for settings that a feature which runs does not take.
    """

    def __init__(self, flash: "Any") -> None:
        self.apply: "Callable[[list[SignalSet] | None], None]" = _ignore
        self.check_features: "Callable[[Values], None]" = _ignore
        self.version = 0
        self.code = OK
        self.refused = 0
        self.keepalive_s = 0
        self.home = ""
        self.features: "Values" = {}
        self._flash = flash
        self._digest = b""

    def load(self) -> None:
        """Put in force what is on the flash. Raises nothing: what cannot be read or makes no sense is sent again by the cloud."""
        try:
            content = checked.load(self._flash, _FILE)
        except OSError:
            return
        if content:
            try:
                version, values = messages.parse_config(content)
                self._take(version, check(values), content)
            except ProtocolError as exc:  # As when a newer firmware, which took it, was replaced by an older one.
                self.code = exc.code

    def receive(self, payload: "bytes | memoryview") -> None:
        """A `dn/cfg`; what became of it is in `code` and `refused`. ProtocolError: it has no version to speak of."""
        version, values = messages.parse_config(payload)
        try:
            self._receive(version, values, payload)
            self.code, self.refused = OK, 0
        except ProtocolError as exc:
            self.code, self.refused = exc.code, version
        except MemoryError:
            self.code, self.refused = TOO_LARGE, version
        except OSError:
            self.code, self.refused = STORAGE, version

    def reported(self) -> "list[int]":
        """[version in force, code, ? refused version], as state says it (EG-CFG-002)."""
        return [self.version, self.code, self.refused] if self.refused else [self.version, self.code]

    def _receive(self, version: int, values: "Any", payload: "bytes | memoryview") -> None:
        if version == self.version and sha256(payload).digest() == self._digest:
            return
        if version <= self.version:
            raise ProtocolError(STALE, f"configuration {version} is not after {self.version}")
        if len(payload) > BYTES_MAX:
            raise ProtocolError(TOO_LARGE, f"a configuration of {len(payload)} bytes, {BYTES_MAX} at most")
        checks = check(values)
        self.check_features(checks[3])
        content = bytes(payload)
        checked.save(self._flash, _FILE, content)  # Durable, then in force (EG-CFG-001).
        self._take(version, checks, content)

    def _take(self, version: int, values: "tuple[list[SignalSet] | None, int, str, Values]", content: bytes) -> None:
        sets, self.keepalive_s, self.home, self.features = values
        self.version = version
        self._digest = sha256(content).digest()
        self.apply(sets)


def check(values: "Any") -> "tuple[list[SignalSet] | None, int, str, Values]":
    """(sets of telemetry, keepalive_s, home, settings of features) of a configuration's map; None, 0, "" and {} for what it does
    not say. ProtocolError.
    """
    values = messages.check_map(values)
    sets = _sets(values[messages.CONFIG_TELEMETRY]) if messages.CONFIG_TELEMETRY in values else None
    keepalive_s = 0
    if messages.CONFIG_KEEPALIVE in values:
        keepalive_s = _number(values[messages.CONFIG_KEEPALIVE], "keepalive_s", 30, 480)  # EG-LIM-002
    home = values.get(messages.CONFIG_HOME, "")
    if messages.CONFIG_HOME in values:
        topics.check_id(home)
    return sets, keepalive_s, home, _features(values.get(messages.CONFIG_FEATURES, []))


def _features(value: "Any") -> "Values":
    found: "Values" = {}
    total = 0
    for row in _rows(value, FEATURES_MAX):
        if len(row) < 3:
            raise ProtocolError(MALFORMED, "settings are [publisher, feature, {setting: value}]")
        owner = (_number(row[0], "publisher", 0, _ID_MAX), _number(row[1], "feature", 1, _ID_MAX))
        if owner in found:
            raise ProtocolError(MALFORMED, f"settings of {owner} come twice")
        found[owner] = messages.check_map(row[2])
        for setting, number in row[2].items():
            _number(setting, "setting", 1, _ID_MAX)
            _number(number, "its value", -_VALUE_MAX, _VALUE_MAX)
            total += 1
    if total > VALUES_MAX:
        raise ProtocolError(TOO_LARGE, f"{total} settings, {VALUES_MAX} at most")
    return found


def _rows(value: "Any", most: int) -> "list[list[Any]]":
    if not isinstance(value, list) or not all([isinstance(row, list) for row in value]):
        raise ProtocolError(BAD_TYPE, "expected an array of arrays")
    if len(value) > most:
        raise ProtocolError(TOO_LARGE, f"{len(value)} of them, {most} at most")
    return value


def _sets(value: "Any") -> "list[SignalSet]":
    rows = [_row(row) for row in _rows(value, SETS_MAX)]
    signals = sum([len(row[3]) for row in rows])
    if signals > SIGNALS_MAX:
        raise ProtocolError(TOO_LARGE, f"{signals} signals of telemetry, {SIGNALS_MAX} at most")
    return [SignalSet(min_s, max_s, bool(always), bands, samples) for min_s, max_s, always, bands, samples in rows]


def _row(row: "list[Any]") -> "tuple[int, int, int, dict[int, int], int]":
    """One set, checked: (min_s, max_s, always, bands, samples)."""
    if len(row) < 4:
        raise ProtocolError(MALFORMED, "a set of telemetry is [min_s, max_s, always, {signal: band}, ? samples]")
    min_s = _number(row[0], "min_s", 1, _DAY_S)
    max_s = _number(row[1], "max_s", min_s, _DAY_S)
    always = _number(row[2], "always", 0, 1)
    bands = messages.check_map(row[3])
    if not bands:
        raise ProtocolError(MALFORMED, "a set of telemetry without signals")
    for signal, band in bands.items():
        _number(signal, "signal", 0, _UINT_MAX)
        _number(band, "band", 0, _UINT_MAX)
    samples = _number(row[4], "samples", 1, _UINT_MAX) if len(row) > 4 else SAMPLES
    if samples > SAMPLES_MAX:
        raise ProtocolError(TOO_LARGE, f"{samples} samples in a batch, {SAMPLES_MAX} at most")
    return min_s, max_s, always, bands, samples


def _number(value: "Any", what: str, least: int, most: int) -> int:
    if type(value) is not int:
        raise ProtocolError(BAD_TYPE, f"{what} is an integer")
    if not least <= value <= most:
        raise ProtocolError(OUT_OF_RANGE, f"{what} is {value}, not within {least}..{most}")
    return value


def _ignore(what: "Any") -> None:
    pass
