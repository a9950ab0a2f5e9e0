"""What lives as long as the application, handed to every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

from anyio import CapacityLimiter
from fastapi import Depends, Request

from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.inference.answering import Inference
from tunesmith.gateway.keys.callers import Callers
from tunesmith.gateway.metrics import Metrics
from tunesmith.gateway.models.catalogue import Catalogue
from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.gateway.webhooks.sender import WebhookSender
from tunesmith.platform.database import Database
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage


@dataclass(frozen=True)
class Resources:
    """The application's parts; `checking` bounds how many uploads' examples are read at once."""

    settings: Settings
    database: Database
    storage: Storage
    engines: EnginePool
    callers: Callers
    catalogue: Catalogue
    metrics: Metrics
    usage: UsageLedger
    checking: CapacityLimiter
    webhooks: WebhookSender
    inference: Inference


class State(TypedDict):
    """The lifespan's state, as Starlette copies it into every request."""

    resources: Resources


def resources_of(request: Request) -> Resources:
    """The application's parts, of any request."""
    resources: Resources = request.state.resources
    return resources


Parts = Annotated[Resources, Depends(resources_of)]
