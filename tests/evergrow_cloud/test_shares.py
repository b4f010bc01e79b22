"""Revenue shares: usage times a tariff."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_device import envelope, usage_body
from typer.testing import CliRunner

from evergrow_cloud import devices, shares, usage, wire
from evergrow_cloud.errors import TariffError
from evergrow_cloud.ledger_cli import app
from evergrow_cloud.shares import Earning, Price, Tariff
from evergrow_cloud.store import Store
from evergrow_cloud.usage import Share

TARIFF = """
currency = "EUR"

[[feature]]
publisher = 2
feature = 1001
per_use = "0.10"
share = "70"
"""


def written(tmp_path: Path, text: str = TARIFF) -> Path:
    path = tmp_path / "tariff.toml"
    path.write_text(text)
    return path


def put(store: Store, seq: int, fields: dict[int, object]) -> None:
    (record,) = wire.decode("usage", envelope(7, seq, dict(sorted((usage_body() | fields).items())), None))
    with store.transaction():
        usage.record(store, devices.ensure(store, "acme", "washer-1"), record, max_conflicts=3)  # type: ignore[arg-type]


def test_a_use_under_a_trial_is_counted_and_nobody_is_paid_for_it(store: Store, tmp_path: Path) -> None:
    """EG-ENT-011"""
    put(store, 1, {3: [2, 1001]})
    put(store, 2, {3: [1, 1002, 2, 1001], 18: 2})
    (free, paid) = shares.earnings(usage.ledger(store), shares.read(written(tmp_path)))
    assert (free.publisher, free.uses, free.gross) == (1, 1, None)
    assert paid == Earning(2, 1001, 2, 1, Decimal("0.10"), Decimal("0.07"), Decimal("0.03"))


def test_a_record_of_sums_tells_how_many_cycles_were_under_a_trial(store: Store) -> None:
    """EG-ENT-011 EG-USE-009"""
    sums = {9: 5, 16: [2, 1001, {2: 60, 4: 7, 9: 5, 18: 3}]}
    body = {key: value for key, value in usage_body().items() if key not in (0, 1, 3)}
    (record,) = wire.decode("usage", envelope(7, 1, dict(sorted((body | sums).items())), None))
    with store.transaction():
        usage.record(store, devices.ensure(store, "acme", "washer-1"), record, max_conflicts=3)  # type: ignore[arg-type]
    (row,) = usage.ledger(store)
    assert (row.cycles, row.trials) == (5, 3)


def test_a_record_counts_in_the_period_in_which_it_came(store: Store) -> None:
    put(store, 1, {3: [2, 1001]})
    row = store.row("SELECT received_s FROM usage")
    assert row is not None
    came_s = row[0]
    assert usage.ledger(store, None, came_s, came_s + 1)
    assert not usage.ledger(store, None, 0, came_s) and not usage.ledger(store, None, came_s + 1)


@given(
    st.integers(0, 10**6),
    st.decimals(0, 100, allow_nan=False, places=4),
    st.decimals(0, 100, allow_nan=False, places=2),
    st.integers(0, shares.MAX_DECIMALS),
)
def test_parts_are_what_was_earned_to_the_last_cent(uses: int, per_use: Decimal, share: Decimal, decimals: int) -> None:
    tariff = Tariff("EUR", decimals, {(2, 1001): Price(per_use, share)})
    (found,) = shares.earnings([Share(2, 1001, uses, uses, 0, 0)], tariff)
    assert found.gross is not None and found.publisher_part is not None and found.maker_part is not None
    assert found.publisher_part + found.maker_part == found.gross
    assert 0 <= found.publisher_part <= found.gross
    assert abs(found.gross - uses * per_use) <= Decimal(1).scaleb(-decimals) / 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "currency is missing"),
        ("currency = ", "Invalid value"),
        (TARIFF + "[vat]", "unknown key 'vat'"),
        (TARIFF + 'x = "1"', "needs feature, per_use, publisher, share"),
        (TARIFF.replace('"0.10"', "0.10"), "in quotes"),
        (TARIFF.replace("0.10", "NaN"), "decimal number"),
        (TARIFF.replace("0.10", "-1"), "decimal number"),
        (TARIFF.replace("0.10", "1e999999"), "decimal number"),
        (TARIFF.replace('"70"', '"101"'), "percentage"),
        (TARIFF.replace("= 2\n", '= "2"\n'), "publisher is a number"),
        (TARIFF + TARIFF.partition("[[")[1] + TARIFF.partition("[[")[2], "again"),
        (TARIFF.replace('"EUR"', '"EUR"\ndecimals = 9'), "from 0 to 6"),
    ],
)
def test_a_bad_tariff_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TariffError, match=says):
        shares.read(written(tmp_path, text))


def test_the_command_prints_shares_and_says_what_is_not_proven(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    with Store(db) as store:
        put(store, 1, {3: [2, 1001]})
    args = ["shares", str(written(tmp_path)), "--db", str(db)]
    told = json.loads(CliRunner().invoke(app, [*args, "--json"], catch_exceptions=False).stdout)
    assert told["features"] == [
        {
            "publisher": 2,
            "feature": 1001,
            "uses": 1,
            "paid_uses": 1,
            "gross": "0.10",
            "publisher_part": "0.07",
            "maker_part": "0.03",
        }
    ]
    assert told["unproven_records"] == 1
    printed = CliRunner().invoke(app, args, catch_exceptions=False).stdout
    assert "amounts in EUR" in printed and "ledger audit" in printed
    assert "no feature was used" in CliRunner().invoke(app, [*args, "--to", "2001-01-01"], catch_exceptions=False).stdout
    assert CliRunner().invoke(app, [*args, "--from", "2026-01-02", "--to", "2026-01-02"], catch_exceptions=False).exit_code == 2


def test_a_tariff_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    Store(db).__enter__().close()
    result = CliRunner().invoke(app, ["shares", str(tmp_path / "none.toml"), "--db", str(db)], catch_exceptions=False)
    assert result.exit_code == 1 and "none.toml" in result.stderr


def test_help_shows_a_tariff_that_can_be_copied(tmp_path: Path) -> None:
    text = CliRunner().invoke(app, ["shares", "--help"], catch_exceptions=False).stdout
    lines = [line.strip() for line in text.splitlines()]
    example = lines[lines.index('currency = "EUR"') : lines.index('share = "70"') + 1]
    file = tmp_path / "tariff.toml"
    file.write_text("\n".join(example))
    assert shares.read(file).prices == {(2, 1001): Price(Decimal("0.10"), Decimal("70"))}
