"""Grants and revocation lists of a real root key, read by a device: evergrow_tools.trust_build and `evergrow key`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from evergrow_agent import grants
from evergrow_agent.fsflash import FsFlash
from evergrow_agent.grants import Grants
from evergrow_protocol.errors import ProtocolError
from evergrow_tools import keys, trust_build
from evergrow_tools.key_cli import app
from evergrow_tools.keys import KeyFileError

NOW = 1_795_339_200


def evergrow(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for args in (("root", "--root"), ("northwash", "--publisher", 2)):
        assert evergrow("new", *args, "--height", 5, "--out", folder).exit_code == 0
    return folder


@pytest.fixture
def device(folder: Path, tmp_path: Path) -> Grants:
    flash = FsFlash(str(tmp_path / "flash"))
    grants.provision(flash, keys.load_public(folder / "root.pub").public)
    return Grants(flash)


def accept(device: Grants, content: int, path: Path) -> tuple[int, int]:
    steps = device.accept_steps(content, path.read_bytes(), NOW)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def test_a_grant_and_a_list_of_the_command_are_taken_by_a_device(folder: Path, device: Grants, tmp_path: Path) -> None:
    """EG-TRUST-001, EG-TRUST-002, EG-TRUST-010"""
    made = evergrow(
        "grant", folder / "northwash.pub", "--root", folder / "root.key", "--signals", "1-2,drum_rpm",
        "--actuators", "inlet,2,drum_rpm", "--flash", 4096, "--sequence", 5,
        "--not-after", "2027-01-31", "-o", tmp_path / "g", "--json",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["sequence"] == 5
    assert accept(device, 1, tmp_path / "g") == (2, 5)
    assert device.actuators(2) == (1, 2, 4) and device.quota(2) == 4096
    (key,) = device.keys() or []
    assert (key.kid, key.prefix) == (keys.load_public(folder / "northwash.pub").kid, b"northwash")
    made = evergrow(
        "revoke", "--root", folder / "root.key", "--key", folder / "northwash.pub", "--feature", "2/1001:0-6",
        "-o", tmp_path / "r",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    accept(device, 2, tmp_path / "r")
    assert device.keys() == [] and device.revoked(2, 1001, 6) and not device.revoked(2, 1001, 7)


def test_a_publisher_cannot_grant_itself_anything(folder: Path, device: Grants, tmp_path: Path) -> None:
    """EG-TRUST-001: neither by the command nor past it."""
    own = ("--root", folder / "northwash.key", "--actuators", "1-9")
    with pytest.raises(KeyFileError, match="only a root"):  # `cli` makes a sentence of it
        evergrow("grant", folder / "northwash.pub", *own, "-o", tmp_path / "g")
    own_key = keys.SigningKey.load(folder / "northwash.key")
    (tmp_path / "g").write_bytes(trust_build.build_grant(own_key, own_key.public, 1, [], list(range(1, 10)), [], 4096, 0))
    with pytest.raises(ProtocolError) as refused:
        accept(device, 1, tmp_path / "g")
    assert refused.value.code == 10


def test_what_no_device_would_take_is_not_signed(folder: Path) -> None:
    """EG-TRUST-002"""
    root = keys.SigningKey.load(folder / "root.key")
    left = root.remaining()
    with pytest.raises(ProtocolError):
        trust_build.build_grant(root, keys.load_public(folder / "northwash.pub"), 1, [], [], [], -1, 0)
    with pytest.raises(ProtocolError):
        trust_build.build_revocations(root, 0, [], [], [])
    assert root.remaining() == left


def test_wrong_calls_are_told_so(folder: Path) -> None:
    assert evergrow("new", "x", "--out", folder).exit_code == 2
    assert evergrow("new", "x", "--root", "--publisher", 3, "--out", folder).exit_code == 2
    for option in (("--signals", "a"), ("--not-after", "never")):
        done = evergrow("grant", folder / "northwash.pub", "--root", folder / "root.key", *option)
        assert done.exit_code == 2
    assert evergrow("revoke", "--root", folder / "root.key", "--feature", "2/1001").exit_code == 2
