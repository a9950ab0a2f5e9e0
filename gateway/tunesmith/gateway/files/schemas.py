"""Files, as the API shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from tunesmith.platform.database.models import DataReport as DataReportRow
from tunesmith.platform.database.models import File as FileRow

from .upload import LONGEST_LIFE, PURPOSES, SHORTEST_LIFE


class File(BaseModel):
    """A file. A fine-tune file is checked before it is accepted, so it is `processed`."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str
    expires_at: int | None
    status_details: str | None = None

    @classmethod
    def of(cls, file: FileRow) -> File:
        """A row as the API shows it."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=int(file.created_at),
            filename=file.filename,
            purpose=file.purpose,
            status=file.status,
            expires_at=None if file.expires_at is None else int(file.expires_at),
        )


class DataReportError(BaseModel):
    """Why there is no report."""

    code: str
    message: str


class DataReport(BaseModel):
    """The data report of a file; `report` is null until it is completed."""

    object: Literal["file.data_report"] = "file.data_report"
    file_id: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    created_at: int
    finished_at: int | None
    report: dict[str, Any] | None
    error: DataReportError | None

    @classmethod
    def of(cls, row: DataReportRow, content: dict[str, Any] | None) -> DataReport:
        """A row and its stored content as the API shows them."""
        return cls(
            file_id=row.file_id,
            status=row.status,  # type: ignore[arg-type]
            created_at=int(row.created_at),
            finished_at=None if row.finished_at is None else int(row.finished_at),
            report=content,
            error=DataReportError(**row.error) if row.error else None,
        )


class FileDeleted(BaseModel):
    """A file that was deleted."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "const": "created_at"},
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": SHORTEST_LIFE,
                            "maximum": LONGEST_LIFE,
                        },
                    },
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                }
            }
        },
    }
}

CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file's bytes, as they were uploaded.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
