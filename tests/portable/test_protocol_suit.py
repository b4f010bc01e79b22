"""SUIT: the draft's own examples, what a manifest can make the device do, and everything it cannot."""

import binascii
from hashlib import sha256

from evergrow_protocol import suit, suit_envelope, suit_manifest, suit_parameters
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.errors import (
    BAD_DIGEST,
    BAD_TYPE,
    EXPIRED,
    INVALID_STATE,
    MALFORMED,
    NOT_AUTHORISED,
    NOT_DETERMINISTIC,
    OUT_OF_RANGE,
    STALE,
    TOO_LARGE,
    UNSUPPORTED,
    ProtocolError,
)
from evergrow_protocol.suit_manifest import INSTALL, INVOKE, LOAD, PAYLOAD_FETCH, SECTIONS, VALIDATE
from evergrow_sim.publisher import Signer, manifest
from suitexamples import DRAFT_CLASS, DRAFT_VENDOR, EXAMPLES
from support import finish, raises

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
        ({1: 1, 2: 1, 3: common, 6: b""}, UNSUPPORTED),
        ({1: 1, 2: 1, 3: common, 14: b""}, UNSUPPORTED),
        ({1: 1, 2: 1, 3: common, 24: [-16, bytes(32)]}, BAD_TYPE),  # uninstall is not severable
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
        for commands in ([20, {21: "evergrow:1"}, 21, 15], [20, {22: 0}, 22, 15], [23, 15], [20, {18: b""}, 18, 15], [33, 15]):
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
    for command in (1, 2, 3, 4, 5, 7, 18, 21, 22, 24, 26, 27, 28):
        assert refusal(None, [command, 15]) == MALFORMED


def test_commands_and_parameters_we_do_not_have_are_unsupported():
    for command in (0, 6, 9, 10, 13, 16, 17, 25, 29, 30, 31, 34, -1):
        assert refusal(None, [command, 15]) == UNSUPPORTED, command
    for parameter in (0, 6, 15, 19, 20, 25, 29, 30, -256, "x"):
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
        (4, -1, OUT_OF_RANGE),
        (4, 1 << 32, OUT_OF_RANGE),
        (18, "text", BAD_TYPE),
        (24, bytes(15), MALFORMED),
        (26, -1, OUT_OF_RANGE),
        (27, 1 << 31, OUT_OF_RANGE),
        (28, dumps([0, [1]]), OUT_OF_RANGE),
        (28, dumps([6, [1]]), OUT_OF_RANGE),
        (28, dumps([1, []]), MALFORMED),
        (28, dumps([1, [1] * 6]), TOO_LARGE),
        (28, dumps([1, ["1"]]), BAD_TYPE),
        (28, [1, [1]], BAD_TYPE),
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


def asked(commands, shared=FITS, answer=True):
    """The (kind, value) that the caller is asked for when these commands run."""
    seen = []

    def note(action):
        value = action.value
        seen.append((action.kind, bytes(value) if isinstance(value, memoryview) else value))
        return answer

    run(manifest(shared, {INSTALL: commands}), INSTALL, note)
    return seen


def test_conditions_that_only_the_caller_can_answer_say_what_they_are_about():
    """EG-SUIT-003"""
    assert asked([20, {4: 1900000000}, 4, 15]) == [(suit.USE_BEFORE, 1900000000)]
    assert asked([20, {5: 6}, 5, 15]) == [(suit.COMPONENT_SLOT, 6)]
    assert asked([20, {26: 40}, 26, 15]) == [(suit.MINIMUM_BATTERY, 40)]
    assert asked([20, {27: -1}, 27, 15]) == [(suit.UPDATE_AUTHORISED, -1)]
    assert asked([20, {28: dumps([2, [1, 2]])}, 28, 15]) == [(suit.VERSION, (2, (1, 2)))]
    assert asked([20, {18: b"whole"}, 18, 15]) == [(suit.WRITE, b"whole")]
    assert asked([20, {23: b"now"}, 23, 15, 33, 15]) == [(suit.RUN, b"now"), (suit.UNLINK, None)]
    assert asked([23, 15]) == [(suit.RUN, None)]


def test_each_condition_fails_with_its_own_code():
    """EG-SUIT-003"""
    for commands, code in (
        ([20, {4: 1}, 4, 15], EXPIRED),
        ([20, {5: 6}, 5, 15], INVALID_STATE),
        ([20, {26: 40}, 26, 15], INVALID_STATE),
        ([20, {27: -1}, 27, 15], INVALID_STATE),
        ([20, {28: dumps([3, [1]])}, 28, 15], STALE),
        ([8, 15], INVALID_STATE),
        ([20, {3: DIGEST}, 7, 15], BAD_DIGEST),
        ([11, 15], INVALID_STATE),
    ):
        error = raises(ProtocolError, asked, commands, FITS, False)
        assert error.code == code, (commands, error)


def test_a_manifest_for_one_device_is_refused_by_every_other():
    """EG-FEAT-006"""
    this = bytes(range(32, 48))
    encoded = manifest(FITS, {INSTALL: [20, {24: this, 21: "#f"}, 24, 15, 21, 15]})
    _, parsed, _ = open_envelope(ACME.envelope(encoded))
    assert len(list(suit.Processor(parsed, VENDOR, CLASS, this).run(INSTALL))) == 1
    for other in (b"", VENDOR):
        steps = suit.Processor(parsed, VENDOR, CLASS, other).run(INSTALL)
        assert raises(ProtocolError, next, steps).code == OUT_OF_RANGE


def test_versions_compare_as_far_as_the_parameter_names_them():
    holds = suit_parameters.version_holds
    for comparison, value, yes, no in (
        (1, (1, 2), ((1, 3), (2,), (1, 3, 0)), ((1, 2), (1, 2, 9), (1, 1), (0, 9))),
        (2, (1, 2), ((1, 2), (1, 2, 9), (1, 3)), ((1, 1, 9), (0,))),
        (3, (1,), ((1,), (1, 9)), ((2,), (0, 1))),
        (4, (1, 2), ((1, 2), (1, 2, 9), (1, 1)), ((1, 3), (2,))),
        (5, (1, 2), ((1, 1, 9), (0,)), ((1, 2), (1, 2, 1), (1, 3))),
    ):
        for version in yes:
            assert holds((comparison, value), version), (comparison, value, version)
        for version in no:
            assert not holds((comparison, value), version), (comparison, value, version)


def test_set_parameters_keeps_what_is_set_and_override_does_not():
    assert run(manifest(FITS + [20, {21: "#a"}], {INSTALL: [19, {21: "#b"}, 21, 15]})) == [(21, 0, "#a")]
    assert run(manifest(FITS + [20, {21: "#a"}], {INSTALL: [20, {21: "#b"}, 21, 15]})) == [(21, 0, "#b")]
    assert run(manifest(FITS, {INSTALL: [19, {21: "#b"}, 21, 15]})) == [(21, 0, "#b")]


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


def test_a_patch_names_its_size():
    """EG-SUIT-007"""
    assert suit.locate("evergrow:2?patch=197") == (2, 197)
    assert suit.locate("evergrow:2") == (2, 0) and suit.locate("#f") == (0, 0)
    for uri in (
        "evergrow:2?patch=",
        "evergrow:2?patch=0",
        "evergrow:2?patch=-1",
        "evergrow:2?patch=01",
        "evergrow:2?patch=x",
        "?patch=1",
    ):
        assert raises(ProtocolError, suit.locate, uri).code == UNSUPPORTED, uri
    assert raises(ProtocolError, suit.payload_number, "evergrow:2?patch=197").code == UNSUPPORTED
