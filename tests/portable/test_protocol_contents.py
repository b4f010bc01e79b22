"""The vectors of protocol/vectors/contents: what messages carry as bytes, as a device judges it.

Run in the project's folder, as `make test` does.
"""

import json

from evergrow_agent.grants import root_key
from evergrow_agent.programme import Programme
from evergrow_protocol import cose, entitlement, feature, feature_code, grant, hmac, suit
from evergrow_protocol.errors import NOT_AUTHORISED, ProtocolError
from support import finish

HEAP = "1M"
FOLDER = "protocol/vectors/contents/"
IDS = range(1, 65536)


def load(name):
    with open(FOLDER + name + ".json") as file:
        return json.load(file)


def judged(name, read):
    """Each vector is taken, or refused with its code."""
    for vector in load(name)["vectors"]:
        code = 0
        try:
            read(bytes.fromhex(vector["hex"]))
        except ProtocolError as error:
            code = error.code
        assert code == vector.get("code", 0), (name, vector["name"], code)
        assert (vector["expect"] == "valid") == (code == 0), vector["name"]


def programme(data):
    return Programme(data, IDS, IDS)


def test_bodies_of_features():
    """EG-BODY-001, EG-FEAT-012, EG-CODE-001"""

    def read(data):
        found = feature.parse(data)
        if found.needs is not None:
            feature_code.parse(found.needs)
        if found.programme is not None:
            programme(found.programme)

    judged("feature", read)


def test_programmes():
    """EG-PROG-001"""
    judged("programme", programme)


def test_envelopes():
    """EG-FEAT-002, EG-FEAT-003, EG-FEAT-004"""
    about = load("envelope")
    kid, public = bytes.fromhex(about["publisher_kid"]), bytes.fromhex(about["publisher_public"])
    key = cose.Key(kid, cose.ALG_HSS_LMS, public, 1, about["prefix"].encode())
    judged("envelope", lambda data: finish(suit.open_steps(data, [key])))


def signed(name, parse):
    root = root_key(cose.ALG_HSS_LMS, bytes.fromhex(load(name)["root_public"]))
    judged(name, lambda data: parse(bytes(finish(grant.open_steps(data, root)))))


def test_grants():
    """EG-TRUST-001, EG-TRUST-002"""
    signed("grant", grant.parse_grant)


def test_revocation_lists():
    """EG-TRUST-001, EG-TRUST-010"""
    signed("revocation-list", grant.parse_revocations)


def test_entitlements():
    """EG-ENT-001, EG-KEY-001"""
    about = load("entitlement")
    key = hmac.digest(bytes.fromhex(about["device_key"]), b"eg1 entitlement")

    def read(data):
        if entitlement.parse(entitlement.authentic(data, key)).subject != about["subject"]:
            raise ProtocolError(NOT_AUTHORISED, "of another device")

    judged("entitlement", read)
