"""Every template builds as it is, for every class of appliance."""

from pathlib import Path

import pytest

from evergrow_protocol import feature, registry
from evergrow_protocol.suit_envelope import Envelope
from evergrow_tools import feature_build, feature_new
from evergrow_tools.feature_files import FeatureError

CLASSES = [entry.name for entry in registry.load().classes]


@pytest.mark.parametrize("klass", CLASSES)
@pytest.mark.parametrize("kind", feature_new.KINDS)
def test_a_new_feature_builds(tmp_path: Path, kind: str, klass: str) -> None:
    feature_new.create(tmp_path / "quiet-night", kind, klass, "northwash", "evergrow.example", 1004)
    built = feature_build.build(tmp_path / "quiet-night")
    body = feature.parse(built.payloads.get(1) or bytes(Envelope(built.envelope).payloads["#feature"]))
    assert (body.id, body.name, body.kind) == (1004, "quiet-night", feature_new.KINDS.index(kind) + 1)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="is there already"):
        (tmp_path / "quiet").mkdir()
        feature_new.create(tmp_path / "quiet", "code", "washer", "northwash", "evergrow.example", 1004)


@pytest.mark.parametrize(("name", "kind", "what"), [("Quiet", "code", "'Quiet' must be"), ("quiet", "magic", "one of unlock")])
def test_what_cannot_be_is_named(tmp_path: Path, name: str, kind: str, what: str) -> None:
    with pytest.raises(FeatureError, match=what):
        feature_new.create(tmp_path / name, kind, "washer", "northwash", "evergrow.example", 1004)
