"""The application: its parts, their life, its routes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI
from sqlalchemy import select

from tunesmith.gateway import errors
from tunesmith.gateway.advice.endpoints import router as advice
from tunesmith.gateway.aliases.endpoints import router as aliases
from tunesmith.gateway.application import Gateway
from tunesmith.gateway.audit.endpoints import router as audit
from tunesmith.gateway.batches.endpoints import router as batches
from tunesmith.gateway.batches.runner import BatchRunner
from tunesmith.gateway.cors import allow_origins
from tunesmith.gateway.document import operation_id
from tunesmith.gateway.engines.http_client import EngineClient
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.evaluations.endpoints import router as evaluations
from tunesmith.gateway.files.endpoints import router as files
from tunesmith.gateway.fine_tuning.endpoints import router as fine_tuning
from tunesmith.gateway.fine_tuning.forgetting import step_forgetter
from tunesmith.gateway.health.collecting import figures_kept
from tunesmith.gateway.health.endpoints import router as health
from tunesmith.gateway.inference.answering import Inference
from tunesmith.gateway.inference.internal import answer
from tunesmith.gateway.inference.paths import InferencePaths
from tunesmith.gateway.inference.sending import Sender
from tunesmith.gateway.keys.callers import open_callers
from tunesmith.gateway.keys.endpoints import router as keys
from tunesmith.gateway.limits.in_force import Rates
from tunesmith.gateway.limits.parts import open_limits
from tunesmith.gateway.metrics import Metrics
from tunesmith.gateway.models.catalogue import Catalogue
from tunesmith.gateway.models.endpoints import router as models
from tunesmith.gateway.permissions.endpoints import router as permissions
from tunesmith.gateway.request_context import RequestContext
from tunesmith.gateway.resources import Resources, State
from tunesmith.gateway.tenants.endpoints import router as tenants
from tunesmith.gateway.uploads.endpoints import router as uploads
from tunesmith.gateway.uploads.sweeping import upload_sweeper
from tunesmith.gateway.usage.endpoints import router as usage
from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.gateway.usage.organization import router as organization
from tunesmith.gateway.usage.sampling import storage_sampler
from tunesmith.gateway.webhooks.deliverer import WebhookDeliverer
from tunesmith.gateway.webhooks.endpoints import router as webhooks
from tunesmith.gateway.webhooks.sender import WebhookSender
from tunesmith.platform.certificates import Authorities
from tunesmith.platform.database import Database, until_done, wait_for_schema
from tunesmith.platform.database.models import ApiKey
from tunesmith.platform.request_log import RequestLog, structured_request_log
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.tenants import ensure_admin_key
from tunesmith.platform.tracing import Tracing, open_tracing

log = structlog.get_logger(__name__)

UPLOADS_CHECKED_AT_ONCE = 2
"""Reading examples is work for the CPU: more at once would only take it from the answers."""


def create_app(settings: Settings, request_log: RequestLog = structured_request_log) -> FastAPI:
    """The gateway as an ASGI application; several can live in one process."""
    metrics = Metrics()
    tracing = open_tracing(settings, "gateway")
    app = Gateway(
        title="Tunesmith",
        summary="Fine-tuning and inference behind OpenAI's API.",
        version="1",
        lifespan=partial(_live, settings, metrics, tracing),
        responses=errors.RESPONSES,
        generate_unique_id_function=operation_id,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.surround(InferencePaths)
    app.surround(partial(RequestContext, metrics=metrics, request_log=request_log, tracing=tracing))
    if settings.cors_origins:
        app.surround(partial(allow_origins, origins=settings.cors_origins))
    errors.install(app)
    for router in (
        files,
        uploads,
        batches,
        fine_tuning,
        permissions,
        evaluations,
        aliases,
        models,
        usage,
        organization,
        advice,
        webhooks,
        tenants,
        keys,
        audit,
        health,
    ):
        app.include_router(router)
    return app


@asynccontextmanager
async def _live(
    settings: Settings, metrics: Metrics, tracing: Tracing | None, _: FastAPI
) -> AsyncIterator[State]:
    async with AsyncExitStack() as parts:
        if tracing is not None:
            parts.push_async_callback(asyncio.to_thread, tracing.close)
        database = Database(settings.database_url)
        parts.callback(database.dispose)
        stopping = threading.Event()
        parts.callback(stopping.set)
        # Not Starlette's pool: its threads are waited for, and this one may wait for a database.
        await asyncio.to_thread(_prepare, database, settings, stopping)
        pool = await parts.enter_async_context(
            EnginePool(
                settings.engines,
                wait_seconds=settings.engine_wait_seconds,
                slots=settings.engine_max_loras,
                holds=settings.engine_max_cpu_loras,
                makes_room=True,
                adapter_loaded=metrics.adapter_load,
                authorities=Authorities(settings.engine_ca_file),
            )
        )
        ledger = await parts.enter_async_context(UsageLedger(database))
        limits = await parts.enter_async_context(open_limits(settings, database, metrics))
        client = EngineClient(pool.trust)
        parts.push_async_callback(client.close)
        catalogue = Catalogue(database)
        storage = Storage(settings.storage_url)
        await parts.enter_async_context(upload_sweeper(database, storage))
        await parts.enter_async_context(storage_sampler(database))
        await parts.enter_async_context(step_forgetter(database, settings.step_events_days))
        sender = await parts.enter_async_context(
            WebhookSender(private=settings.webhook_private_addresses)
        )
        await parts.enter_async_context(
            WebhookDeliverer(database, sender, attempted=metrics.webhook_attempted)
        )
        await parts.enter_async_context(
            figures_kept(
                metrics,
                database=database,
                storage=storage,
                pool=pool,
                ledger=ledger,
                named_tenants=settings.metrics_tenants,
            )
        )
        resources = Resources(
            settings=settings,
            database=database,
            storage=storage,
            engines=pool,
            callers=await parts.enter_async_context(open_callers(database, settings)),
            catalogue=catalogue,
            metrics=metrics,
            usage=ledger,
            checking=CapacityLimiter(UPLOADS_CHECKED_AT_ONCE),
            webhooks=sender,
            inference=Inference(
                catalogue=catalogue,
                sender=Sender(
                    pool,
                    client,
                    capacity=settings.engine_max_running,
                    queue_seconds=settings.queue_seconds,
                    adapter_seconds=settings.adapter_wait_seconds,
                ),
                limits=limits,
                defaults=Rates.of_settings(settings),
                ledger=ledger,
                metrics=metrics,
                shares_cache=settings.share_prefix_cache,
                fetches_urls=settings.engine_fetches_urls,
            ),
        )
        await parts.enter_async_context(
            BatchRunner(
                database,
                storage,
                partial(answer, resources),
                catalogue.choose,
                concurrency=settings.batch_concurrency,
                lease_seconds=settings.lease_seconds,
            )
        )
        yield State(resources=resources)


def _prepare(database: Database, settings: Settings, stopping: threading.Event) -> None:
    """Wait for the schema, and make the administrator's key the one of the settings."""

    def keep_admin_key() -> None:
        with database.transaction() as session:
            if settings.admin_key is not None:
                ensure_admin_key(
                    session,
                    settings.admin_key.get_secret_value(),
                    overlap_seconds=settings.admin_key_overlap_seconds,
                )
            elif session.scalars(select(ApiKey).where(ApiKey.tenant_id.is_(None))).first() is None:
                log.warning("no administrator's key: set TUNESMITH_ADMIN_KEY to create tenants")

    if wait_for_schema(database, settings, stopping):
        until_done(keep_admin_key, database, stopping)
