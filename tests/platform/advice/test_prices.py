"""The prices file: what is in force on a day, and what each mistake in it says."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.advice.prices import Price, configured_prices, price_on, read_prices
from tunesmith.platform.domain.errors import InvalidRequest

ENTRY = {
    "model": '"big"',
    "input_per_million": "2.5",
    "output_per_million": "10",
    "currency": '"USD"',
    "as_of": "2026-01-15",
    "source": '"https://example.com/pricing"',
}


def entry(**changes: str | None) -> str:
    fields = {key: value for key, value in (ENTRY | changes).items() if value is not None}
    return "[[price]]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prices.toml"


def test_the_newest_price_that_is_not_after_the_day(file: Path) -> None:
    file.write_text(
        entry()
        + entry(as_of="2026-06-01", input_per_million="2", output_per_million="8.0")
        + entry(model='"small"', as_of="2026-03-01", input_per_million="0.1")
    )
    prices = read_prices(file)
    assert price_on(prices, "big", date(2026, 1, 15)).input_per_million == 2.5
    assert price_on(prices, "big", date(2026, 5, 31)).input_per_million == 2.5
    assert price_on(prices, "big", date(2026, 6, 1)).input_per_million == 2
    assert price_on(prices, "big", date(2030, 1, 1)).of_tokens(1_000_000, 500_000) == 6
    with pytest.raises(InvalidRequest, match="its first is of 2026-01-15"):
        price_on(prices, "big", date(2026, 1, 14))
    with pytest.raises(InvalidRequest, match="no model 'huge'; it has: big, small"):
        price_on(prices, "huge", date(2026, 6, 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (entry() + entry(model='"b"', currency=None), r"entry 2 \(b\): currency is missing"),
        (entry(model=None), "entry 1: model is missing"),
        (entry(model="5"), "entry 1: model must be a text"),
        (entry(source='" "'), r"entry 1 \(big\): source must be a text"),
        (entry(currency='"dollar"'), "currency must be three capital letters"),
        (entry(as_of='"2026-01-15"'), "as_of must be a date without quotes"),
        (entry(as_of="2026-01-15T00:00:00"), "as_of must be a date without quotes"),
        (entry(input_per_million='"2"'), "input_per_million: it must be a number"),
        (entry(input_per_million="true"), "input_per_million: it must be a number"),
        (entry(input_per_million="nan"), "input_per_million: it must be between"),
        (entry(output_per_million="-1"), "output_per_million: it must be between"),
        (entry(output_per_million="[1, 2]"), "output_per_million must be one number"),
        (entry(per_image="1"), "unknown key 'per_image'"),
        (entry() + entry(), r"entry 2 \(big\): there is another price of 2026-01-15"),
        (entry() + entry(as_of="2026-02-01", currency='"EUR"'), "must be in one currency"),
        ("price = 5", r"no entries \[\[price\]\]"),
        ("price = [5]", r"no entries \[\[price\]\]"),
        ("", r"no entries \[\[price\]\]"),
        ("prices = []", "unknown key 'prices'"),
        ("[[price", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_entry(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidRequest, match=says) as refused:
        read_prices(file)
    assert refused.value.code == "invalid_prices"
    assert str(file.parent) not in refused.value.message  # tenants read it too


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"prices\.toml cannot be read: No such file"):
        read_prices(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="not valid TOML"):
        read_prices(file)
    with pytest.raises(InvalidRequest, match="TUNESMITH_PRICES_FILE"):
        configured_prices(None)


DAYS = st.dates(date(2024, 1, 1), date(2027, 1, 1))


@given(st.sets(DAYS, min_size=1), DAYS)
def test_the_price_in_force_is_never_of_the_future(starts: set[date], day: date) -> None:
    prices = [Price("m", 1, 1, "USD", start, "s") for start in starts]
    if day < min(starts):
        with pytest.raises(InvalidRequest):
            price_on(prices, "m", day)
        return
    found = price_on(prices, "m", day).as_of
    assert found <= day
    assert not any(found < start <= day for start in starts)
    assert price_on(prices, "m", day + timedelta(0)).as_of == found
