"""Usage and savings, as the API shows them. Days are UTC's."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, Field

from tunesmith.platform.advice.savings import ModelSavings, Savings, savings_summary
from tunesmith.platform.limits.schema import Limits
from tunesmith.platform.quotas import Used as QuotasUsed
from tunesmith.platform.usage.report import DIMENSIONS, Line, Report, StoredLine


class Used(BaseModel):
    """Requests that were answered, and their tokens as the engine reported them."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = Field(description="Those of the prompt tokens that were in a cache.")


class Costed(Used):
    """Use, what was trained, and what that costs where the platform has a price for it."""

    training_tokens: int = Field(description="Of jobs that succeeded; with `key_id`, none.")
    cost: float | None = Field(description="Of what has a price; null where nothing has.")

    @staticmethod
    def figures(line: Line) -> dict[str, Any]:
        """A line's figures."""
        return {
            **line.counts._asdict(),
            "training_tokens": line.training_tokens,
            "cost": line.cost,
        }


class UsageLine(Costed):
    """Use by what `group_by` names; what it does not name is null.

    `alias` and `key` are null besides where none was named: as for training.
    """

    tenant: str | None
    day: date | None
    model: str | None
    alias: str | None
    key: str | None

    @classmethod
    def of(cls, line: Line) -> UsageLine:
        """A line as the API shows it."""
        of: dict[str, Any] = {name: line.names.get(name) or None for name in DIMENSIONS}
        return cls(**of, **cls.figures(line))


class StorageLine(BaseModel):
    """What is in storage, by `tenant` and `day` as far as `group_by` names them."""

    tenant: str | None
    day: date | None
    stored_bytes: int | None = Field(description="The most that was there on the day.")
    gib_months: float = Field(description="2^30 bytes, for a month of 365.25 / 12 days.")
    cost: float | None

    @classmethod
    def of(cls, line: StoredLine) -> StorageLine:
        """A line as the API shows it."""
        of: dict[str, Any] = {name: line.names.get(name) for name in ("tenant", "day")}
        return cls(**of, stored_bytes=line.bytes, gib_months=line.gib_months, cost=line.cost)


class UsageTotal(Costed):
    """All lines together; `cost` has the storage too."""

    gib_months: float


class Usage(BaseModel):
    """Use from `start` to `end`, both included."""

    object: Literal["usage"] = "usage"
    start: date
    end: date
    group_by: list[str]
    currency: str | None = Field(description="Null where the platform has no price sheet.")
    total: UsageTotal
    data: list[UsageLine]
    storage: list[StorageLine]
    unpriced_models: list[str] = Field(
        description="Models with use on days for which the price sheet has no price of them."
    )

    @classmethod
    def of(cls, report: Report) -> Usage:
        """A report as the API shows it."""
        total = Costed.figures(report.total()) | {"cost": report.cost()}
        return cls(
            start=report.start,
            end=report.end,
            group_by=list(report.group_by),
            currency=report.currency,
            total=UsageTotal(**total, gib_months=report.gib_months()),
            data=[UsageLine.of(line) for line in report.lines],
            storage=[StorageLine.of(line) for line in report.storage],
            unpriced_models=report.unpriced_models,
        )


class Quota(BaseModel):
    """A limit on what a tenant has at once; `limit` is null where there is none."""

    limit: int | None
    used: int


class Rate(BaseModel):
    """A limit of requests; what is left of it is in the headers of every answer."""

    limit: int | None


class OrganizationLimits(BaseModel):
    """The tenant's limits, and what it has of what is limited."""

    object: Literal["organization.limits"] = "organization.limits"
    requests_per_minute: Rate
    tokens_per_minute: Rate
    concurrent_requests: Rate
    queued_jobs: Quota = Field(description="Jobs that wait.")
    running_jobs: Quota = Field(description="Jobs in training.")
    stored_bytes: Quota = Field(description="Files, parts of uploads, adapters.")
    adapters: Quota = Field(description="Tuned models, those being made included.")

    @classmethod
    def of(cls, limits: Limits, used: QuotasUsed) -> OrganizationLimits:
        """Limits and use as the API shows them."""
        counted = asdict(used)
        return cls.model_validate(
            {
                name: {"limit": limit} | ({"used": counted[name]} if name in counted else {})
                for name, limit in limits.model_dump().items()
            }
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
