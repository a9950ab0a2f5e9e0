"""What this platform charges its tenants: a TOML file, its prices each with its first day.

    currency = "EUR"

    [[model]]
    model = "qwen"                  # a base and all that is tuned on it; or one tuned model
    as_of = 2026-01-01
    prompt_per_million = 0.2        # a million tokens of prompts
    cached_per_million = 0.05       # those of them that were in an engine's cache
    completion_per_million = 0.6
    training_per_million = 3.0      # a million tokens trained on

    [[storage]]
    as_of = 2026-01-01
    per_gib_month = 0.03

There are no prices built in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tunesmith.platform.advice.prices import is_currency
from tunesmith.platform.advice.span import parse_span
from tunesmith.platform.domain.errors import InvalidRequest

from .counts import Counts

_PER_TOKEN = (
    "prompt_per_million",
    "cached_per_million",
    "completion_per_million",
    "training_per_million",
)


@dataclass(frozen=True)
class ModelPrice:
    """What a million tokens of each kind cost, from `as_of` on."""

    model: str
    as_of: date
    prompt_per_million: float
    cached_per_million: float
    completion_per_million: float
    training_per_million: float

    def cost(self, counts: Counts, trained_tokens: int) -> float:
        """What this use costs; cached tokens are not charged as others of the prompt too."""
        cached = min(counts.cached_tokens, counts.prompt_tokens)
        millionths = (
            (counts.prompt_tokens - cached) * self.prompt_per_million
            + cached * self.cached_per_million
            + counts.completion_tokens * self.completion_per_million
            + trained_tokens * self.training_per_million
        )
        return millionths / 1_000_000


@dataclass(frozen=True)
class StoragePrice:
    """What 2^30 bytes cost that are kept for a month, from `as_of` on."""

    as_of: date
    per_gib_month: float


@dataclass(frozen=True)
class PriceSheet:
    """All prices, in one currency; of each model and of storage, newest first."""

    currency: str
    models: Mapping[str, list[ModelPrice]]
    storage: list[StoragePrice]

    def of_model(self, model: str, day: date) -> ModelPrice | None:
        """The price in force on a day: the model's own, else its base's; None where none is."""
        for name in (model, _base_of(model)):
            found = next((p for p in self.models.get(name, ()) if p.as_of <= day), None)
            if found is not None:
                return found
        return None

    def of_storage(self, day: date) -> StoragePrice | None:
        """The price of storage in force on a day."""
        return next((price for price in self.storage if price.as_of <= day), None)

    def changes(self, start: date, end: date) -> list[date]:
        """First days of the spans from `start` to `end` in which no price changes."""
        days = {price.as_of for prices in self.models.values() for price in prices}
        days |= {price.as_of for price in self.storage}
        return [start, *sorted(day for day in days if start < day <= end)]


def read_price_sheet(path: Path) -> PriceSheet:
    """The prices of a file.

    Raises:
        InvalidRequest: it cannot be read, or is not valid; the message names the place.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(f"The price sheet {path.name} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not UTF-8, not TOML
        raise _invalid(f"The price sheet {path.name} is not valid TOML: {error}.") from error
    where = f"The price sheet {path.name}"
    _check_keys(where, content, ("currency", "model", "storage"), needed=("currency",))
    if not isinstance(content["currency"], str) or not is_currency(content["currency"]):
        raise _invalid(f"{where}: currency must be three capital letters, as EUR.")
    models: dict[str, list[ModelPrice]] = {}
    for place, entry in _entries(where, content, "model"):
        _check_keys(place, entry, ("model", "as_of", *_PER_TOKEN))
        name = entry["model"]
        if not isinstance(name, str) or not name.strip():
            raise _invalid(f"{place}: model must be a text.")
        amounts = {key: _amount(place, entry, key) for key in _PER_TOKEN}
        price = ModelPrice(model=name, as_of=_day(place, entry), **amounts)
        _check_new_day(place, price.as_of, models.setdefault(name, []))
        models[name].append(price)
    storage: list[StoragePrice] = []
    for place, entry in _entries(where, content, "storage"):
        _check_keys(place, entry, ("as_of", "per_gib_month"))
        rent = StoragePrice(_day(place, entry), _amount(place, entry, "per_gib_month"))
        _check_new_day(place, rent.as_of, storage)
        storage.append(rent)
    for prices in models.values():
        prices.sort(key=lambda price: price.as_of, reverse=True)
    storage.sort(key=lambda price: price.as_of, reverse=True)
    return PriceSheet(content["currency"], models, storage)


def _base_of(model: str) -> str:
    """The base in the name of a tuned model; no base's name has a colon."""
    return model.split(":", 2)[1] if model.startswith("ft:") else model


def _entries(
    where: str, content: dict[str, Any], kind: str
) -> Iterable[tuple[str, dict[str, Any]]]:
    entries = content.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _invalid(f"{where}: {kind} must be entries [[{kind}]].")
    for number, entry in enumerate(entries, start=1):
        yield f"{where}, {kind} {number}", entry


def _check_keys(
    where: str,
    entry: dict[str, Any],
    known: tuple[str, ...],
    needed: tuple[str, ...] | None = None,
) -> None:
    unknown = next((key for key in entry if key not in known), None)
    if unknown is not None:
        raise _invalid(f"{where}: unknown key {unknown!r}; it takes {', '.join(known)}.")
    missing = next((key for key in needed or known if key not in entry), None)
    if missing is not None:
        raise _invalid(f"{where}: {missing} is missing.")


def _day(where: str, entry: dict[str, Any]) -> date:
    day = entry["as_of"]
    if not isinstance(day, date) or isinstance(day, datetime):
        raise _invalid(f"{where}: as_of must be a date without quotes, as 2026-01-15.")
    return day


def _amount(where: str, entry: dict[str, Any], key: str) -> float:
    if isinstance(entry[key], list):
        raise _invalid(f"{where}: {key} must be one number.")
    try:
        return parse_span(entry[key]).low
    except ValueError as error:
        raise _invalid(f"{where}: {key}: {error}.") from error


def _check_new_day(
    where: str, day: date, before: Iterable[ModelPrice] | Iterable[StoragePrice]
) -> None:
    if any(price.as_of == day for price in before):
        raise _invalid(f"{where}: there is another price of {day} before it.")


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="price_sheet", code="invalid_prices")
