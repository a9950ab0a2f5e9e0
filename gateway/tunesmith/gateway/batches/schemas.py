"""Batches, as the API takes and shows them: OpenAI's shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tunesmith.gateway.files.upload import LONGEST_LIFE, SHORTEST_LIFE
from tunesmith.platform.batches.creation import BatchRequest
from tunesmith.platform.database.models import Batch as BatchRow

_Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Value = Annotated[str, StringConstraints(max_length=512)]


class OutputExpiresAfter(BaseModel):
    """How long the output and error files are kept, from when they are made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=SHORTEST_LIFE, le=LONGEST_LIFE)]


class CreateBatch(BaseModel):
    """Requests of a file, all of them to one endpoint."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input_file_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Literal["24h"]
    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] | None = None
    output_expires_after: OutputExpiresAfter | None = None

    def to_request(self) -> BatchRequest:
        """The request in the platform's words."""
        return BatchRequest(
            input_file=self.input_file_id,
            endpoint=self.endpoint,
            metadata=self.metadata,
            output_expires_after=(
                self.output_expires_after.seconds if self.output_expires_after else None
            ),
        )


class BatchError(BaseModel):
    """What was wrong with a line of the input, or with the batch (no `line`)."""

    code: str | None
    message: str | None
    param: str | None
    line: int | None


class BatchErrors(BaseModel):
    """Why a batch failed: the first hundred errors, and how many there are."""

    object: Literal["list"] = "list"
    data: list[BatchError]


class RequestCounts(BaseModel):
    """Requests so far."""

    total: int
    completed: int
    failed: int


class Batch(BaseModel):
    """A batch. Times are seconds since the epoch."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating",
        "failed",
        "in_progress",
        "finalizing",
        "completed",
        "expired",
        "cancelling",
        "cancelled",
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, row: BatchRow) -> Batch:
        """A row as the API shows it."""
        times = {name: int(moment) for name, moment in row.times.items()}
        return cls(
            id=row.id,
            endpoint=row.endpoint,
            errors=BatchErrors(data=row.errors) if row.errors else None,
            input_file_id=row.input_file,
            completion_window=row.completion_window,
            status=row.status,  # type: ignore[arg-type]
            output_file_id=row.output_file,
            error_file_id=row.error_file,
            created_at=int(row.created_at),
            in_progress_at=times.get("in_progress_at"),
            expires_at=int(row.expires_at),
            finalizing_at=times.get("finalizing_at"),
            completed_at=times.get("completed_at"),
            failed_at=times.get("failed_at"),
            expired_at=times.get("expired_at"),
            cancelling_at=times.get("cancelling_at"),
            cancelled_at=times.get("cancelled_at"),
            request_counts=RequestCounts(
                total=row.total, completed=row.completed, failed=row.failed
            ),
            metadata=row.user_metadata,
        )
