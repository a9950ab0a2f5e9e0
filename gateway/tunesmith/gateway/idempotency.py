"""Creates that are done once, however often they are sent with the same `Idempotency-Key`.

A route takes part with `dependencies=[ONCE]`, where its class is `JsonRoute` or one made from it.
One that reads its body itself calls `answer_once`. A route whose answer holds a secret that is
kept nowhere else (a new API key) must not take part: the answer would be kept in clear.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import Depends, Header, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.auth import identify
from tunesmith.gateway.resources import resources_of
from tunesmith.platform import idempotency
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.idempotency import ANSWERING_SECONDS, Answering, Begun, Kept

log = structlog.get_logger(__name__)

HEADER = "idempotency-key"
REPLAYED = "idempotent-replayed"
"""Header of an answer that is an earlier request's."""

RETRY_AFTER_SECONDS = 1


class _InProgress(TunesmithError):
    status = HTTPStatus.CONFLICT
    kind = "invalid_request_error"
    default_code = "idempotency_in_progress"


def _named(
    _: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="The same key and body again, within 24 hours: the first answer again.",
        ),
    ] = None,
) -> None:
    """Names the header in the OpenAPI document."""


ONCE = Depends(_named)
"""To be put among a route's dependencies."""


def takes_part(dependant: Dependant) -> bool:
    """Whether a route has `ONCE` among its dependencies."""
    return any(dependency.call is _named for dependency in dependant.dependencies)


async def answer_once(
    request: Request,
    route: str,
    content: str,
    make: Callable[[], Awaitable[Response]],
    *,
    seconds: float = ANSWERING_SECONDS,
) -> Response:
    """The answer of `make`, or of an earlier request with the same key; no key: of `make`.

    Args:
        route: the route's path, as it was declared.
        content: what the body holds, or its digest.
        make: answers with JSON; may raise the platform's errors.
        seconds: that it may take; after that a repeat takes it for lost.

    Raises:
        InvalidRequest: the key is none, or was used for another request.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await make()
    caller = await identify(request)
    if caller.tenant_id is None:  # the administrator's creates answer with keys
        return await make()
    database: Database = resources_of(request).database
    url = request.url
    # A key that may do less than the first one's must not be shown its answer.
    parts = (request.method, url.path, url.query, ",".join(sorted(caller.scopes)), content)
    fingerprint = hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()
    tenant_id, name = caller.tenant_id, f"{request.method} {route}"

    def begin() -> Begun | Kept | Answering:
        with database.transaction() as session:
            return idempotency.begin(session, tenant_id, name, key, fingerprint, seconds=seconds)

    found = await run_in_threadpool(begin)
    if isinstance(found, Answering):
        return _in_progress()
    if isinstance(found, Kept):
        return JSONResponse(found.body, found.status, {REPLAYED: "true"})
    try:
        response = await make()
    except Exception:  # nothing was created
        await run_in_threadpool(_end, database, found)
        raise
    await run_in_threadpool(_end, database, found, response)
    return response


def _end(database: Database, begun: Begun, response: Response | None = None) -> None:
    try:
        with database.transaction() as session:
            if response is not None and response.status_code // 100 == 2:
                body: dict[str, Any] = json.loads(bytes(response.body))
                idempotency.keep(session, begun, response.status_code, body)
            else:
                idempotency.let_go(session, begun)
    except (TunesmithError, SQLAlchemyError) as error:
        # What was made is made, and its answer is good, though a repeat will not get it.
        log.warning("an idempotent answer was not kept", key=begun.key, error=str(error))


def _in_progress() -> Response:
    error = _InProgress("The first request with this idempotency key is still being answered.")
    return JSONResponse(error.body(), error.status, {"retry-after": str(RETRY_AFTER_SECONDS)})
