"""Advice, as the API takes and gives it. Amounts are in one currency, times in months."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from tunesmith.platform.advice.prices import is_currency
from tunesmith.platform.advice.recommendation import Situation
from tunesmith.platform.advice.span import MAX_AMOUNT, Span, parse_span

MAX_TOKENS = 1e8
"""Most tokens of one query; no model has a context of as many."""

SPANS = (
    "queries_per_month",
    "price_per_query",
    "tokens_in_per_query",
    "tokens_out_per_query",
    "input_price_per_million",
    "output_price_per_million",
    "upfront_cost",
    "data_preparation_cost",
    "training_cost",
    "monthly_cost",
)
SITUATION = (
    "examples",
    "task_repetitive",
    "prompting_sufficient",
    "stronger_model_sufficient",
    "task_novel",
    "one_off",
)


def _span_or_none(most: float) -> Callable[[object], Span | None]:
    parse = partial(parse_span, most=most)
    return lambda value: None if value is None else parse(value)


def _schema(most: float) -> WithJsonSchema:
    number = {"type": "number", "minimum": 0, "maximum": most}
    pair = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    return WithJsonSchema({"anyOf": [number, pair, {"type": "null"}]})


def check_currency(text: str) -> str:
    """The code of a currency.

    Raises:
        ValueError: it does not have the form of one.
    """
    if not is_currency(text):
        raise ValueError("a currency is three capital letters, as USD")
    return text


_Amount = Annotated[
    Span | None, PlainValidator(_span_or_none(MAX_AMOUNT)), _schema(MAX_AMOUNT), Field()
]
_Tokens = Annotated[
    Span | None, PlainValidator(_span_or_none(MAX_TOKENS)), _schema(MAX_TOKENS), Field()
]


class AskAdvice(BaseModel):
    """What is known of the costs and the task; each cost is a number or a range `[low, high]`.

    With any cost there must be enough of them for a break-even: `queries_per_month`, the price of
    today (`price_per_query`; or both `tokens_..._per_query` with both `..._price_per_million` or
    `api_model`), `upfront_cost` or its parts, `monthly_cost`. What is not known of the task
    becomes a question in the answer.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    queries_per_month: _Amount = None
    price_per_query: _Amount = None
    tokens_in_per_query: _Tokens = None
    tokens_out_per_query: _Tokens = None
    input_price_per_million: _Amount = None
    output_price_per_million: _Amount = None
    api_model: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="A model of the platform's prices file."
    )
    upfront_cost: _Amount = None
    data_preparation_cost: _Amount = None
    training_cost: _Amount = None
    monthly_cost: _Amount = None
    currency: Annotated[str, AfterValidator(check_currency)] | None = None
    months: Annotated[int, Field(ge=1, le=120)] | None = Field(
        default=None, description="Length of the series."
    )

    examples: Annotated[int, Field(ge=0, le=10**12)] | None = None
    task_repetitive: bool | None = None
    prompting_sufficient: bool | None = None
    stronger_model_sufficient: bool | None = None
    task_novel: bool | None = None
    one_off: bool | None = None

    def given(self) -> dict[str, Span]:
        """The costs that were given, by name."""
        return {name: getattr(self, name) for name in SPANS if getattr(self, name) is not None}

    def situation(self) -> Situation:
        """What is known of the task."""
        return Situation(**{name: getattr(self, name) for name in SITUATION})


class Reason(BaseModel):
    """A rule that applied."""

    rule: str
    side: Literal["for", "against", "caution"]
    text: str


class Recommendation(BaseModel):
    """What to do, why, and what to find out before."""

    verdict: Literal["fine_tune", "collect_examples_first", "do_not_fine_tune", "undecided"]
    summary: str
    reasons: list[Reason]
    questions: list[str]


class PriceUsed(BaseModel):
    """The entry of the prices file that was used."""

    model: str
    input_per_million: float
    output_per_million: float
    currency: str
    as_of: date
    source: str


class Case(BaseModel):
    """One case; `break_even_months` is null where it never pays for itself."""

    api_monthly_cost: float
    monthly_cost: float
    upfront_cost: float
    monthly_saving: float
    break_even_months: float | None
    savings: dict[str, float] = Field(description="Cumulative, after 12, 24 and 36 months.")


class LowerHigher(BaseModel):
    """A figure with an input lower, and with it higher."""

    lower: float | None
    higher: float | None


class Sensitivity(BaseModel):
    """What an input does to the middle case when it alone changes."""

    input: str
    middle: float
    break_even_months: LowerHigher
    saving_after_12_months: LowerHigher


class BreakEven(BaseModel):
    """Best, middle and worst case; `series` has cumulative figures month by month."""

    summary: list[str]
    inputs: dict[str, float | list[float]]
    best: Case
    middle: Case
    worst: Case
    sensitivity_share: float
    sensitivity: list[Sensitivity]
    series: list[dict[str, float]]


class Advice(BaseModel):
    """The answer; `break_even` is null where no costs were given."""

    object: Literal["advice"] = "advice"
    currency: str
    recommendation: Recommendation
    price: PriceUsed | None
    break_even: BreakEven | None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Advice:
        """The platform's answer as the API shows it."""
        return cls.model_validate(answer)
