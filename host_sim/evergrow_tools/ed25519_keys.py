"""Ed25519 keys on disk, for a second signature that clouds check and devices pass over (EG-SUIT-008).

NAME.pub     as of every key, with algorithm Ed25519
NAME.key     the secret seed (JSON, mode 0600)
"""

import json
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from evergrow_tools.keys import (
    ALG_ED25519,
    KeyFileError,
    PublicKey,
    create,
    key_id,
    load_public,
    make_directory,
    new_paths,
    read_secret,
    sync_directory,
)

_FORMAT = 1
_ALGORITHM = "Ed25519"


class Ed25519Key:
    """The secret half."""

    def __init__(self, path: Path, public: PublicKey, secret: Ed25519PrivateKey) -> None:
        self.path = path
        self.public = public
        self._secret = secret

    def __repr__(self) -> str:
        return f"<Ed25519Key {self.path.name} kid={self.public.kid.hex()}>"

    def sign(self, message: bytes) -> bytes:
        """-> 64 bytes."""
        return self._secret.sign(message)


def new_key(directory: Path, name: str, publisher: int, prefix: str) -> Ed25519Key:
    """Generate a key and write its two files. Raises KeyFileError, also when one of them exists already."""
    paths = new_paths(directory, name, publisher, prefix, (".pub", ".key"))
    secret = Ed25519PrivateKey.generate()
    public = _public_bytes(secret)
    key = {"format": _FORMAT, "kid": key_id(public).hex(), "alg": _ALGORITHM, "seed": secret.private_bytes_raw().hex()}
    make_directory(directory)
    create(paths[1], json.dumps(key), 0o600)
    create(paths[0], PublicKey(key_id(public), public, publisher, prefix, ALG_ED25519).to_json() + "\n", 0o644)
    sync_directory(directory)
    return load(paths[1])


def load(path: Path) -> Ed25519Key:
    """Read NAME.key and the NAME.pub beside it. Raises KeyFileError."""
    data = read_secret(path)
    public = load_public(path.with_suffix(".pub"))
    try:
        secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(data["seed"]))
        if data["format"] != _FORMAT or data["alg"] != _ALGORITHM or _public_bytes(secret) != public.public:
            raise ValueError("unknown format, or another public key beside it")
    except (KeyError, TypeError, ValueError):
        raise KeyFileError(f"{path} is not an Ed25519 signing key: make one with `evergrow key new --ed25519`") from None
    return Ed25519Key(path, public, secret)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 64-byte signature is good."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_bytes(secret: Ed25519PrivateKey) -> bytes:
    return secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
