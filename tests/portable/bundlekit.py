"""Features that come inside the envelope of others, for tests of dependencies. Portable."""

from evergrow_protocol.cbor import dumps
from evergrow_protocol.suit_envelope import Envelope
from evergrow_sim.publisher import manifest
from installkit import CLASS, VENDOR, digest_of

FITS = [20, {1: VENDOR, 2: CLASS}, 1, 15, 2, 15]


def whole(by, component, body, sequence=1):
    """-> an envelope with the feature's body inside."""
    shared = FITS + [20, {3: digest_of(body), 14: len(body), 21: "#body"}]
    encoded = manifest(shared, {20: [21, 2, 3, 15], 7: [3, 15]}, (component,), sequence)
    return by.envelope(encoded, {"#body": body})


def named(envelope):
    """The encoded digest by which a manifest names another."""
    return dumps([-16, bytes(Envelope(envelope).digest)])


def around(by, component, body, needed, other, sequence=1, digest=None):
    """-> an envelope with the body inside, and with `needed`, the envelope of component `other`, on which it depends."""
    common = {1: {1: {1: other}}, 2: [component]}
    common[4] = dumps(FITS + [20, {3: digest_of(body), 14: len(body), 21: "#body"}])
    theirs = [12, 1, 20, {3: digest or named(needed), 21: "#needed"}]
    install = theirs + [21, 2, 7, 15, 11, 0, 12, 0, 21, 2, 3, 15]
    validate = theirs + [7, 15, 11, 0, 12, 0, 3, 15]
    encoded = manifest(None, {20: install, 7: validate}, sequence=sequence, members={3: dumps(common)})
    return by.envelope(encoded, {"#body": body, "#needed": needed})
