"""`evergrow cloud config feature`: what can be set of a code feature, and setting it."""

from typing import Annotated, Any

import typer

from evergrow_cloud import configs, devices, feature_settings
from evergrow_cloud.cli_common import (
    DEFAULT_DATABASE,
    Database,
    DeviceName,
    Json,
    existing,
    fail,
    print_json,
    print_table,
    sentences,
)
from evergrow_cloud.errors import CloudError
from evergrow_cloud.feature_settings import Settable
from evergrow_protocol import errors as codes

_DEFAULT = "default"


def set_feature(
    device: DeviceName,
    feature: Annotated[str | None, typer.Argument(help="Its name, or PUBLISHER/FEATURE; all, if it is not said.")] = None,
    values: Annotated[
        list[str] | None, typer.Argument(help="NAME=VALUE, whole numbers; NAME=default takes it back.", metavar="[NAME=VALUE]...")
    ] = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Show what can be set of the code features of a device, and set it. The rest of its configuration stays as it is."""
    with sentences(), existing(db) as store:
        row = devices.find(store, device)
        known = feature_settings.of_device(store, row)
        chosen = feature_settings.find(known, feature) if feature is not None else None
        if chosen is not None and values:
            changes = dict(_change(chosen, text) for text in values)
            configs.change_features(store, row.id, lambda rows: feature_settings.merged(rows, chosen, changes))
        desired = configs.get(store, row.id)
    config = {} if desired is None else desired.values
    version = None if desired is None else desired.version
    told = _told(known if chosen is None else [chosen], config.get(configs.FEATURES, []))
    if as_json:
        print_json({"device": row.name, "version": version, "settings": told})
        return
    if not told and not values:
        fail(f"{row.name} has no feature that can be set" if chosen is None else f"nothing is known or set of {chosen.label}")
    print_table(("feature", "setting", "value", "least", "most", "default"), told)
    if values:
        print(f"{row.name}: configuration {version} is desired")


def _change(feature: Settable, text: str) -> tuple[int, int | None]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CloudError(f"{text!r} is not NAME=VALUE, say {name}=5", codes.OUT_OF_RANGE)
    number = feature.setting(name)
    if value == _DEFAULT:
        return number, None
    try:
        return number, feature.check(number, int(value))
    except ValueError:
        raise CloudError(f"{name}={value}: a whole number is expected, or {_DEFAULT!r}", codes.OUT_OF_RANGE) from None


def _told(features: list[Settable], rows: feature_settings.Rows) -> list[dict[str, Any]]:
    """A row for each setting, also for those that are set though nothing is known of them."""
    told = []
    for one in features:
        values: dict[int, int] = next((row[2] for row in rows if row[:2] == [one.publisher, one.feature]), {})
        for setting in one.settings or ():
            value = values.get(setting.id, setting.default)
            bounds = {"least": setting.least, "most": setting.most, "default": setting.default}
            told.append({"feature": one.label, "setting": setting.name, "value": value, **bounds})
        if one.settings is None:
            told += [{"feature": one.label, "setting": str(number), "value": value} for number, value in values.items()]
    return told
