"""Compiling the portable packages: what is compiled, when, and what is left behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergrow_tools import mpy
from evergrow_tools.mpy import MpyError

sys.path.insert(0, str(Path(__file__).parents[1] / "portable"))

from _lane import micropython_launcher


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `sample_firmware` with a module, a sub-package and a module in it."""
    root = tmp_path / "src" / "sample_firmware"
    (root / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/deep.py"):
        (root / name).write_text("")
    (root / "thing.py").write_text("def f():\n    assert False\n")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] == "sample_firmware"]:
        del sys.modules[name]  # Looking for a sub-module imports its parents.


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*.mpy")}


def test_a_package_is_compiled_with_its_sub_packages(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mpy.build(out, ["sample_firmware"])
    assert files(out) == {f"sample_firmware/{name}.mpy" for name in ("__init__", "thing", "inner/__init__", "inner/deep")}


def test_a_single_module_brings_only_the_init_of_its_parents(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mpy.build(out, ["sample_firmware.inner.deep"])
    assert files(out) == {f"sample_firmware/{name}.mpy" for name in ("__init__", "inner/__init__", "inner/deep")}


def test_the_bytes_do_not_depend_on_where_they_were_made(package: Path, tmp_path: Path) -> None:
    first, second = (mpy.build(tmp_path / out, ["sample_firmware"]) for out in ("one", "two"))
    assert [unit.path.read_bytes() for unit in first] == [unit.path.read_bytes() for unit in second]
    assert not any(str(tmp_path).encode() in unit.path.read_bytes() for unit in first)


def test_only_what_changed_is_compiled_again(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = {unit.module.name: unit.path.stat().st_ino for unit in mpy.build(out, ["sample_firmware"])}
    (package / "thing.py").write_text("VALUE = 2\n")
    after = {unit.module.name: unit.path.stat().st_ino for unit in mpy.build(out, ["sample_firmware"])}
    assert {name for name in before if before[name] != after[name]} == {"sample_firmware.thing"}


def test_other_options_compile_again(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with_asserts = sum(unit.size for unit in mpy.build(out, ["sample_firmware"], opt=0))
    assert sum(unit.size for unit in mpy.build(out, ["sample_firmware"])) < with_asserts


@pytest.mark.parametrize("damage", [b"", b"not byte code"])
def test_a_damaged_output_is_made_anew(package: Path, tmp_path: Path, damage: bytes) -> None:
    out = tmp_path / "out"
    unit = mpy.build(out, ["sample_firmware"])[-1]
    good = unit.path.read_bytes()
    unit.path.write_bytes(damage)
    mpy.build(out, ["sample_firmware"])
    assert unit.path.read_bytes() == good


def test_a_damaged_manifest_costs_a_new_build_and_nothing_else(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mpy.build(out, ["sample_firmware"])
    for damage in ("", "[]", "{", '{"sample_firmware/thing.mpy": 7}'):
        (out / ".manifest.json").write_text(damage)
        assert len(mpy.build(out, ["sample_firmware"])) == 4


def test_the_output_of_a_removed_source_is_removed(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mpy.build(out, ["sample_firmware"])
    (package / "thing.py").unlink()
    mpy.build(out, ["sample_firmware"])
    assert "sample_firmware/thing.mpy" not in files(out)


def test_building_one_module_leaves_the_rest_of_its_package_alone(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mpy.build(out, ["sample_firmware"])
    mpy.build(out, ["sample_firmware.inner"])
    assert len(files(out)) == 4


def test_a_syntax_error_is_reported_with_file_and_line(package: Path, tmp_path: Path) -> None:
    (package / "thing.py").write_text("x = 1\ndef\n")
    with pytest.raises(MpyError, match=r"thing\.py.*\n(.*\n)*.*line 2"):
        mpy.build(tmp_path / "out", ["sample_firmware"])


def test_a_name_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MpyError, match="no module sample_nothing"):
        mpy.build(tmp_path / "out", ["sample_nothing"])


def test_every_portable_module_compiles(tmp_path: Path) -> None:
    compiled = mpy.build(tmp_path / "out")
    assert {unit.module.package for unit in compiled} >= {"evergrow_protocol", "evergrow_mqtt", "evergrow_agent"}


@pytest.mark.parametrize("march", [*mpy.BOARD_MARCHES, "x64"])
def test_machine_code_is_made_for_a_board(tmp_path: Path, march: str) -> None:
    out = tmp_path / "out"
    compiled = mpy.build(out, ["evergrow_agent"], march=march)
    native = {unit.module.name: unit.path for unit in compiled if unit.module.march}
    assert set(native) == set(mpy.NATIVE)
    assert all(path.read_bytes()[2] >> 2 for path in native.values()), "the header names its processor"
    others = {unit.module.name for unit in mpy.build(out, ["evergrow_agent"], march=None)}
    assert not others & set(mpy.NATIVE) and not any(path.exists() for path in native.values())
    assert not mpy.native_modules(march, ["evergrow_protocol"])


@pytest.mark.parametrize("march", [None, "armv6m", "x64"])
def test_machine_code_of_another_processor_or_none_leaves_the_portable_code(tmp_path: Path, march: str | None) -> None:
    out = tmp_path / "out"
    mpy.build(out, ["evergrow_protocol", "evergrow_agent"], march=march)
    script = f"import sys; sys.path[:] = [{str(out)!r}]\nfrom evergrow_agent import columns\n"
    script += "one = columns.Columns([1], 1, 1)\nprint(one.put is columns.put_column)"
    done = subprocess.run([micropython_launcher(), "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(march is None or march != mpy.HOST_MARCH)


def test_a_fault_in_one_module_leaves_the_others_compiled_and_itself_absent(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mpy.build(out, ["sample_firmware"])
    (package / "inner" / "deep.py").write_text("def\n")
    (package / "thing.py").write_text("VALUE = 2\n")
    with pytest.raises(MpyError):
        mpy.build(out, ["sample_firmware"])
    assert files(out) == {f"sample_firmware/{name}.mpy" for name in ("__init__", "thing", "inner/__init__")}
