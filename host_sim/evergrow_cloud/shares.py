"""What publishers earned: usage of the ledger times the prices of a tariff.

A tariff is a TOML file; prices and percentages are strings, so that no binary fraction comes near money:

    currency = "EUR"
    decimals = 2            # of the amounts that are paid; 2 if left out

    [[feature]]
    publisher = 2
    feature = 1001
    per_use = "0.10"        # what a use costs
    share = "70"            # percent of it for the publisher; the rest is the appliance maker's
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from evergrow_cloud.errors import TariffError
from evergrow_cloud.usage import Share

MAX_DECIMALS = 6
_KEYS = {"publisher", "feature", "per_use", "share"}


@dataclass(frozen=True, slots=True)
class Price:
    per_use: Decimal
    share: Decimal


@dataclass(frozen=True, slots=True)
class Tariff:
    currency: str
    decimals: int
    prices: dict[tuple[int, int], Price]


@dataclass(frozen=True, slots=True)
class Earning:
    """`paid`: uses that were not on trial. `gross` = `publisher_part` + `maker_part`, in the tariff's currency; all three are
    None for a feature that the tariff does not price.
    """

    publisher: int
    feature: int
    uses: int
    paid: int
    gross: Decimal | None
    publisher_part: Decimal | None
    maker_part: Decimal | None


def read(path: Path) -> Tariff:
    """Raises TariffError, which says what is wrong and where."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TariffError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TariffError(f"{path} is not text: a tariff is a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise TariffError(f"{path}: {error}") from None
    for key in table:
        if key not in ("currency", "decimals", "feature"):
            raise TariffError(f"{path}: unknown key {key!r}; there are currency, decimals and [[feature]]")
    currency, decimals, rows = table.get("currency"), table.get("decimals", 2), table.get("feature", [])
    if not isinstance(currency, str) or not currency:
        raise TariffError(f'{path}: currency is missing, say currency = "EUR"')
    if type(decimals) is not int or not 0 <= decimals <= MAX_DECIMALS:
        raise TariffError(f"{path}: decimals is a number from 0 to {MAX_DECIMALS}")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TariffError(f"{path}: features are tables: [[feature]]")
    prices: dict[tuple[int, int], Price] = {}
    for number, row in enumerate(rows, 1):
        owner, price = _price(row, f"{path}: [[feature]] {number}")
        if owner in prices:
            raise TariffError(f"{path}: [[feature]] {number} prices feature {owner[0]}/{owner[1]} again")
        prices[owner] = price
    return Tariff(currency, decimals, prices)


def earnings(usage: Iterable[Share], tariff: Tariff) -> list[Earning]:
    """What each feature earned. The publisher's part is rounded, half to even; the maker has the rest, so nothing is lost."""
    unit = Decimal(1).scaleb(-tariff.decimals)
    found = []
    for row in usage:
        price = tariff.prices.get((row.publisher, row.feature))
        paid = row.cycles - row.trials
        if price is None:
            found.append(Earning(row.publisher, row.feature, row.cycles, paid, None, None, None))
            continue
        gross = (paid * price.per_use).quantize(unit)
        part = (gross * price.share / 100).quantize(unit)
        found.append(Earning(row.publisher, row.feature, row.cycles, paid, gross, part, gross - part))
    return found


def _price(row: dict[str, Any], where: str) -> tuple[tuple[int, int], Price]:
    if set(row) != _KEYS:
        raise TariffError(f"{where} needs {', '.join(sorted(_KEYS))}, and nothing else")
    for key in ("publisher", "feature"):
        if type(row[key]) is not int or row[key] < 0:
            raise TariffError(f"{where}: {key} is a number, not {row[key]!r}")
    per_use, share = _decimal(row, "per_use", where), _decimal(row, "share", where)
    if share > 100:
        raise TariffError(f"{where}: share is a percentage, not {share}")
    return (row["publisher"], row["feature"]), Price(per_use, share)


def _decimal(row: dict[str, Any], key: str, where: str) -> Decimal:
    try:
        if not isinstance(row[key], str):
            raise InvalidOperation
        value = Decimal(row[key])
        if not value.is_finite() or value < 0 or value.adjusted() > 12 or value.as_tuple().exponent < -MAX_DECIMALS:  # type: ignore[operator]
            raise InvalidOperation
    except InvalidOperation:
        raise TariffError(f'{where}: {key} is a decimal number in quotes, say "0.10", not {row[key]!r}') from None
    return value
