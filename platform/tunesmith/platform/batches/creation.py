"""Creating a batch."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from tunesmith.platform import files
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Batch
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound

from .status import VALIDATING

WINDOW_SECONDS = 24 * 3600.0
"""Time that a batch has: the completion window `24h`, the only one, as at OpenAI."""


@dataclass(frozen=True)
class BatchRequest:
    """What a tenant asks for. `output_expires_after` (seconds) is that of the files it makes."""

    input_file: str
    endpoint: str
    metadata: dict[str, str] | None = None
    output_expires_after: int | None = None


def create_batch(session: Session, tenant_id: str, key_id: str, request: BatchRequest) -> Batch:
    """A batch that waits for a gateway to take it up; its file is read then.

    Raises:
        NotFound: no such file of this tenant.
        InvalidRequest: the file has another purpose than `batch`.
    """
    try:
        file = files.get_file(session, tenant_id, request.input_file)
    except NotFound as error:
        raise NotFound(error.message, param="input_file_id", code=error.code) from error
    if file.purpose != "batch":
        raise InvalidRequest(
            f"The file {file.id} has the purpose {file.purpose!r}; upload it with the purpose"
            " 'batch'.",
            param="input_file_id",
            code="invalid_file_purpose",
        )
    moment = now(session)
    batch = Batch(
        id=ids.batch_id(),
        tenant_id=tenant_id,
        key_id=key_id,
        status=VALIDATING,
        endpoint=request.endpoint,
        completion_window="24h",
        input_file=file.id,
        user_metadata=request.metadata,
        times={},
        created_at=moment,
        expires_at=moment + WINDOW_SECONDS,
        output_expires_after=request.output_expires_after,
        lease_expires_at=0.0,
    )
    session.add(batch)
    session.flush()
    return batch
