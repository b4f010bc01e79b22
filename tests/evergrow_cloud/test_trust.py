"""Grants and revocation lists in the cloud, and `evergrow trust`: offered to whoever is behind."""

import itertools
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from typer.testing import CliRunner, Result

from evergrow_cloud import offers, strict, trust
from evergrow_cloud.errors import CloudError
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store
from evergrow_cloud.trust_cli import app
from evergrow_protocol import messages

NOW = 1_795_339_200


def signed(payload: dict[int, Any]) -> bytes:
    """As a root makes it, but for the signature, which is the device's business."""
    header = cbor2.dumps({1: -46, 4: b"root"})
    return cbor2.dumps(cbor2.CBORTag(18, [header, {}, cbor2.dumps(payload), b"signature"]))


def grant(sequence: int, publisher: int = 2) -> bytes:
    return signed({0: 1, 1: publisher, 2: sequence})


def revocations(sequence: int) -> bytes:
    return signed({0: 2, 1: sequence, 2: [], 3: [], 4: []})


def born(store: Store, device: str = "washer-1", tenant: str = "acme", **more: Any) -> None:
    """`grants`, `revocations`: what its birth says; without `grants` it has no root key."""
    body = {0: 0, 1: 1, 2: 1, 3: "m", 4: "1", 5: [], 6: [], 7: 1024, 8: 256, 9: 0}
    if "grants" in more:
        body |= {11: more["grants"], 12: more.get("revocations", 0)}
    hear(store, "birth", body, device, tenant)


NUMBERS = itertools.count(1)


def hear(store: Store, kind: str, body: object, device: str = "washer-1", tenant: str = "acme") -> None:
    envelope = strict.dumps([7, next(NUMBERS), NOW, body])
    Ingest(store, Limits()).apply([Incoming(f"eg1/{tenant}/{device}/up/{kind}", envelope)], NOW)


def due(store: Store) -> list[tuple[str, int]]:
    """[(device, content)] of what is to be offered, as the device reads it."""
    found = []
    for one in offers.due(store, 9):
        kind, message = one.message()
        assert kind == "offer"
        _, size, content = messages.parse_offer(message)
        assert size == one.envelope_bytes
        found.append((f"{one.tenant}/{one.device}", content))
        offers.sent(store, one.transfer)
    return found


def test_the_newest_is_offered_after_birth_to_whoever_is_behind(store: Store) -> None:
    """EG-TRUST-014"""
    trust.put(store, "acme", trust.read(grant(5)))
    trust.put(store, "acme", trust.read(revocations(3)))
    born(store, grants=[])
    assert sorted(due(store)) == [("acme/washer-1", 1), ("acme/washer-1", 2)]
    born(store, "washer-2", grants=[[2, 4], [3, 9]], revocations=3)
    assert due(store) == [("acme/washer-2", 1)]
    born(store, "washer-3", grants=[[2, 5]], revocations=3)
    born(store, "washer-4")  # without a root key
    born(store, "washer-5", "other", grants=[])
    assert due(store) == []


def test_a_device_that_is_kept_from_it_is_offered_it_at_each_birth(store: Store) -> None:
    """EG-TRUST-014"""
    trust.put(store, "acme", trust.read(revocations(3)))
    for _ in range(3):
        born(store, grants=[], revocations=2)
        assert due(store) == [("acme/washer-1", 2)]


def test_what_a_device_refused_is_not_offered_again_but_the_next_one_is(store: Store) -> None:
    """EG-FEAT-015"""
    trust.put(store, "acme", trust.read(grant(5)))
    born(store, grants=[])
    assert due(store)
    transfer = offers.transfers(store, 1)[0].transfer
    hear(store, "feat", {0: transfer, 1: 10, 2: 6})
    born(store, grants=[])
    assert due(store) == []
    assert trust.put(store, "acme", trust.read(grant(6))) == 1
    assert due(store) == [("acme/washer-1", 1)]


@pytest.mark.parametrize("code", [7, 12, 13])
def test_what_a_device_had_no_room_or_time_for_is_offered_again(store: Store, code: int) -> None:
    """EG-TRUST-014: a full flash, or a line that stalls, must not keep a revocation from it for ever."""
    trust.put(store, "acme", trust.read(revocations(5)))
    born(store, grants=[])
    assert due(store)
    hear(store, "feat", {0: offers.transfers(store, 1)[0].transfer, 1: code, 2: 6})
    born(store, grants=[])
    assert due(store) == [("acme/washer-1", 2)]


def test_a_grant_that_was_refused_is_offered_again_when_the_device_has_another_list(store: Store) -> None:
    """EG-TRUST-014: its key was revoked, and is no more."""
    trust.put(store, "acme", trust.read(grant(5)))
    born(store, grants=[], revocations=1)
    assert due(store)
    hear(store, "feat", {0: offers.transfers(store, 1)[0].transfer, 1: 10, 2: 6})
    trust.put(store, "acme", trust.read(revocations(2)))
    assert due(store) == [("acme/washer-1", 2)]
    born(store, grants=[], revocations=1)
    assert due(store) == [("acme/washer-1", 2)]
    hear(store, "feat", {0: offers.transfers(store, 1)[1].transfer, 1: 0, 2: 4})
    born(store, grants=[], revocations=2)
    assert due(store) == [("acme/washer-1", 1)]
    hear(store, "feat", {0: offers.transfers(store, 1)[2].transfer, 1: 10, 2: 6})
    born(store, grants=[], revocations=2)
    assert due(store) == []


def test_a_list_that_was_offered_before_the_refused_grant_and_taken_after_it_counts(store: Store) -> None:
    """EG-TRUST-014: what counts is the order in which the device answered, not that in which the transfers began."""
    trust.put(store, "acme", trust.read(revocations(2)))
    born(store, grants=[], revocations=1)
    trust.put(store, "acme", trust.read(grant(5)))
    assert sorted(due(store)) == [("acme/washer-1", 1), ("acme/washer-1", 2)]
    listed, granted = [one.transfer for one in offers.transfers(store, 1)]
    hear(store, "feat", {0: granted, 1: 10, 2: 6})
    hear(store, "feat", {0: listed, 1: 0, 2: 4})
    born(store, grants=[], revocations=2)
    assert due(store) == [("acme/washer-1", 1)]


def test_an_older_one_does_not_replace_the_newest(store: Store) -> None:
    """EG-TRUST-003, EG-TRUST-010"""
    for make in (grant, revocations):
        trust.put(store, "acme", trust.read(make(5)))
        with pytest.raises(CloudError, match="does not follow"):
            trust.put(store, "acme", trust.read(make(4)))
    trust.put(store, "acme", trust.read(grant(1, publisher=3)))
    kept = [(one.content, one.publisher, one.sequence) for one in trust.of_tenant(store, "acme")]
    assert kept == [(1, 2, 5), (1, 3, 1), (2, 0, 5)]


NO_DOCUMENTS = [b"", b"\xff", cbor2.dumps(1), signed({}), signed({0: 3, 1: 1}), signed({0: 1, 1: "x", 2: 1}), bytes(9000)]


@pytest.mark.parametrize("data", NO_DOCUMENTS)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(CloudError):
        trust.read(data)


def evergrow(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


def test_the_command_pushes_and_lists(tmp_path: Path) -> None:
    """EG-TRUST-014"""
    db, file = tmp_path / "cloud.db", tmp_path / "northwash.grant"
    with Store(db) as store:
        born(store, grants=[])
    file.write_bytes(grant(5))
    done = evergrow("push", file, "--tenant", "acme", "--db", db, "--json")
    assert json.loads(done.output) == {"kind": "grant", "publisher": 2, "sequence": 5, "devices": 1}
    assert json.loads(evergrow("list", "--tenant", "acme", "--db", db, "--json").output)[0]["sequence"] == 5
    file.write_bytes(grant(4))
    assert evergrow("push", file, "--tenant", "acme", "--db", db).exit_code == 1
    assert evergrow("push", tmp_path / "none", "--tenant", "acme", "--db", db).exit_code == 1


def test_the_command_shows_what_is_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    key = {3: b"key-id-8", 4: -46, 5: bytes(60), 6: b"northwash"}
    file.write_bytes(signed({0: 1, 1: 2, 2: 5, **key, 7: [2], 8: [1, 999], 9: [1000], 10: 64, 11: 0, 13: NOW}))
    shown = json.loads(evergrow("inspect", file, "--json").output)
    assert (shown["kind"], shown["publisher"], shown["prefix"], shown["key"]) == ("grant", 2, "northwash", b"key-id-8".hex())
    assert (shown["signals"], shown["actuators"], shown["meters"]) == (["temp"], ["inlet", "actuator-999"], ["usage-1000"])
    assert shown["not_before"] is None and shown["not_after"] == "2026-11-22T09:20:00Z"
    file.write_bytes(signed({0: 2, 1: 3, 2: [b"key"], 3: [9], 4: [[2, 1001, 0, 6]]}))
    said = evergrow("inspect", file).output
    assert "revocation list" in said and "2/1001:0-6" in said
    for data in NO_DOCUMENTS:
        file.write_bytes(data)
        assert evergrow("inspect", file).exit_code == 1
    assert evergrow("inspect", tmp_path / "none").exit_code == 1


def test_what_each_birth_asks_is_answered_by_an_index(store: Store) -> None:
    """A scan of all transfers for each birth would be felt by a fleet that comes back at once."""
    asked: list[tuple[Any, ...]] = []
    row = store.row

    def watch(sql: str, *parameters: Any) -> Any:
        asked.append((sql, *parameters))
        return row(sql, *parameters)

    trust.put(store, "acme", trust.read(grant(5)))
    store.row = watch  # type: ignore[method-assign]
    born(store, grants=[])
    ((sql, *parameters),) = [query for query in asked if "transfers" in query[0] and "content > 0" in query[0]]
    plan = store.rows("EXPLAIN QUERY PLAN " + sql, *parameters)
    assert [line for *_, line in plan if line.startswith("SCAN")] == [], plan
