"""`evergrow feature new`: a folder to begin with, which builds as it is."""

import re
from pathlib import Path

from evergrow_protocol.registry import Entry, Registry, Table, load
from evergrow_sim.appliances import catalogue
from evergrow_tools.feature_files import FeatureError

KINDS = ("unlock", "programme", "code")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SOON_PASSED = {"washer": 250, "refrigerator": 60, "air_conditioner": 245}  # tenths of a degree
_HEAD = """\
# {name}: what it does for whom, in a sentence. How such a file is written: docs/features.md.

[feature]
id = {id}                  # from 1000 up, yours for ever
name = "{name}"
version = "0.1.0"
kind = "{kind}"
prefix = "{prefix}"         # as in your key: your features live below it
sequence = 1               # rises with every release; devices refuse a lower one

[target]
vendor = "{vendor}"
class = "{klass}"
registry_version = {registry}
"""
_UNLOCK = """
[unlock]
{actuator} = {most}      # at most what the hardware declares
"""
_PROGRAMME = """
[programme]
nominal_s = 600

[[programme.step]]
phase = "{phase}"
hold_s = 600
limit_s = 900              # always: a step that takes longer is a fault, and the appliance comes to rest safely
"""
_CODE = """
[code]
source = "{module}.py"
heap = 4096                # bytes that it may take
call_ms = 50               # how long a call may take
signals = ["{signal}"]
events = {{ noticed = {event} }}

[code.settings]
limit = {{ id = 1, least = {least}, most = {most}, default = {default} }}
"""
_SOURCE = '''\
"""{name}: looks at {signal} every minute, and tells when it is above a limit that the cloud can set."""

from evergrow_protocol.registry_{klass} import SIGNAL_{SIGNAL}

EVENT_NOTICED = {event}
SETTING_LIMIT = 1


def start(api):
    """Called by the agent when the feature becomes active; `api` gives what feature.toml declares, and nothing else."""

    def look():
        value = api.read(SIGNAL_{SIGNAL})
        if value > api.setting(SETTING_LIMIT):
            api.event(EVENT_NOTICED, value)

    api.every(60, look)
'''


def create(folder: Path, kind: str, klass: str, prefix: str, vendor: str, feature_id: int) -> list[Path]:
    """Make `folder`, whose name is the feature's. -> the files in it. Raises FeatureError, RegistryError."""
    registry = load()
    name = folder.name
    if kind not in KINDS:
        raise FeatureError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    for text in (name, prefix):
        if not _NAME.fullmatch(text):
            raise FeatureError(f"{text!r} must be 1..32 of a-z, 0-9 and '-'")
    if folder.exists():
        raise FeatureError(f"{folder} is there already")
    registry.classes.by_name(klass)
    values = {
        "name": name,
        "kind": kind,
        "klass": klass,
        "prefix": prefix,
        "vendor": vendor,
        "id": feature_id,
        "registry": registry.version,
        "module": name.replace("-", "_"),
        "event": feature_id + 1,
    }
    files = {"feature.toml": (_HEAD + _body(kind, klass, registry, values)).format(**values)}
    if kind == "code":
        files[f"{values['module']}.py"] = _SOURCE.format(**values)
    try:
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FeatureError(f"cannot write {error.filename}: {error.strerror}") from None
    return [folder / file for file in files]


def _body(kind: str, klass: str, registry: Registry, values: dict[str, object]) -> str:
    if kind == "unlock":
        actuator, most = _unlockable(klass, registry)
        values |= {"actuator": actuator.name, "most": most if actuator.unit == "bool" else f'"{actuator.format(most)}"'}
        return _UNLOCK
    if kind == "programme":
        values["phase"] = "hold"
        return _PROGRAMME
    signals = [entry for entry in _own(registry.signals, klass) if entry.kind == "state" and entry.max and entry.unit != "bool"]
    signal = next((entry for entry in signals if "temp" in entry.name), signals[0])
    least, most = signal.min or 0, signal.max or 0
    default = _SOON_PASSED.get(klass, (least + most) // 2)
    values |= {"signal": signal.name, "SIGNAL": signal.name.upper(), "least": least, "most": most, "default": default}
    return _CODE


def _unlockable(klass: str, registry: Registry) -> tuple[Entry, int]:
    """An actuator, and what the simulated appliance of that class can do at most; of others, what the registry allows."""
    if klass in catalogue.CLASSES:
        for number, most in catalogue.make(klass).unlockable.items():
            return registry.actuators.by_id(number), most
    actuator = max(_own(registry.actuators, klass), key=lambda entry: (entry.max or 0) - (entry.min or 0))
    return actuator, actuator.max or 0


def _own(table: Table, klass: str) -> list[Entry]:
    return [entry for entry in table if klass in entry.classes]
