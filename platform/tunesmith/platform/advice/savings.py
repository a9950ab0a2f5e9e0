"""What tuned models have saved so far: their requests at the API's price, less the cost here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.usage import NOTHING, Counts, UsageRow

from .break_even import MAX_MONTHS
from .prices import Price, price_on
from .sentences import money, months

DAYS_PER_MONTH = 365.25 / 12


class Pricing(Protocol):
    """What requests would have cost on the API; None where that is not known for a day."""

    def cost(self, day: date, counts: Counts) -> float | None: ...


@dataclass(frozen=True)
class PerQuery:
    """The same for every request."""

    price: float

    def cost(self, _: date, counts: Counts) -> float | None:
        """Requests times the price."""
        return counts.requests * self.price


@dataclass(frozen=True)
class PerToken:
    """By tokens, for a million each way."""

    input_per_million: float
    output_per_million: float

    def cost(self, _: date, counts: Counts) -> float | None:
        """Tokens times their prices."""
        both = (
            counts.prompt_tokens * self.input_per_million
            + counts.completion_tokens * self.output_per_million
        )
        return both / 1_000_000


@dataclass(frozen=True)
class Listed:
    """A model of the prices file, each day at the price in force on it."""

    prices: Sequence[Price]
    model: str

    def cost(self, day: date, counts: Counts) -> float | None:
        """None on days before the model's first price."""
        try:
            price = price_on(self.prices, self.model, day)
        except InvalidRequest:
            return None
        return price.of_tokens(counts.prompt_tokens, counts.completion_tokens)


@dataclass(frozen=True)
class ModelSavings:
    """A tuned model under one name: what it answered, and what that costs on the API."""

    model: str
    alias: str
    counts: Counts
    api_cost: float
    unpriced_requests: int


@dataclass(frozen=True)
class Savings:
    """Of all tuned models, from one day to another, both included."""

    since: date
    until: date
    models: list[ModelSavings]
    upfront_cost: float
    monthly_cost: float

    @property
    def days(self) -> int:
        """Length of the period."""
        return (self.until - self.since).days + 1

    @property
    def counts(self) -> Counts:
        """What all of them answered."""
        total = NOTHING
        for model in self.models:
            total = total.plus(model.counts)
        return total

    @property
    def unpriced_requests(self) -> int:
        """Requests of days for which the prices file has no price yet."""
        return sum(model.unpriced_requests for model in self.models)

    @property
    def api_cost(self) -> float:
        """What the priced requests would have cost on the API."""
        return sum(model.api_cost for model in self.models)

    @property
    def cost_here(self) -> float:
        """Up front, and the months by their days."""
        return self.upfront_cost + self.monthly_cost * self.days / DAYS_PER_MONTH

    @property
    def saved(self) -> float:
        """Negative as long as it has not paid for itself."""
        return self.api_cost - self.cost_here

    @property
    def months_to_break_even(self) -> float | None:
        """Months from `until` on at the rate of the period; 0 when it has paid, None: never."""
        if self.saved >= 0:
            return 0.0
        rate = self.api_cost * DAYS_PER_MONTH / self.days - self.monthly_cost
        if rate <= 0:
            return None
        left = -self.saved / rate
        return left if left <= MAX_MONTHS else None


def is_tuned(row: UsageRow) -> bool:
    """Whether a tuned model answered, by its own name or an alias."""
    return bool(row.alias) or row.model.startswith("ft:")


def savings(
    rows: Iterable[UsageRow],
    pricing: Pricing,
    *,
    since: date | None,
    until: date,
    upfront_cost: float = 0.0,
    monthly_cost: float = 0.0,
) -> Savings:
    """What the tuned models among `rows` have saved.

    Args:
        rows: use within the period; of base models too, which is left out.
        since: the first day; the first with use of a tuned model where it is None.
        monthly_cost: of serving here, for every month of the period.
    """
    tuned = [row for row in rows if is_tuned(row)]
    by_name: dict[tuple[str, str], ModelSavings] = {}
    for row in tuned:
        name = (row.model, row.alias)
        before = by_name.get(name, ModelSavings(*name, NOTHING, 0.0, 0))
        cost = pricing.cost(row.day, row.counts)
        by_name[name] = ModelSavings(
            *name,
            before.counts.plus(row.counts),
            before.api_cost + (cost or 0.0),
            before.unpriced_requests + (row.counts.requests if cost is None else 0),
        )
    first = min((row.day for row in tuned), default=until)
    return Savings(
        since=first if since is None else since,
        until=until,
        models=sorted(by_name.values(), key=lambda item: (-item.api_cost, item.model, item.alias)),
        upfront_cost=upfront_cost,
        monthly_cost=monthly_cost,
    )


def savings_summary(found: Savings, currency: str) -> list[str]:
    """What a person needs to know, a sentence each."""
    counts, period = found.counts, f"from {found.since} to {found.until}"
    if not counts.requests:
        return [f"No tuned model answered a request {period}: nothing was saved."]
    lines = [
        f"Tuned models answered {counts.requests:,} requests {period} ({counts.prompt_tokens:,}"
        f" tokens of prompts, {counts.completion_tokens:,} of answers), which would have cost"
        f" {money(found.api_cost, currency)} on the API."
    ]
    if found.unpriced_requests:
        lines.append(
            f"{found.unpriced_requests:,} of them are from before the first price of that model"
            " and count as nothing."
        )
    if not found.cost_here:
        lines.append("What it cost here was not given, so nothing is taken off.")
        return lines
    here = money(found.cost_here, currency)
    if found.saved >= 0:
        lines.append(f"It cost {here} here: {money(found.saved, currency)} are saved.")
        return lines
    left = found.months_to_break_even
    more = (
        "at this rate it never pays for itself"
        if left is None
        else f"at this rate it has paid for itself in another {months(left)} months"
    )
    lines.append(
        f"It cost {here} here: {money(-found.saved, currency)} are still to be saved; {more}."
    )
    return lines
