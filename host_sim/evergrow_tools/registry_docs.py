"""docs/registry.md: the registry as people read it, a section per appliance class."""

from collections.abc import Iterable

from evergrow_protocol.registry import Entry, Registry, Table

_HEAD = """# Registry

Version {version}. Generated from [registry.toml](../protocol/evergrow_protocol/registry.toml) by `evergrow registry write`.

What every id on the wire means. A value is an integer; times its *scale* it is in its *unit*. Ids are given once, and never
reused or redefined; those from 1000 up belong to features. *Matter* names the cluster (and attribute, mode tag, alarm bit) that
means the same, read in the data model of project-chip/connectedhomeip; *x10* says that Matter's integer is ten times ours.
"""

_SHARED = ("usage", "outcomes", "phases", "events", "errors", "wishes", "scenes")
_OWN = ("signals", "actuators", "programmes")


def render(registry: Registry) -> str:
    """The whole page."""
    lines = [_HEAD.format(version=registry.version)]
    for appliance_class in registry.classes:
        title = appliance_class.name.replace("_", " ").capitalize()
        lines += [f"## {title}", "", f"Class {appliance_class.id}, `{appliance_class.name}`. {appliance_class.description}.", ""]
        if appliance_class.matter:
            lines += [f"Matter device type {appliance_class.matter['device_type']:#06x}.", ""]
        for name in _OWN:
            lines += _section(name, [entry for entry in registry.tables[name] if appliance_class.name in entry.classes])
    lines += ["## Shared by all classes", ""]
    for name in _SHARED:
        lines += _section(name, registry.tables[name])
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, entries: Iterable[Entry] | Table) -> list[str]:
    rows = list(entries)
    with_values = name in ("signals", "actuators", "usage")
    with_range = name in ("signals", "actuators")
    values = (["unit", "scale"] if with_values else []) + (["range"] if with_range else [])
    head = ["id", "name", *values, "meaning", "Matter"]
    lines = [f"### {name.capitalize()}", "", _row(head), _row(["---"] * len(head))]
    for entry in rows:
        cells = [str(entry.id), f"`{entry.name}`"]
        if with_values:
            cells += [entry.unit, "" if entry.scale == 1 else str(entry.scale)]
        if with_range:
            cells.append(f"{entry.min} .. {entry.max}")
        cells += [_meaning(entry), _matter(entry)]
        lines.append(_row(cells))
    return [*lines, ""]


def _meaning(entry: Entry) -> str:
    notes = [note for note, true in (("a counter", entry.kind == "counter"), ("an alarm", entry.kind == "alarm")) if true]
    if entry.source == "runner":
        notes.append("known to the agent")
    return entry.description + (f" ({', '.join(notes)})" if notes else "")


def _matter(entry: Entry) -> str:
    matter = entry.matter
    if "cluster" not in matter:
        return ""
    text = f"{matter['cluster']:#06x}"
    for key, label in (("attribute", "/"), ("mode_tag", " tag "), ("mask", " bit ")):
        if key in matter:
            text += f"{label}{matter[key]:#06x}" if key != "mask" else f"{label}{matter[key]:#x}"
    return text + (f", x{matter['factor']}" if "factor" in matter else "")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
