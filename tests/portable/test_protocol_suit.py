"""SUIT: the draft's own examples, what a manifest can make the device do, and everything it cannot."""

import binascii
from hashlib import sha256

from evergrow_protocol import suit, suit_envelope, suit_manifest
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.errors import (
    BAD_DIGEST,
    BAD_TYPE,
    INVALID_STATE,
    MALFORMED,
    NOT_AUTHORISED,
    NOT_DETERMINISTIC,
    OUT_OF_RANGE,
    TOO_LARGE,
    UNSUPPORTED,
    ProtocolError,
)
from evergrow_protocol.suit_manifest import INSTALL, INVOKE, LOAD, PAYLOAD_FETCH, SECTIONS, VALIDATE
from evergrow_sim.publisher import Signer, manifest
from support import raises

# draft-ietf-suit-manifest appendix B, examples 0 to 5 (signed with P-256, so that only form, digest and commands count here)
EXAMPLES = (
    (
        "d86ba2025873825824822f58206658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af584ad28443a10128a0f6584086"
        "79a7bde316a9c8a7dd701f3f153f011368749fce6c12e4e2c9f704d3bd104fb77559d2d9723ac9ce550dc69e7bf8cc3a1a460dc6f2b851780bd2"
        "3cf6669c29035871a50101020003585fa202818141000458568614a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf42"
        "9b2d51f2ab45035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0010f020f074382030f"
        "0943821702"
    ),
    (
        "d86ba2025873825824822f58201f2e7acca0dc2786f2fe4eb947f50873a6a3cfaa98866c5b02e621f42074daf2584ad28443a10128a0f6584099"
        "149241cc392690aa15590cc0d97b8bf5084b3efbf2ca82f33179eed6e7370e44517bdd75f5bab97773fca4601e1ada8a5068619de0c648c1208e"
        "5a16141d21035894a50101020103585fa202818141000458568614a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf42"
        "9b2d51f2ab45035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0010f020f074382030f"
        "1458258614a115781b687474703a2f2f6578616d706c652e636f6d2f66696c652e62696e1502030f"
    ),
    (
        "d86ba4025873825824822f58206a5197ed8f9dccf733d1c89a359441708e070b4c6dcb9a1c2c82c6165f609b90584ad28443a10126a0f6584007"
        "3d8d80ca67d61cdf04d813c748b2de98fe786fc67b764431307c8dbcbe91dc6f762c2c4d7bb998ff9ead4798e03c8ee26b89ef7a9ad4569f6e18"
        "7ce89e16c50358d1a80101020203585fa202818141000458568614a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf42"
        "9b2d51f2ab45035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0010f020f0474687474"
        "70733a2f2f6769742e696f2f4a4a596f6a074382030f094382170214822f5820cfa90c5c58595e7f5119a72f803fd0370b3e6abbec6315cd38f6"
        "3135281bc49817822f5820302196d452bce5e8bfeaf71e395645ede6d365e63507a081379721eeecf0000714583c8614a1157832687474703a2f"
        "2f6578616d706c652e636f6d2f766572792f6c6f6e672f706174682f746f2f66696c652f66696c652e62696e1502030f1759020ba165656e2d55"
        "53a20179019d2323204578616d706c6520323a2053696d756c74616e656f757320446f776e6c6f61642c20496e7374616c6c6174696f6e2c2053"
        "656375726520426f6f742c2053657665726564204669656c64730a0a2020202054686973206578616d706c6520636f766572732074686520666f"
        "6c6c6f77696e672074656d706c617465733a0a202020200a202020202a20436f6d7061746962696c69747920436865636b20287b7b74656d706c"
        "6174652d636f6d7061746962696c6974792d636865636b7d7d290a202020202a2053656375726520426f6f7420287b7b74656d706c6174652d73"
        "65637572652d626f6f747d7d290a202020202a204669726d7761726520446f776e6c6f616420287b7b6669726d776172652d646f776e6c6f6164"
        "2d74656d706c6174657d7d290a202020200a2020202054686973206578616d706c6520616c736f2064656d6f6e73747261746573207365766572"
        "61626c6520656c656d656e747320287b7b6f76722d736576657261626c657d7d292c20616e64207465787420287b7b6d616e69666573742d6469"
        "676573742d746578747d7d292e814100a2036761726d2e636f6d0578525468697320636f6d706f6e656e7420697320612064656d6f6e73747261"
        "74696f6e2e205468652064696765737420697320612073616d706c65207061747465726e2c206e6f742061207265616c206f6e652e"
    ),
    (
        "d86ba2025873825824822f5820f6d44a62ec906b392500c242e78e908e9cc5057f3f04104a06a8566200da2ee0584ad28443a10126a0f658401b"
        "5e052f3e8b2aad1330b1b1d9055b1ef2bbb8aea0841034d3cd7906aabb723a91a218e7e23c96f8973ddc88d0a31c25fc18d52ba1f2712198e618"
        "cecdd307180359010fa5010102030358a4a2028181410004589b8814a20150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf"
        "429b2d51f2ab450f8258348614a10500050514a2035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432"
        "100e1987d058368614a10501050514a2035824822f58200123456789abcdeffedcba987654321000112233445566778899aabbccddeeff0e1a00"
        "012c22010f020f074382030f14585b860f8258288614a10500050514a115781c687474703a2f2f6578616d706c652e636f6d2f66696c65312e62"
        "696e58288614a10501050514a115781c687474703a2f2f6578616d706c652e636f6d2f66696c65322e62696e1502030f"
    ),
    (
        "d86ba2025873825824822f58205b5f6586b1e6cdf19ee479a5adabf206581000bd584b0832a9bdaf4f72cdbdd6584ad28443a10126a0f65840ee"
        "5913f4d6dcf4ca278e363084c02378b6340138c3fb403c9a8a1f4b8c226fd247ae9d7d005bdf193f21dbacd8edd908e7d80594ae1a657f97e14a"
        "02defbd5ee03590116a801010204035867a20283814100814102814101045858880c0014a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe025014"
        "92af1425695e48bf429b2d51f2ab45035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0"
        "010f020f0745840c00030f085838880c0214a3035824822f58200123456789abcdeffedcba987654321000112233445566778899aabbccddeeff"
        "0e1a00012c2216001602030f0945840c02170210584e880c0114a2035824822f582000112233445566778899aabbccddeeff0123456789abcdef"
        "fedcba987654321015781b687474703a2f2f6578616d706c652e636f6d2f66696c652e62696e1502030f144b880c0014a116011602030f"
    ),
    (
        "d86ba2025873825824822f582015ce60f77657e4531dc329155f8b0ed78f94bdc6d165b2665473693dcc34f470584ad28443a10126a0f65840f3"
        "b3efcc47c797508e2316a5fbebbe3d462c30240cd5349bd781e17c0feee58bbc3c8066704c93761a5b5931aae1ba08632d14880e7fcf64816610"
        "45d139923303590101a601010205035895a202828141008141010458898c0c0014a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af14"
        "25695e48bf429b2d51f2ab45035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0010f02"
        "0f0c0114a2035824822f58200123456789abcdeffedcba987654321000112233445566778899aabbccddeeff0e1a00012c220749880c00030f0c"
        "01030f0945840c00170214584f900c0014a115781c687474703a2f2f6578616d706c652e636f6d2f66696c65312e62696e1502030f0c0114a115"
        "781c687474703a2f2f6578616d706c652e636f6d2f66696c65322e62696e1502030f"
    ),
)
DRAFT_VENDOR = binascii.unhexlify("fa6b4a53d5ad5fdfbe9de663e4d41ffe")
DRAFT_CLASS = binascii.unhexlify("1492af1425695e48bf429b2d51f2ab45")

VENDOR = bytes(range(16))
CLASS = bytes(range(16, 32))
BODY = b"the body of a feature"
DIGEST = dumps([-16, sha256(BODY).digest()])

ACME = Signer("acme", b"acme", 7)
OTHER = Signer("other", b"other", 8)
STRANGER = Signer("stranger", b"acme")
KEYS = (OTHER.key, ACME.key)

IDENTITY = [20, {1: VENDOR, 2: CLASS, 3: DIGEST, 14: len(BODY)}, 1, 15, 2, 15]
FETCH = [20, {21: "#feature"}, 21, 2, 3, 15]
FITS = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
MANIFEST = manifest(IDENTITY, {INSTALL: FETCH})
ENVELOPE = ACME.envelope(MANIFEST, {"#feature": BODY})


def example(number):
    return suit_envelope.Envelope(binascii.unhexlify(EXAMPLES[number]))


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def open_envelope(buf, keys=KEYS):
    return finish(suit.open_steps(buf, keys))


def run(encoded, section=INSTALL, answer=lambda action: True, vendor=VENDOR, class_id=CLASS):
    """Sign and open a manifest, run a section; -> [(kind, index, uri), ...] as the caller saw them."""
    _, parsed, _ = open_envelope(ACME.envelope(encoded))
    return drive(parsed, section, answer, vendor, class_id)


def drive(parsed, section, answer=lambda action: True, vendor=VENDOR, class_id=CLASS):
    seen = []
    steps = suit.Processor(parsed, vendor, class_id).run(section)
    try:
        action = next(steps)
        while True:
            seen.append((action.kind, action.index, action.uri))
            action = steps.send(answer(action))
    except StopIteration:
        return seen


def refusal(shared, commands, **more):
    """The code with which running these commands is refused."""
    return raises(ProtocolError, lambda: run(manifest(shared, {INSTALL: commands}, **more))).code


# -- the draft's examples


def test_the_drafts_examples_have_the_digests_they_claim():
    for number in range(6):
        envelope = example(number)
        envelope.check_digest()
        assert suit_manifest.Manifest(envelope).sequence == number


def test_the_drafts_examples_run_as_their_text_says():
    expected = (
        {VALIDATE: [3], INVOKE: [23]},
        {VALIDATE: [3], INSTALL: [21, 3]},
        {VALIDATE: [3], INVOKE: [23], INSTALL: [21, 3]},
        {VALIDATE: [5, 3], INSTALL: [5, 5, 21, 3]},
        {VALIDATE: [3], LOAD: [22, 3], INVOKE: [23], PAYLOAD_FETCH: [21, 3], INSTALL: [22, 3]},
        {VALIDATE: [3, 3], INVOKE: [23], INSTALL: [21, 3, 21, 3]},
    )
    for number in range(6):
        parsed = suit_manifest.Manifest(example(number))
        for section in SECTIONS:
            kinds = [kind for kind, _, _ in drive(parsed, section, vendor=DRAFT_VENDOR, class_id=DRAFT_CLASS)]
            assert kinds == expected[number].get(section, []), (number, section)


def test_example_3_takes_the_alternative_of_the_slot_that_is_free():
    parsed = suit_manifest.Manifest(example(3))

    def second_slot(action):
        return action.kind != suit.COMPONENT_SLOT or action.slot == 1

    seen = drive(parsed, INSTALL, second_slot, DRAFT_VENDOR, DRAFT_CLASS)
    assert (suit.FETCH, 0, "http://example.com/file2.bin") in seen
    error = raises(ProtocolError, drive, parsed, INSTALL, lambda action: False, DRAFT_VENDOR, DRAFT_CLASS)
    assert error.code == INVALID_STATE


def test_example_4_copies_between_components():
    actions = []
    parsed = suit_manifest.Manifest(example(4))
    for action in suit.Processor(parsed, DRAFT_VENDOR, DRAFT_CLASS).run(LOAD):
        actions.append((action.kind, action.component, action.source, action.size, bytes(action.digest)[:3]))
    assert actions == [(22, (b"\x01",), (b"\x00",), 76834, b"\x01\x23\x45"), (3, (b"\x01",), (b"\x00",), 76834, b"\x01\x23\x45")]


def test_a_severed_member_may_be_absent():
    envelope = example(2)
    envelope.severed.clear()
    parsed = suit_manifest.Manifest(envelope)
    assert INSTALL not in parsed.sections and drive(parsed, INSTALL) == []


def test_a_severed_member_that_was_altered_is_refused():
    for member in (20, 23):
        envelope = example(2)
        altered = bytearray(envelope.severed[member])
        altered[-1] ^= 1
        envelope.severed[member] = memoryview(altered)
        assert raises(ProtocolError, suit_manifest.Manifest, envelope).code == BAD_DIGEST


def test_an_example_signed_by_nobody_we_know_is_not_authorised():
    assert raises(ProtocolError, open_envelope, binascii.unhexlify(EXAMPLES[1])).code == NOT_AUTHORISED


# -- trust


def test_a_signed_envelope_opens_and_says_who_signed_it():
    """EG-FEAT-003"""
    envelope, parsed, key = open_envelope(ENVELOPE)
    assert key is ACME.key and key.publisher == 7
    assert parsed.components == ((b"acme", b"f"),) and parsed.sequence == 1
    assert bytes(envelope.payloads["#feature"]) == BODY
    assert drive(parsed, INSTALL) == [(suit.FETCH, 0, "#feature"), (suit.IMAGE_MATCH, 0, "#feature")]


def test_the_tag_of_the_envelope_may_be_left_out():
    assert open_envelope(ENVELOPE[2:])[2] is ACME.key


def test_an_unknown_signer_is_not_authorised():
    """EG-FEAT-003"""
    assert raises(ProtocolError, open_envelope, STRANGER.envelope(MANIFEST)).code == NOT_AUTHORISED
    assert raises(ProtocolError, open_envelope, ENVELOPE, ()).code == NOT_AUTHORISED


def test_a_signer_who_borrows_a_known_key_id_is_not_authorised():
    """EG-FEAT-003"""
    digest = dumps([-16, sha256(dumps(MANIFEST)).digest()])
    forged = STRANGER.envelope(MANIFEST, blocks=[STRANGER.block(digest, kid=b"acme")])
    assert raises(ProtocolError, open_envelope, forged).code == NOT_AUTHORISED


def test_a_header_with_another_algorithm_is_not_authorised():
    """EG-FEAT-003"""
    digest = dumps([-16, sha256(dumps(MANIFEST)).digest()])
    forged = ACME.envelope(MANIFEST, blocks=[ACME.block(digest, alg=-7)])
    assert raises(ProtocolError, open_envelope, forged).code == NOT_AUTHORISED


def test_a_signature_over_another_manifest_is_refused():
    """EG-FEAT-004"""
    digest = dumps([-16, sha256(dumps(manifest(IDENTITY, {}, sequence=2))).digest()])
    block = ACME.block(digest)
    moved = ACME.envelope(MANIFEST, blocks=[block])
    assert raises(ProtocolError, open_envelope, moved).code == NOT_AUTHORISED
    swapped = dumps(Tag(107, {2: dumps([digest, block]), 3: MANIFEST}))
    assert raises(ProtocolError, open_envelope, swapped).code == BAD_DIGEST


def test_an_envelope_without_a_signature_is_not_authorised():
    assert raises(ProtocolError, open_envelope, ACME.envelope(MANIFEST, blocks=[])).code == NOT_AUTHORISED


def test_one_good_block_among_strangers_is_enough():
    digest = dumps([-16, sha256(dumps(MANIFEST)).digest()])
    ed25519 = dumps(Tag(18, [dumps({1: -19, 4: b"cloud"}), {}, None, bytes(64)]))
    mac = dumps(Tag(17, [b"", {}, None, bytes(32)]))
    wrong = STRANGER.block(digest, kid=b"other")
    envelope = ACME.envelope(MANIFEST, blocks=[ed25519, mac, wrong, ACME.block(digest)])
    assert open_envelope(envelope)[2] is ACME.key
    only = ACME.envelope(MANIFEST, blocks=[ed25519, mac, wrong])
    assert raises(ProtocolError, open_envelope, only).code == NOT_AUTHORISED


def test_more_than_four_blocks_are_refused_before_any_is_verified():
    crowd = ACME.envelope(MANIFEST, blocks=[b"\xd1\x80"] * 5)
    assert raises(ProtocolError, open_envelope, crowd).code == TOO_LARGE


def test_a_component_outside_of_the_keys_prefix_is_not_authorised():
    """EG-FEAT-003"""
    foreign = manifest(IDENTITY, {}, components=[[b"other", b"f"]])
    assert raises(ProtocolError, open_envelope, ACME.envelope(foreign)).code == NOT_AUTHORISED
    assert open_envelope(OTHER.envelope(foreign))[2] is OTHER.key
    second = manifest(IDENTITY, {}, components=[[b"acme", b"f"], [b"other", b"f"]])
    assert raises(ProtocolError, open_envelope, ACME.envelope(second)).code == NOT_AUTHORISED


def test_opening_yields_between_hashes():
    steps = suit.open_steps(ENVELOPE, KEYS)
    count = 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration:
            break
    assert count > 10


def test_a_flip_in_any_byte_of_a_signed_envelope_is_refused():
    """EG-FEAT-002, EG-FEAT-003, EG-FEAT-004"""
    refused_at_install = 0
    for at in list(range(0, 48)) + list(range(48, len(ENVELOPE) - 240, 29)) + list(range(len(ENVELOPE) - 240, len(ENVELOPE))):
        flipped = bytearray(ENVELOPE)
        flipped[at] ^= 1 << at % 8
        try:
            envelope, parsed, _ = open_envelope(flipped)
        except ProtocolError:
            continue
        # Payloads are not under the signature but under a digest that is.
        refused_at_install += 1
        body = envelope.payloads.get("#feature")
        assert body is None or sha256(body).digest() != sha256(BODY).digest(), at
        assert raises(ProtocolError, drive, parsed, INSTALL, lambda action: action.kind != suit.IMAGE_MATCH).code == BAD_DIGEST
    assert refused_at_install > len(BODY)


# -- form


def test_what_is_no_envelope_is_refused_by_code():
    for buf in (b"", b"\xff", b"\xd8\x6b", dumps(1), dumps({}), dumps({2: b"", 3: b""}), ENVELOPE[:-1], ENVELOPE + b"\0"):
        raises(ProtocolError, open_envelope, buf)
    assert raises(ProtocolError, open_envelope, dumps(Tag(108, {}))).code == MALFORMED
    assert raises(ProtocolError, open_envelope, dumps({2: ACME.envelope(MANIFEST)})).code in (MALFORMED, BAD_TYPE)


def test_every_truncation_of_an_envelope_is_refused_by_code():
    for size in list(range(0, 60)) + list(range(60, len(ENVELOPE), 101)):
        raises(ProtocolError, open_envelope, ENVELOPE[:size])


def test_an_envelope_of_more_than_16_kib_is_too_large():
    """EG-LIM-003"""
    assert raises(ProtocolError, open_envelope, bytes(suit_envelope.MAX_ENVELOPE + 1)).code == TOO_LARGE
    assert raises(ProtocolError, open_envelope, bytes(suit_envelope.MAX_ENVELOPE)).code != TOO_LARGE


def test_a_negative_member_is_critical_and_a_positive_one_passed_over():
    assert raises(ProtocolError, open_envelope, ACME.envelope(MANIFEST, {-1: b""})).code == UNSUPPORTED
    assert open_envelope(ACME.envelope(MANIFEST, {1: b"delegation", 99: b""}))[2] is ACME.key


def test_payload_names_start_with_a_hash_and_are_few():
    assert raises(ProtocolError, open_envelope, ACME.envelope(MANIFEST, {"feature": BODY})).code == MALFORMED
    many = {f"#{i}": b"" for i in range(5)}
    assert raises(ProtocolError, open_envelope, ACME.envelope(MANIFEST, many)).code == MALFORMED


def test_a_manifest_that_is_not_deterministic_is_refused():
    loose = b"\xbf" + MANIFEST[1:] + b"\xff"
    assert raises(ProtocolError, open_envelope, ACME.envelope(loose)).code == NOT_DETERMINISTIC


def test_manifests_that_lack_or_exceed_something_are_refused_by_code():
    common = dumps({2: [[b"acme"]]})
    for items, code in (
        ({2: 1, 3: common}, UNSUPPORTED),  # version
        ({1: 2, 2: 1, 3: common}, UNSUPPORTED),
        ({1: 1, 3: common}, MALFORMED),  # sequence number
        ({1: 1, 2: -1, 3: common}, OUT_OF_RANGE),
        ({1: 1, 2: 1 << 32, 3: common}, OUT_OF_RANGE),
        ({1: 1, 2: 1}, MALFORMED),  # components
        ({1: 1, 2: 1, 3: dumps({})}, MALFORMED),
        ({1: 1, 2: 1, 3: dumps({2: []})}, MALFORMED),
        ({1: 1, 2: 1, 3: dumps({2: [[b"acme"]] * 5})}, TOO_LARGE),
        ({1: 1, 2: 1, 3: dumps({2: [[]]})}, MALFORMED),
        ({1: 1, 2: 1, 3: dumps({2: [[b"acme"] * 5]})}, TOO_LARGE),
        ({1: 1, 2: 1, 3: dumps({2: [[b"acme", bytes(33)]]})}, TOO_LARGE),
        ({1: 1, 2: 1, 3: dumps({1: {}, 2: [[b"acme"]]})}, UNSUPPORTED),  # dependencies
        ({1: 1, 2: 1, 3: common, 15: b""}, UNSUPPORTED),
        ({1: 1, 2: 1, 3: common, 24: b""}, UNSUPPORTED),
        ({1: 1, 2: 1, 3: common, -5: b""}, UNSUPPORTED),
        ({1: 1, 2: 1, 3: common, 20: 7}, BAD_TYPE),
        ({1: 1, 2: 1, 3: common, 20: [-16, bytes(31)]}, MALFORMED),
        ({1: 1, 2: 1, 3: common, 20: [-44, bytes(64)]}, UNSUPPORTED),
    ):
        error = raises(ProtocolError, open_envelope, ACME.envelope(dumps(items)))
        assert error.code == code, (items, error)


def test_bytes_after_a_manifest_are_malformed():
    assert raises(ProtocolError, open_envelope, ACME.envelope(MANIFEST + b"\0")).code == MALFORMED


def test_text_and_reference_uri_are_passed_over():
    people = manifest(IDENTITY, {INSTALL: FETCH}, members={4: "https://evergrow.example", 23: dumps({"en": {1: "words"}})})
    assert len(run(people)) == 2


# -- commands


def test_another_vendor_or_class_is_refused_before_anything_is_fetched():
    """EG-FEAT-006"""
    seen = []
    for vendor, class_id in ((CLASS, CLASS), (VENDOR, VENDOR)):
        error = raises(ProtocolError, run, MANIFEST, INSTALL, seen.append, vendor, class_id)
        assert error.code == OUT_OF_RANGE
    assert seen == []


def test_an_image_that_does_not_match_is_a_bad_digest():
    """EG-FEAT-004"""

    def mismatch(action):
        return action.kind != suit.IMAGE_MATCH

    assert raises(ProtocolError, run, MANIFEST, INSTALL, mismatch).code == BAD_DIGEST


def test_an_action_carries_size_and_digest():
    _, parsed, _ = open_envelope(ENVELOPE)
    action = next(suit.Processor(parsed, VENDOR, CLASS).run(INSTALL))
    assert action.size == len(BODY) and bytes(action.digest) == sha256(BODY).digest()
    assert action.component == (b"acme", b"f") and action.source is None and action.slot is None


def test_a_section_that_is_absent_does_nothing():
    assert run(MANIFEST, VALIDATE) == []


def test_each_run_starts_afresh():
    _, parsed, _ = open_envelope(ENVELOPE)
    processor = suit.Processor(parsed, VENDOR, CLASS)
    for _ in range(3):
        assert len(list(processor.run(INSTALL))) == 2


def test_abort_fails():
    assert refusal(IDENTITY, [14, 15]) == INVALID_STATE


def test_try_each_stops_at_the_first_alternative_that_does_not_fail():
    def alternative(uri, vendor):
        return dumps([20, {1: vendor}, 1, 15, 20, {21: uri}])

    commands = [15, [alternative("evergrow:1", CLASS), alternative("evergrow:2", VENDOR), alternative("evergrow:3", VENDOR)]]
    assert run(manifest(FITS, {INSTALL: commands + [21, 15]})) == [(21, 0, "evergrow:2")]
    none = [15, [alternative("evergrow:1", CLASS), alternative("evergrow:2", CLASS)]]
    assert refusal(None, none) == INVALID_STATE
    assert run(manifest(FITS, {INSTALL: [15, [none[1][0], None]]})) == []
    assert refusal(None, [15, []]) == INVALID_STATE


def test_a_hard_failure_inside_of_try_each_aborts():
    hard = dumps([20, {13: False}, 14, 15])
    assert refusal(None, [15, [hard, dumps([])]]) == INVALID_STATE
    assert run(manifest(None, {INSTALL: [15, [dumps([14, 15]), dumps([])]]})) == []


def test_run_sequence_fails_hard_unless_told_otherwise():
    assert refusal(None, [32, dumps([14, 15])]) == INVALID_STATE
    soft = [32, dumps([20, {13: True, 21: "evergrow:1"}, 14, 15, 21, 15]), 21, 15]
    assert run(manifest(FITS, {INSTALL: soft})) == [(21, 0, "evergrow:1")]


def test_soft_failure_at_the_top_is_malformed():
    assert refusal(None, [20, {13: True}]) == MALFORMED


def test_commands_apply_to_the_components_that_are_set():
    both = [[b"acme", b"a"], [b"acme", b"b"]]
    commands = [
        12,
        True,
        20,
        {21: "evergrow:1"},
        12,
        1,
        20,
        {21: "evergrow:2"},
        12,
        [1, 0],
        21,
        15,
        12,
        True,
        32,
        dumps([21, 15]),
    ]
    seen = run(manifest(FITS, {INSTALL: commands}, both))
    assert seen == [(21, 1, "evergrow:2"), (21, 0, "evergrow:1"), (21, 0, "evergrow:1"), (21, 1, "evergrow:2")]


def test_nothing_changes_before_vendor_and_class_were_checked():
    """EG-FEAT-006"""
    for shared in (None, FITS[:4], FITS[:2] + FITS[4:]):
        for commands in ([20, {21: "evergrow:1"}, 21, 15], [20, {22: 0}, 22, 15], [23, 15]):
            assert refusal(shared, commands) == OUT_OF_RANGE, (shared, commands)
            assert run(manifest(FITS, {INSTALL: commands}))


def test_the_component_index_is_zero_again_after_the_shared_sequence():
    both = [[b"acme", b"a"], [b"acme", b"b"]]
    assert run(manifest(FITS + [12, 1, 20, {21: "#b"}], {INSTALL: [20, {21: "#a"}, 21, 15]}, both)) == [(21, 0, "#a")]


def test_bad_component_indexes_are_out_of_range():
    for index in (1, [], [0, 1], [0, 0], False, [-1]):
        assert refusal(None, [12, index]) == OUT_OF_RANGE, index


def test_copy_names_a_component_that_exists():
    assert refusal(None, [20, {22: 1}, 22, 15]) == OUT_OF_RANGE
    assert run(manifest(FITS, {INSTALL: [20, {22: 0}, 22, 15]})) == [(22, 0, None)]


def test_a_command_without_its_parameter_is_malformed():
    for command in (1, 2, 3, 5, 21, 22):
        assert refusal(None, [command, 15]) == MALFORMED


def test_commands_and_parameters_we_do_not_have_are_unsupported():
    for command in (0, 4, 6, 13, 18, 24, 26, 27, 28, 29, 33, -1):
        assert refusal(None, [command, 15]) == UNSUPPORTED, command
    for parameter in (4, 18, 19, 23, 24, 26, -256, "x"):
        assert refusal(None, [20, {parameter: 0}]) == UNSUPPORTED, parameter


def test_parameters_of_a_wrong_form_are_refused_by_code():
    for parameter, value, code in (
        (1, bytes(15), MALFORMED),
        (2, "text", BAD_TYPE),
        (3, sha256(BODY).digest(), BAD_TYPE),
        (3, dumps([-16, bytes(31)]), MALFORMED),
        (3, dumps([-43, bytes(48)]), UNSUPPORTED),
        (14, -1, OUT_OF_RANGE),
        (12, 1, BAD_TYPE),
        (21, b"#feature", BAD_TYPE),
    ):
        assert refusal(None, [20, {parameter: value}]) == code, (parameter, value)


def test_odd_or_overlong_sequences_are_malformed():
    assert refusal(None, [21]) == MALFORMED
    encoded = manifest(None, {}, members={INSTALL: dumps([20, {}]) + b"\0"})
    assert raises(ProtocolError, run, encoded).code == MALFORMED


def test_commands_nesting_and_items_are_bounded():
    assert refusal(None, [12, 0] * 65) == TOO_LARGE
    loop = dumps([12, 0] * 30)
    assert refusal(None, [32, loop, 32, loop, 32, loop]) == TOO_LARGE
    nested = dumps([12, 0])
    for _ in range(3):
        nested = dumps([32, nested])
    encoded = manifest(None, {}, members={INSTALL: nested})
    assert run(encoded) == []
    assert raises(ProtocolError, run, manifest(None, {}, members={INSTALL: dumps([32, nested])})).code == TOO_LARGE
    assert refusal(None, [20, {}] * 49) == TOO_LARGE


# -- addresses of payloads


def test_payload_numbers():
    assert [suit.payload_number(uri) for uri in ("#feature", "evergrow:1", "evergrow:27", "evergrow:999")] == [0, 1, 27, 999]
    for uri in (
        "",
        "evergrow:",
        "evergrow:0",
        "evergrow:01",
        "evergrow:1000",
        "evergrow:-1",
        "evergrow:1x",
        "evergrow:²",
        "evergrow: 1",
        "evergrow:+1",
        "http://a/b",
        "evergrow",
    ):
        assert raises(ProtocolError, suit.payload_number, uri).code == UNSUPPORTED, uri
