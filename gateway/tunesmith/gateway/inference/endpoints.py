"""Routes of inference."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from tunesmith.gateway.auth import InferenceTenant
from tunesmith.gateway.resources import Parts

from . import schemas
from .forward import forward

router = APIRouter(prefix="/v1", tags=["inference"])


@router.post("/chat/completions", openapi_extra=schemas.CHAT, response_class=Response)
async def create_chat_completion(
    request: Request, parts: Parts, tenant_id: InferenceTenant
) -> Response:
    """Answer a conversation."""
    return await forward(request, parts, tenant_id, "/v1/chat/completions")


@router.post("/completions", openapi_extra=schemas.COMPLETION, response_class=Response)
async def create_completion(request: Request, parts: Parts, tenant_id: InferenceTenant) -> Response:
    """Continue a text."""
    return await forward(request, parts, tenant_id, "/v1/completions")
