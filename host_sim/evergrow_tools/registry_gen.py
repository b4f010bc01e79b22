"""The portable tables of the registry, for `evergrow registry write`: numbers alone, and for a board only those of its class."""

from collections.abc import Iterable

from evergrow_protocol.registry import Entry, Registry


def render(registry: Registry) -> dict[str, str]:
    """{file name: source} of every generated table."""
    files = {"registry_common.py": _render_common(registry)}
    for appliance_class in registry.classes:
        files[f"registry_{appliance_class.name}.py"] = _render_class(registry, appliance_class)
    return files


def _render_common(registry: Registry) -> str:
    lines = [f"REGISTRY_VERSION = {registry.version}", ""]
    lines += [*_constants("USAGE", registry.usage), ""]
    lines += [*_constants("OUTCOME", registry.outcomes), ""]
    lines += [*_constants("EVENT", registry.events), ""]
    lines += [*_constants("ERROR", registry.errors), ""]
    lines += _constants("PHASE", registry.phases)
    return _source("Ids that every appliance class shares.", lines)


def _render_class(registry: Registry, appliance_class: Entry) -> str:
    def own(entries: Iterable[Entry]) -> list[Entry]:
        return [entry for entry in entries if appliance_class.name in entry.classes]

    lines = [f"CLASS_ID = {appliance_class.id}", ""]
    lines += [*_constants("SIGNAL", own(registry.signals)), ""]
    lines += [*_constants("ACTUATOR", own(registry.actuators)), ""]
    lines += _constants("PROGRAMME", own(registry.programmes))
    return _source(f"Ids of the class `{appliance_class.name}`.", lines)


def _constants(prefix: str, entries: Iterable[Entry]) -> list[str]:
    lines = []
    for entry in entries:
        line = f"{prefix}_{entry.name.upper()} = {entry.id}"
        lines.append(f"{line}  # {entry.scale} {entry.unit}" if entry.scale != 1 else line)
    return lines


def _source(title: str, lines: list[str]) -> str:
    return "\n".join([f'"""{title} Generated from registry.toml by `evergrow registry write`: do not edit."""', "", *lines, ""])
