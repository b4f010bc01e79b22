"""SUIT manifests that depend on others, and what they say of their removal (draft-ietf-suit-trust-domains)."""

import binascii

from evergrow_protocol import suit, suit_envelope, suit_manifest
from evergrow_protocol.cbor import dumps
from evergrow_protocol.errors import (
    BAD_DIGEST,
    INVALID_STATE,
    NOT_AUTHORISED,
    OUT_OF_RANGE,
    TOO_LARGE,
    UNSUPPORTED,
    ProtocolError,
)
from evergrow_protocol.suit_manifest import INSTALL, INVOKE, RESOLUTION, UNINSTALL, VALIDATE
from evergrow_sim.publisher import Signer, manifest
from suitexamples import TRUST_DOMAINS
from support import finish, raises

VENDOR = bytes(range(16))
CLASS = bytes(range(16, 32))
FITS = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]
MINE = [b"acme", b"f"]
THEIRS = [b"maker", b"drum"]

ACME = Signer("acme", b"acme", 7)
MAKER = Signer("maker", b"maker", 1)
KEYS = (MAKER.key, ACME.key)

NEEDED = MAKER.envelope(manifest(FITS, {VALIDATE: [20, {5: 1}, 5, 15], INSTALL: [20, {21: "#drum"}, 21, 15]}, (THEIRS,)))


def opened(envelope):
    return finish(suit.open_steps(envelope, KEYS))[1]


def named(envelope):
    """The encoded digest by which a manifest names another."""
    return dumps([-16, bytes(opened(envelope).digest)])


def depending(sections, needed=NEEDED, common=None, shared=(), **more):
    """A manifest of ours with a dependency at index 1, whose digest is set."""
    both = {1: {1: {}}, 2: [MINE, THEIRS], 4: dumps(FITS + [12, 1, 20, {3: named(needed)}] + list(shared))}
    both.update(common or {})
    return ACME.envelope(manifest(None, sections, members={3: dumps(both)}), **more)


def drive(parsed, section, answer=lambda action: True):
    """-> [(kind, component), ...] as the caller saw them."""
    seen = []
    steps = suit.Processor(parsed, VENDOR, CLASS).run(section)
    try:
        action = next(steps)
        while True:
            seen.append((action.kind, [bytes(part) for part in action.component]))
            action = steps.send(answer(action))
    except StopIteration:
        return seen


def answering(needed):
    return lambda action: opened(needed) if action.kind == suit.DEPENDENCY else True


def test_a_dependency_is_checked_and_then_processed_for_its_own_components():
    """EG-SUIT-004"""
    parsed = opened(depending({INSTALL: [12, 1, 7, 15, 11, 0, 12, 0, 20, {21: "#f"}, 21, 15], VALIDATE: [12, 1, 7, 15, 11, 0]}))
    assert parsed.dependencies == (1,)
    seen = drive(parsed, INSTALL, answering(NEEDED))
    assert seen == [(suit.DEPENDENCY, THEIRS), (suit.FETCH, THEIRS), (suit.FETCH, MINE)]
    # The same section runs in both: VALIDATE of the one is VALIDATE of the other.
    assert drive(parsed, VALIDATE, answering(NEEDED)) == [(suit.DEPENDENCY, THEIRS), (suit.COMPONENT_SLOT, THEIRS)]


def test_a_section_that_the_dependency_lacks_is_done_at_once():
    parsed = opened(depending({INVOKE: [12, 1, 7, 15, 11, 0, 12, 0, 23, 15]}))
    assert drive(parsed, INVOKE, answering(NEEDED)) == [(suit.DEPENDENCY, THEIRS), (suit.RUN, MINE)]


def test_image_match_of_a_dependency_means_its_manifest():
    parsed = opened(depending({INSTALL: [12, 1, 3, 15, 11, 0]}))
    assert drive(parsed, INSTALL, answering(NEEDED)) == [(suit.DEPENDENCY, THEIRS), (suit.FETCH, THEIRS)]


def test_an_action_tells_the_manifest_it_belongs_to():
    parsed = opened(depending({INSTALL: [12, 1, 7, 15, 11, 0, 12, 0, 20, {21: "#f"}, 21, 15]}))
    owners = []

    def answer(action):
        owners.append((action.manifest is parsed, action.dependency))
        return answering(NEEDED)(action)

    drive(parsed, INSTALL, answer)
    assert owners == [(True, True), (False, False), (True, False)]


def test_another_manifest_than_the_named_one_is_a_bad_digest():
    """EG-SUIT-004"""
    parsed = opened(depending({INSTALL: [12, 1, 7, 15, 11, 0]}))
    other = MAKER.envelope(manifest(FITS, {}, (THEIRS,), sequence=2))
    for answer in (answering(other), lambda action: True, lambda action: None, lambda action: False):
        assert raises(ProtocolError, drive, parsed, INSTALL, answer).code == BAD_DIGEST


def test_a_dependency_is_not_processed_before_it_was_checked():
    """EG-SUIT-004"""
    parsed = opened(depending({INSTALL: [12, 1, 11, 0]}))
    assert raises(ProtocolError, drive, parsed, INSTALL, answering(NEEDED)).code == INVALID_STATE


def test_what_replaces_a_dependency_must_be_checked_again():
    """EG-SUIT-004"""
    parsed = opened(depending({INSTALL: [12, 1, 7, 15, 20, {21: "#again"}, 21, 15, 11, 0]}))
    assert raises(ProtocolError, drive, parsed, INSTALL, answering(NEEDED)).code == INVALID_STATE
    # Nor does a check of one section count in the next.
    parsed = opened(depending({RESOLUTION: [12, 1, 7, 15], INSTALL: [12, 1, 11, 0]}))
    drive(parsed, RESOLUTION, answering(NEEDED))
    assert raises(ProtocolError, drive, parsed, INSTALL, answering(NEEDED)).code == INVALID_STATE


def test_a_component_is_told_from_a_dependency():
    each = [12, True, 15, [dumps([8, 15, 7, 15]), dumps([20, {21: "#f"}, 21, 15])]]
    seen = drive(opened(depending({INSTALL: each})), INSTALL, answering(NEEDED))
    assert seen == [(suit.FETCH, MINE), (suit.DEPENDENCY, THEIRS)]
    assert raises(ProtocolError, drive, opened(depending({INSTALL: [12, 0, 8, 15]})), INSTALL).code == INVALID_STATE
    assert raises(ProtocolError, drive, opened(depending({INSTALL: [12, 0, 11, 15]})), INSTALL).code == INVALID_STATE


def test_a_dependency_for_other_hardware_changes_nothing_here():
    """EG-FEAT-006, EG-SUIT-004: its conditions are its own; that ours held does not help it."""
    for shared in (None, [20, {1: CLASS, 2: CLASS}, 1, 15, 2, 15]):
        foreign = MAKER.envelope(manifest(shared, {INSTALL: [20, {21: "#drum"}, 21, 15]}, (THEIRS,)))
        parsed = opened(depending({INSTALL: [12, 1, 7, 15, 11, 0]}, foreign))
        assert raises(ProtocolError, drive, parsed, INSTALL, answering(foreign)).code == OUT_OF_RANGE


def test_no_parameter_crosses_from_one_manifest_to_the_other():
    """EG-SUIT-004"""
    naive = MAKER.envelope(manifest(FITS, {INSTALL: [21, 15]}, (THEIRS,)))
    parsed = opened(depending({INSTALL: [12, 1, 20, {21: "#ours"}, 7, 15, 11, 0]}, naive))
    assert raises(ProtocolError, drive, parsed, INSTALL, answering(naive)).text == "command 21 lacks parameter 21"


def test_a_dependency_may_be_of_another_publisher_but_a_component_may_not():
    """EG-FEAT-003"""
    assert opened(depending({})).components[1] == (b"maker", b"drum")
    foreign = depending({}, common={1: {0: {}}})
    assert raises(ProtocolError, opened, foreign).code == NOT_AUTHORISED
    named_so = ACME.envelope(manifest(FITS, {}, members={5: THEIRS}))
    assert raises(ProtocolError, opened, named_so).code == NOT_AUTHORISED
    assert opened(ACME.envelope(manifest(FITS, {}, members={5: MINE}))).id == (b"acme", b"f")


def test_dependencies_share_the_limits_of_the_manifest_that_has_them():
    """EG-SUIT-002"""
    long = MAKER.envelope(manifest(FITS, {INSTALL: [12, 0] * 45}, (THEIRS,)))
    once = opened(depending({INSTALL: [12, 1, 7, 15, 11, 0]}, long))
    assert drive(once, INSTALL, answering(long)) == [(suit.DEPENDENCY, THEIRS)]
    twice = opened(depending({INSTALL: [12, 1, 7, 15, 11, 0, 11, 0]}, long))
    assert raises(ProtocolError, drive, twice, INSTALL, answering(long)).code == TOO_LARGE


def test_a_chain_of_dependencies_ends_at_the_limit_of_nesting():
    """EG-SUIT-002: also one that leads back to itself, which no digest allows but a faulty caller might."""
    endless = opened(depending({INSTALL: [12, 1, 7, 15, 11, 0]}))
    digest = endless.digest

    def itself(action):
        endless.digest = action.digest
        return endless

    assert raises(ProtocolError, drive, endless, INSTALL, itself).code == TOO_LARGE
    endless.digest = digest


def test_bad_dependencies_are_refused_by_code():
    for dependencies, code in (
        ({2: {}}, OUT_OF_RANGE),
        ({3: {1: THEIRS}}, OUT_OF_RANGE),
        ({-1: {}}, OUT_OF_RANGE),
        ({"1": {}}, OUT_OF_RANGE),
        ({1: {2: 0}}, UNSUPPORTED),
        ({i: {1: THEIRS} for i in range(2, 5)}, OUT_OF_RANGE),
    ):
        assert raises(ProtocolError, opened, depending({}, common={1: dependencies})).code == code, dependencies


def test_uninstall_says_what_is_needed_no_more():
    """EG-SUIT-005"""
    parsed = opened(depending({UNINSTALL: [12, [0, 1], 33, 15]}))
    assert drive(parsed, UNINSTALL) == [(suit.UNLINK, MINE), (suit.UNLINK, THEIRS)]
    assert drive(opened(NEEDED), UNINSTALL) == []


def test_the_examples_of_the_draft():
    """Both are of one tree: the second carries the dependency inside, so that it is at hand for the first, too."""
    first, second = [suit_envelope.Envelope(binascii.unhexlify(text)) for text in TRUST_DOMAINS]
    inner = suit_envelope.Envelope(second.payloads["#dependent.suit"])
    for envelope in (first, second, inner):
        envelope.check_digest()
    needed = suit_manifest.Manifest(inner)
    assert needed.id == (b"dependent.suit",)
    for envelope in (first, second):
        parsed = suit_manifest.Manifest(envelope)
        assert parsed.components == ((b"10",), (b"dependent.suit",)) and parsed.dependencies == (1,)
        assert set(parsed.sections) == {INVOKE, RESOLUTION, INSTALL}
        # They name no hardware, so that a device of ours takes nothing from them.
        assert raises(ProtocolError, drive, parsed, RESOLUTION).code == OUT_OF_RANGE
    processor = suit.Processor(suit_manifest.Manifest(first), VENDOR, CLASS)
    checked = []
    steps = processor.run(INSTALL)
    action = next(steps)
    checked.append((action.kind, action.component, bytes(action.digest) == bytes(needed.digest)))
    assert checked == [(suit.DEPENDENCY, (b"dependent.suit",), True)]
    assert raises(ProtocolError, steps.send, needed).code == OUT_OF_RANGE
