"""Routes of files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, Literal
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.audit.acting import Actor
from tunesmith.gateway.auth import TrainingTenant
from tunesmith.gateway.idempotency import ONCE
from tunesmith.gateway.pages import After, Limit, ListWithEnds
from tunesmith.gateway.resources import Parts
from tunesmith.platform import data_reports, files
from tunesmith.platform.domain.errors import TunesmithError

from .schemas import CONTENT, UPLOAD, DataReport, File, FileDeleted
from .upload import receive

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/files", tags=["files"])

_READ_BYTES = 256 * 1024


@router.post("", openapi_extra=UPLOAD, response_model=File, dependencies=[ONCE])
async def create_file(request: Request, parts: Parts, tenant_id: TrainingTenant) -> Response:
    """Upload a file. Examples for fine-tuning are checked, and refused with their lines."""
    return await receive(
        request, parts, tenant_id, lambda file: JSONResponse(File.of(file).model_dump())
    )


@router.get("")
def list_files(
    *,
    parts: Parts,
    tenant_id: TrainingTenant,
    purpose: str | None = None,
    after: After = None,
    limit: Limit = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> ListWithEnds[File]:
    """The tenant's files."""
    with parts.database.reading() as session:
        page = files.list_files(
            session,
            tenant_id,
            purpose=purpose,
            after=after,
            limit=limit,
            newest_first=order == "desc",
        )
        data = [File.of(file) for file in page.items]
    return ListWithEnds(
        data=data,
        has_more=page.has_more,
    )


@router.get("/{file_id}")
def get_file(file_id: str, parts: Parts, tenant_id: TrainingTenant) -> File:
    """One of the tenant's files."""
    with parts.database.reading() as session:
        return File.of(files.get_file(session, tenant_id, file_id))


@router.get("/{file_id}/content", response_class=StreamingResponse, responses=CONTENT)
def get_content(file_id: str, parts: Parts, tenant_id: TrainingTenant) -> StreamingResponse:
    """The bytes of one of the tenant's files."""
    with parts.database.reading() as session:
        file = files.get_file(session, tenant_id, file_id)
    return StreamingResponse(
        _pieces(parts.storage.open_read(file.storage_key)),
        media_type="application/octet-stream",
        headers={
            "content-length": str(file.bytes),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
        },
    )


@router.get("/{file_id}/report")
def get_report(file_id: str, parts: Parts, tenant_id: TrainingTenant) -> DataReport:
    """Whether the examples of a file are good enough to learn from."""
    with parts.database.reading() as session:
        report = data_reports.get_report(session, files.get_file(session, tenant_id, file_id))
    content = None
    if report.report_key is not None:
        content = json.loads(parts.storage.get(report.report_key))
    return DataReport.of(report, content)


@router.delete("/{file_id}")
async def delete_file(
    file_id: str, parts: Parts, tenant_id: TrainingTenant, actor: Actor
) -> FileDeleted:
    """Delete one of the tenant's files. A job that has not read it yet will fail."""

    def delete() -> None:
        with parts.database.transaction() as session:
            keys = files.delete_file(session, tenant_id, file_id)
            actor.note(session, "file.deleted", file_id)
        for key in keys:
            try:
                parts.storage.delete(key)
            except TunesmithError as error:
                # The row is gone, so nobody can reach the bytes: the tenant's wish is met.
                log.error("deleted file not removed", key=key, error=error.message)

    await run_in_threadpool(delete)
    return FileDeleted(id=file_id)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(_READ_BYTES):
            yield piece
