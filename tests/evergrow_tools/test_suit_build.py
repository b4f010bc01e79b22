"""Manifests with several forms and patches: what is built is what devices of each kind take."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrow_protocol import suit
from evergrow_protocol.errors import BAD_DIGEST, INVALID_STATE, ProtocolError
from evergrow_protocol.suit_envelope import Envelope
from evergrow_protocol.suit_manifest import INSTALL, UNINSTALL, Manifest
from evergrow_tools import feature_build, feature_files, keys, patch, signing, suit_build, suit_ways
from evergrow_tools.feature_files import Built, FeatureError
from evergrow_tools.suit_build import Image, Patch

COMPONENT = (b"acme", b"sense")
VENDOR, CLASS = bytes(range(16)), bytes(range(16, 32))
BYTE_CODE, SOURCE = b"byte code " * 30, b"def source(): pass\n" * 30
OLD_BYTE_CODE, OLD_SOURCE = BYTE_CODE.replace(b"de", b"od"), SOURCE + b"# end"
FEATURES = Path(feature_build.__file__).parents[2] / "firmware" / "features"


def patched(old: bytes, new: bytes, number: int) -> Patch:
    return Patch(old, patch.make(old, new), number)


IMAGES = (
    Image(BYTE_CODE, "evergrow:1", 6, (patched(OLD_BYTE_CODE, BYTE_CODE, 3),)),
    Image(SOURCE, "evergrow:2", 0, (patched(OLD_SOURCE, SOURCE, 4),)),
)


def manifest(*images: Image) -> Manifest:
    encoded = suit_build.build_manifest(COMPONENT, images, 1, VENDOR, CLASS)
    return Manifest(Envelope(suit_build.build_envelope(encoded, {})))


def fetched(parsed: Manifest, slots: tuple[int, ...], installed: bytes = b"", broken: tuple[str, ...] = ()) -> list[str]:
    """What a device fetches that loads these slots, has this content, and finds these URIs to bring something else."""
    seen: list[str] = []
    content = suit_build.encode_digest(installed)[-32:]
    steps = suit.Processor(parsed, VENDOR, CLASS).run(INSTALL)
    answer: bool | None = None
    while True:
        try:
            action = steps.send(answer)
        except StopIteration:
            return seen
        answer = None
        if action.kind == suit.COMPONENT_SLOT:
            answer = action.value in slots
        elif action.kind == suit.IMAGE_MATCH:
            answer = bytes(action.digest or b"") == content
        elif action.kind == suit.FETCH:
            assert action.uri is not None and action.digest is not None
            seen.append(action.uri)
            content = b"" if action.uri in broken else bytes(action.digest)


def uri(image: Image) -> str:
    return image.patches[0].uri


def test_each_interpreter_takes_the_form_that_it_can_load() -> None:
    """EG-SUIT-006"""
    parsed = manifest(*IMAGES)
    assert fetched(parsed, slots=(6, 0)) == ["evergrow:1"]
    assert fetched(parsed, slots=(0,)) == ["evergrow:2"]
    assert fetched(parsed, slots=(7, 0)) == ["evergrow:2"]  # byte code of another version
    with pytest.raises(ProtocolError) as caught:
        fetched(parsed, slots=(7,))
    assert caught.value.code == INVALID_STATE


def test_what_has_the_old_content_fetches_a_patch_and_all_else_the_whole() -> None:
    """EG-SUIT-007"""
    parsed = manifest(*IMAGES)
    assert fetched(parsed, (6, 0), OLD_BYTE_CODE) == [uri(IMAGES[0])]
    assert fetched(parsed, (0,), OLD_SOURCE) == [uri(IMAGES[1])]
    assert fetched(parsed, (6, 0), OLD_SOURCE) == ["evergrow:1"]
    assert fetched(parsed, (0,), OLD_BYTE_CODE) == ["evergrow:2"]
    assert fetched(parsed, (0,), b"something else") == ["evergrow:2"]


def test_a_patch_that_fails_is_followed_by_the_whole() -> None:
    """EG-SUIT-007"""
    assert fetched(manifest(*IMAGES), (6, 0), OLD_BYTE_CODE, (uri(IMAGES[0]),)) == [uri(IMAGES[0]), "evergrow:1"]


def test_four_ways_stay_within_the_commands_that_a_device_runs() -> None:
    """EG-SUIT-002"""
    every = (*(uri(image) for image in IMAGES), "evergrow:1", "evergrow:2")
    with pytest.raises(ProtocolError) as caught:
        fetched(manifest(*IMAGES), (6, 0), OLD_BYTE_CODE, every)
    assert caught.value.code == INVALID_STATE


def test_all_ways_of_a_manifest_are_found() -> None:
    found = suit_ways.ways(manifest(*IMAGES))
    assert [(way.number, way.slot, way.patch > 0, way.size) for way in found] == [
        (3, 6, True, len(BYTE_CODE)),
        (1, 6, False, len(BYTE_CODE)),
        (4, 0, True, len(SOURCE)),
        (2, 0, False, len(SOURCE)),
    ]
    assert [way.number for way in suit_ways.ways(manifest(Image(SOURCE, "#feature")))] == [0]


def test_every_manifest_says_how_it_is_removed() -> None:
    """EG-SUIT-005"""
    for images in (IMAGES, (Image(SOURCE, "#feature"),)):
        steps = suit.Processor(manifest(*images), VENDOR, CLASS).run(UNINSTALL)
        assert [action.kind for action in steps] == [suit.UNLINK]


@given(old=st.binary(max_size=2000), edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 60), st.binary(max_size=60))))
def test_a_patch_makes_exactly_the_new_content(old: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    """EG-SUIT-007"""
    new = old
    for at, cut, insert in edits:
        new = new[:at] + insert + new[at + cut :]
    data = patch.make(old, new)
    assert patch.apply(old, data, len(new)) == new
    assert len(data) <= len(new) + 16


def example(text: str) -> bytes:
    """The bytes of the example in SPEC.md that begins with this."""
    spec = (Path(feature_build.__file__).parents[2] / "protocol" / "SPEC.md").read_text()
    lines = spec[spec.index(text) :].partition("\n\n")[2].partition("\n\n")[0].splitlines()
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines))


def test_the_specifications_example_is_what_is_built() -> None:
    """EG-SUIT-001, EG-SUIT-005, EG-SUIT-007"""
    encoded = example("Example: a manifest, 255 bytes")
    vendor, klass = suit_build.vendor_id("evergrow.example"), suit_build.class_id("evergrow.example", "washer")
    image = Image(b"new", "evergrow:1", patches=(Patch(b"old", bytes(9), 2),))
    assert encoded == suit_build.build_manifest((b"acme", b"f"), [image], 2, vendor, klass) and len(encoded) == 255
    encoded = example("And one, 72 bytes")
    assert encoded == suit_build.build_removal((b"acme", b"f"), 3, vendor, klass) and len(encoded) == 72


# -- the publisher's way to it


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> keys.SigningKey:
    return keys.new_key(tmp_path_factory.mktemp("keys"), "northwash", 2, "northwash", height=5)


def source(folder: Path, **changes: str) -> Path:
    text = (FEATURES / "allergen-care" / "feature.toml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    folder.mkdir()
    (folder / "feature.toml").write_text(text)
    return folder


@pytest.fixture
def releases(tmp_path: Path, partner: keys.SigningKey) -> tuple[Built, Built]:
    """allergen-care 1, and 2 with a patch on it, both signed."""
    first = feature_build.build(FEATURES / "allergen-care")
    second = feature_build.build(
        source(tmp_path / "two", **{"sequence = 1": "sequence = 2", "nominal_s = ": "nominal_s = 1"}), older=first
    )
    return tuple(replace(one, envelope=signing.sign_envelope(one.envelope, partner)) for one in (first, second))  # type: ignore[return-value]


def test_a_release_brings_a_patch_on_the_one_before(releases: tuple[Built, Built], partner: keys.SigningKey) -> None:
    first, second = releases
    assert set(second.payloads) == {1, 2} and len(second.payloads[2]) < len(second.payloads[1]) // 4
    assert patch.apply(first.payloads[1], second.payloads[2], len(second.payloads[1])) == second.payloads[1]
    verified = signing.verify_envelope(second.envelope, [partner.public])
    signing.check_content(second, verified, first)
    signing.check_content(second, verified)


@pytest.mark.parametrize("number", [1, 2])
def test_a_tampered_payload_of_any_way_is_refused(releases: tuple[Built, Built], partner: keys.SigningKey, number: int) -> None:
    """EG-FEAT-004"""
    first, second = releases
    verified = signing.verify_envelope(second.envelope, [partner.public])
    data = bytearray(second.payloads[number])
    data[len(data) // 2] ^= 1
    for bad in (bytes(data), bytes(data[:-1])):
        with pytest.raises(ProtocolError) as caught:
            signing.check_content(replace(second, payloads={**second.payloads, number: bad}), verified, first)
        assert caught.value.code == BAD_DIGEST


def test_a_patch_needs_an_older_version_of_the_same_feature(tmp_path: Path) -> None:
    spin = feature_build.build(FEATURES / "spin-1400")
    same = feature_build.build(FEATURES / "allergen-care")
    newer = source(tmp_path / "two", **{"sequence = 1": "sequence = 2"})
    for older in (spin, feature_build.build(newer)):
        with pytest.raises(FeatureError, match="no older version"):
            feature_build.build(FEATURES / "allergen-care", older=older)
    with pytest.raises(FeatureError, match="lost its payload"):
        feature_build.build(newer, older=replace(same, payloads={}))
    assert set(feature_build.build(newer, older=same).payloads) == {1}  # the body is the same: nothing to patch


def test_the_files_of_a_release_with_a_patch(releases: tuple[Built, Built], tmp_path: Path) -> None:
    path = tmp_path / "a.suit"
    assert [file.name for file in feature_files.write(releases[1], path)] == ["a.suit", "a.suit.1", "a.suit.2"]
    assert feature_files.read(path).payloads == releases[1].payloads
