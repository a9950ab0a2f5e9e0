"""Uploads, as the API takes and shows them: OpenAI's shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tunesmith.gateway.files.schemas import File
from tunesmith.gateway.files.upload import LONGEST_LIFE, MAX_FILENAME, SHORTEST_LIFE
from tunesmith.platform.database.models import File as FileRow
from tunesmith.platform.database.models import Upload as UploadRow
from tunesmith.platform.database.models import UploadPart as PartRow
from tunesmith.platform.uploads.uploads import MAX_PARTS, status_of


class ExpiresAfter(BaseModel):
    """How long the later file is kept, from when it is made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=SHORTEST_LIFE, le=LONGEST_LIFE)]


class CreateUpload(BaseModel):
    """A file that is to come in parts."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filename: Annotated[str, StringConstraints(min_length=1, max_length=MAX_FILENAME)]
    purpose: str
    bytes: Annotated[int, Field(ge=1)]
    mime_type: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    expires_after: ExpiresAfter | None = None


class CompleteUpload(BaseModel):
    """The parts in their order, and the MD5 (hex) of the whole, if it is to be checked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    part_ids: Annotated[list[str], Field(min_length=1, max_length=MAX_PARTS)]
    md5: str | None = None


class Upload(BaseModel):
    """An upload; `file` is there once it is completed."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: File | None

    @classmethod
    def of(cls, row: UploadRow, file: FileRow | None = None) -> Upload:
        """A row, and the file that was made of it, as the API shows them."""
        return cls(
            id=row.id,
            bytes=row.bytes,
            created_at=int(row.created_at),
            expires_at=int(row.expires_at),
            filename=row.filename,
            purpose=row.purpose,
            status=status_of(row),  # type: ignore[arg-type]
            file=None if file is None else File.of(file),
        )


class Part(BaseModel):
    """A part of an upload."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str

    @classmethod
    def of(cls, row: PartRow) -> Part:
        """A row as the API shows it."""
        return cls(id=row.id, created_at=int(row.created_at), upload_id=row.upload_id)


PART: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"data": {"type": "string", "format": "binary"}},
                    "required": ["data"],
                    "additionalProperties": False,
                }
            }
        },
    }
}
