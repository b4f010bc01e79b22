"""`protocol/contents.cddl` against what the tools build, the examples of SPEC.md, and what the device refuses."""

import re
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cddl_verifier import Validator

from evergrow_agent.programme import Programme
from evergrow_protocol import entitlement, feature, feature_code, grant
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.suit_envelope import Envelope
from evergrow_sim.appliances.washer import Washer
from evergrow_tools import feature_build, grammar_gen, keys, trust_build

GRAMMAR = Validator(grammar_gen.FOLDER / "contents.cddl")
FEATURES = sorted((grammar_gen.FOLDER.parent / "firmware" / "features").glob("*/feature.toml"))
KEY = bytes(range(32))

UNLOCK = {0: 1, 1: 1002, 2: "spin", 3: "1", 4: {4: 1400}, 6: [1, 1]}
STEP = {0: 4, 1: {2: 1}, 2: [[3, 2, 600, 10]], 3: [[1, 1, 200]], 4: 20, 5: 300, 6: 3, 7: [[4, 45, 12, 4]]}
PROGRAMME = [1001, [STEP], {0: 600}]
CARE = {0: 2, 1: 1001, 2: "care", 3: "1", 5: PROGRAMME, 8: [60, 2], 9: 1, 12: 1}
NEEDS = {0: [2], 1: [4], 2: [1000], 4: {1: [0, 10, 5]}, 5: 4096, 6: 20, 7: 1}
CODE = {0: 3, 1: 1003, 2: "code", 3: "1", 10: NEEDS, 11: b"\x4d\x06"}
GRANT = {
    0: 1, 1: 2, 2: 7, 3: b"12345678", 4: -46, 5: bytes(60), 6: b"northwash", 7: [1, 2], 8: [1, 2, 4], 9: [4], 10: 24576, 11: 0,
}  # fmt: skip
LIST = {0: 2, 1: 3, 2: [b"12345678"], 3: [], 4: [[2, 1001, 0, 6]]}
TERMS = {0: 2, 1: 1001, 2: 4, 3: [0, 9], 4: 20, 5: 60, 6: True, 7: 2, 8: True}
CLAIMS = {2: "acme/washer-1", 4: 1_795_339_200, 6: 1, -65537: TERMS}
GOOD = {
    "feature": [UNLOCK, CARE, CODE], "programme": [PROGRAMME], "needs": [NEEDS], "grant": [GRANT], "revocation-list": [LIST],
    "entitlement-claims": [CLAIMS],
}  # fmt: skip
INSTEAD: list[Any] = [-1, 0, 1, 2, 9, 999, 65536, 2**32, "", "x" * 200, b"", b"x" * 40, [], [1], {}, {-1: 0}, {1: 5}, True, None]


def fits(rule: str, data: bytes) -> bool:
    return bool(GRAMMAR.validate(data, root_type=rule).valid)


def taken(rule: str, data: bytes) -> bool:
    """Whether the device reads it."""
    try:
        match rule:
            case "feature":
                found = feature.parse(data)
                if found.needs is not None:
                    feature_code.parse(found.needs)
                if found.programme is not None:
                    Programme(found.programme, range(1, 65536), range(1, 65536))
            case "programme":
                Programme(data, range(1, 65536), range(1, 65536))
            case "needs":
                feature_code.parse(data)
            case "grant":
                grant.parse_grant(data)
            case "revocation-list":
                grant.parse_revocations(data)
            case _:
                entitlement.parse(data)
    except ProtocolError:
        return False
    return True


def changes(item: Any) -> list[Any]:
    """`item` with one thing in it left out or replaced, at any depth."""
    found = list(INSTEAD)
    if isinstance(item, dict):
        found += [{key: value for key, value in item.items() if key != gone} for gone in item]
        found += [item | {-3: 0}, item | {99: [1, {2: "new"}]}]
        found += [item | {key: one} for key, value in item.items() for one in changes(value)]
    elif isinstance(item, list):
        found += [item[:i] + item[i + 1 :] for i in range(len(item))] + [[*item, 1]]
        found += [[*item[:i], one, *item[i + 1 :]] for i, value in enumerate(item) for one in changes(value)]
    return found


@pytest.mark.parametrize("path", FEATURES, ids=lambda path: path.parent.name)
def test_the_bodies_of_the_example_features_are_in_the_grammar(path: Path) -> None:
    """EG-BODY-001, EG-PROG-001"""
    built = feature_build.build(path.parent)
    bodies = [bytes(body) for body in (*built.payloads.values(), *Envelope(built.envelope).payloads.values())]
    whole = [body for body in bodies if taken("feature", body)]
    assert whole and all(fits("feature", body) for body in whole)


def test_the_programmes_of_the_appliance_are_in_the_grammar() -> None:
    """EG-PROG-001"""
    assert all(fits("programme", bytes(programme)) for programme in Washer.programmes.values())


def test_what_the_root_signs_and_the_cloud_issues_is_in_the_grammar(tmp_path: Path) -> None:
    """EG-TRUST-001, EG-ENT-001"""
    root = keys.new_key(tmp_path, "root", 65535, "root", height=5)
    publisher = keys.new_key(tmp_path, "northwash", 2, "northwash", height=5).public
    assert fits("signed", trust_build.build_grant(root, publisher, 1, [1], [2], [], 4096, 0))
    assert fits("signed", trust_build.build_revocations(root, 1, [publisher.kid], [9], [(2, 1001, 0, 6)]))
    for tag in (b"", b"\xd1"):
        payload = cbor2.dumps([b"\xa1\x01\x05", {}, cbor2.dumps(CLAIMS, canonical=True), bytes(32)], canonical=True)
        assert fits("entitlement", tag + payload)


@pytest.mark.parametrize("rule", GOOD)
def test_the_grammar_takes_no_less_than_the_device_and_not_much_more(rule: str) -> None:
    """EG-ENC-007, EG-BODY-001, EG-PROG-001: what is changed in one place, judged by both."""
    for good in GOOD[rule]:
        data = cbor2.dumps(good, canonical=True)
        assert fits(rule, data) and taken(rule, data)
        for changed in changes(good):
            data = cbor2.dumps(changed, canonical=True)
            if taken(rule, data):
                assert fits(rule, data), (changed, data.hex())


def test_the_example_programme_of_the_specification_is_one() -> None:
    """EG-PROG-001, EG-PROG-002"""
    (example,) = re.findall(r"Example: a rinse, \d+ bytes, `([0-9a-f]+)`", (grammar_gen.FOLDER / "SPEC.md").read_text())
    assert fits("programme", bytes.fromhex(example)) and taken("programme", bytes.fromhex(example))
