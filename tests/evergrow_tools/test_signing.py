"""What the publisher's tools sign is what a device accepts, and nothing near it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyhsslms
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrow_protocol import cose
from evergrow_protocol.cbor import Tag, dumps, loads
from evergrow_protocol.errors import BAD_DIGEST, NOT_AUTHORISED, ProtocolError
from evergrow_protocol.suit_envelope import Envelope
from evergrow_tools import feature_bad, feature_build, keys, signing, suit_build
from evergrow_tools.feature_files import Built

FEATURES = Path(feature_build.__file__).parents[2] / "firmware" / "features"


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> keys.SigningKey:
    return keys.new_key(tmp_path_factory.mktemp("keys"), "northwash", 2, "northwash", height=5)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> keys.SigningKey:
    return keys.new_key(tmp_path_factory.mktemp("keys"), "maker", 1, "evergrow", height=5)


@pytest.fixture(scope="module")
def allergen_care(partner: keys.SigningKey) -> Built:
    built = feature_build.build(FEATURES / "allergen-care")
    return replace(built, envelope=signing.sign_envelope(built.envelope, partner))


@pytest.fixture(scope="module")
def spin_1400(maker: keys.SigningKey) -> Built:
    built = feature_build.build(FEATURES / "spin-1400")
    return replace(built, envelope=signing.sign_envelope(built.envelope, maker))


def judge(built: Built, *trusted: keys.SigningKey) -> signing.Verified:
    """Accept a feature whole, as a device does, or raise the refusal."""
    verified = signing.verify_envelope(built.envelope, [key.public for key in trusted])
    signing.check_content(built, verified)
    return verified


def refusal(built: Built, *trusted: keys.SigningKey) -> int:
    with pytest.raises(ProtocolError) as caught:
        judge(built, *trusted)
    return caught.value.code


def test_signed_features_are_accepted(
    allergen_care: Built, spin_1400: Built, maker: keys.SigningKey, partner: keys.SigningKey
) -> None:
    assert judge(allergen_care, maker, partner).key.publisher == 2
    assert judge(spin_1400, maker, partner).key.publisher == 1


def test_the_signature_is_a_cose_sign1_that_an_independent_hss_implementation_verifies(
    spin_1400: Built, maker: keys.SigningKey
) -> None:
    (block,) = Envelope(spin_1400.envelope).blocks
    tagged: Any = loads(bytes(block))
    protected, unprotected, payload, signature = tagged.value
    assert (tagged.number, unprotected, payload) == (18, {}, None)
    assert loads(protected) == {1: -46, 4: maker.public.kid}
    digest = dumps([-16, bytes(Envelope(spin_1400.envelope).digest)])
    structure = dumps(["Signature1", protected, b"", digest])
    assert pyhsslms.HssPublicKey.deserialize(maker.public.public).verify(structure, signature)


def test_an_unsigned_feature_is_refused(maker: keys.SigningKey) -> None:
    """EG-FEAT-003"""
    assert refusal(feature_build.build(FEATURES / "spin-1400"), maker) == NOT_AUTHORISED


def test_a_feature_by_a_stranger_is_refused(maker: keys.SigningKey, partner: keys.SigningKey) -> None:
    """EG-FEAT-003"""
    forged = feature_bad.signed_by_a_stranger(feature_build.build(FEATURES / "spin-1400"), "evergrow")
    assert refusal(forged, maker, partner) == NOT_AUTHORISED


@pytest.mark.parametrize("tamper", [feature_bad.tampered_manifest, feature_bad.tampered_payload])
def test_a_tampered_feature_is_refused(
    allergen_care: Built, spin_1400: Built, maker: keys.SigningKey, partner: keys.SigningKey, tamper: object
) -> None:
    """EG-FEAT-004"""
    assert callable(tamper)
    for built in (allergen_care, spin_1400):
        tampered = tamper(built)
        assert tampered != built
        assert refusal(tampered, maker, partner) == BAD_DIGEST


def test_a_missing_payload_is_refused(allergen_care: Built, partner: keys.SigningKey) -> None:
    assert refusal(replace(allergen_care, payloads={}), partner) == BAD_DIGEST


def test_a_publisher_cannot_sign_for_a_foreign_prefix(maker: keys.SigningKey) -> None:
    """EG-FEAT-003"""
    before = maker.remaining()
    with pytest.raises(ProtocolError) as caught:
        signing.sign_envelope(feature_build.build(FEATURES / "allergen-care").envelope, maker)
    assert caught.value.code == NOT_AUTHORISED and maker.remaining() == before


def test_a_tampered_envelope_cannot_be_signed_again(spin_1400: Built, maker: keys.SigningKey) -> None:
    before = maker.remaining()
    with pytest.raises(ProtocolError) as caught:
        signing.sign_envelope(feature_bad.tampered_manifest(spin_1400).envelope, maker)
    assert caught.value.code == BAD_DIGEST and maker.remaining() == before


def test_a_second_signature_stands_beside_the_first(spin_1400: Built, maker: keys.SigningKey) -> None:
    other = dumps(Tag(18, [dumps({1: -19, 4: b"cloud"}), {}, None, bytes(64)]))
    both = replace(spin_1400, envelope=suit_build.add_block(spin_1400.envelope, other))
    assert len(Envelope(both.envelope).blocks) == 2
    assert judge(both, maker).key.publisher == 1


def test_every_flipped_byte_of_a_signed_feature_is_refused(spin_1400: Built, maker: keys.SigningKey) -> None:
    """EG-FEAT-002, EG-FEAT-003, EG-FEAT-004"""
    for at in range(len(spin_1400.envelope)):
        flipped = bytearray(spin_1400.envelope)
        flipped[at] ^= 1 << at % 8
        assert refusal(replace(spin_1400, envelope=bytes(flipped)), maker)


@given(data=st.data())
def test_any_mutation_of_a_signed_feature_is_refused_by_code(
    spin_1400: Built, maker: keys.SigningKey, data: st.DataObject
) -> None:
    envelope = spin_1400.envelope
    start = data.draw(st.integers(0, len(envelope)))
    end = data.draw(st.integers(start, min(start + 40, len(envelope))))
    mutated = envelope[:start] + data.draw(st.binary(max_size=40)) + envelope[end:]
    if mutated in (envelope, envelope[2:]):  # the tag may be left out
        return
    assert refusal(replace(spin_1400, envelope=mutated), maker)


@given(noise=st.binary(max_size=300))
def test_noise_is_refused_by_code(noise: bytes, maker: keys.SigningKey) -> None:
    assert refusal(Built("noise", noise, {}), maker)


def test_the_key_ring_entry_of_a_key(maker: keys.SigningKey) -> None:
    key = signing.cose_key(maker.public)
    assert (key.alg, key.publisher, key.prefix) == (cose.ALG_HSS_LMS, 1, b"evergrow")
