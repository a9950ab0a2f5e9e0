"""The route of advice."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter

from tunesmith.gateway.auth import TenantId
from tunesmith.gateway.json_body import JsonRoute
from tunesmith.gateway.resources import Parts
from tunesmith.platform.advice.advice import advise
from tunesmith.platform.advice.prices import configured_prices, price_on

from .schemas import Advice, AskAdvice

router = APIRouter(prefix="/v1", tags=["worth"], route_class=JsonRoute)


@router.post("/advice")
def give_advice(body: AskAdvice, parts: Parts, _: TenantId) -> Advice:
    """Whether fine-tuning is worth it: break-even, savings, sensitivity, and a recommendation."""
    price = None
    if body.api_model is not None:
        today = datetime.now(UTC).date()
        price = price_on(configured_prices(parts.settings.prices_file), body.api_model, today)
    found = advise(body.given(), body.situation(), currency=body.currency, price=price)
    return Advice.of(found.as_json(body.months))
