"""Routes of uploads."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.auth import TrainingTenant
from tunesmith.gateway.files.form import UploadForm
from tunesmith.gateway.files.upload import check_purpose, copy
from tunesmith.gateway.idempotency import ONCE
from tunesmith.gateway.json_body import JsonRoute
from tunesmith.gateway.resources import Parts
from tunesmith.platform import quotas
from tunesmith.platform.database.models import UploadPart
from tunesmith.platform.domain.errors import InvalidRequest, TooLarge
from tunesmith.platform.domain.ids import part_id
from tunesmith.platform.storage import ObjectWriter
from tunesmith.platform.uploads import uploads

from .completing import complete, discard_parts
from .schemas import PART, CompleteUpload, CreateUpload, Part, Upload

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], route_class=JsonRoute)


@router.post("", dependencies=[ONCE])
def create_upload(body: CreateUpload, parts: Parts, tenant_id: TrainingTenant) -> Upload:
    """Begin a file that comes in parts, within an hour."""
    check_purpose(body.purpose)
    largest = parts.settings.max_file_bytes
    if body.bytes > largest:
        raise TooLarge(
            f"The file is to have {body.bytes:,} bytes; the most that one file may have here is"
            f" {largest:,}.",
            param="bytes",
        )
    with parts.database.transaction() as session:
        upload = uploads.create_upload(
            session,
            tenant_id,
            filename=body.filename,
            purpose=body.purpose,
            size=body.bytes,
            mime_type=body.mime_type,
            expires_after=body.expires_after.seconds if body.expires_after else None,
        )
        return Upload.of(upload)


@router.post("/{upload_id}/parts", openapi_extra=PART)
async def add_part(
    request: Request, upload_id: str, parts: Parts, tenant_id: TrainingTenant
) -> Part:
    """Add a part of at most 64 MB. Parts may come at once and in any order."""

    def check() -> None:
        with parts.database.reading() as session:
            uploads.check_pending(uploads.get_upload(session, tenant_id, upload_id))

    def keep(writer: ObjectWriter) -> UploadPart:
        name = part_id()
        key = uploads.part_key(upload_id, name)
        writer.commit(key)
        try:
            with parts.database.transaction() as session:
                part = uploads.add_part(session, tenant_id, upload_id, name, writer.size)
                quotas.check_stored(session, tenant_id, quotas.default_limits(parts.settings))
                return part
        except BaseException:
            parts.storage.delete(key)
            raise

    await run_in_threadpool(check)
    form = UploadForm(request, uploads.MAX_PART_BYTES, "data")
    form.check_length()
    with parts.storage.writer() as writer:
        await copy(form, writer)
        for name in form.fields:
            raise InvalidRequest(
                f"Unknown parameter: `{name[:80]}`.", param=name[:80], code="unknown_parameter"
            )
        return Part.of(await run_in_threadpool(keep, writer))


@router.post("/{upload_id}/complete")
async def complete_upload(
    upload_id: str, body: CompleteUpload, parts: Parts, tenant_id: TrainingTenant
) -> Upload:
    """Make the file of these parts, in their order. It is checked as one that came at once."""
    return Upload.of(*await complete(parts, tenant_id, upload_id, body.part_ids, body.md5))


@router.post("/{upload_id}/cancel")
def cancel_upload(upload_id: str, parts: Parts, tenant_id: TrainingTenant) -> Upload:
    """Cancel an upload and delete its parts."""
    with parts.database.transaction() as session:
        shown = Upload.of(uploads.cancel_upload(session, tenant_id, upload_id))
    discard_parts(parts, upload_id)
    return shown
