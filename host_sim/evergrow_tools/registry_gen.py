"""Generates the portable tables of the registry: `python -m evergrow_tools.registry_gen [--check]`.

A board gets numbers alone, and only those of its own class. A test holds the generated files against registry.toml.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import evergrow_protocol
from evergrow_protocol.registry import Entry, Registry, load


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
    return "\n".join([f'"""{title} Generated from registry.toml by evergrow_tools.registry_gen: do not edit."""', "", *lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the portable tables of the registry.")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    check = parser.parse_args().check
    folder = Path(evergrow_protocol.__file__).parent
    stale = []
    for name, source in render(load()).items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != source:
            stale.append(name)
            if not check:
                path.write_text(source, encoding="utf-8")
    if stale:
        print(f"{'stale' if check else 'written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
