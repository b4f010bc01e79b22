"""Does the fuzzing see anything? Bugs that parsers have, planted on purpose: each is found among what every test run tries."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import corpus
import targets

from evergrow_agent import delta
from evergrow_protocol import lms, strict, suit, suit_manifest
from evergrow_protocol.cbor import Decoder, dumps
from evergrow_sim.publisher import manifest


def found(target: str, more: tuple[bytes, ...] = ()) -> bool:
    """Whether an input of the test run, or one of `more`, is not just refused by code at a bounded cost."""
    for data in (*targets.mutants(target, targets.seeds(target) + corpus.load(target), 300), *more):
        try:
            targets.check_cost(target, data)
        except Exception:
            return True
    return False


def test_a_signature_that_is_sliced_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(public: bytes, signature: bytes) -> list[tuple[memoryview, memoryview]]:
        return [(memoryview(public)[4:], memoryview(signature)[4:])]

    monkeypatch.setattr(lms, "_split", unchecked)
    assert found("lms")


def test_a_text_that_is_decoded_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "read_text", lambda self: str(bytes(Decoder.read_bytes(self)), "ascii"))
    assert not found("patch")  # which reads no text
    monkeypatch.setattr(Decoder, "read_text", lambda self: str(bytes(self.read_raw())[1:], "utf-8"))
    assert found("feature")


def test_commands_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suit, "MAX_COMMANDS", 1 << 30)
    loop = dumps([12, 0] * 40)
    for _ in range(2):
        loop = dumps([12, True, 32, loop] * 4)  # once for each component
    components = [[b"acme", bytes((i,))] for i in range(4)]
    assert found("manifest", (manifest(None, {suit_manifest.INSTALL: [32, loop]}, components),))


def test_items_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(buf: Any, items: int = 1 << 30) -> Decoder:
        return Decoder(buf, items=1 << 30, depth=1 << 30, deterministic=True)

    monkeypatch.setattr("evergrow_protocol.suit_envelope.open_strict", generous)
    monkeypatch.setattr(strict, "open_strict", generous)
    assert found("envelope", (b"\xd8\x6b\xa1\x18\x63" + b"\x81" * 900 + b"\x00",)) or found("manifest")


def test_a_patch_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    original = delta.apply

    def endless(read_old: Any, old_size: int, read_patch: Any, patch_size: int, size: int) -> Any:
        return original(read_old, old_size, read_patch, patch_size, 1 << 30)

    monkeypatch.setattr(delta, "apply", endless)
    assert found("patch")
