"""What the cloud reads in a SUIT envelope (draft-ietf-suit-manifest): which version of what it is. It verifies nothing."""

import cbor2

_TAG = b"\xd8\x6b"  # 107, which may be left out
_MANIFEST, _SEQUENCE, _COMMON, _COMPONENTS = 3, 2, 3, 2


def identify(envelope: bytes) -> tuple[int, frozenset[tuple[bytes, ...]]]:
    """(sequence number, component ids). (-1, none) for what is no envelope: whether it is one is the device's to say."""
    try:
        outer = cbor2.loads(envelope.removeprefix(_TAG))
        manifest = cbor2.loads(outer[_MANIFEST])
        components = cbor2.loads(manifest[_COMMON])[_COMPONENTS]
        return int(manifest[_SEQUENCE]), frozenset(tuple(bytes(part) for part in component) for component in components)
    except (cbor2.CBORDecodeError, LookupError, TypeError, ValueError, RecursionError):
        return -1, frozenset()


def integrated(envelope: bytes) -> list[bytes]:
    """The payloads inside an envelope; none for what is no envelope."""
    try:
        outer = cbor2.loads(envelope.removeprefix(_TAG))
        return [value for key, value in outer.items() if isinstance(key, str) and isinstance(value, bytes)]
    except Exception:  # cbor2 raises much for what is no CBOR
        return []
