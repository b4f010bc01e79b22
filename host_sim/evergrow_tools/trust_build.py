"""Grants and revocation lists as the holder of the root key makes them (SPEC section 12).

Each is one file, as a device takes it. The root key is a signing key like any other, made with `evergrow key new --root`.
"""

from collections.abc import Sequence
from typing import Any

from evergrow_protocol import cose, grant
from evergrow_protocol.cbor import Tag, dumps
from evergrow_tools.keys import PublicKey, SigningKey


def build_grant(
    root: SigningKey,
    publisher: PublicKey,
    sequence: int,
    signals: Sequence[int],
    actuators: Sequence[int],
    meters: Sequence[int],
    flash_bytes: int,
    heap_bytes: int,
    valid: tuple[int | None, int | None] = (None, None),
) -> bytes:
    """A signed grant; `valid`: UTC seconds, from and to. Raises ProtocolError for what no device would take, KeyFileError."""
    fields: dict[int, Any] = {
        0: grant.GRANT,
        1: publisher.publisher,
        2: sequence,
        3: publisher.kid,
        4: publisher.alg,
        5: publisher.public,
        6: publisher.prefix.encode(),
        7: sorted(signals),
        8: sorted(actuators),
        9: sorted(meters),
        10: flash_bytes,
        11: heap_bytes,
    }
    fields |= {12 + i: moment for i, moment in enumerate(valid) if moment is not None}
    payload = dumps(fields)
    grant.parse_grant(payload)
    return _sign(root, payload)


def build_revocations(
    root: SigningKey,
    sequence: int,
    kids: Sequence[bytes],
    publishers: Sequence[int],
    features: Sequence[tuple[int, int, int, int]],
) -> bytes:
    """A signed list, which replaces the one before; rows of `features`: (publisher, feature, first, last). Errors as above."""
    rows = [list(row) for row in features]
    payload = dumps({0: grant.REVOCATIONS, 1: sequence, 2: list(kids), 3: list(publishers), 4: rows})
    grant.parse_revocations(payload)
    return _sign(root, payload)


def payload_of(signed: bytes) -> bytes:
    """What is inside, not verified. Raises ProtocolError."""
    return bytes(cose.Sign1(signed, True).payload)


def _sign(root: SigningKey, payload: bytes) -> bytes:
    protected = dumps({1: root.public.alg, 4: root.public.kid})
    signature = root.sign(dumps(["Signature1", protected, b"", payload]))
    return dumps(Tag(cose.TAG_SIGN1, [protected, {}, payload, signature]))
