"""Usage and savings, as the API shows them. Days are UTC's."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from tunesmith.platform.advice.savings import ModelSavings, Savings, savings_summary
from tunesmith.platform.usage import NOTHING, Counts, UsageRow


class Used(BaseModel):
    """Requests that were answered, and their tokens as the engine reported them."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = Field(description="Those of the prompt tokens that were in a cache.")


class UsageOfDay(Used):
    """A day's use of a model; `alias` is null where it was asked for by its own name."""

    day: date
    model: str
    alias: str | None

    @classmethod
    def of(cls, row: UsageRow) -> UsageOfDay:
        """A row as the API shows it."""
        return cls(day=row.day, model=row.model, alias=row.alias or None, **row.counts._asdict())


class Usage(BaseModel):
    """The tenant's use of all models from `start` to `end`, both included."""

    object: Literal["usage"] = "usage"
    start: date
    end: date
    total: Used
    data: list[UsageOfDay]

    @classmethod
    def of(cls, start: date, end: date, rows: list[UsageRow]) -> Usage:
        """Rows as the API shows them."""
        total: Counts = NOTHING
        for row in rows:
            total = total.plus(row.counts)
        return cls(
            start=start,
            end=end,
            total=Used(**total._asdict()),
            data=[UsageOfDay.of(row) for row in rows],
        )


class SavingsOfModel(Used):
    """A tuned model under one name, and what its requests would have cost on the API."""

    model: str
    alias: str | None
    api_cost: float
    unpriced_requests: int = Field(description="Requests of days before the first known price.")

    @classmethod
    def of(cls, found: ModelSavings) -> SavingsOfModel:
        """A model's savings as the API shows them."""
        return cls(
            model=found.model,
            alias=found.alias or None,
            api_cost=found.api_cost,
            unpriced_requests=found.unpriced_requests,
            **found.counts._asdict(),
        )


class SavingsSoFar(Used):
    """What the tenant's tuned models have saved from `since` to `until`, both included."""

    object: Literal["savings"] = "savings"
    currency: str
    since: date
    until: date
    days: int
    api_model: str | None
    api_cost: float
    unpriced_requests: int
    upfront_cost: float
    monthly_cost: float
    cost_here: float = Field(description="The upfront cost, and the monthly cost by days.")
    saved: float = Field(description="`api_cost` less `cost_here`.")
    months_to_break_even: float | None = Field(
        description="At the rate of the period; 0 when it has paid, null when it never will."
    )
    summary: list[str]
    models: list[SavingsOfModel]

    @classmethod
    def of(cls, found: Savings, currency: str, api_model: str | None) -> SavingsSoFar:
        """Savings as the API shows them."""
        return cls(
            currency=currency,
            since=found.since,
            until=found.until,
            days=found.days,
            api_model=api_model,
            api_cost=found.api_cost,
            unpriced_requests=found.unpriced_requests,
            upfront_cost=found.upfront_cost,
            monthly_cost=found.monthly_cost,
            cost_here=found.cost_here,
            saved=found.saved,
            months_to_break_even=found.months_to_break_even,
            summary=savings_summary(found, currency),
            models=[SavingsOfModel.of(model) for model in found.models],
            **found.counts._asdict(),
        )
