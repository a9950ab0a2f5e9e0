"""A question about worth, from what was given, and its answer as JSON.

The API and the command line take the same names and give the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.platform.domain.errors import InvalidRequest

from .break_even import (
    CASES,
    SAVING_MONTHS,
    SENSITIVITY,
    BreakEven,
    Costs,
    Outlook,
    Sensitivity,
    break_even,
)
from .prices import Price
from .recommendation import Recommendation, Situation, recommend
from .sentences import summary
from .span import Span

TOKENS = ("tokens_in_per_query", "tokens_out_per_query")
TOKEN_PRICES = ("input_price_per_million", "output_price_per_million")
UPFRONT = ("data_preparation_cost", "training_cost")


@dataclass(frozen=True)
class Advice:
    """What it costs and saves (None where no costs were given), and what to do."""

    currency: str
    price: Price | None
    worth: BreakEven | None
    recommendation: Recommendation

    def as_json(self, months: int | None = None) -> dict[str, Any]:
        """The answer.

        Args:
            months: length of the series; three years or more where it is left out.
        """
        return {
            "object": "advice",
            "currency": self.currency,
            "recommendation": asdict(self.recommendation),
            "price": None if self.price is None else _price(self.price),
            "break_even": None if self.worth is None else self._worth(self.worth, months),
        }

    def _worth(self, worth: BreakEven, months: int | None) -> dict[str, Any]:
        return {
            "summary": summary(worth, self.currency),
            "inputs": {name: span.as_json() for name, span in worth.costs.inputs().items()},
            **{case: _case(worth.cases[case]) for case in CASES},
            "sensitivity_share": SENSITIVITY,
            "sensitivity": [_sensitivity(item) for item in worth.sensitivity],
            "series": worth.series(worth.horizon() if months is None else months),
        }


def advise(
    given: Mapping[str, Span],
    situation: Situation,
    *,
    currency: str | None = None,
    price: Price | None = None,
) -> Advice:
    """The advice from what was given.

    Args:
        given: the costs' inputs by name; none at all asks for a recommendation alone.
        price: of the model used today, in the place of both prices per million.

    Raises:
        InvalidRequest: an input is missing beside those given, or two say the same.
    """
    if price is not None:
        for name in (*TOKEN_PRICES, "price_per_query"):
            if name in given:
                raise _twice("api_model", name)
        if currency not in (None, price.currency):
            raise InvalidRequest(
                f"The price of {price.model!r} is in {price.currency}, not in {currency}: give all"
                " costs in one currency.",
                param="currency",
                code="invalid_value",
            )
        given = {
            **given,
            "input_price_per_million": Span(price.input_per_million, price.input_per_million),
            "output_price_per_million": Span(price.output_per_million, price.output_per_million),
        }
    worth = break_even(_costs(given)) if given else None
    return Advice(
        currency=currency or (price.currency if price else "USD"),
        price=price,
        worth=worth,
        recommendation=recommend(situation, worth),
    )


def _costs(given: Mapping[str, Span]) -> Costs:
    _check_price(given)
    upfront = _upfront(given)
    for name in ("queries_per_month", "monthly_cost"):
        if name not in given:
            raise _missing(name, "Costs need it; 0 is a number.")
    return Costs(
        queries_per_month=given["queries_per_month"],
        upfront=upfront,
        monthly_cost=given["monthly_cost"],
        price_per_query=given.get("price_per_query"),
        **{name: given.get(name) for name in (*TOKENS, *TOKEN_PRICES)},
    )


def _check_price(given: Mapping[str, Span]) -> None:
    by_tokens = [name for name in (*TOKENS, *TOKEN_PRICES) if name in given]
    if "price_per_query" in given:
        if by_tokens:
            raise _twice("price_per_query", by_tokens[0])
        return
    if not by_tokens:
        raise _missing("price_per_query", "Or give tokens per query and prices per million tokens.")
    for name in (*TOKENS, *TOKEN_PRICES):
        if name not in given:
            raise _missing(name, "A price by tokens needs both numbers of tokens and both prices.")


def _upfront(given: Mapping[str, Span]) -> dict[str, Span]:
    parts = {name: given[name] for name in UPFRONT if name in given}
    if "upfront_cost" not in given:
        if not parts:
            raise _missing("upfront_cost", f"Or its parts, `{'`, `'.join(UPFRONT)}`.")
        return parts
    if parts:
        raise _twice("upfront_cost", next(iter(parts)))
    return {"upfront_cost": given["upfront_cost"]}


def _missing(name: str, hint: str) -> InvalidRequest:
    return InvalidRequest(
        f"Missing required parameter: `{name}`. {hint}",
        param=name,
        code="missing_required_parameter",
    )


def _twice(first: str, second: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{first}` and `{second}` say the same: give one of them.",
        param=second,
        code="invalid_value",
    )


def _price(price: Price) -> dict[str, Any]:
    return asdict(price) | {"as_of": price.as_of.isoformat()}


def _case(case: Outlook) -> dict[str, Any]:
    return {
        "api_monthly_cost": case.api_monthly,
        "monthly_cost": case.here_monthly,
        "upfront_cost": case.upfront,
        "monthly_saving": case.monthly_saving,
        "break_even_months": case.break_even_months,
        "savings": {str(after): case.saved_after(after) for after in SAVING_MONTHS},
    }


def _sensitivity(item: Sensitivity) -> dict[str, Any]:
    return {
        "input": item.input,
        "middle": item.middle,
        "break_even_months": {"lower": item.break_even_lower, "higher": item.break_even_higher},
        "saving_after_12_months": {"lower": item.saving_lower, "higher": item.saving_higher},
    }
