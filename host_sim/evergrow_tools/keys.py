"""Publishers' signing keys: HSS/LMS with one level of H10 (or H5), LM-OTS W4, on disk (RFC 8554).

Each leaf of the tree may sign once, ever: a leaf used twice lets anybody forge. So the number of the next leaf is advanced
on disk, durably and under a lock, *before* a signature exists; whatever happens afterwards, that leaf is spent.

A key is four files beside each other:

    NAME.pub     public half: kid, public key, publisher number, component prefix (JSON; goes into a device's key ring)
    NAME.key     secret seed and the cached tree (JSON, mode 0600; never changes, so it may be backed up)
    NAME.state   the next free leaf (JSON), and which lock file it belongs to. Without it the key refuses to sign
    NAME.lock    taken while a leaf is spent; holds the next free leaf once more

A state from a backup would sign twice with a leaf. It is found out when it alone was restored, since the lock file knows better,
and when the folder was restored or copied as a whole, since then the lock file is another one. `SigningKey.resume` goes on from
there, at the price of the leaves that may have been spent meanwhile.

LM-OTS generation and signing are pyhsslms's. Its tree classes are not used: they rebuild all 2^10 leaves on every load
(about 4 s) and leave the moment of persistence to the caller; this module caches the tree and owns the counter instead.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyhsslms

from evergrow_protocol import lms

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

HEIGHTS = (5, 10)
ALG_HSS_LMS = -46  # RFC 8778
ALG_ED25519 = -19  # RFC 9864; see `ed25519_keys`
ALGORITHMS = {"HSS-LMS": ALG_HSS_LMS, "Ed25519": ALG_ED25519}
_FORMAT = 1
_MARK_DIGITS = 10
_LOCKED_BYTE = 1 << 20  # on Windows, where a lock keeps others from reading: behind the content
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_W4: bytes = pyhsslms.lmots_sha256_n32_w4


class KeyFileError(Exception):
    """A key that cannot be made, read or used; the text says which file and why."""


@dataclass(frozen=True)
class PublicKey:
    """What a device and the cloud know of a publisher's key.

    `kid`: 8 bytes, the start of SHA-256(public). `public`: the 60-byte HSS public key, or the 32 bytes of Ed25519. `publisher`:
    the publisher's number in usage records. `prefix`: first segment of every component id this publisher may install.
    """

    kid: bytes
    public: bytes
    publisher: int
    prefix: str
    alg: int = ALG_HSS_LMS

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": _FORMAT,
                "kid": self.kid.hex(),
                "alg": next(name for name, alg in ALGORITHMS.items() if alg == self.alg),
                "public": self.public.hex(),
                "publisher": self.publisher,
                "prefix": self.prefix,
            },
            indent=2,
        )


def load_public(path: Path) -> PublicKey:
    """Read NAME.pub. Raises KeyFileError."""
    data = read_json(path)
    try:
        public = bytes.fromhex(data["public"])
        alg = ALGORITHMS[data["alg"]]
        key = PublicKey(key_id(public), public, int(data["publisher"]), str(data["prefix"]), alg)
        if data["format"] != _FORMAT or bytes.fromhex(data["kid"]) != key.kid or (alg == ALG_ED25519 and len(public) != 32):
            raise ValueError("format, algorithm or key id do not fit")
    except (KeyError, TypeError, ValueError) as error:
        raise KeyFileError(f"{path} is not a public key file: {error}") from None
    return key


def key_id(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:8]


def new_key(directory: Path, name: str, publisher: int, prefix: str, height: int = 10) -> "SigningKey":
    """Generate a key and write its three files. Raises KeyFileError, also when any of them exists already."""
    if height not in HEIGHTS:
        raise KeyFileError(f"tree height {height} is not one of {HEIGHTS}")
    paths = new_paths(directory, name, publisher, prefix, (".pub", ".key", ".state"))
    seed, identifier = os.urandom(32), os.urandom(16)
    tree = _tree(seed, identifier, height)
    public = _public(identifier, tree[1], height)
    secret = {
        "format": _FORMAT,
        "kid": key_id(public).hex(),
        "height": height,
        "identifier": identifier.hex(),
        "seed": seed.hex(),
        "tree": base64.b64encode(b"".join(tree)).decode(),
    }
    state = {"format": _FORMAT, "kid": key_id(public).hex(), "next_leaf": 0}
    make_directory(directory)
    # The state comes first: a key file without its state could not sign, a state without its key is harmless.
    create(paths[2], json.dumps(state), 0o600)
    create(paths[1], json.dumps(secret), 0o600)
    create(paths[0], PublicKey(key_id(public), public, publisher, prefix).to_json() + "\n", 0o644)
    sync_directory(directory)
    return SigningKey.load(paths[1])


def make_directory(path: Path) -> None:
    """Raises KeyFileError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"cannot make {path}: {error.strerror}") from None


def new_paths(directory: Path, name: str, publisher: int, prefix: str, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a new key. Raises KeyFileError for a bad name, number or prefix, and when any of the files exists."""
    if not 1 <= publisher <= 0xFFFF:
        raise KeyFileError(f"publisher number {publisher} is outside 1..65535")
    for text in (name, prefix):
        if not _NAME.fullmatch(text):
            raise KeyFileError(f"{text!r} must be 1..32 of a-z, 0-9 and '-'")
    paths = [directory / f"{name}{suffix}" for suffix in suffixes]
    for path in paths:
        if path.exists():
            raise KeyFileError(f"{path} exists; a signing key is never overwritten")
    return paths


class SigningKey:
    """The secret half, able to sign `capacity` times in all."""

    def __init__(self, path: Path, public: PublicKey, height: int, seed: bytes, identifier: bytes, tree: bytes) -> None:
        self.path = path
        self.public = public
        self.capacity = 1 << height
        self._height = height
        self._seed = seed
        self._identifier = identifier
        self._tree = tree

    def __repr__(self) -> str:
        return f"<SigningKey {self.path.name} kid={self.public.kid.hex()}>"

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Read NAME.key and the NAME.pub beside it. Raises KeyFileError."""
        data = read_secret(path)
        public = load_public(path.with_suffix(".pub"))
        try:
            height = int(data["height"])
            seed, identifier = bytes.fromhex(data["seed"]), bytes.fromhex(data["identifier"])
            tree = base64.b64decode(data["tree"], validate=True)
            if data["format"] != _FORMAT or height not in HEIGHTS or len(seed) != 32 or len(tree) != 64 << height:
                raise ValueError("unknown format or sizes")
            if _public(identifier, tree[32:64], height) != public.public:
                raise ValueError("it does not belong to the public key beside it")
        except KeyError as error:
            raise KeyFileError(f"{path} is not a signing key: it has no {error}") from None
        except (TypeError, ValueError) as error:
            raise KeyFileError(f"{path} is not a signing key: {error}") from None
        return cls(path, public, height, seed, identifier, tree)

    def remaining(self) -> int:
        """Signatures left. Raises KeyFileError."""
        return self.capacity - self._next_leaf()

    def sign(self, message: bytes) -> bytes:
        """-> an HSS signature over `message`, checked against the public key. Raises KeyFileError when no leaf is left."""
        leaf = self._take_leaf()
        number = leaf.to_bytes(4, "big")
        one_time: bytes = pyhsslms.LmotsPrivateKey(self._identifier, number, self._seed, _W4).sign(message)
        path = []
        node = self.capacity + leaf
        while node > 1:
            path.append(self._tree[(node ^ 1) * 32 : (node ^ 1) * 32 + 32])
            node >>= 1
        signature = bytes(4) + number + one_time + _lms_type(self._height) + b"".join(path)
        if not lms.verify(self.public.public, (message,), signature):
            raise KeyFileError(f"{self.path} made a signature that does not verify; the file is damaged")
        return signature

    def resume(self, skip: int) -> int:
        """Go on after the state was lost, restored or copied: `skip` leaves that may be spent are given up.

        -> signatures left. The state, where there is one, and the lock file tell from where on. Raises KeyFileError.
        """
        if not 0 < skip <= self.capacity:
            raise KeyFileError(f"cannot give up {skip} signatures: this key has 1..{self.capacity}")
        with _lock(self.path.with_suffix(".lock")) as file:
            known = [_mark(file)]
            if self.path.with_suffix(".state").exists():
                known.append(int(self._state()["next_leaf"]))
            self._write_state(min(max(known) + skip, self.capacity), file)
        return self.remaining()

    def _take_leaf(self) -> int:
        with _lock(self.path.with_suffix(".lock")) as file:
            state = self._state()
            leaf = int(state["next_leaf"])
            if leaf >= self.capacity:
                raise KeyFileError(f"{self.path} is exhausted: all {self.capacity} signatures are spent; make a new key")
            if leaf < _mark(file) or state.get("lock", _identity(file)) != _identity(file):
                raise KeyFileError(
                    f"{self.path.with_suffix('.state')} was copied or restored: signing could use a leaf twice;"
                    " `evergrow key resume` gives up the leaves that may be spent"
                )
            self._write_state(leaf + 1, file)
        return leaf

    def _write_state(self, leaf: int, file: IO[bytes]) -> None:
        """Durable on return, the state before the mark: a mark that was ahead would be taken for a restored state."""
        state = {"format": _FORMAT, "kid": self.public.kid.hex(), "next_leaf": leaf, "lock": _identity(file)}
        _replace(self.path.with_suffix(".state"), json.dumps(state))
        _set_mark(file, leaf)

    def _next_leaf(self) -> int:
        return int(self._state()["next_leaf"])

    def _state(self) -> dict[str, Any]:
        path = self.path.with_suffix(".state")
        data = read_secret(path)
        leaf = data.get("next_leaf")
        if data.get("kid") != self.public.kid.hex() or type(leaf) is not int or not 0 <= leaf <= self.capacity:
            raise KeyFileError(f"{path} is not the state of {self.path}; signing without it could use a leaf twice")
        return data


def _identity(file: IO[bytes]) -> int:
    """What differs between a file and its copy."""
    return os.fstat(file.fileno()).st_ino


def _mark(file: IO[bytes]) -> int:
    file.seek(0)
    text = file.read(_MARK_DIGITS)
    return int(text) if text.isdigit() else 0


def _set_mark(file: IO[bytes], leaf: int) -> None:
    try:
        file.seek(0)
        file.write(b"%0*d" % (_MARK_DIGITS, leaf))
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise KeyFileError(f"cannot write {file.name}: {error.strerror}; nothing was signed") from None


def _tree(seed: bytes, identifier: bytes, height: int) -> list[bytes]:
    """All nodes, the root at 1, the leaves from 2^height on; place 0 is filler (RFC 8554 section 5.3)."""

    def node_hash(node: int, rest: bytes) -> bytes:
        return hashlib.sha256(identifier + node.to_bytes(4, "big") + rest).digest()

    leaves = 1 << height
    nodes = [bytes(32)] * (2 * leaves)
    for leaf in range(leaves):
        one_time = pyhsslms.LmotsPrivateKey(identifier, leaf.to_bytes(4, "big"), seed, _W4).publicKey()
        nodes[leaves + leaf] = node_hash(leaves + leaf, b"\x82\x82" + one_time.K)
    for node in range(leaves - 1, 0, -1):
        nodes[node] = node_hash(node, b"\x83\x83" + nodes[2 * node] + nodes[2 * node + 1])
    return nodes


def _lms_type(height: int) -> bytes:
    return (4 + height // 5).to_bytes(4, "big")


def _public(identifier: bytes, root: bytes, height: int) -> bytes:
    return (1).to_bytes(4, "big") + _lms_type(height) + _W4 + identifier + root


def read_secret(path: Path) -> dict[str, Any]:
    """`read_json`, of a file that nobody else may read."""
    data = read_json(path)
    mode = path.stat().st_mode & 0o777
    if os.name == "posix" and mode & 0o077 and "public" not in data:
        raise KeyFileError(f"{path} is open to others (mode {mode:o}); if nobody has read it, chmod 600 {path}")
    return data


def read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise KeyFileError(f"{path} is damaged: not JSON") from None
    if not isinstance(data, dict):
        raise KeyFileError(f"{path} is damaged: not a JSON object")
    return data


def create(path: Path, text: str, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; a signing key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, text: str) -> None:
    """Durable, and at every instant either the old or the new content."""
    temporary = path.with_name(path.name + ".new")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}; nothing was signed") from None


def sync_directory(directory: Path) -> None:
    with suppress(PermissionError):  # Windows does not open directories; its rename is journalled
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _lock(path: Path) -> Iterator[IO[bytes]]:
    """Hold an exclusive lock between processes; the operating system frees it if this one dies."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise KeyFileError(f"cannot open {path}: {error.strerror}") from None
    with os.fdopen(handle, "r+b", buffering=0) as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            return
        while True:
            file.seek(_LOCKED_BYTE)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                break
            except OSError:  # still held after the ten seconds LK_LOCK waits
                continue
        try:
            yield file
        finally:
            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
