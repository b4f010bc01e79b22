"""What a device took out of use by itself is kept, and shown, until it takes a version of it again."""

import json
from pathlib import Path
from typing import Any

from scripted_device import envelope
from typer.testing import CliRunner

from evergrow_cloud import devices, failures, offers
from evergrow_cloud.cli import app
from evergrow_cloud.ingest import Incoming, Ingest
from evergrow_cloud.limits import Limits
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes

NOW_S = 1_795_339_200
COACH = [2, 1020, 1]


class Talk:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.ingest = Ingest(store, Limits())
        self.seq = 0

    def say(self, transfer: int, code: int, state: int, feature: list[int] | None = COACH, text: str = "it raised") -> None:
        self.seq += 1
        named: dict[int, Any] = {3: feature} if feature else {}
        body = {0: transfer, 1: code, 2: state, **named, 9: text}
        self.ingest.apply([Incoming("eg1/acme/f1/up/feat", envelope(7, self.seq, body), False)], NOW_S)

    def kept(self) -> list[tuple[int, int, int, str | None]]:
        found = failures.of_device(self.store, devices.find(self.store, "f1").id)
        return [(row.feature, row.sequence, row.code, row.text) for row in found]


def test_it_is_kept_until_the_device_takes_a_version_again_or_removes_it(store: Store) -> None:
    """EG-CODE-009, EG-FEAT-014"""
    talk = Talk(store)
    talk.say(0, codes.REVERT, offers.REVERTED)
    talk.say(0, codes.REVERT, offers.REVERTED, text="it raised again")
    talk.say(0, codes.BAD_DIGEST, offers.REVERTED, [2, 1021, 3], "damaged on flash")
    assert talk.kept() == [(1020, 1, codes.REVERT, "it raised again"), (1021, 3, codes.BAD_DIGEST, "damaged on flash")]
    talk.say(8, codes.OK, offers.TRIAL, [2, 1020, 2])
    assert talk.kept() == [(1021, 3, codes.BAD_DIGEST, "damaged on flash")]
    talk.say(0, codes.OK, offers.REMOVED, [2, 1021, 3])
    assert talk.kept() == []


def test_what_is_no_failure_is_not_kept(store: Store) -> None:
    talk = Talk(store)
    talk.say(0, codes.STORAGE, offers.REVERTED, None)  # the index of features
    talk.say(9, codes.REVERT, offers.REVERTED)  # a trial: its transfer tells
    talk.say(0, codes.OK, offers.REMOVED)
    assert talk.kept() == []


def test_a_device_that_says_much_is_not_believed_all(store: Store) -> None:
    talk = Talk(store)
    for feature in range(1000, 1000 + 2 * failures.MAX_FEATURES):
        talk.say(0, codes.REVERT, offers.REVERTED, [2, feature, 1])
    assert len(talk.kept()) == failures.MAX_FEATURES


def test_status_shows_it(tmp_path: Path) -> None:
    """EG-CODE-009"""
    db = tmp_path / "cloud.db"
    with Store(db) as store:
        Talk(store).say(0, codes.REVERT, offers.REVERTED)
    done = CliRunner().invoke(app, ["status", "f1", "--db", str(db), "--json"], catch_exceptions=False)
    (row,) = json.loads(done.stdout)["out_of_use"]
    assert (row["feature"], row["code_name"], row["text"]) == (1020, "revert", "it raised")
    assert "out of use" in CliRunner().invoke(app, ["status", "f1", "--db", str(db)], catch_exceptions=False).stdout
