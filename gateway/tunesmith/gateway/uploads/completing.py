"""From parts to a file: put together in a stream, checked as a file that came at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import structlog
from anyio import to_thread
from sqlalchemy.orm import Session

from tunesmith.gateway.files import upload as whole
from tunesmith.gateway.resources import Resources
from tunesmith.platform import files
from tunesmith.platform.database.models import File, Upload, UploadPart
from tunesmith.platform.domain.errors import InvalidRequest, TunesmithError
from tunesmith.platform.storage import ObjectWriter, Storage
from tunesmith.platform.uploads import sweeping, uploads

log = structlog.get_logger(__name__)

_READ_BYTES = 1024 * 1024


async def complete(
    parts: Resources, tenant_id: str, upload_id: str, part_ids: Sequence[str], md5: str | None
) -> tuple[Upload, File]:
    """Make an upload's file. One that is completed already keeps the file that it has.

    Clients repeat a request whose answer was lost, so that is no error.

    Raises:
        NotFound: no such upload of this tenant, or its file was deleted.
        InvalidRequest: it has ended; a part is unknown; bytes or checksum differ; its examples
            are wrong. The upload stays as it is.
    """

    def find() -> tuple[Upload, File | None, Sequence[UploadPart]]:
        with parts.database.reading() as session:
            upload = uploads.get_upload(session, tenant_id, upload_id)
            if upload.status == uploads.COMPLETED:
                return upload, files.get_file(session, tenant_id, upload.file_id or ""), ()
            uploads.check_pending(upload)
            return upload, None, uploads.chosen_parts(session, upload, part_ids)

    upload, file, chosen = await to_thread.run_sync(find)
    if file is not None:
        return upload, file
    wanted = whole.Upload(upload.filename, upload.purpose, upload.expires_after)
    # In one piece: a server that shuts down ends what awaits, not what runs in a thread.
    done = await to_thread.run_sync(
        _make,
        *(parts, upload, wanted, chosen, md5),
        limiter=parts.checking if wanted.is_examples else None,
    )
    await to_thread.run_sync(discard_parts, parts, upload_id)
    return done


def _make(
    parts: Resources,
    upload: Upload,
    wanted: whole.Upload,
    chosen: Sequence[UploadPart],
    md5: str | None,
) -> tuple[Upload, File]:
    ended: list[Upload] = []

    def end(session: Session, file: File) -> None:
        row = uploads.get_upload(session, upload.tenant_id, upload.id, lock=True)
        if row.status != uploads.PENDING:  # meanwhile; its time may be over, as it began within
            uploads.check_pending(row)
        row.status = uploads.COMPLETED
        row.file_id = file.id
        session.flush()
        ended.append(row)

    with parts.storage.writer() as writer:
        _put_together(parts.storage, chosen, writer, md5)
        file = whole.keep(parts, upload.tenant_id, writer, wanted, end)
    return ended[0], file


def _put_together(
    storage: Storage, chosen: Sequence[UploadPart], writer: ObjectWriter, md5: str | None
) -> None:
    checksum = hashlib.md5(usedforsecurity=False)
    for part in chosen:
        with storage.open_read(part.storage_key) as stream:
            while piece := stream.read(_READ_BYTES):
                writer.write(piece)
                checksum.update(piece)
    if md5 is not None and checksum.hexdigest() != md5.lower():
        raise InvalidRequest(
            f"The MD5 of the parts is {checksum.hexdigest()}, not {md5[:80]}: a part is wrong, or"
            " they are out of order.",
            param="md5",
            code="checksum_mismatch",
        )


def discard_parts(parts: Resources, upload_id: str) -> None:
    """Delete the parts of an upload that has ended; what fails now, the next sweep does."""
    try:
        sweeping.delete_parts(parts.database, parts.storage, upload_id)
    except TunesmithError as error:
        log.warning("parts not deleted yet", upload=upload_id, error=error.message)
