"""A device's configuration as people write it, in TOML with the registry's names, and as `dn/cfg` carries it (SPEC section 17).

    keepalive_s = 120
    home = "home-1"

    [[telemetry]]
    min_s = 5                         # looked at so often
    max_s = 300                       # sampled at least so often; without it each look is a sample
    always = true                     # also while no programme runs
    samples = 10                      # in a batch
    signals = { fridge_temp = 5, door_closed = 1 } # a change that is worth a sample, in the registry's scale; 0 for none

    [features.door-coach]             # settings of a code feature; "2/1020", publisher and feature, for one that is not there yet
    patience_s = 60
"""

import tomllib
from collections.abc import Sequence
from typing import Any

from evergrow_cloud import configs, feature_settings
from evergrow_cloud.errors import CloudError
from evergrow_cloud.feature_settings import Settable
from evergrow_protocol import errors as codes
from evergrow_protocol.registry import Registry, RegistryError

_KEYS = ("telemetry", "keepalive_s", "home", "features")
_SET_KEYS = ("min_s", "max_s", "always", "samples", "signals")
_SAMPLES = 10


def parse(text: str, names: Registry, known: Sequence[Settable] = ()) -> dict[int, Any]:
    """The map of `dn/cfg`. `known`: what can be set of the device's features. Raises CloudError 5 for what is none; other limits
    are the device's to judge.
    """
    try:
        data = tomllib.loads(text)
    except ValueError as error:
        raise CloudError(f"the configuration is not valid TOML: {error}", codes.OUT_OF_RANGE) from None
    _only(data, _KEYS, "the configuration")
    values: dict[int, Any] = {}
    if "telemetry" in data:
        values[configs.TELEMETRY] = [_set(row, names) for row in _typed(data["telemetry"], list, "telemetry")]
    if "keepalive_s" in data:
        values[configs.KEEPALIVE] = _typed(data["keepalive_s"], int, "keepalive_s")
    if "home" in data:
        values[configs.HOME] = _typed(data["home"], str, "home")
    rows: feature_settings.Rows = []
    for name, table in _typed(data.get("features", {}), dict, "features").items():
        feature = feature_settings.find(known, name)
        rows = feature_settings.merged(rows, feature, _settings(feature, table))
    return {**values, configs.FEATURES: rows} if rows else values


def describe(values: dict[int, Any], names: Registry, known: Sequence[Settable] = ()) -> dict[str, Any]:
    """The same with names, for people and `--json`; what this version does not know goes by its number."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key == configs.TELEMETRY:
            found["telemetry"] = [_described(row, names) for row in value]
        elif key == configs.FEATURES:
            features = [(feature_settings.of(known, *row[:2]), row[2]) for row in value]
            found["features"] = {one.label: {one.named(number): value for number, value in row.items()} for one, row in features}
        else:
            found[{configs.KEEPALIVE: "keepalive_s", configs.HOME: "home"}.get(key, str(key))] = value
    return found


def _settings(feature: Settable, table: Any) -> dict[int, int | None]:
    found: dict[int, int | None] = {}
    for name, value in _typed(table, dict, f"features.{feature.label}").items():
        number = feature.setting(name)
        found[number] = feature.check(number, _typed(value, int, f"{name} of {feature.label}"))
    return found


def _set(row: Any, names: Registry) -> list[Any]:
    row = _typed(row, dict, "a set of telemetry")
    _only(row, _SET_KEYS, "a set of telemetry")
    signals = _typed(row.get("signals"), dict, "signals")
    bands = {_signal(name, names): _typed(band, int, f"the band of {name}") for name, band in signals.items()}
    min_s = _typed(row.get("min_s"), int, "min_s")
    max_s = _typed(row.get("max_s", min_s), int, "max_s")
    always = _typed(row.get("always", False), bool, "always")
    samples = _typed(row.get("samples", _SAMPLES), int, "samples")
    return [min_s, max_s, int(always), bands] + ([samples] if samples != _SAMPLES else [])


def _described(row: list[Any], names: Registry) -> dict[str, Any]:
    min_s, max_s, always, bands, *rest = row
    signals = {names.signals.name(signal): band for signal, band in bands.items()}
    return {"min_s": min_s, "max_s": max_s, "always": bool(always), "samples": rest[0] if rest else _SAMPLES, "signals": signals}


def _signal(name: str, names: Registry) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return names.signals.by_name(name).id
    except RegistryError as error:
        raise CloudError(f"{error}; or a number", codes.OUT_OF_RANGE) from None


def _typed(value: Any, wanted: type, what: str) -> Any:
    if type(value) is not wanted:
        raise CloudError(f"{what}: {wanted.__name__} expected, not {value!r}", codes.OUT_OF_RANGE)
    return value


def _only(data: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in data:
        if key not in known:
            raise CloudError(f"{what} has no {key!r}; there are {', '.join(known)}", codes.OUT_OF_RANGE)
