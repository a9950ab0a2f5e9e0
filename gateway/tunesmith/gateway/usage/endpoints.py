"""Routes of usage and savings. What was used is counted within a second or so."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator

from tunesmith.gateway.advice.schemas import check_currency
from tunesmith.gateway.auth import TenantId
from tunesmith.gateway.resources import Parts
from tunesmith.platform.advice.prices import configured_prices, price_on
from tunesmith.platform.advice.savings import Listed, PerQuery, PerToken, Pricing, savings
from tunesmith.platform.advice.span import MAX_AMOUNT
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.settings import Settings
from tunesmith.platform.usage import usage_of

from .days import FIRST_DAY, Day, check_order, today
from .reporting import CSV, Format, GroupBy, KeyId, answer
from .schemas import SavingsSoFar, Usage

router = APIRouter(prefix="/v1", tags=["worth"])

Amount = Annotated[float | None, Query(ge=0, le=MAX_AMOUNT, allow_inf_nan=False)]
Currency = Annotated[str | None, AfterValidator(lambda v: None if v is None else check_currency(v))]


@router.get("/usage", response_model=Usage, responses=CSV)
def get_usage(
    request: Request,
    parts: Parts,
    tenant_id: TenantId,
    *,
    start: Day = None,
    end: Day = None,
    key_id: KeyId = None,
    group_by: GroupBy = None,
    format: Format = None,
) -> Any:
    """What the tenant used, by day and model: the last 30 days, or those asked for."""
    return answer(
        request,
        parts,
        tenant_id=tenant_id,
        start=start,
        end=end,
        group_by=group_by,
        key_id=key_id,
        form=format,
    )


@router.get("/savings")
def get_savings(
    parts: Parts,
    tenant_id: TenantId,
    *,
    price_per_query: Amount = None,
    input_price_per_million: Amount = None,
    output_price_per_million: Amount = None,
    api_model: Annotated[
        str | None, Query(max_length=512, description="A model of the platform's prices file.")
    ] = None,
    upfront_cost: Amount = None,
    monthly_cost: Amount = None,
    currency: Currency = None,
    since: Day = None,
    until: Day = None,
) -> SavingsSoFar:
    """What the tenant's tuned models have saved so far against an API's price."""
    last = until or today()
    if since is not None:
        check_order("since", since, "until", last)
    pricing, priced_in = _pricing(
        parts.settings,
        per_query=price_per_query,
        input_per_million=input_price_per_million,
        output_per_million=output_price_per_million,
        api_model=api_model,
        day=last,
    )
    if currency is not None and priced_in not in (None, currency):
        raise InvalidRequest(
            f"The price of {api_model!r} is in {priced_in}, not in {currency}: give all costs in"
            " one currency.",
            param="currency",
            code="invalid_value",
        )
    with parts.database.reading() as session:
        rows = usage_of(session, tenant_id, since or FIRST_DAY, last)
    found = savings(
        rows,
        pricing,
        since=since,
        until=last,
        upfront_cost=upfront_cost or 0.0,
        monthly_cost=monthly_cost or 0.0,
    )
    return SavingsSoFar.of(found, currency or priced_in or "USD", api_model)


def _pricing(
    settings: Settings,
    *,
    per_query: float | None,
    input_per_million: float | None,
    output_per_million: float | None,
    api_model: str | None,
    day: date,
) -> tuple[Pricing, str | None]:
    """The price to compare with, and its currency where that is known.

    Raises:
        InvalidRequest: none was given, half of one, or two.
    """
    by_token = (input_per_million, output_per_million)
    ways = [per_query is not None, by_token != (None, None), api_model is not None]
    if sum(ways) != 1:
        raise InvalidRequest(
            "Say the API's price in one way: `price_per_query`, or `input_price_per_million` with"
            " `output_price_per_million`, or `api_model`.",
            param="price_per_query",
            code="invalid_value" if any(ways) else "missing_required_parameter",
        )
    if per_query is not None:
        return PerQuery(per_query), None
    if api_model is not None:
        prices = configured_prices(settings.prices_file)
        return Listed(prices, api_model), price_on(prices, api_model, day).currency
    if input_per_million is None or output_per_million is None:
        missing = "output" if output_per_million is None else "input"
        raise InvalidRequest(
            f"Missing required parameter: `{missing}_price_per_million`.",
            param=f"{missing}_price_per_million",
            code="missing_required_parameter",
        )
    return PerToken(input_per_million, output_per_million), None
