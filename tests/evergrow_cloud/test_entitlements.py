"""Entitlements in the cloud, and `evergrow entitle`: issued, sent until answered, read by a device."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from evergrow_cloud import devicekeys, devices, entitlements, strict
from evergrow_cloud.entitle_cli import main
from evergrow_cloud.entitlements import Terms
from evergrow_cloud.errors import CloudError
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store
from evergrow_protocol import entitlement, messages

KEY = bytes(range(32))
NOW = 1_795_339_200
EXAMPLE = bytes.fromhex(
    "d18443a10105a05834a4026d61636d652f7761736865722d31041a6b36ec80061a6b02b3c03a00010000a60002011903e902040414051a00093a8006f5"
    "582087e8086f625d33073934397c9b53659d5352428ca60699d6f161a20e55521f5f"
)


@pytest.fixture
def enrolled(store: Store) -> Store:
    devicekeys.enrol(store, "acme", "washer-1", KEY)
    with store.transaction():
        device_id = devices.ensure(store, "acme", "washer-1")
        store.execute("UPDATE devices SET link = 1 WHERE id = ?", device_id)
    return store


def subkey(store: Store) -> bytes:
    return devicekeys.subkeys(store, "acme", "washer-1", entitlements.ENTITLEMENT)[0]


def due(store: Store) -> list[entitlement.Entitlement]:
    """As the device reads them."""
    tokens = [messages.parse_entitlement(one.message) for one in entitlements.due(store, 9)]
    return [entitlement.parse(entitlement.authentic(token, subkey(store))) for token in tokens]


def hear(store: Store, kind: str, body: object) -> None:
    envelope = strict.dumps([7, 1, NOW, body])
    Ingest(store, Limits()).apply([Incoming(f"eg1/acme/washer-1/up/{kind}", envelope)], NOW)


BIRTH = {0: 0, 1: 1, 2: 1, 3: "m", 4: "1", 5: [], 6: [], 7: 1024, 8: 256, 9: 0}


def test_the_example_of_the_specification_is_what_the_cloud_seals(enrolled: Store) -> None:
    """EG-ENT-001"""
    terms = Terms(2, 1001, uses=20, expires_utc_s=1_798_761_600, grace_s=604_800, trial=True)
    assert entitlements.seal(subkey(enrolled), "acme/washer-1", 4, NOW, terms) == EXAMPLE


def test_what_is_issued_is_read_by_the_device(enrolled: Store) -> None:
    """EG-ENT-006"""
    sequence = entitlements.issue(enrolled, "acme", "washer-1", Terms(2, 1001, 3, 9, 5, NOW + 60, 7, True, 2))
    (found,) = due(enrolled)
    assert (found.subject, found.publisher, found.feature, found.sequence) == ("acme/washer-1", 2, 1001, sequence)
    assert (found.first, found.last, found.uses, found.expires, found.grace_s) == (3, 9, 5, NOW + 60, 7)
    assert (found.trial, found.tier, found.issued) == (True, 2, NOW)


def test_it_is_sent_again_after_birth_until_it_is_answered(enrolled: Store) -> None:
    """EG-ENT-013"""
    sequence = entitlements.issue(enrolled, "acme", "washer-1", Terms(2, 1001))
    (one,) = entitlements.due(enrolled, 9)
    entitlements.sent(enrolled, one.id)
    assert not due(enrolled)
    for code, again in ((13, True), (0, False)):
        hear(enrolled, "birth", BIRTH)
        (one,) = entitlements.due(enrolled, 9)
        entitlements.sent(enrolled, one.id)
        hear(enrolled, "ent", [2, 1001, sequence, code])
        hear(enrolled, "birth", BIRTH)
        assert bool(due(enrolled)) == again
    (issued,) = entitlements.of_device(enrolled, devices.find(enrolled, "washer-1").id)
    assert issued.code == 0


def test_a_newer_one_is_sent_in_place_of_the_older(enrolled: Store) -> None:
    """EG-ENT-013, EG-ENT-003"""
    first = entitlements.issue(enrolled, "acme", "washer-1", Terms(2, 1001))
    second = entitlements.issue(enrolled, "acme", "washer-1", Terms(2, 1001, uses=0))
    assert second > first
    hear(enrolled, "birth", BIRTH)
    (found,) = due(enrolled)
    assert (found.sequence, found.uses) == (second, 0)


def test_an_answer_without_a_name_ends_the_oldest(enrolled: Store) -> None:
    """EG-ENT-013"""
    entitlements.issue(enrolled, "acme", "washer-1", Terms(2, 1001))
    hear(enrolled, "ent", [0, 0, 0, 10])
    assert not due(enrolled)
    assert entitlements.of_device(enrolled, 1)[0].code == 10


def test_a_device_without_a_key_gets_none(store: Store) -> None:
    """EG-ENT-001"""
    with pytest.raises(CloudError, match="enrol"):
        entitlements.issue(store, "acme", "washer-1", Terms(2, 1001))


app = typer.Typer()
app.command()(main)


def entitle(db: Path, *args: object) -> Result:
    return CliRunner().invoke(app, [*(str(arg) for arg in args), "--db", str(db)], catch_exceptions=False)


def test_the_command_issues_revokes_and_lists(tmp_path: Path) -> None:
    """EG-ENT-004"""
    db = tmp_path / "cloud.db"
    with Store(db) as store:
        devicekeys.enrol(store, "acme", "washer-1", KEY)
        with store.transaction():
            devices.ensure(store, "acme", "washer-1")
    made = entitle(db, "washer-1", "2/1001", "--uses", 20, "--expires", "30d", "--trial", "--tier", 2, "--versions", "1-9")
    assert made.exit_code == 0 and "granted" in made.output
    assert entitle(db, "washer-1", "2:1001", "--revoke").exit_code == 0
    assert entitle(db, "washer-1", "2/1002", "--expires", "2027-01-31").exit_code == 0
    listed = json.loads(entitle(db, "washer-1", "--json").output)
    assert [(row["feature"], row["uses"], row["answer"]) for row in listed] == [(1001, 0, None), (1002, None, None)]
    assert listed[1]["expires"] == "2027-01-31T00:00:00Z"
    assert "1002" in entitle(db, "washer-1").output


def test_a_clock_that_was_wrong_is_put_right_with_the_next_one(enrolled: Store) -> None:
    """EG-ENT-014"""
    entitlements.issue(enrolled, "acme", "washer-1", Terms(2, 1001))
    (plain,) = due(enrolled)
    entitlements.issue(enrolled, "acme", "washer-1", Terms(2, 1001, sets_time=True))
    (right,) = due(enrolled)
    assert (plain.sets_time, right.sets_time) == (False, True)
    assert right.issued >= plain.issued > 0 and right.sequence > plain.sequence


def test_what_the_command_cannot_do_it_says_in_a_sentence(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    with Store(db) as store, store.transaction():
        devices.ensure(store, "acme", "washer-1")
    for args, code, text in (
        (("washer-1", "2/1001"), 1, "not enrolled"),
        (("washer-2", "2/1001"), 1, "no device"),
        (("washer-1", "1001"), 2, "2/1001"),
        (("washer-1", "2/1001", "--expires", "soon"), 2, "30d"),
        (("washer-1", "2/1001", "--versions", "9-1"), 2, "FIRST-LAST"),
    ):
        done = entitle(db, *args)
        assert done.exit_code == code and text in done.output + (done.stderr if done.stderr_bytes else ""), (args, done.output)
