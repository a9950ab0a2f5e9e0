"""Prices of hosted APIs: entries of a TOML file, each with the day from which it holds.

    [[price]]
    model = "some-model"
    input_per_million = 2.5     # a million tokens of prompts
    output_per_million = 10.0   # a million tokens of answers
    currency = "USD"
    as_of = 2026-01-15
    source = "https://example.com/pricing"

There are none built in: they would be old before they were used.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.errors import InvalidRequest

from .span import parse_span

_FIELDS = ("model", "input_per_million", "output_per_million", "currency", "as_of", "source")


@dataclass(frozen=True)
class Price:
    """What a model costs from a day on, for a million tokens each way."""

    model: str
    input_per_million: float
    output_per_million: float
    currency: str
    as_of: date
    source: str

    def of_tokens(self, prompt: float, completion: float) -> float:
        """What so many tokens cost."""
        both = prompt * self.input_per_million + completion * self.output_per_million
        return both / 1_000_000


def read_prices(path: Path) -> list[Price]:
    """The entries of a file of prices, in its order.

    Raises:
        InvalidRequest: it cannot be read, or an entry is not valid; the message names it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(f"The prices file {path.name} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not UTF-8, not TOML
        raise _invalid(f"The prices file {path.name} is not valid TOML: {error}.") from error
    entries = content.pop("price", None)
    if content:
        raise _invalid(
            f"The prices file {path.name} has an unknown key {next(iter(content))!r}; it may only"
            " have entries [[price]]."
        )
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _invalid(f"The prices file {path.name} has no entries [[price]].")
    prices = [_entry(path, number, entry) for number, entry in enumerate(entries, start=1)]
    _check_together(path, prices)
    return prices


def price_on(prices: Sequence[Price], model: str, day: date) -> Price:
    """The price of `model` in force on a day: the newest that is not after it.

    Raises:
        InvalidRequest: the model has none, or none that early.
    """
    of_model = [price for price in prices if price.model == model]
    if not of_model:
        known = ", ".join(sorted({price.model for price in prices})) or "none"
        raise InvalidRequest(
            f"The prices file has no model {model!r}; it has: {known}.",
            param="api_model",
            code="unknown_price",
        )
    past = [price for price in of_model if price.as_of <= day]
    if not past:
        first = min(price.as_of for price in of_model)
        raise InvalidRequest(
            f"The prices file has no price of {model!r} on {day}: its first is of {first}.",
            param="api_model",
            code="unknown_price",
        )
    return max(past, key=lambda price: price.as_of)


def configured_prices(path: Path | None) -> list[Price]:
    """The prices of the setting `prices_file`.

    Raises:
        InvalidRequest: it is not set, or not valid.
    """
    if path is None:
        raise InvalidRequest(
            "No prices are configured, so a model's name says no price. Give the price itself, or"
            " name a file of prices with TUNESMITH_PRICES_FILE.",
            param="api_model",
            code="no_prices",
        )
    return read_prices(path)


def _entry(path: Path, number: int, entry: dict[str, Any]) -> Price:
    name = f" ({entry['model']})" if isinstance(entry.get("model"), str) else ""
    where = f"The prices file {path.name}, entry {number}{name}"
    unknown = next((key for key in entry if key not in _FIELDS), None)
    if unknown is not None:
        raise _invalid(f"{where}: unknown key {unknown!r}; it takes {', '.join(_FIELDS)}.")
    missing = next((key for key in _FIELDS if key not in entry), None)
    if missing is not None:
        raise _invalid(f"{where}: {missing} is missing.")
    for key in ("model", "currency", "source"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise _invalid(f"{where}: {key} must be a text.")
    if not is_currency(entry["currency"]):
        raise _invalid(f"{where}: currency must be three capital letters, as USD.")
    as_of = entry["as_of"]
    if not isinstance(as_of, date) or isinstance(as_of, datetime):
        raise _invalid(f"{where}: as_of must be a date without quotes, as 2026-01-15.")
    amounts = {}
    for key in ("input_per_million", "output_per_million"):
        if isinstance(entry[key], list):
            raise _invalid(f"{where}: {key} must be one number.")
        try:
            amounts[key] = parse_span(entry[key]).low
        except ValueError as error:
            raise _invalid(f"{where}: {key}: {error}.") from error
    return Price(
        model=entry["model"],
        currency=entry["currency"],
        as_of=as_of,
        source=entry["source"],
        **amounts,
    )


def is_currency(text: str) -> bool:
    """Whether it is a currency's code by its form."""
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()


def _check_together(path: Path, prices: Sequence[Price]) -> None:
    seen: dict[str, tuple[str, set[date]]] = {}
    for number, price in enumerate(prices, start=1):
        currency, days = seen.setdefault(price.model, (price.currency, set()))
        where = f"The prices file {path.name}, entry {number} ({price.model})"
        if price.as_of in days:
            raise _invalid(f"{where}: there is another price of {price.as_of} before it.")
        if price.currency != currency:
            raise _invalid(
                f"{where}: its currency is {price.currency}, but an entry before it has {currency};"
                " a model's prices must be in one currency."
            )
        days.add(price.as_of)


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="prices_file", code="invalid_prices")
