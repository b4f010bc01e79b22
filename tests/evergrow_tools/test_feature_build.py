"""Features from source to files: what is built, and the sentence for every source that cannot be."""

import hashlib
import tomllib
from pathlib import Path

import cbor2
import pytest

from evergrow_protocol import feature
from evergrow_protocol.suit_envelope import Envelope
from evergrow_protocol.suit_manifest import Manifest
from evergrow_tools import feature_build, feature_files, suit_build
from evergrow_tools.feature_files import Built, FeatureError

FEATURES = Path(feature_build.__file__).parents[2] / "firmware" / "features"

UNLOCK = """
[feature]
id = 1002
name = "spin-1400"
version = "1.0.0"
kind = "unlock"
prefix = "evergrow"
sequence = 1
[target]
vendor = "evergrow.example"
class = "washer"
registry_version = 1
[unlock]
drum_rpm = "1400 rpm"
"""
STEP = """
[programme]
[[programme.step]]
phase = "wash"
hold_s = 10
limit_s = 20
"""


def source(tmp_path: Path, text: str) -> Path:
    (tmp_path / "feature.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_vendor_and_class_ids_are_those_of_the_draft() -> None:
    assert suit_build.vendor_id("arm.com").hex() == "fa6b4a53d5ad5fdfbe9de663e4d41ffe"
    assert len(suit_build.class_id("evergrow.example", "washer")) == 16


def test_every_feature_of_the_repository_builds() -> None:
    for directory in FEATURES.iterdir():
        built = feature_build.build(directory)
        table = tomllib.loads((directory / "feature.toml").read_text(encoding="utf-8"))
        assert built.name == directory.name == table["feature"]["name"]


def test_an_unlock_travels_inside_of_its_envelope() -> None:
    built = feature_build.build(FEATURES / "spin-1400")
    assert built.payloads == {}
    body = feature.parse(Envelope(built.envelope).payloads["#feature"])
    assert (body.kind, body.id, body.unlocks) == (feature.UNLOCK, 1002, {4: 1400})
    assert Manifest(Envelope(built.envelope)).components == ((b"evergrow", b"spin-1400"),)


def test_a_programme_travels_beside_its_envelope() -> None:
    built = feature_build.build(FEATURES / "allergen-care")
    assert list(built.payloads) == [1] and Envelope(built.envelope).payloads == {}
    body = feature.parse(built.payloads[1])
    assert (body.kind, body.id, body.class_id) == (feature.PROGRAMME, 1001, 1)


def test_an_independent_cbor_library_reads_the_envelope_as_the_draft_has_it() -> None:
    tagged = cbor2.loads(feature_build.build(FEATURES / "spin-1400").envelope)
    members = tagged.value
    (digest,) = cbor2.loads(members[2])
    assert tagged.tag == 107 and sorted(members, key=str) == ["#feature", 2, 3]
    assert cbor2.loads(digest) == [-16, hashlib.sha256(cbor2.dumps(members[3])).digest()]
    manifest = cbor2.loads(members[3])
    common = cbor2.loads(manifest[3])
    body = members["#feature"]
    image = cbor2.dumps([-16, hashlib.sha256(body).digest()])
    vendor, klass = suit_build.vendor_id("evergrow.example"), suit_build.class_id("evergrow.example", "washer")
    assert (manifest[1], manifest[2], common[2]) == (1, 1, [[b"evergrow", b"spin-1400"]])
    assert cbor2.loads(common[4]) == [20, {1: vendor, 2: klass, 3: image, 14: len(body)}, 1, 15, 2, 15]
    assert cbor2.loads(manifest[20]) == [20, {21: "#feature"}, 21, 2, 3, 15]
    assert cbor2.loads(body) == {0: 1, 1: 1002, 2: "spin-1400", 3: "1.0.0", 4: {4: 1400}, 6: [1, 1], 12: 1}


def test_a_build_is_reproducible() -> None:
    assert feature_build.build(FEATURES / "allergen-care") == feature_build.build(FEATURES / "allergen-care")


@pytest.mark.parametrize(
    ("line", "needed"), [("", False), ('entitlement = "none"\n', False), ('entitlement = "required"\n', True)]
)
def test_a_feature_says_whether_it_needs_an_entitlement(tmp_path: Path, line: str, needed: bool) -> None:
    """EG-ENT-005"""
    built = feature_build.build(source(tmp_path, UNLOCK.replace("sequence = 1\n", "sequence = 1\n" + line)))
    assert feature.parse(Envelope(built.envelope).payloads["#feature"]).entitlement == needed


def test_an_entitlement_is_required_or_not(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="neither 'required' nor"):
        feature_build.build(source(tmp_path, UNLOCK.replace("sequence = 1\n", 'sequence = 1\nentitlement = "soon"\n')))


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        ("seconds = 3600", (3600, 0, False, False)),
        ("cycles = 3\nconsent = true", (0, 3, True, False)),
        ("quiet_hours = true\nconsent = false", (0, 0, False, True)),
    ],
)
def test_how_it_is_tried_and_what_it_waits_for(tmp_path: Path, table: str, fields: tuple[object, ...]) -> None:
    """EG-FEAT-019, EG-FEAT-020, EG-FEAT-021"""
    built = feature_build.build(source(tmp_path, f"{UNLOCK}[trial]\n{table}\n"))
    body = feature.parse(Envelope(built.envelope).payloads["#feature"])
    assert (body.trial_s, body.trial_cycles, body.consent, body.quiet) == fields


@pytest.mark.parametrize("table", ["trial = 7", "[trial]\nseconds = true", "[trial]\nhours = 1", "[trial]\nseconds = -1"])
def test_a_trial_that_makes_no_sense_is_not_built(tmp_path: Path, table: str) -> None:
    text = f"{table}\n{UNLOCK}" if "=" in table.splitlines()[0] else f"{UNLOCK}{table}\n"
    with pytest.raises(FeatureError):
        feature_build.build(source(tmp_path, text))


def test_a_programme_takes_the_features_id_unless_it_has_its_own(tmp_path: Path) -> None:
    text = UNLOCK.split("[unlock]")[0].replace('"unlock"', '"programme"')
    assert feature.parse(feature_build.build(source(tmp_path, text + STEP)).payloads[1]).programme is not None
    own = text + STEP.replace("[programme]", "[programme]\nid = 7", 1)
    with pytest.raises(FeatureError, match="id 7 is below 1000"):
        feature_build.build(source(tmp_path, own))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("id = 1002", "id = 7", "7 is not in 1000..65535"),
        ('"spin-1400"', '"Spin 1400"', "must be 1..32 of a-z"),
        ('"spin-1400"', '"' + "a" * 33 + '"', "must be 1..32 of a-z"),
        ('"1.0.0"', '""', "text of 0 characters"),
        ("sequence = 1", "sequence = -1", "sequence -1 is outside"),
        ("sequence = 1", "sequence = 1.5", "sequence is missing or not a whole number"),
        ("sequence = 1", "", "sequence is missing"),
        ('"unlock"', '"magic"', "kind 'magic' is not one of"),
        ('"unlock"', '"programme"', "has a table"),
        ('"washer"', '"toaster"', "toaster"),
        ("registry_version = 1", "registry_version = 99", "registry_version 99 is outside"),
        ("drum_rpm", "warp", "warp"),
        ('"1400 rpm"', "99999", "outside 0..2000 rpm"),
        ('"1400 rpm"', '"fast"', "fast"),
        ("[unlock]", "[unlocks]", "unknown table"),
        ("[target]", "[target]\ncolour = 1", "unknown key 'colour'"),
        ("[feature]", "[feature", "is not TOML"),
    ],
)
def test_a_source_that_cannot_be_built_says_why(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(FeatureError, match=sentence) as caught:
        feature_build.build(source(tmp_path, UNLOCK.replace(old, new, 1)))
    assert "feature.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_programme_no_runner_would_take_is_not_built(tmp_path: Path) -> None:
    text = UNLOCK.split("[unlock]")[0].replace('"unlock"', '"programme"') + STEP
    for old, new in (("limit_s = 20", "limit_s = 5"), ('phase = "wash"', 'phase = "fly"'), ("hold_s = 10", "hold_ms = 10")):
        with pytest.raises(FeatureError):
            feature_build.build(source(tmp_path, text.replace(old, new)))


def test_a_folder_without_a_source_says_so(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="cannot read"):
        feature_build.build(tmp_path / "absent")


def test_files_round_trip_and_stale_payloads_go(tmp_path: Path) -> None:
    path = tmp_path / "build" / "a.suit"
    first = Built("a", b"envelope", {1: b"one", 2: b"two"})
    assert [file.name for file in feature_files.write(first, path)] == ["a.suit", "a.suit.1", "a.suit.2"]
    assert feature_files.read(path) == first
    second = Built("a", b"envelope 2", {1: b"other"})
    feature_files.write(second, path)
    assert feature_files.read(path) == second
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.suit", "a.suit.1"]


def test_a_built_feature_that_is_absent_says_so(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="cannot read"):
        feature_files.read(tmp_path / "absent.suit")
