"""The chain of usage records in the cloud: flagged on ingest, proven by the audit, and `evergrow ledger audit`."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_device import usage_body
from typer.testing import CliRunner, Result

from evergrow_cloud import audit, devicekeys, devices, usage, wire
from evergrow_cloud.ledger_cli import app
from evergrow_cloud.messages import Usage
from evergrow_cloud.store import Store

KEY = bytes(range(32))
USAGE_KEY = hmac.digest(KEY, b"eg1 usage", hashlib.sha256)
IDS = [(7, 1), (7, 2), (7, 3), (9, 1), (9, 2), (12, 1)]


def sealed(before: bytes, boot: int, seq: int, key: bytes = USAGE_KEY, **fields: Any) -> bytes:
    envelope = [boot, seq, 1_795_339_200, usage_body(**fields)]
    return cbor2.dumps([*envelope, hmac.digest(key, before + cbor2.dumps(envelope), hashlib.sha256)[:8]])


def chained(ids: list[tuple[int, int]], before: bytes = bytes(8), key: bytes = USAGE_KEY) -> list[bytes]:
    found = []
    for boot, seq in ids:
        found.append(sealed(before, boot, seq, key, energy_wh=100 * boot + seq))
        before = found[-1][-8:]
    return found


def decoded(raw: bytes) -> Usage:
    (record,) = wire.decode("usage", raw)  # type: ignore[misc]
    return record


def put(store: Store, *raws: bytes) -> devices.Device:
    with store.transaction():
        device_id = devices.ensure(store, "acme", "washer-1")
        for raw in raws:
            usage.record(store, device_id, decoded(raw), max_conflicts=3)
    return devices.find(store, "washer-1")


def enrolled(store: Store, *raws: bytes) -> devices.Device:
    devicekeys.enrol(store, "acme", "washer-1", KEY)
    return put(store, *raws)


def verdicts(store: Store, device: devices.Device) -> list[str]:
    return [entry.verdict for entry in audit.entries(store, device)]


def first_break(store: Store, device: devices.Device) -> tuple[int, int, str] | None:
    first = audit.audit(store, device).first
    return None if first is None else (first.boot, first.seq, first.verdict)


def test_a_whole_chain_is_clean(store: Store) -> None:
    """EG-CHAIN-001, EG-CHAIN-004"""
    device = enrolled(store, *chained(IDS))
    assert verdicts(store, device) == ["start"] + ["follows"] * 5
    found = audit.audit(store, device)
    assert found.clean and (found.records, found.sound, found.missing, found.breaks) == (6, 6, 0, 0)
    assert usage.unchained(store, device.id) == 0


def test_a_record_that_does_not_fit_is_stored_acked_and_flagged(store: Store) -> None:
    """EG-CHAIN-003"""
    good = chained(IDS)
    forged = sealed(good[1][-8:], 7, 3, key=bytes(32))
    device = enrolled(store, *good[:2], forged)
    assert usage.totals(store).cycles == 3
    assert usage.unchained(store, device.id) == 1
    with store.transaction():
        assert usage.acknowledge(store, device.id, 7) == (3, b"")
    assert first_break(store, device) == (7, 3, "altered")


@settings(max_examples=60)
@given(st.permutations(range(len(IDS))))
def test_in_whatever_order_records_arrive_what_is_whole_in_the_end_is_flagged_nowhere(order: list[int]) -> None:
    """EG-CHAIN-003"""
    good = chained(IDS)
    with Store(":memory:") as store:
        device = enrolled(store, *(good[i] for i in order))
        assert usage.unchained(store, device.id) == 0
        assert audit.audit(store, device).clean


@pytest.mark.parametrize("gone", range(len(IDS) - 1))
def test_a_deleted_record_shows_at_the_next_one(store: Store, gone: int) -> None:
    """EG-CHAIN-004"""
    good = chained(IDS)
    device = enrolled(store, *(raw for i, raw in enumerate(good) if i != gone))
    boot, seq = IDS[gone + 1]
    within = boot == IDS[gone][0]
    assert first_break(store, device) == (boot, seq, "missing" if within else "altered")
    if not within:
        first = audit.audit(store, device).first
        assert first is not None and "records at the end of the boot before were deleted" in first.text
    assert audit.audit(store, device).missing == within
    assert not audit.audit(store, device).clean


@pytest.mark.parametrize("at", range(len(IDS)))
def test_an_altered_record_is_named(store: Store, at: int) -> None:
    """EG-CHAIN-004: one figure is changed in the database, and the tag is left as it was."""
    device = enrolled(store, *chained(IDS))
    boot, seq = IDS[at]
    raw = store.row("SELECT raw FROM usage WHERE boot = ? AND seq = ?", boot, seq)
    assert raw is not None
    record = cbor2.loads(raw[0])
    record[3][4] += 1
    with store.transaction():
        store.execute("UPDATE usage SET raw = ? WHERE boot = ? AND seq = ?", cbor2.dumps(record), boot, seq)
    assert first_break(store, device) == (boot, seq, "altered")
    assert audit.audit(store, device).breaks == 1  # those behind it follow on the tag that it still has


@pytest.mark.parametrize("at", range(len(IDS) - 1))
def test_records_that_changed_places_are_named(store: Store, at: int) -> None:
    """EG-CHAIN-004"""
    device = enrolled(store, *chained(IDS))
    ids = IDS[at : at + 2]
    rows = [store.row("SELECT raw, tag FROM usage WHERE boot = ? AND seq = ?", *id) for id in ids]
    with store.transaction():
        for id, row in zip(ids, reversed(rows), strict=True):
            assert row is not None
            store.execute("UPDATE usage SET raw = ?, tag = ? WHERE boot = ? AND seq = ?", *row, *id)
    assert first_break(store, device) == (*ids[0], "moved")


def test_a_record_put_between_two_others_is_named_and_so_is_the_one_behind_it(store: Store) -> None:
    """EG-CHAIN-004"""
    good = chained(IDS)
    device = enrolled(store, *good, sealed(bytes(8), 8, 1, key=bytes(32)))
    assert verdicts(store, device) == ["start", "follows", "follows", "altered", "elsewhere", "follows", "follows"]


def test_a_chain_that_begins_anew_is_told_apart_from_an_altered_record(store: Store) -> None:
    """EG-CHAIN-004: an erased flash."""
    device = enrolled(store, *chained(IDS[:3]), *chained(IDS[3:]))
    assert verdicts(store, device) == ["start", "follows", "follows", "restart", "follows", "follows"]
    assert first_break(store, device) == (9, 1, "restart")


def test_a_replaced_key_proves_what_comes_after_it_and_the_old_one_what_was_before(store: Store) -> None:
    """EG-CHAIN-004"""
    device = enrolled(store, *chained(IDS[:3]))
    devicekeys.enrol(store, "acme", "washer-1", bytes(32), replace=True)
    new = hmac.digest(bytes(32), b"eg1 usage", hashlib.sha256)
    put(store, *chained(IDS[3:], key=new))
    assert verdicts(store, device) == ["start", "follows", "follows", "restart", "follows", "follows"]


def test_records_without_a_tag_prove_nothing_and_break_the_chain_once_it_has_begun(store: Store) -> None:
    """EG-CHAIN-004"""
    bare = cbor2.dumps([5, 1, 1_795_339_200, usage_body()])
    late = cbor2.dumps([9, 1, 1_795_339_200, usage_body()])
    device = enrolled(store, bare, *chained(IDS[:3]), late)
    assert verdicts(store, device) == ["no key", "start", "follows", "follows", "untagged"]


def test_a_device_that_is_not_enrolled_is_counted_but_proves_nothing(store: Store) -> None:
    device = put(store, *chained(IDS))
    found = audit.audit(store, device)
    assert (found.records, found.sound, found.breaks, found.clean) == (6, 0, 0, False)
    devicekeys.enrol(store, "acme", "washer-1", KEY)
    assert audit.audit(store, device).clean


def test_the_audit_is_bounded_in_memory_and_goes_on_over_pages(store: Store) -> None:
    ids = [(1, seq) for seq in range(1, 2501)]
    device = enrolled(store, *chained(ids))
    assert audit.audit(store, device).sound == 2500


def test_merged_records_bring_their_sums_by_feature(store: Store) -> None:
    """EG-USE-009"""
    sums = [{2: 60, 4: 6, 5: 600, 9: 3}, {2: 20, 4: 2, 5: 200, 9: 1}]
    body = {2: 90, 4: 9, 5: 900, 9: 5, 16: [1, 1001, sums[0], 9, 1007, sums[1]], 17: 2}
    put(store, cbor2.dumps([7, 1, 1_795_339_200, body]), cbor2.dumps([7, 2, [5], {0: 1, 2: 5, 3: [1, 1001], 4: 10}]))
    found = [(share.publisher, share.feature, share.cycles, share.energy_wh, share.water_ml) for share in usage.ledger(store)]
    assert found == [(1, 1001, 4, 16, 600), (9, 1007, 1, 2, 200)]
    assert usage.totals(store).cycles == 6 and usage.totals(store).energy_wh == 19
    (record, _) = usage.records(store, 1)
    assert record.usage.unlisted == 2 and record.usage.uses[0].duration_s == 60


# -- the command


def evergrow(*args: object) -> Result:
    return CliRunner().invoke(app, ["audit", *(str(arg) for arg in args)], catch_exceptions=False)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    with Store(tmp_path / "cloud.db") as store:
        enrolled(store, *chained(IDS))
    return tmp_path / "cloud.db"


def test_the_command_says_that_a_chain_is_whole(db: Path) -> None:
    """EG-CHAIN-004"""
    result = evergrow("acme/washer-1", "--db", db)
    assert result.exit_code == 0 and "6 records, 6 of them proven" in result.stdout and "the chain is whole" in result.stdout
    answer = json.loads(evergrow("washer-1", "--db", db, "--tenant", "acme", "--json").stdout)
    assert (answer["clean"], answer["proven"], answer["first_break"]) == (True, 6, None)


def test_the_command_names_the_first_break_and_fails(db: Path) -> None:
    """EG-CHAIN-004"""
    with Store(db) as store, store.transaction():
        store.execute("DELETE FROM usage WHERE boot = 7 AND seq = 2")
        store.execute("DELETE FROM usage WHERE boot = 9 AND seq = 1")
    result = evergrow("washer-1", "--db", db)
    assert result.exit_code == 1
    assert "2 breaks; the first: record 7/3 does not follow: record 7/2 is before it not there" in result.stdout
    answer = json.loads(evergrow("washer-1", "--db", db, "--json").stdout)
    assert answer["first_break"]["verdict"] == "missing" and answer["missing"] == 2


def test_the_export_can_be_verified_by_anybody_with_the_usage_key(db: Path, tmp_path: Path) -> None:
    out = tmp_path / "washer-1.jsonl"
    assert evergrow("washer-1", "--db", db, "--export", out).exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["boot"], line["seq"]) for line in lines] == IDS
    before = bytes(8)
    for line in lines:
        *envelope, tag = cbor2.loads(bytes.fromhex(line["payload_hex"]))
        assert line["previous_tag_hex"] == before.hex() and line["tag_hex"] == tag.hex()
        assert hmac.digest(USAGE_KEY, before + cbor2.dumps(envelope), hashlib.sha256)[:8] == tag
        before = tag
    assert not any(secret.hex() in out.read_text() for secret in (KEY, USAGE_KEY))


def test_the_command_says_what_is_wrong_in_a_sentence(db: Path, tmp_path: Path) -> None:
    for args, sentence in (
        (("nobody", "--db", db), "no device 'nobody'"),
        (("washer-1", "--db", tmp_path / "missing.db"), "there is no database"),
        (("washer-1", "--db", db, "--export", tmp_path / "no" / "x.jsonl"), "cannot write"),
    ):
        result = evergrow(*args)
        assert result.exit_code == 1 and sentence in result.stderr and "Traceback" not in result.output


def test_an_audit_of_a_device_that_is_not_enrolled_says_so(tmp_path: Path) -> None:
    with Store(tmp_path / "cloud.db") as store:
        put(store, *chained(IDS))
    result = evergrow("washer-1", "--db", tmp_path / "cloud.db")
    assert result.exit_code == 1 and "not enrolled" in result.stdout


