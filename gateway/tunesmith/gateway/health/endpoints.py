"""Routes for supervisors, schedulers and Prometheus. None needs a key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tunesmith.gateway.resources import Parts
from tunesmith.platform.domain.errors import InvalidRequest

from .readiness import CHECKS
from .schemas import EngineState, Health, Readiness

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def get_health() -> Health:
    """The process lives; nothing else is looked at."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Some part is not."}})
def get_readiness(
    parts: Parts,
    response: Response,
    part: Annotated[
        list[str] | None, Query(description=f"Only these parts; all are {', '.join(CHECKS)}.")
    ] = None,
) -> Readiness:
    """Which parts are ready, and why not."""
    for name in part or []:
        if name not in CHECKS:
            raise InvalidRequest(
                f"There is no part {name[:80]!r}; parts are {', '.join(CHECKS)}.", param="part"
            )
    told = {name: CHECKS[name](parts) for name in (part or CHECKS)}
    ready = all(found.ready for found in told.values())
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(
        ready=ready,
        parts=told,
        engines=[
            EngineState(
                url=engine.url,
                status=engine.status,
                reason=engine.reason or None,
                bases=sorted(engine.bases),
                in_flight=engine.in_flight,
            )
            for engine in parts.engines.engines
        ],
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(parts: Parts) -> Response:
    """All figures in Prometheus' text format."""
    return Response(
        generate_latest(parts.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST}
    )
