"""`evergrow entitle`: let a device use a feature, for a time, for a number of uses, on trial; or no longer."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from evergrow_cloud import devices, entitlements, view
from evergrow_cloud.cli_common import (
    DEFAULT_DATABASE,
    Database,
    DeviceName,
    Json,
    existing,
    feature_owner,
    print_json,
    print_table,
    sentences,
)
from evergrow_cloud.entitlements import Terms
from evergrow_cloud.fields import MAX_UINT32

EPILOG = (
    "Examples: evergrow entitle acme/washer-1 2/1001 --uses 20 --expires 30d --trial; evergrow entitle washer-1 2/1001 --revoke;"
    " evergrow entitle washer-1"
)

_UNITS = {"h": 3600, "d": 86_400}


def main(
    device: DeviceName,
    feature: Annotated[
        str | None, typer.Argument(help="PUBLISHER/FEATURE, by number. Without it: show what was issued.", metavar="[FEATURE]")
    ] = None,
    uses: Annotated[
        int | None, typer.Option(help="So many cycles may use it; default: any number.", min=1, max=MAX_UINT32)
    ] = None,
    expires: Annotated[str | None, typer.Option(help="30d or 12h from now, or a UTC date such as 2027-01-31.")] = None,
    grace: Annotated[str, typer.Option(help="Beyond that, and so long without knowing the time: 7d, 12h.")] = "7d",
    trial: Annotated[bool, typer.Option("--trial", help="It is not paid for.")] = False,
    tier: Annotated[int, typer.Option(help="The number under which it is sold.", min=0, max=65535)] = 0,
    versions: Annotated[str | None, typer.Option(help="Sequence numbers of the feature, FIRST-LAST; default: all.")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="It may not be used any more; it stays installed.")] = False,
    set_time: Annotated[
        bool, typer.Option("--set-time", help="Put right a device that a wrong clock has shown a time to come; it goes by now.")
    ] = False,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Let a device use a feature. The running cloud delivers it and repeats it after birth, until the device has answered."""
    with sentences(), existing(db) as store:
        if feature is None:
            found = [view.entitlement(one) for one in entitlements.of_device(store, devices.find(store, device).id)]
            if as_json:
                print_json(found)
            else:
                columns = ("publisher", "feature", "sequence", "uses", "expires", "trial", "tier", "answer")
                print_table(columns, found)
            return
        publisher, number = feature_owner(feature, "FEATURE")
        first, last = _versions(versions)
        terms = Terms(
            publisher,
            number,
            first,
            last,
            0 if revoke else uses,
            None if expires is None or revoke else _moment(expires, store.utc_s()),
            _span(grace, "--grace") if expires and not revoke else 0,
            trial,
            tier,
            set_time,
        )
        tenant, name = devices.address(store, device)
        sequence = entitlements.issue(store, tenant, name, terms)
    if as_json:
        print_json({"device": f"{tenant}/{name}", "publisher": publisher, "feature": number, "sequence": sequence})
    else:
        print(f"{tenant}/{name}: {publisher}/{number} {'revoked' if revoke else 'granted'}, sequence {sequence}")


def _versions(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    match = re.fullmatch(r"([0-9]{1,10})-([0-9]{1,10})", text)
    if match is None or not int(match[1]) <= int(match[2]) <= MAX_UINT32:
        raise typer.BadParameter(f"{text!r} is not FIRST-LAST, for example 1-20.", param_hint="--versions")
    return int(match[1]), int(match[2])


def _moment(text: str, now_s: int) -> int:
    try:
        moment_s = int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        moment_s = now_s + _span(text, "--expires")
    if not now_s < moment_s <= MAX_UINT32:
        raise typer.BadParameter(f"{text!r} is over, or beyond the year 2106.", param_hint="--expires")
    return moment_s


def _span(text: str, option: str) -> int:
    match = re.fullmatch(r"([0-9]{1,5})([hd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no time such as 12h or 30d.", param_hint=option)
    return int(match[1]) * _UNITS[match[2]]
