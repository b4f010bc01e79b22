"""The cloud's ledger against the records in it: its shares by feature, and the chain of a device's records."""

from collections.abc import Iterable

from evergrow_cloud import audit, devices, usage
from evergrow_cloud.messages import Usage
from evergrow_cloud.store import Store


def shares(store: Store, device: str, told: Iterable[Usage]) -> str:
    """"" if what the ledger has of each publisher and feature is what the device's records add up to, else what differs."""
    wanted: dict[tuple[int, int], tuple[int, int, int]] = {}
    for record in told:
        for publisher, feature, cycles, _, energy_wh, water_ml, _ in usage.uses(record):
            before = wanted.get((publisher, feature), (0, 0, 0))
            wanted[publisher, feature] = (before[0] + cycles, before[1] + energy_wh, before[2] + water_ml)
    rows = store.rows(
        "SELECT publisher, feature, sum(cycles), sum(energy_wh), sum(water_ml)"
        " FROM usage_features JOIN devices ON devices.id = device_id WHERE device = ? GROUP BY publisher, feature",
        device,
    )
    found = {(publisher, feature): sums for publisher, feature, *sums in rows}
    if found == {key: list(sums) for key, sums in wanted.items()}:
        return ""
    return f"the cloud's shares are {found}, its records say {wanted}"


def chain(store: Store, device: str, erasures: int = 0, rotten: int = 0) -> str:
    """"" if the audit of the device's chain is clean, else its first break that nothing explains.

    Of a device whose flash was erased so often, as many chains may begin anew, and records of before may be missing. Each of
    `rotten` bits that flipped in its journal may have cost one record, and so the one behind it does not follow.
    """
    if store.row("SELECT 1 FROM devices WHERE device = ?", device) is None:
        return ""
    row = devices.find(store, device)
    found = audit.audit(store, row)
    if found.clean:
        return ""
    breaks = [entry for entry in audit.entries(store, row) if audit.is_break(entry)]
    left = {"restart": erasures, "missing": len(breaks) if erasures else rotten, "altered": erasures + rotten}
    for entry in breaks:
        left[entry.verdict] = left.get(entry.verdict, 0) - 1
        if left[entry.verdict] < 0 or (not erasures and left["missing"] + left["altered"] < rotten):
            return f"the audit of the chain: record {entry.boot}/{entry.seq} {entry.text}"
    return "" if breaks else f"the audit of the chain: {found.missing} records are missing"
