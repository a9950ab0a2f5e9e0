"""From a form to a stored file: streamed, checked, and nothing kept of what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from anyio import to_thread
from fastapi import Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.idempotency import answer_once
from tunesmith.gateway.resources import Resources
from tunesmith.platform import files, quotas
from tunesmith.platform.database.models import File
from tunesmith.platform.domain.errors import InvalidRequest, TunesmithError
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.examples import write_normalised
from tunesmith.platform.files import StoredFile
from tunesmith.platform.storage import ObjectWriter, Storage

from .form import UploadForm

log = structlog.get_logger(__name__)

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
SHORTEST_LIFE = 3600
LONGEST_LIFE = 2_592_000
MAX_FILENAME = 512

_LONGEST_CHECK_SECONDS = 900.0
_WRITE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """What a form says of its file. `expires_after` is in seconds from now."""

    filename: str
    purpose: str
    expires_after: int | None

    @property
    def is_examples(self) -> bool:
        """Whether it is to be checked as examples."""
        return self.purpose == "fine-tune"


async def receive(
    request: Request, parts: Resources, tenant_id: str, show: Callable[[File], Response]
) -> Response:
    """Store the file of a form, and its examples when it is for fine-tuning; answer with it.

    With an `Idempotency-Key` that was used for the same content, nothing is stored.

    Args:
        show: the answer that shows a file.

    Raises:
        InvalidRequest: a field is wrong, or the examples are (`ExamplesError`, with lines).
        TooLarge: it exceeds `settings.max_file_bytes`.
        LimitReached: it is more than the tenant may still store.
        StorageFull: there is no room for it.
    """
    room = await run_in_threadpool(room_of, parts, tenant_id)
    form = UploadForm(request, parts.settings.max_file_bytes, room=room)
    form.check_length()
    with parts.storage.writer() as writer:
        await copy(form, writer)
        upload = _checked(form)

        async def make() -> Response:
            # In one piece: a server that shuts down ends what awaits, not what runs in a thread.
            file = await to_thread.run_sync(
                keep,
                parts,
                tenant_id,
                writer,
                upload,
                limiter=parts.checking if upload.is_examples else None,
            )
            return show(file)

        content = f"{writer.sha256} {upload}"
        return await answer_once(
            request, "/v1/files", content, make, seconds=_LONGEST_CHECK_SECONDS
        )


def room_of(parts: Resources, tenant_id: str) -> quotas.Room | None:
    """How much a tenant may still store; what comes at once is counted when it is kept."""
    with parts.database.reading() as session:
        return quotas.room(session, tenant_id, quotas.default_limits(parts.settings))


def keep(
    parts: Resources,
    tenant_id: str,
    writer: ObjectWriter,
    upload: Upload,
    then: Callable[[Session, File], None] | None = None,
) -> File:
    """Make a file of what was written, and of its examples when it is for fine-tuning.

    Args:
        then: what belongs to the same transaction; if it raises, nothing is kept.

    Raises:
        InvalidRequest: the examples are wrong (`ExamplesError`, with lines).
        LimitReached: it is more than the tenant may store, with all that came meanwhile.
        StorageFull: there is no room for it.
    """
    # Each upload has objects of its own: equal bytes may be deleted while they are uploaded
    # again, and no order of row and object would make that safe.
    name = f"{writer.sha256}-{random_text(8)}"
    stored = StoredFile(files.original_key(tenant_id, name), writer.size, writer.sha256)
    examples_key = files.examples_key(tenant_id, name)
    try:
        writer.commit(stored.storage_key)
        if upload.is_examples:
            stored = _normalise(parts.storage, stored, upload.filename, examples_key)
        with parts.database.transaction() as session:
            file = files.add_file(
                session,
                tenant_id,
                stored,
                filename=upload.filename,
                purpose=upload.purpose,
                expires_after=upload.expires_after,
            )
            if then is not None:
                then(session, file)
            quotas.check_stored(session, tenant_id, quotas.default_limits(parts.settings))
            return file
    except BaseException:
        _discard(parts.storage, stored.storage_key, examples_key)
        raise


def _normalise(storage: Storage, stored: StoredFile, filename: str, key: str) -> StoredFile:
    with storage.open_read(stored.storage_key) as source, storage.writer(key) as out:
        summary = write_normalised(source, filename, out)
    return replace(stored, examples_key=key, examples=summary.examples, kind=summary.kind)


async def copy(form: UploadForm, writer: ObjectWriter) -> None:
    """Write a form's file as it comes; raises what `UploadForm.file_bytes` does."""
    pending = bytearray()
    async for data in form.file_bytes():
        pending += data
        if len(pending) >= _WRITE_BYTES:
            await run_in_threadpool(writer.write, bytes(pending))
            pending.clear()
    await run_in_threadpool(writer.write, bytes(pending))


def _checked(form: UploadForm) -> Upload:
    for name in form.fields:
        if name not in ("purpose", "expires_after[anchor]", "expires_after[seconds]"):
            raise InvalidRequest(
                f"Unknown parameter: `{name[:80]}`.", param=name[:80], code="unknown_parameter"
            )
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise InvalidRequest(
            "Missing required parameter: `purpose`.",
            param="purpose",
            code="missing_required_parameter",
        )
    check_purpose(purpose)
    filename = (form.filename or "file").replace("\0", "")
    if len(filename) > MAX_FILENAME:
        raise InvalidRequest(
            f"The file's name has more than {MAX_FILENAME} characters.", param="file"
        )
    return Upload(filename, purpose, _life(form.fields))


def check_purpose(purpose: str) -> None:
    """Refuse a purpose that files are not uploaded for.

    Raises:
        InvalidRequest: it is not one of `PURPOSES`.
    """
    if purpose not in PURPOSES:
        raise InvalidRequest(
            f"`purpose` must be one of {', '.join(PURPOSES)}; it is {purpose[:80]!r}.",
            param="purpose",
            code="invalid_value",
        )


def _life(fields: dict[str, str]) -> int | None:
    anchor = fields.get("expires_after[anchor]")
    seconds = fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest(
            '`expires_after.anchor` must be "created_at".', param="expires_after.anchor"
        )
    if (
        seconds is None
        or not (seconds.isascii() and seconds.isdigit() and len(seconds) < 10)
        or not SHORTEST_LIFE <= int(seconds) <= LONGEST_LIFE
    ):
        raise InvalidRequest(
            f"`expires_after.seconds` must be a whole number from {SHORTEST_LIFE} to"
            f" {LONGEST_LIFE}.",
            param="expires_after.seconds",
        )
    return int(seconds)


def _discard(storage: Storage, *keys: str) -> None:
    for key in keys:
        try:
            storage.delete(key)
        except TunesmithError as error:
            # The request fails for its own reason; this one is for whoever cleans up.
            log.error("refused upload not removed", key=key, error=error.message)
