"""Code features: what is declared and what is used are the same, and both forms of it may run."""

import shutil
from pathlib import Path

import pytest

from evergrow_agent import codecheck
from evergrow_protocol import feature, feature_code
from evergrow_tools import feature_build, feature_files, patch
from evergrow_tools.feature_files import FeatureError

HEAD = """
[feature]
id = 1003
name = "sense"
version = "1.0.0"
kind = "code"
prefix = "northwash"
sequence = 1
[target]
vendor = "evergrow.example"
class = "washer"
registry_version = 2
[code]
source = "sense.py"
heap = 4096
call_ms = 50
"""
NEEDS = """
signals = ["temp"]
actuators = ["drum_rpm"]
meters = { hot_s = 1010 }
events = { hot = 1011 }
[code.settings]
limit = { id = 1, least = 0, most = 900, default = 600 }
"""
CODE = '''"""A sample."""

from evergrow_protocol.registry_washer import ACTUATOR_DRUM_RPM, SIGNAL_TEMP

METER = 1010
EVENT = 1011
LIMIT = 1


def start(api) -> None:
    """Begin."""

    def look() -> None:
        if api.read(SIGNAL_TEMP) > api.setting(LIMIT):
            api.count(METER, 10)
            api.event(EVENT)
            api.write(ACTUATOR_DRUM_RPM, 0)

    api.every(10, look)
'''


def build(folder: Path, code: str = CODE, needs: str = NEEDS, head: str = HEAD) -> feature_files.Built:
    (folder / "feature.toml").write_text(head + needs)
    (folder / "sense.py").write_text(code)
    return feature_build.build(folder)


def test_both_forms_say_the_same_and_may_run(tmp_path: Path) -> None:
    """EG-CODE-003, EG-SUIT-006"""
    built = build(tmp_path)
    byte_code, source = (feature.parse(built.payloads[number]) for number in (1, 3))
    assert byte_code.needs == source.needs
    needs = feature_code.parse(bytes(byte_code.needs or b""))
    assert (needs.signals, needs.actuators, needs.meters, needs.events) == ([2], [4], [1010], [1011])
    assert (needs.settings, needs.heap_bytes, needs.call_ms, needs.adjusts) == ({1: (0, 900, 600)}, 4096, 50, False)
    codecheck.check_byte_code(bytes(byte_code.code or b""))
    text = bytes(source.code or b"").decode()
    codecheck.check_source(text)
    assert "api.read(2) > api.setting(1)" in text
    assert "sample" not in text and "import" not in text and "None" not in text, "only people read that"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('signals = ["temp"]', "signals = []", "uses signals 2"),
        ('signals = ["temp"]', 'signals = ["temp", "power_w"]', "declares power_w"),
        ('signals = ["temp"]', 'signals = ["fridge_temp"]', "a washer has no fridge_temp"),
        ("{ hot_s = 1010 }", "{ hot_s = 12 }", "uses meters 1010"),
        ("{ hot = 1011 }", '{ hot = "x" }', "names and ids"),
        ("most = 900, ", "", "least, most, default"),
        ("least = 0, most = 900", "least = 700, most = 900", "600 is not in 700..900"),
    ],
)
def test_a_wrong_declaration_is_named(tmp_path: Path, old: str, new: str, what: str) -> None:
    """EG-CODE-002"""
    assert old in NEEDS
    with pytest.raises(FeatureError, match=what):
        build(tmp_path, needs=NEEDS.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("api.read(SIGNAL_TEMP)", "api.read(api.setting(LIMIT))", "needs a constant"),
        ("    api.every(10", "    METER = 7\n    api.every(10", "is bound again"),
        ("SIGNAL_TEMP\n", "SIGNAL_TEMP, SIGNAL_NONE\n", "has no id SIGNAL_NONE"),
        ("api.event(EVENT)", "api.event(EVENT); api.hold_percent(70)", "adjusts must be true"),
        ("api.event(EVENT)", "api.event(EVENT); import os", "imports 'os'"),
        ("api.event(EVENT)", "api.event(EVENT); api.__class__", "__class__"),
        ("def start(", "def begin(", "no function start"),
    ],
)
def test_wrong_code_is_named(tmp_path: Path, old: str, new: str, what: str) -> None:
    """EG-CODE-003"""
    assert old in CODE
    with pytest.raises(FeatureError, match=what):
        build(tmp_path, code=CODE.replace(old, new))


@pytest.mark.parametrize("line", ["heap = 4096", "call_ms = 50", 'source = "sense.py"'])
def test_what_is_missing_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(FeatureError, match=line.partition(" ")[0]):
        build(tmp_path, head=HEAD.replace(line, ""))


def test_a_newer_version_is_a_patch_in_each_form(tmp_path: Path) -> None:
    """EG-SUIT-007"""
    more = "".join(f"\n\ndef spare_{number}(api):\n    return api.phase + api.programme * {number}\n" for number in range(9))
    older = build(tmp_path, code=CODE + more)
    (tmp_path / "feature.toml").write_text(HEAD.replace("sequence = 1", "sequence = 2") + NEEDS)
    (tmp_path / "sense.py").write_text(CODE + more.replace("phase", "utc_s", 1))
    built = feature_build.build(tmp_path, older=older)
    assert set(built.payloads) == {1, 2, 3, 4}


def test_the_example_is_built() -> None:
    built = feature_build.build(feature_files.examples() / "load-sense")
    assert len(built.payloads[1]) < 700


def test_the_next_release_has_its_names_in_the_order_of_the_one_before(tmp_path: Path) -> None:
    """EG-SUIT-007: so that a patch is small."""
    folder = tmp_path / "load-sense"
    shutil.copytree(Path(feature_files.__file__).parents[2] / "firmware" / "features" / "load-sense", folder)
    old = feature_build.build(folder)
    toml = (folder / "feature.toml").read_text()
    (folder / "feature.toml").write_text(toml.replace("sequence = 1", "sequence = 2"))
    text = (folder / "load_sense.py").read_text()
    more = "def least_of(alpha, beta):\n    return min(alpha, beta, key=lambda value: value.numerator)\n\n\n"
    (folder / "load_sense.py").write_text(text.replace("def start(api)", more + "def start(api)"))
    plain, new = feature_build.build(folder), feature_build.build(folder, older=old)
    assert len(new.payloads[2]) < len(patch.make(old.payloads[1], plain.payloads[1])) < len(new.payloads[1])
    assert patch.fits(old.payloads[1], new.payloads[2], new.payloads[1])
    assert len(new.payloads[1]) == len(plain.payloads[1]) and new.payloads[3] == plain.payloads[3]
