"""The price sheet: which price holds when, and what is wrong with a file is named."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.usage import Counts
from tunesmith.platform.usage.price_sheet import PriceSheet, read_price_sheet

SHEET = """
currency = "EUR"

[[model]]
model = "pocket"
as_of = 2026-01-01
prompt_per_million = 1.0
cached_per_million = 0.25
completion_per_million = 4
training_per_million = 10

[[model]]
model = "pocket"
as_of = 2026-02-01
prompt_per_million = 2.0
cached_per_million = 0.5
completion_per_million = 8
training_per_million = 20

[[model]]
model = "ft:pocket:acme::1"
as_of = 2026-02-10
prompt_per_million = 0
cached_per_million = 0
completion_per_million = 0
training_per_million = 0

[[storage]]
as_of = 2026-01-01
per_gib_month = 0.5
"""


def read(tmp_path: Path, text: str) -> PriceSheet:
    path = tmp_path / "sheet.toml"
    path.write_text(text, encoding="utf-8")
    return read_price_sheet(path)


def test_the_newest_price_that_is_not_later_holds(tmp_path: Path) -> None:
    sheet = read(tmp_path, SHEET)
    prices = [sheet.of_model("pocket", date(2026, month, 1)) for month in (1, 2, 3)]
    assert [price and price.prompt_per_million for price in prices] == [1.0, 2.0, 2.0]
    assert sheet.of_model("pocket", date(2025, 12, 31)) is None
    assert sheet.of_storage(date(2025, 12, 31)) is None
    assert sheet.changes(date(2026, 1, 15), date(2026, 3, 1)) == [
        date(2026, 1, 15),
        date(2026, 2, 1),
        date(2026, 2, 10),
    ]


def test_a_tuned_model_costs_what_its_base_does_unless_it_has_a_price(tmp_path: Path) -> None:
    sheet = read(tmp_path, SHEET)
    other, own = "ft:pocket:acme::2", "ft:pocket:acme::1"
    day = date(2026, 2, 10)
    assert sheet.of_model(other, day) == sheet.of_model("pocket", day)
    free = sheet.of_model(own, day)
    assert free is not None
    assert free.cost(Counts(1, 10**6, 10**6), 10**6) == 0
    assert sheet.of_model(own, date(2026, 2, 9)) == sheet.of_model("pocket", date(2026, 2, 9))
    assert sheet.of_model("ft:other:acme::1", day) is None


def test_cached_tokens_are_charged_once(tmp_path: Path) -> None:
    price = read(tmp_path, SHEET).of_model("pocket", date(2026, 1, 1))
    assert price is not None
    assert price.cost(Counts(5, 1_000_000, 500_000, 400_000), 100_000) == pytest.approx(
        0.6 * 1.0 + 0.4 * 0.25 + 0.5 * 4 + 0.1 * 10
    )
    # An engine that reports more cached than there were costs nobody less than nothing.
    assert price.cost(Counts(1, 100, 0, 1000), 0) == pytest.approx(100 * 0.25 / 1e6)


@pytest.mark.parametrize(
    ("was", "becomes", "named"),
    [
        ('currency = "EUR"', "", "currency is missing"),
        ('currency = "EUR"', 'currency = "euro"', "three capital letters"),
        ('currency = "EUR"', 'currency = "EUR"\nvat = 1', "unknown key 'vat'"),
        ("training_per_million = 20", "", "model 2: training_per_million is missing"),
        ("training_per_million = 20", "training_per_million = -1", "between 0 and"),
        ("training_per_million = 20", "training_per_million = nan", "between 0 and"),
        ("training_per_million = 20", "training_per_million = [1, 2]", "must be one number"),
        ("training_per_million = 20", 'training_per_million = "1"', "must be a number"),
        ("as_of = 2026-02-01", "as_of = 2026-01-01", "another price of 2026-01-01"),
        ("as_of = 2026-02-01", 'as_of = "2026-02-01"', "must be a date"),
        ("as_of = 2026-02-01", "as_of = 2026-02-01T00:00:00", "must be a date"),
        ("per_gib_month = 0.5", "per_month = 0.5", "storage 1: unknown key 'per_month'"),
        ("[[storage]]", "[storage]", "entries [[storage]]"),
        ('model = "pocket"', "model = 7", "model must be a text"),
        ("[[storage]]", "[[storage", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, was: str, becomes: str, named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, SHEET.replace(was, becomes, 1 if "model 2" not in named else -1))
    assert named in refused.value.message
    assert refused.value.param == "price_sheet"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_price_sheet(tmp_path / "none.toml")
