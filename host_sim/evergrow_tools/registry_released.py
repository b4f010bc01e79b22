"""The ids that were given (protocol/registry-released.json), and what of a registry contradicts them.

    {"version": 2, "ids": {"signals": {"1": ["water_ml", "ml", "1", "state"], ...}, ...}}    name, unit, scale, kind
"""

import json
from collections.abc import Mapping
from typing import Any

from evergrow_protocol.registry import Registry

NAME = "registry-released.json"


def record(registry: Registry) -> dict[str, Any]:
    """What the file would hold if all ids of `registry` were released."""
    ids = {
        title: {str(entry.id): [entry.name, entry.unit, str(entry.scale), entry.kind] for entry in table}
        for title, table in registry.tables.items()
    }
    return {"version": registry.version, "ids": ids}


def dump(released: Mapping[str, Any]) -> str:
    """The file's text: a line for each id, so that a change shows."""
    tables = []
    for title, rows in released["ids"].items():
        lines = ",\n".join(f"      {json.dumps(number)}: {json.dumps(row)}" for number, row in rows.items())
        tables.append(f"    {json.dumps(title)}: {{\n{lines}\n    }}")
    return f'{{\n  "version": {released["version"]},\n  "ids": {{\n' + ",\n".join(tables) + "\n  }\n}\n"


def problems(registry: Registry, released: Mapping[str, Any]) -> list[str]:
    """A sentence for each broken rule: an id that is gone or means something else; new ids without a new version."""
    now = record(registry)["ids"]
    wrong = []
    for title, rows in released["ids"].items():
        for number, row in rows.items():
            found = now.get(title, {}).get(number)
            if found is None:
                wrong.append(f"{title}: id {number} ({row[0]}) was released and is gone; ids are never taken back")
            elif found != row:
                wrong.append(f"{title}: id {number} was released as {row} and is now {found}; give a new id")
    old = released["ids"]
    new = [f"{title} {number}" for title, rows in now.items() for number in rows if number not in old.get(title, {})]
    if registry.version < released["version"]:
        wrong.append(f"version {registry.version} is below {released['version']}, which was released")
    elif new and registry.version == released["version"]:
        wrong.append(f"new ids ({', '.join(new)}) in version {registry.version}, released without them: raise `version`")
    return wrong
