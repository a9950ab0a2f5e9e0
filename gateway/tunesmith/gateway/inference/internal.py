"""Requests that the gateway itself makes for a tenant: those of batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tunesmith.gateway.errors import ErrorResponse
from tunesmith.gateway.fairness.tenant_line import Priority
from tunesmith.gateway.resources import Resources
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.ids import batch_request_id
from tunesmith.platform.tenants import Caller

from .asked import Asked


@dataclass(frozen=True, slots=True)
class Answered:
    """What a client would have got: a status, and the answer's body or the error's."""

    status: int
    body: bytes
    request_id: str


async def answer(
    resources: Resources, *, tenant_id: str, key_id: str, path: str, body: dict[str, Any]
) -> Answered:
    """Answer a request of a tenant at low priority; what refuses it is told by the status.

    Limits a minute do not hold for it, as at OpenAI: it takes the turns that others leave. A
    cancelled call ends the generation.
    """
    request_id = batch_request_id()
    caller = Caller(key_id, tenant_id)
    try:
        asked = Asked.of(path, json.dumps(body).encode())
        generation = await resources.inference.begin(
            caller, asked, request_id, priority=Priority.BATCH, limited=False
        )
        try:
            return Answered(generation.status, await generation.read(), request_id)
        finally:
            generation.end()
    except TunesmithError as error:
        return Answered(error.status, bytes(ErrorResponse(error.body()).body), request_id)
