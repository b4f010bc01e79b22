"""`evergrow cloud events`, `voice` and `scene`: what else appliances and their users have to say, and what homes are told."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from evergrow_cloud import devices, events, scenes, view, voices
from evergrow_cloud.cli_common import (
    DEFAULT_DATABASE,
    Database,
    DeviceName,
    Json,
    Tenant,
    existing,
    feature_names,
    print_json,
    print_table,
    registry_id,
    sentences,
)
from evergrow_protocol import registry


def show_events(
    device: DeviceName,
    db: Database = DEFAULT_DATABASE,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1, max=1_000_000)] = 100,
    as_json: Json = False,
) -> None:
    """Show what happened at a device: notes, and alarms as they came, went and were acknowledged; oldest first."""
    names = registry.load()
    with sentences(), existing(db) as store:
        row = devices.find(store, device)
        found = [view.event(record, names) for record in events.newest(store, row.id, limit)]
    if as_json:
        print_json(found)
        return
    shown = [{**item, "feature": feature_names([item["feature"]] if item["feature"] else [])} for item in found]
    print_table(("boot", "seq", "time", "event", "what", "value", "feature", "dropped"), shown)


def voice(
    db: Database = DEFAULT_DATABASE,
    tenant: Tenant = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1, max=1_000_000)] = 100,
    forget: Annotated[str | None, typer.Option(metavar="DEVICE", help="Erase the texts of this device's users.")] = None,
    as_json: Json = False,
) -> None:
    """Show what users say: the mean rating of each feature, and the newest ratings and wishes."""
    names = registry.load()
    with sentences(), existing(db) as store:
        if forget is not None:
            count = voices.forget(store, devices.find(store, forget).id)
            print(json.dumps({"forgotten": count}) if as_json else f"{count} texts of {forget} are erased.")
            return
        means = [asdict(opinion) | {"mean": round(opinion.mean, 2)} for opinion in voices.opinions(store, tenant)]
        found = [view.saying(saying, names) for saying in voices.newest(store, limit, tenant)]
    if as_json:
        print_json({"features": means, "sayings": found})
        return
    print_table(("publisher", "feature", "ratings", "mean"), means)
    shown = [{**item, "feature": feature_names([item["feature"]] if item["feature"] else [])} for item in found]
    print_table(("device", "received", "kind", "value", "feature", "text"), shown)


def scene(
    home: Annotated[str, typer.Argument(help="tenant/home.", metavar="HOME")],
    name: Annotated[str, typer.Argument(help="A scene's name, or its number.", metavar="SCENE")],
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Set the scene of a home, for all of its appliances, through the running cloud."""
    tenant, _, home_id = home.partition("/")
    if not home_id:
        raise typer.BadParameter("say tenant/home.", param_hint="HOME")
    number = registry_id(registry.load().scenes, name, "SCENE")
    with sentences(), existing(db) as store:
        scenes.set(store, tenant, home_id, number)
    if as_json:
        print_json({"tenant": tenant, "home": home_id, "scene": number})
    else:
        print(f"{home}: {name}; the running cloud sends it within a second.")
