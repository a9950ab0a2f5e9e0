"""The OpenAPI document: FastAPI's, completed, so that a client can be generated from it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute

from .errors import of_statuses
from .inference.schemas import documented

_NEEDS_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
_IDEMPOTENCY = "Idempotency-Key"

_PARAMETERS = {
    "batch_id": "Id of the batch.",
    "currency": "Of the prices: three letters, as `EUR`.",
    "effective_at[gte]": "Only what was done at this time or later; Unix time in seconds.",
    "effective_at[lt]": "Only what was done before this time; Unix time in seconds.",
    "evaluation_id": "Id of the evaluation.",
    "file_id": "Id of the file.",
    "fine_tuned_model_checkpoint": "Name of the tuned model, or of one of its checkpoints.",
    "input_price_per_million": "The API's price of a million input tokens.",
    "job_id": "Id of the fine-tuning job.",
    "key": "Id of the API key.",
    "model": "Name of the model or of the alias.",
    "monthly_cost": "Of this platform, per month.",
    "name": "Name of the alias.",
    "order": "By time of creation.",
    "output_price_per_million": "The API's price of a million output tokens.",
    "permission_id": "Id of the permission.",
    "price_per_query": "The API's price of a request.",
    "purpose": "Only files for this.",
    "tenant": "Id of the tenant.",
    "upload_id": "Id of the upload.",
    "upfront_cost": "Of this platform, once.",
    "webhook_endpoint_id": "Id of the webhook endpoint.",
}


def operation_id(route: APIRoute) -> str:
    """A route's function's name: what a generated client calls its method."""
    return route.name


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with the routes of inference and with what FastAPI does not know."""
    documented(document, of_statuses())
    for operation in _operations(document):
        responses = operation["responses"]
        if not operation.get("security"):
            for status in _NEEDS_KEY:
                responses.pop(str(int(status)), None)
        for parameter in operation.get("parameters", ()):
            if "description" not in parameter:
                parameter["description"] = _PARAMETERS[parameter["name"]]
            if parameter["name"] == _IDEMPOTENCY:
                responses |= of_statuses(HTTPStatus.CONFLICT)
    return document


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from item.values()
