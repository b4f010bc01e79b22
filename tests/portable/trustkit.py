"""What the tests of grants, revocation and entitlements share: a root, publishers, payloads, and a device to hand them to."""

from evergrow_agent import grants
from evergrow_agent.entitlements import Entitlements
from evergrow_agent.grants import Grants
from evergrow_agent.seentime import SeenTime
from evergrow_protocol import hmac
from evergrow_protocol.cbor import Tag, dumps
from evergrow_protocol.grant import GRANT, REVOCATIONS
from faultyflash import FaultyFlash
from installkit import signer
from stillclock import Clock
from support import finish

NOW = 1_795_339_200
DAY = 86_400
SUBJECT = "acme/d1"
KEY = bytes(range(32))
SUBKEY = hmac.digest(KEY, b"eg1 entitlement")
PUBLISHER = 7


def root():
    return signer("root", b"root", 1)


def grant_of(publisher=PUBLISHER, sequence=1, by=None, **more):
    """The payload of a grant; `more`: k7=... replaces or adds keys, None takes one out."""
    key = (by or signer()).key
    payload = {
        0: 1, 1: publisher, 2: sequence, 3: key.kid, 4: key.alg, 5: key.public, 6: key.prefix,
        7: [1, 2, 3], 8: [1, 2, 4], 9: [4, 5], 10: 8192, 11: 0,
    }  # fmt: skip
    return _changed(payload, more)


def list_of(sequence=1, kids=(), publishers=(), features=(), **more):
    return _changed({0: 2, 1: sequence, 2: list(kids), 3: list(publishers), 4: list(features)}, more)


def _changed(payload, more):
    for name in more:
        payload[int(name[1:])] = more[name]
    return dumps({key: payload[key] for key in payload if payload[key] is not None})


def claims_of(sequence=1, feature=1001, publisher=PUBLISHER, subject=SUBJECT, claims=None, **more):
    """`more`: k4=... adds keys to our own claim; `claims`: adds to those around it."""
    own = {0: publisher, 1: feature, 2: sequence}
    for name in more:
        own[int(name[1:])] = more[name]
    content = {2: subject, -65537: own}
    content.update(claims or {})
    return dumps(content)


def token_of(content, key=SUBKEY, alg=5, tag=None, unprotected=None):
    header = dumps({1: alg})
    right = hmac.digest(key, dumps(["MAC0", header, b"", content]))
    return dumps(Tag(17, [header, unprotected or {}, content, right if tag is None else tag]))


def accept(store, payload, content=None, now_s=NOW, by=None):
    """Hand a payload, signed by the root, to `Grants`; what announces it is right unless said otherwise."""
    if content is None:
        content = GRANT if payload[2] == 1 else REVOCATIONS
    return finish(store.accept_steps(content, (by or root()).message(payload), now_s))


def provisioned(flash=None):
    flash = flash or FaultyFlash()
    grants.provision(flash, root().key.public)
    return flash


def with_grant(flash=None, payload=None):
    """-> (flash, Grants) of a device with a root and a grant."""
    flash = provisioned(flash)
    store = Grants(flash)
    accept(store, payload or grant_of())
    return flash, store


class Boot:
    """One boot of a device that has entitlements."""

    def __init__(self, flash=None, utc=NOW, key=SUBKEY, subject=SUBJECT):
        self.flash = flash or FaultyFlash()
        self.clock = Clock(utc)
        self.seen = SeenTime(self.flash, self.clock, self.clock)
        self.entitlements = Entitlements(self.flash, key, subject, self.seen)

    def take(self, token):
        return self.entitlements.take(token)[3]

    def entitled(self, sequence=1, feature=1001):
        from evergrow_protocol.errors import ProtocolError

        try:
            self.entitlements.check(PUBLISHER, feature, sequence)
        except ProtocolError as error:
            assert error.code == 15
            return False
        return True
