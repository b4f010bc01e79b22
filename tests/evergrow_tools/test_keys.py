"""Signing keys on disk: a leaf is never used twice, whatever happens to the process that signs."""

import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyhsslms
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrow_protocol import lms
from evergrow_protocol.errors import MALFORMED, ProtocolError
from evergrow_tools import keys

MESSAGE = b"an encoded digest array"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> keys.SigningKey:
    return keys.new_key(tmp_path_factory.mktemp("keys"), "maker", 1, "evergrow", height=5)


@pytest.fixture
def key(made: keys.SigningKey, tmp_path: Path) -> keys.SigningKey:
    """A copy of one generated key with all its leaves."""
    return fresh(made, tmp_path)


def fresh(made: keys.SigningKey, folder: Path) -> keys.SigningKey:
    for suffix in (".pub", ".key"):
        shutil.copy(made.path.with_suffix(suffix), folder)
    (folder / "maker.lock").unlink(missing_ok=True)
    (folder / "maker.state").write_text(json.dumps({"format": 1, "kid": made.public.kid.hex(), "next_leaf": 0}))
    (folder / "maker.state").chmod(0o600)
    return keys.SigningKey.load(folder / "maker.key")


def leaf_of(signature: bytes) -> int:
    return int.from_bytes(signature[4:8], "big")


def test_a_signature_verifies_here_and_under_pyhsslms(key: keys.SigningKey) -> None:
    signature = key.sign(MESSAGE)
    public = key.public.public
    assert lms.verify(public, (MESSAGE,), signature)
    assert pyhsslms.HssPublicKey.deserialize(public).verify(MESSAGE, signature)


def test_a_signature_made_by_pyhsslms_verifies_here() -> None:
    for levels in (1, 2):
        private = pyhsslms.HssPrivateKey(levels, pyhsslms.lms_sha256_m32_h5, pyhsslms.lmots_sha256_n32_w4)
        signature = private.sign(MESSAGE)
        assert lms.verify(private.publicKey().serialize(), (MESSAGE,), signature)


def test_an_h10_key_signs_up_to_its_last_leaf(tmp_path: Path) -> None:
    key = keys.new_key(tmp_path, "partner", 2, "northwash")
    assert key.remaining() == 1024
    state = json.loads((tmp_path / "partner.state").read_text())
    (tmp_path / "partner.state").write_text(json.dumps(state | {"next_leaf": 1023}))
    assert pyhsslms.HssPublicKey.deserialize(key.public.public).verify(MESSAGE, key.sign(MESSAGE))


@pytest.fixture(scope="module")
def signature(made: keys.SigningKey) -> bytes:
    return made.sign(MESSAGE)


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(made: keys.SigningKey, signature: bytes, at: int, bit: int) -> None:
    flipped = bytearray(signature)
    flipped[at % len(flipped)] ^= 1 << bit
    try:
        assert lms.verify(made.public.public, (MESSAGE,), flipped) is False
    except ProtocolError as error:
        assert error.code == MALFORMED


def test_each_signature_takes_the_next_leaf_also_after_a_reload(key: keys.SigningKey) -> None:
    assert [leaf_of(key.sign(MESSAGE)) for _ in range(2)] == [0, 1]
    assert leaf_of(keys.SigningKey.load(key.path).sign(MESSAGE)) == 2
    assert key.remaining() == 29


def test_an_exhausted_key_refuses_to_sign(key: keys.SigningKey) -> None:
    for _ in range(32):
        key.sign(MESSAGE)
    with pytest.raises(keys.KeyFileError, match="exhausted: all 32 signatures"):
        key.sign(MESSAGE)
    assert key.remaining() == 0


def test_the_leaf_is_spent_on_disk_before_it_signs(key: keys.SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(pyhsslms.LmotsPrivateKey, "sign", fail)
        with pytest.raises(RuntimeError):
            key.sign(MESSAGE)
    assert leaf_of(key.sign(MESSAGE)) == 1


def test_a_disk_that_is_full_means_no_signature(key: keys.SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(keys.KeyFileError, match="nothing was signed"):
            key.sign(MESSAGE)
    assert leaf_of(key.sign(MESSAGE)) == 0


def test_without_its_state_a_key_refuses_to_sign(key: keys.SigningKey) -> None:
    key.path.with_suffix(".state").unlink()
    with pytest.raises(keys.KeyFileError, match="state"):
        key.sign(MESSAGE)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kid": "00", "next_leaf": 0}', "\0"])
def test_a_damaged_or_foreign_state_refuses_to_sign(key: keys.SigningKey, content: str) -> None:
    key.path.with_suffix(".state").write_text(content)
    with pytest.raises(keys.KeyFileError):
        key.sign(MESSAGE)


def test_two_handles_on_one_key_never_share_a_leaf(key: keys.SigningKey) -> None:
    handles = [keys.SigningKey.load(key.path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        leaves = list(pool.map(lambda handle: [leaf_of(handle.sign(MESSAGE)) for _ in range(8)], handles))
    assert sorted(leaf for some in leaves for leaf in some) == list(range(32))


def test_the_state_is_durable_before_a_signature_exists(key: keys.SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then its name, then the folder: each is on disk before the next, and all before the leaf signs."""
    done: list[str] = []

    def note(name: str, function: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            kind = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else ""
            done.append(name + kind)
            return function(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(os, "fsync", note("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", note("replace", os.replace))
    monkeypatch.setattr(pyhsslms.LmotsPrivateKey, "sign", note("sign", pyhsslms.LmotsPrivateKey.sign))
    key.sign(MESSAGE)
    assert done == ["fsync", "replace", "fsyncfolder", "fsync", "sign"]  # the last fsync is that of the mark in the lock file


def test_two_processes_never_share_a_leaf(key: keys.SigningKey) -> None:
    signers = [signing(key, "for _ in range(8): say(key.sign(b'm'))") for _ in range(3)]
    leaves = [leaf for signer in signers for leaf in said(signer)]
    assert sorted(leaves) == list(range(24)) and key.remaining() == 8


_PRELUDE = """
import os, signal, sys
from pathlib import Path
from evergrow_tools import keys
path = Path(sys.argv[1])
key = keys.SigningKey.load(path)
def say(signature): os.write(1, signature[4:8].hex().encode() + b"\\n")
"""

# A child is killed when it is about to run its n-th line of the key module, the parent then signs with what is left on disk; for
# every n, until a child comes through. What is said comes only after `sign` has returned, as the signature does.
_KILLED_EVERYWHERE = """
before = {name: name.read_bytes() for name in path.parent.iterdir() if name.suffix != ".lock"}
number = 0
while True:
    for file in path.parent.iterdir():
        file.unlink()
    for name, content in before.items():
        name.write_bytes(content)
        name.chmod(0o600)
    number += 1
    child = os.fork()
    if not child:
        left = number
        def line(frame, event, argument):
            global left
            left -= event == "line"
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return line
        sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename == keys.__file__ else None)
        signature = keys.SigningKey.load(path).sign(b"child")
        sys.settrace(None)
        say(signature)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    say(keys.SigningKey.load(path).sign(b"parent"))
    os.write(1, b"--\\n")
    if not status:
        break
"""


def signing(key: keys.SigningKey, program: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", _PRELUDE + program, str(key.path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def said(process: "subprocess.Popen[str]") -> list[int]:
    output, _ = process.communicate()
    assert process.returncode == 0
    return [int(line, 16) for line in output.splitlines()]


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_killed_at_every_step_of_signing_no_leaf_is_used_again(key: keys.SigningKey) -> None:
    """Every line that runs between reading the key and handing out the signature is one at which the signer dies."""
    process = signing(key, _KILLED_EVERYWHERE)
    output, _ = process.communicate()
    assert process.returncode == 0
    runs = [[int(line, 16) for line in run.split()] for run in output.split("--\n") if run]
    assert len(runs) > 100
    after = [run[-1] for run in runs]  # the leaf that the next signature took
    assert after == sorted(after) and set(after) == {0, 1}  # once spent, a leaf stays spent wherever the signer dies later
    assert all(len(run) == 1 for run in runs[:-1]) and runs[-1] == [0, 1]


def test_a_restored_state_refuses_to_sign(key: keys.SigningKey) -> None:
    key.sign(MESSAGE)
    old = key.path.with_suffix(".state").read_bytes()
    key.sign(MESSAGE)
    key.path.with_suffix(".state").write_bytes(old)
    with pytest.raises(keys.KeyFileError, match="copied or restored"):
        key.sign(MESSAGE)
    assert key.resume(1) == 29
    assert leaf_of(key.sign(MESSAGE)) == 3


def test_a_restored_or_copied_folder_refuses_to_sign(key: keys.SigningKey, tmp_path: Path) -> None:
    key.sign(MESSAGE)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("maker.*"):
        shutil.copy2(file, copy)
    other = keys.SigningKey.load(copy / "maker.key")
    with pytest.raises(keys.KeyFileError, match="evergrow key resume"):
        other.sign(MESSAGE)
    assert leaf_of(key.sign(MESSAGE)) == 1
    other.resume(10)
    assert leaf_of(other.sign(MESSAGE)) == 11


def test_a_key_whose_state_is_lost_goes_on_behind_the_leaves_that_are_given_up(key: keys.SigningKey) -> None:
    key.sign(MESSAGE)
    key.path.with_suffix(".state").unlink()
    for skip in (0, -1, 33):
        with pytest.raises(keys.KeyFileError, match="cannot give up"):
            key.resume(skip)
    key.resume(5)
    assert leaf_of(key.sign(MESSAGE)) == 6
    assert key.resume(32) == 0


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_secret_that_others_may_read_is_refused(key: keys.SigningKey) -> None:
    for suffix in (".key", ".state"):
        key.path.with_suffix(suffix).chmod(0o640)
        with pytest.raises(keys.KeyFileError, match=r"open to others.*chmod 600"):
            keys.SigningKey.load(key.path).sign(MESSAGE)
        key.path.with_suffix(suffix).chmod(0o600)


def test_a_key_is_never_overwritten(key: keys.SigningKey) -> None:
    before = key.path.read_bytes()
    with pytest.raises(keys.KeyFileError, match="never overwritten"):
        keys.new_key(key.path.parent, "maker", 1, "evergrow", height=5)
    assert key.path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_secret_files_are_readable_by_their_owner_alone(made: keys.SigningKey) -> None:
    for suffix in (".key", ".state"):
        assert made.path.with_suffix(suffix).stat().st_mode & 0o777 == 0o600


def test_the_secret_is_not_in_the_repr(made: keys.SigningKey) -> None:
    seed = json.loads(made.path.read_text())["seed"]
    assert seed not in repr(made) and seed not in repr(made.public)


def test_public_key_round_trip_and_its_checks(made: keys.SigningKey, tmp_path: Path) -> None:
    public = keys.load_public(made.path.with_suffix(".pub"))
    assert public == made.public and len(public.kid) == 8
    for field, value in (("kid", "00" * 8), ("public", "zz"), ("alg", "EdDSA"), ("format", 2), ("publisher", "x")):
        path = tmp_path / "bad.pub"
        path.write_text(json.dumps(json.loads(public.to_json()) | {field: value}))
        with pytest.raises(keys.KeyFileError, match="not a public key file"):
            keys.load_public(path)
    with pytest.raises(keys.KeyFileError, match="cannot read"):
        keys.load_public(tmp_path / "absent.pub")


def test_a_damaged_tree_never_yields_a_signature(key: keys.SigningKey) -> None:
    data = json.loads(key.path.read_text())
    tree = data["tree"]
    data["tree"] = tree[:-200] + ("A" if tree[-200] != "A" else "B") + tree[-199:]
    key.path.write_text(json.dumps(data))
    damaged = keys.SigningKey.load(key.path)
    with pytest.raises(keys.KeyFileError, match="damaged"):
        for _ in range(32):
            damaged.sign(MESSAGE)


def test_a_public_key_is_not_taken_for_a_signing_key(key: keys.SigningKey) -> None:
    with pytest.raises(keys.KeyFileError, match="is not a signing key: it has no 'height'"):
        keys.SigningKey.load(key.path.with_suffix(".pub"))
