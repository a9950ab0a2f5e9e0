"""When tuning a model and serving it here has paid for itself, and what it saves after that.

With q queries a month at a price p on the API used today, s a month for serving here and u once,
up front (the data and the training), the cumulative saving after n months is

    saving(n) = n (q p - s) - u,

which is zero at the break-even n = u / (q p - s). Where p is by tokens, it is
(t_in p_in + t_out p_out) / 1,000,000. Every input may be a range: the best case takes the end that
favours tuning, the worst the other, the middle the middle of each input (not of the results).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .span import Span

MAX_MONTHS = 1200
"""A break-even beyond a hundred years is told as never."""

SAVING_MONTHS = (12, 24, 36)
SENSITIVITY = 0.2
"""How much each input is moved, either way, for the sensitivity."""

Case = Literal["best", "middle", "worst"]
CASES: tuple[Case, ...] = ("best", "middle", "worst")


@dataclass(frozen=True)
class Costs:
    """What is known of the costs, in one currency.

    Args:
        upfront: parts of what is paid once, by name (`data_preparation_cost`, `training_cost`).
        price_per_query: on the API used today; or tokens of a query and prices of a million.
    """

    queries_per_month: Span
    upfront: Mapping[str, Span]
    monthly_cost: Span
    price_per_query: Span | None = None
    tokens_in_per_query: Span | None = None
    tokens_out_per_query: Span | None = None
    input_price_per_million: Span | None = None
    output_price_per_million: Span | None = None

    def inputs(self) -> dict[str, Span]:
        """Every input that counts, by name."""
        asked = {
            "queries_per_month": self.queries_per_month,
            "price_per_query": self.price_per_query,
            "tokens_in_per_query": self.tokens_in_per_query,
            "tokens_out_per_query": self.tokens_out_per_query,
            "input_price_per_million": self.input_price_per_million,
            "output_price_per_million": self.output_price_per_million,
            **self.upfront,
            "monthly_cost": self.monthly_cost,
        }
        return {name: span for name, span in asked.items() if span is not None}

    def is_cost_here(self, name: str) -> bool:
        """Whether an input is paid for the tuned model, so that less of it is better."""
        return name == "monthly_cost" or name in self.upfront


@dataclass(frozen=True)
class Outlook:
    """One case: three figures, and what follows from them."""

    api_monthly: float
    here_monthly: float
    upfront: float

    @property
    def monthly_saving(self) -> float:
        """What a month saves; negative where serving here costs more than the API."""
        return self.api_monthly - self.here_monthly

    @property
    def break_even_months(self) -> float | None:
        """Months until what was saved is what was paid up front; None: never."""
        if self.monthly_saving <= 0:
            return None
        months = self.upfront / self.monthly_saving
        return months if months <= MAX_MONTHS else None

    def saved_after(self, months: float) -> float:
        """Cumulative saving; negative before the break-even."""
        return months * self.monthly_saving - self.upfront

    def spent_here(self, months: float) -> float:
        """Cumulative cost of the tuned model."""
        return self.upfront + months * self.here_monthly


@dataclass(frozen=True)
class Sensitivity:
    """What one input does to the middle case when it is `SENSITIVITY` lower and higher."""

    input: str
    middle: float
    break_even_lower: float | None
    break_even_higher: float | None
    saving_lower: float
    saving_higher: float

    @property
    def swing(self) -> float:
        """By how much the saving of the first 12 months differs between both."""
        return abs(self.saving_higher - self.saving_lower)


@dataclass(frozen=True)
class BreakEven:
    """The three cases, and how much each input matters (the one that matters most first)."""

    costs: Costs
    cases: Mapping[Case, Outlook]
    sensitivity: list[Sensitivity] = field(default_factory=list)

    def horizon(self) -> int:
        """Months worth showing: three years, or more where the middle case needs more to pay."""
        longest = max(SAVING_MONTHS)
        middle = self.cases["middle"].break_even_months
        return longest if middle is None else min(max(longest, math.ceil(middle * 1.25)), 120)

    def series(self, months: int) -> list[dict[str, float]]:
        """Cumulative costs and savings at the end of each month, from 0 (all is paid up front)."""
        return [
            {
                "month": month,
                **{f"api_{case}": month * o.api_monthly for case, o in self.cases.items()},
                **{f"here_{case}": o.spent_here(month) for case, o in self.cases.items()},
                **{f"saving_{case}": o.saved_after(month) for case, o in self.cases.items()},
            }
            for month in range(months + 1)
        ]


def break_even(costs: Costs) -> BreakEven:
    """Best, middle and worst case, and the sensitivity of the middle one."""
    inputs = costs.inputs()

    def best(name: str, span: Span) -> float:
        return span.low if costs.is_cost_here(name) else span.high

    def worst(name: str, span: Span) -> float:
        return span.high if costs.is_cost_here(name) else span.low

    def middle(_: str, span: Span) -> float:
        return span.middle

    pick: dict[Case, Callable[[str, Span], float]] = {
        "best": best,
        "middle": middle,
        "worst": worst,
    }
    chosen = {
        case: {name: pick[case](name, span) for name, span in inputs.items()} for case in CASES
    }
    cases = {case: _outlook(costs, values) for case, values in chosen.items()}
    moved = [_moved(costs, chosen["middle"], name) for name in inputs]
    return BreakEven(costs, cases, sorted(moved, key=lambda item: -item.swing))


def _moved(costs: Costs, middle: Mapping[str, float], name: str) -> Sensitivity:
    lower, higher = (
        _outlook(costs, {**middle, name: middle[name] * factor})
        for factor in (1 - SENSITIVITY, 1 + SENSITIVITY)
    )
    return Sensitivity(
        input=name,
        middle=middle[name],
        break_even_lower=lower.break_even_months,
        break_even_higher=higher.break_even_months,
        saving_lower=lower.saved_after(SAVING_MONTHS[0]),
        saving_higher=higher.saved_after(SAVING_MONTHS[0]),
    )


def _outlook(costs: Costs, values: Mapping[str, float]) -> Outlook:
    if "price_per_query" in values:
        price = values["price_per_query"]
    else:
        price = (
            values["tokens_in_per_query"] * values["input_price_per_million"]
            + values["tokens_out_per_query"] * values["output_price_per_million"]
        ) / 1_000_000
    return Outlook(
        api_monthly=values["queries_per_month"] * price,
        here_monthly=values["monthly_cost"],
        upfront=sum(values[name] for name in costs.upfront),
    )
