"""Programmes as people write them (TOML) compiled to what a runner reads: deterministic CBOR, `[id, steps, ? options]`.

A programme table has `id` (or `programme`, a name of the registry), `nominal_s`, `period_s` (of a continuous one) and
`step`s. A step has `phase`, `limit_s`, and any of `set`, `regulate`, `pulse`, `until`, `hold_s`, `error`; or `repeat` and
`step`s of its own, which are written out so many times. Values are wire integers or text with a unit ("60 degC"); "max" asks
for the limit in force.

Run as a module it compiles the base programmes of every simulated appliance: `python -m evergrow_tools.programme_toml`.
"""

import argparse
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import evergrow_sim.appliances
from evergrow_protocol.cbor import dumps
from evergrow_protocol.registry import Entry, Registry, RegistryError, load

MAX = 32767  # clamped by the guard: whatever the appliance may do now

_STEP_KEYS = {"phase", "set", "regulate", "until", "hold_s", "limit_s", "error", "pulse"}
_PROGRAMME_KEYS = {"id", "programme", "nominal_s", "period_s", "step"}


class ProgrammeSourceError(Exception):
    """A programme source that cannot be compiled; the message names the step."""


def compile_programme(table: Mapping[str, Any], registry: Registry | None = None) -> bytes:
    """The encoded programme of a TOML table. ProgrammeSourceError for unknown keys, names and units.

    It does not judge whether an appliance would run it: `evergrow_agent.programme.Programme` does, here as on the board.
    """
    compiler = _Compiler(registry or load())
    _only(table, _PROGRAMME_KEYS, "programme")
    steps = [compiler.step(step, f"step {index}") for index, step in enumerate(_unrolled(table.get("step", ())))]
    programme: list[Any] = [compiler.programme_id(table), steps]
    options = {key: table[name] for key, name in enumerate(("nominal_s", "period_s")) if name in table}
    if options:
        programme.append(options)
    return dumps(programme)


class _Compiler:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def programme_id(self, table: Mapping[str, Any]) -> int:
        if "programme" in table:
            return self._entry("programmes", table["programme"], "programme").id
        if not isinstance(table.get("id"), int):
            raise ProgrammeSourceError("programme: needs an `id` (a number) or a `programme` (a name of the registry)")
        number: int = table["id"]
        return number

    def step(self, step: Mapping[str, Any], where: str) -> dict[int, Any]:
        _only(step, _STEP_KEYS, where)
        if "phase" not in step or "limit_s" not in step:
            raise ProgrammeSourceError(f"{where}: `phase` and `limit_s` are mandatory")
        compiled: dict[int, Any] = {0: self._entry("phases", step["phase"], where).id}
        if "set" in step:
            compiled[1] = dict(self._written(name, value, where) for name, value in step["set"].items())
        if "regulate" in step:
            compiled[2] = [self._regulator(row, where) for row in step["regulate"]]
        if "until" in step:
            compiled[3] = [self._condition(row, where) for row in step["until"]]
        if "hold_s" in step:
            compiled[4] = step["hold_s"]
        compiled[5] = step["limit_s"]
        if "error" in step:
            compiled[6] = self._entry("errors", step["error"], where).id
        if "pulse" in step:
            compiled[7] = [self._pulse(row, where) for row in step["pulse"]]
        return compiled

    def _written(self, name: str, value: object, where: str) -> tuple[int, int]:
        actuator = self._entry("actuators", name, where)
        return actuator.id, MAX if value == "max" else _value(actuator, value, where)

    def _regulator(self, row: Mapping[str, Any], where: str) -> list[int]:
        _only(row, {"actuator", "signal", "target", "band"}, where)
        signal = self._entry("signals", row.get("signal"), where)
        actuator = self._entry("actuators", row.get("actuator"), where)
        return [actuator.id, signal.id, _value(signal, row.get("target"), where), _value(signal, row.get("band", 0), where)]

    def _condition(self, row: Mapping[str, Any], where: str) -> list[int]:
        _only(row, {"signal", "ge", "le"}, where)
        if ("ge" in row) == ("le" in row):
            raise ProgrammeSourceError(f"{where}: a condition has either `ge` or `le`")
        signal = self._entry("signals", row.get("signal"), where)
        op = 0 if "ge" in row else 1
        return [signal.id, op, _value(signal, row["le" if op else "ge"], where)]

    def _pulse(self, row: Mapping[str, Any], where: str) -> list[int]:
        _only(row, {"actuator", "value", "on_s", "off_s"}, where)
        actuator, value = self._written(str(row.get("actuator")), row.get("value"), where)
        return [actuator, value, row.get("on_s", 0), row.get("off_s", 0)]

    def _entry(self, title: str, name: object, where: str) -> Entry:
        try:
            return self.registry.tables[title].by_name(str(name))
        except RegistryError as error:
            raise ProgrammeSourceError(f"{where}: {error}") from None


def _value(entry: Entry, value: object, where: str) -> int:
    """A wire integer as it is, or text in the unit of `entry`."""
    if isinstance(value, str):
        try:
            return entry.parse(value)
        except RegistryError as error:
            raise ProgrammeSourceError(f"{where}: {error}") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProgrammeSourceError(f"{where}: {entry.name} must be a whole number or text with a unit, not {value!r}")
    return value


def _unrolled(steps: Any) -> Iterator[Mapping[str, Any]]:
    for step in steps:
        if "step" in step:
            _only(step, {"repeat", "step"}, "repeat")
            for _ in range(step.get("repeat", 1)):
                yield from _unrolled(step["step"])
        else:
            yield step


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise ProgrammeSourceError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")


def render_base_programmes(source: Path) -> str:
    """The Python module of an appliance's base programmes: PROGRAMMES {id: bytes} and ENDING."""
    registry = load()
    tables = tomllib.loads(source.read_text(encoding="utf-8"))
    lines = [f'"""Programmes compiled from {source.name} by evergrow_tools.programme_toml: do not edit."""', ""]
    lines.append(f"ENDING = {_literal(compile_programme(tables.pop('ending'), registry), '')}")
    lines += ["", "PROGRAMMES = {"]
    for name, table in tables.items():
        number = registry.programmes.by_name(name).id
        lines.append(f"    {number}: {_literal(compile_programme(table, registry), '    ')},  # {name}")
    return "\n".join([*lines, "}", ""])


def _literal(data: bytes, indent: str, width: int = 26) -> str:
    """A bytes literal in lines of `width` bytes."""
    rows = ["".join(f"\\x{byte:02x}" for byte in data[start : start + width]) for start in range(0, len(data), width)]
    body = "\n".join(f'{indent}    b"{row}"' for row in rows)
    return f"(\n{body}\n{indent})"


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile the base programmes of the simulated appliances.")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    check = parser.parse_args().check
    stale = []
    for source in sorted(Path(evergrow_sim.appliances.__file__).parent.glob("*.toml")):
        target = source.with_name(f"{source.stem}_programmes.py")
        text = render_base_programmes(source)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(target.name)
            if not check:
                target.write_text(text, encoding="utf-8")
    if stale:
        print(f"{'stale' if check else 'written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
