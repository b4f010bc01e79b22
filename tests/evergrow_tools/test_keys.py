"""Signing keys on disk: a leaf is never used twice, whatever happens to the process that signs."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    for path in made.path.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = json.loads((tmp_path / "maker.state").read_text())
    (tmp_path / "maker.state").write_text(json.dumps(state | {"next_leaf": 0}))
    return keys.SigningKey.load(tmp_path / "maker.key")


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


_SIGN_FOR_EVER = """
import sys
from pathlib import Path
from evergrow_tools import keys
key = keys.SigningKey.load(Path(sys.argv[1]))
while True:
    print(key.sign(b"m")[4:8].hex(), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_killed_at_any_moment_a_leaf_is_never_used_again(key: keys.SigningKey) -> None:
    seen: list[int] = []
    for kill_after in (0, 1, 3, 2, 5):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-c", _SIGN_FOR_EVER, str(key.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(kill_after)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        seen += [int(line, 16) for line in lines if len(line) == 9]
    seen.append(leaf_of(key.sign(MESSAGE)))
    assert len(seen) == len(set(seen)) and seen == sorted(seen)


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
